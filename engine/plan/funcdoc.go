package plan

import "signalbox/engine/expr"

// QueryFunctions describes the functions that the analyser itself turns into
// operators or constants. Their examples are select items over the table
// readings of docs/sql.md; the result is that of the first row.
func QueryFunctions() []expr.FuncInfo {
	return []expr.FuncInfo{
		{Name: "window", Signature: "window(time, size[, slide[, start]])", Doc: "The time windows [start, end) a row is in, a STRUCT<start, end>; windows are aligned to 1970-01-01 UTC, shifted by start. With a slide a row is in size / slide windows. In GROUP BY or the select list.", Example: "window(time, '1 minute')"},
		{Name: "session_window", Signature: "session_window(time, gap)", Doc: "The session a row is in: it ends when no row came for the gap, which may be computed per row. Sessions that touch are one. In GROUP BY, beside another key on a stream.", Example: "session_window(time, '30 seconds')"},
		{Name: "window_time", Signature: "window_time(window)", Doc: "The last microsecond of a window: the event time of a row that was made of one, for a window of windows.", Example: "window_time(window(time, '1 minute'))"},
		{Name: "current_timestamp", Signature: "current_timestamp()", Doc: "In a continuous query the time of the entry that is being processed, in signalbox query that of the last entry. It is no clock: every node and replay says the same."},
		{Name: "now", Signature: "now()", Doc: "The same as current_timestamp."},
		{Name: "current_date", Signature: "current_date()", Doc: "The date of current_timestamp in UTC."},
		{Name: "curdate", Signature: "curdate()", Doc: "The same as current_date."},
		{Name: "localtimestamp", Signature: "localtimestamp()", Doc: "current_timestamp in UTC without a zone."},
		{Name: "current_timezone", Signature: "current_timezone()", Doc: "The session's zone, which is UTC.", Example: "current_timezone()"},
		{Name: "struct", Signature: "struct(a, b AS name, …)", Doc: "A struct; a field is named as its column or alias, else col1, col2, ….", Example: "struct(bus, speed AS v)"},
		{Name: "grouping", Signature: "grouping(key)", Doc: "1 when a key of GROUP BY … WITH ROLLUP, CUBE or GROUPING SETS is left out of the row's group, else 0."},
		{Name: "grouping_id", Signature: "grouping_id([key, …])", Doc: "The grouping bits of the keys as one number, the first key highest."},
	}
}

// TableFunctions describes what makes several rows out of one: in the select
// list (one of them), in LATERAL VIEW, or in FROM.
func TableFunctions() []expr.FuncInfo {
	return []expr.FuncInfo{
		{Name: "explode", Signature: "explode(array | map)", Doc: "One row per element (column col), or per entry (key, value). No row for an empty or NULL one.", Example: "explode(array(10, 20))"},
		{Name: "explode_outer", Signature: "explode_outer(array | map)", Doc: "explode that gives one row of NULL for an empty or NULL one; LATERAL VIEW OUTER does the same.", Example: "explode_outer(CAST(NULL AS ARRAY<INT>))"},
		{Name: "posexplode", Signature: "posexplode(array | map)", Doc: "explode with the position, from 0, as the first column.", Example: "posexplode(array('a', 'b'))"},
		{Name: "posexplode_outer", Signature: "posexplode_outer(array | map)", Doc: "posexplode that gives one row of NULLs for an empty or NULL one.", Example: "posexplode_outer(array('a'))"},
		{Name: "inline", Signature: "inline(array of structs)", Doc: "One row per struct, its fields as columns.", Example: "inline(array(struct(1 AS door, 5 AS boarded), struct(2 AS door, 3 AS boarded)))"},
		{Name: "inline_outer", Signature: "inline_outer(array of structs)", Doc: "inline that gives one row of NULLs for an empty or NULL array.", Example: "inline_outer(array(struct(1 AS door)))"},
		{Name: "stack", Signature: "stack(n, a, b, …)", Doc: "The values as n rows; what is missing in the last is NULL.", Example: "stack(2, 1, 'a', 2, 'b')"},
		{Name: "json_tuple", Signature: "json_tuple(text, key, …)", Doc: "The members of a JSON object as columns of text.", Example: "json_tuple('{\"a\":1}', 'a')"},
		{Name: "range", Signature: "range([start,] end[, step])", Doc: "In FROM: the numbers from start (0) below end, column id; at most 100,000."},
	}
}

// AnalyticFunctions describes the functions that exist only with OVER (…); any
// aggregate may have OVER too. They need bounded input: signalbox query,
// replay of a table, static tables.
func AnalyticFunctions() []expr.FuncInfo {
	const over = " OVER (PARTITION BY bus ORDER BY time)"
	return []expr.FuncInfo{
		{Name: "row_number", Signature: "row_number() OVER (…)", Doc: "1, 2, 3, … in the order of the partition.", Example: "row_number()" + over},
		{Name: "rank", Signature: "rank() OVER (…)", Doc: "1 + the number of rows before the row and its equals.", Example: "rank() OVER (ORDER BY speed DESC)"},
		{Name: "dense_rank", Signature: "dense_rank() OVER (…)", Doc: "1 + the number of different keys before.", Example: "dense_rank() OVER (ORDER BY route)"},
		{Name: "percent_rank", Signature: "percent_rank() OVER (…)", Doc: "(rank - 1) / (rows - 1); 0 for a single row.", Example: "percent_rank() OVER (ORDER BY speed)"},
		{Name: "cume_dist", Signature: "cume_dist() OVER (…)", Doc: "The share of rows that are not after the row.", Example: "cume_dist() OVER (ORDER BY speed)"},
		{Name: "ntile", Signature: "ntile(n) OVER (…)", Doc: "The number of the row's bucket when the partition is cut into n.", Example: "ntile(2) OVER (ORDER BY speed)"},
		{Name: "lag", Signature: "lag(x[, offset[, default]]) [IGNORE NULLS] OVER (…)", Doc: "x of the row offset (1) before; on a live stream write previous(x, key).", Example: "lag(passengers)" + over},
		{Name: "lead", Signature: "lead(x[, offset[, default]]) [IGNORE NULLS] OVER (…)", Doc: "x of the row offset (1) after.", Example: "lead(passengers)" + over},
		{Name: "nth_value", Signature: "nth_value(x, n) [IGNORE NULLS] OVER (…)", Doc: "x of the n-th row of the frame.", Example: "nth_value(passengers, 2)" + over},
	}
}
