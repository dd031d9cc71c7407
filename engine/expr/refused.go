package expr

import "strings"

// refusals are functions of Spark that are not available, each group with the reason and what to write instead.
var refusals = []struct{ condition, names, hint string }{
	{"UNSUPPORTED_FEATURE.NONDETERMINISTIC_FUNCTION", "rand random randn uuid shuffle randstr uniform monotonically_increasing_id spark_partition_id",
		"every node, and every replay, must compute the same answer; use hash(…) of a key to spread rows"},
	{"UNSUPPORTED_TIME_TYPE", "current_time localtime make_time to_time try_to_time time_diff time_trunc time_from_seconds time_from_millis time_from_micros time_to_seconds time_to_millis time_to_micros time",
		"there is no type TIME (Spark has it switched off, too); keep a time of day as INTERVAL DAY TO SECOND or as text"},
	{"UNSUPPORTED_FEATURE", "user current_user session_user current_catalog current_database current_schema current_path version input_file_name input_file_block_start input_file_block_length java_method reflect try_reflect sql_keywords collations python_worker_logs",
		"a query knows nothing of sessions, files and programs"},
	{"UNSUPPORTED_FEATURE", "parse_json try_parse_json to_variant_object variant_get try_variant_get is_variant_null is_valid_variant schema_of_variant schema_of_variant_agg variant_explode variant_explode_outer variant_set variant_insert variant_delete variant_array_append variant_strip_nulls try_variant_set try_variant_insert try_variant_array_append",
		"there is no type VARIANT; keep the JSON as text and use get_json_object, from_json or json_tuple"},
	{"UNSUPPORTED_FEATURE", "from_xml to_xml schema_of_xml xpath xpath_boolean xpath_double xpath_float xpath_int xpath_long xpath_number xpath_short xpath_string from_avro to_avro schema_of_avro from_protobuf to_protobuf",
		"XML, Avro and Protobuf are not read inside queries; decode them before they come in, or send JSON"},
	{"UNSUPPORTED_FEATURE", "hll_sketch_agg hll_sketch_estimate hll_union hll_union_agg approx_top_k approx_top_k_accumulate approx_top_k_combine approx_top_k_estimate count_min_sketch theta_sketch_agg theta_sketch_estimate theta_union theta_union_agg theta_intersection theta_intersection_agg theta_difference kll_sketch_agg_bigint kll_sketch_agg_double kll_sketch_agg_float",
		"sketches are no values here; use approx_count_distinct, approx_percentile or mode"},
	{"UNSUPPORTED_FEATURE", "aes_encrypt aes_decrypt try_aes_decrypt", "a key in a query would be in every log of it; encrypt where the key lives"},
	{"UNSUPPORTED_FEATURE", "collect_union", "write array_distinct(flatten(collect_list(x)))"},
	{"UNSUPPORTED_FEATURE", "counter_diff", "write c - lag(c) OVER (PARTITION BY key ORDER BY time); on a stream counter_increase(c, time) in a window"},
	{"UNSUPPORTED_FEATURE", "measure", "there are no metric views; write the aggregate"},
	{"UNSUPPORTED_FEATURE", "unix_nanos timestamp_nanos", "times have microseconds; use unix_micros and timestamp_micros"},
	{"UNSUPPORTED_FEATURE", "st_asbinary st_geogfromwkb st_geomfromwkb st_setsrid st_srid", "there are no geometries; use geo_distance and geo_within"},
	{"UNSUPPORTED_FEATURE", "vector_avg vector_sum vector_cosine_similarity vector_inner_product vector_l2_distance vector_norm vector_normalize",
		"write aggregate(zip_with(a, b, (x, y) -> x * y), 0D, (s, p) -> s + p) and the like"},
}

func refusedFunctions() []function {
	var out []function
	for _, r := range refusals {
		for _, n := range strings.Fields(r.names) {
			out = append(out, function{name: n, hidden: true, bind: func(name string, _ []Expr) (Expr, error) {
				return nil, analysisErr(r.condition, "0A000", "%s is not available: %s", name, r.hint)
			}})
		}
	}
	return out
}
