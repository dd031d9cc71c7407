package plan_test

import (
	"errors"
	"strings"
	"testing"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
	"signalbox/engine/sql"
)

// schemas is a catalog for tests.
type schemas map[string]plan.Relation

func (s schemas) Relation(name string) (plan.Relation, bool) {
	r, ok := s[strings.ToLower(name)]
	return r, ok
}

func (s schemas) Names() []string { return []string{"a", "b", "bus", "routes"} }

func relation(name string, stream bool, cols ...string) plan.Relation {
	s := &column.Schema{Name: name, Time: -1}
	for _, c := range cols {
		n, typ, _ := strings.Cut(c, " ")
		t, err := sql.ParseType(typ)
		if err != nil {
			panic(err)
		}
		if t.Type.Kind == column.Timestamp && s.Time < 0 && stream {
			s.Time = len(s.Fields)
		}
		s.Fields = append(s.Fields, column.Field{Name: n, Type: t.Type})
	}
	return plan.Relation{Schema: s, Stream: stream}
}

func catalog() schemas {
	return schemas{
		"bus":    relation("bus", true, "time TIMESTAMP", "bus_id STRING", "route STRING", "passengers BIGINT", "speed DOUBLE", "open BOOLEAN"),
		"a":      relation("a", true, "ats TIMESTAMP", "ak STRING", "av BIGINT"),
		"b":      relation("b", true, "bts TIMESTAMP", "bk STRING", "bv BIGINT"),
		"routes": relation("routes", false, "route STRING", "name STRING", "cap BIGINT"),
	}
}

func analyze(t *testing.T, text string, opt plan.AnalyzeOptions) (*plan.Query, error) {
	t.Helper()
	q, err := sql.ParseSelect(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return plan.Analyze(q, catalog(), opt)
}

// TestErrors holds refusals to Spark's condition and SQLSTATE, and to the position.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		text, condition, state string
		col                    int
	}{
		{"SELECT nosuch FROM bus", "UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703", 8},
		{"SELECT 1 FROM nosuch", "TABLE_OR_VIEW_NOT_FOUND", "42P01", 15},
		{"SELECT nosuch(1)", "UNRESOLVED_ROUTINE", "42883", 8},
		{"SELECT abs(1, 2)", "WRONG_NUM_ARGS.WITHOUT_SUGGESTION", "42605", 8},
		{"SELECT passengers, count(*) FROM bus GROUP BY route", "MISSING_AGGREGATION", "42803", 8},
		{"SELECT route, count(*) FROM bus", "MISSING_GROUP_BY", "42803", 8},
		{"SELECT 1 FROM bus GROUP BY count(*)", "GROUP_BY_AGGREGATE", "42903", 28},
		{"SELECT sum(count(*)) FROM bus", "NESTED_AGGREGATE_FUNCTION", "42607", 12},
		{"SELECT 1 FROM bus WHERE sum(passengers) > 1", "INVALID_WHERE_CONDITION", "42903", 25},
		{"SELECT 1 UNION ALL SELECT 1, 2", "NUM_COLUMNS_MISMATCH", "42826", 10},
		{"SELECT route FROM bus JOIN routes ON bus.route = routes.route", "AMBIGUOUS_REFERENCE", "42704", 8},
		{"SELECT route FROM bus WHERE passengers", "DATATYPE_MISMATCH.FILTER_NOT_BOOLEAN", "42K09", 29},
		{"SELECT route FROM bus ORDER BY 2", "ORDER_BY_POS_OUT_OF_RANGE", "42805", 32},
		{"SELECT count(*) FROM bus GROUP BY 5", "GROUP_BY_POS_OUT_OF_RANGE", "42805", 35},
		{"SELECT count(*) FROM bus GROUP BY window(time, '1 fortnight')", "CANNOT_PARSE_INTERVAL", "22006", 48},
		{"SELECT count(*) FROM bus GROUP BY window(time, '0 seconds')", "DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE", "42K09", 48},
		{"SELECT count(*) FROM bus GROUP BY window(time, '1 minute', '2 minutes')", "DATATYPE_MISMATCH.PARAMETER_CONSTRAINT_VIOLATION", "42K09", 60},
		{"SELECT row_number() FROM bus", "WINDOW_FUNCTION_WITHOUT_OVER_CLAUSE", "42601", 8},
		{"SELECT (SELECT route, name FROM routes)", "INVALID_SUBQUERY_EXPRESSION.SCALAR_SUBQUERY_RETURN_MORE_THAN_ONE_OUTPUT_COLUMN", "42823", 8},
		{"SELECT DATE'2024-02-30'", "INVALID_TYPED_LITERAL", "42604", 8},
		{"SELECT route FROM bus LIMIT -1", "INVALID_LIMIT_LIKE_EXPRESSION.IS_NEGATIVE", "42K0E", 29},
		{"SELECT name.x FROM routes", "INVALID_EXTRACT_BASE_FIELD_TYPE", "42000", 8},
		{"SELECT array_sort((x, y) -> x)", "INVALID_LAMBDA_FUNCTION_CALL.PARAMETER_DOES_NOT_ACCEPT_LAMBDA_FUNCTION", "42K0D", 19},
		{"SELECT count() FROM bus", "WRONG_NUM_ARGS.WITH_SUGGESTION", "42605", 8},
		{"SELECT 1 FROM STREAM routes", "NOT_STREAMING_TABLE", "42K0E", 15},
	} {
		_, err := analyze(t, c.text, plan.AnalyzeOptions{})
		var e *expr.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: got %v, want %s", c.text, err, c.condition)
			continue
		}
		if e.Condition != c.condition || e.SQLState != c.state || e.Line != 1 || e.Col != c.col {
			t.Errorf("%s: got %s %s at %d:%d, want %s %s at 1:%d", c.text, e.Condition, e.SQLState, e.Line, e.Col, c.condition, c.state, c.col)
		}
	}
}

const busMark = "FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS "

// joined is a join of two streams with watermarks.
func joined(kind, on string) string {
	return "SELECT ats, bts FROM STREAM a WATERMARK ats DELAY OF INTERVAL 10 SECONDS " + kind +
		" JOIN STREAM b WATERMARK bts DELAY OF INTERVAL 10 SECONDS ON ak = bk" + on
}

// TestStreamingRefusals: "" = accepted.
func TestStreamingRefusals(t *testing.T) {
	const legacy, mode = "_LEGACY_ERROR_TEMP_3102", "STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION"
	for _, c := range []struct {
		text      string
		mode      plan.Mode
		condition string
	}{
		{"SELECT count(*) FROM STREAM bus GROUP BY window(time, '1 minute')", plan.Append, mode},
		{"SELECT count(*) " + busMark + "GROUP BY window(time, '1 minute')", plan.Append, ""},
		{"SELECT count(*) " + busMark + "GROUP BY route", plan.Append, mode},
		{"SELECT count(*) FROM STREAM bus GROUP BY route", plan.Update, ""},
		{"SELECT route FROM STREAM bus", plan.Complete, mode},
		{"SELECT route FROM STREAM bus", "sometimes", "STREAMING_OUTPUT_MODE.INVALID"},
		{"SELECT route FROM STREAM bus ORDER BY route", plan.Append, legacy},
		{"SELECT route, count(*) c FROM STREAM bus GROUP BY route ORDER BY c", plan.Complete, ""},
		{"SELECT count(DISTINCT route) " + busMark + "GROUP BY window(time, '1 minute')", plan.Append, legacy},
		{"SELECT sum(passengers) OVER (PARTITION BY route) FROM STREAM bus", plan.Append, "NON_TIME_WINDOW_NOT_SUPPORTED_IN_STREAMING"},
		{"SELECT route FROM STREAM bus LIMIT 3", plan.Append, ""},
		{"SELECT route FROM STREAM bus LIMIT 3", plan.Update, legacy},
		{"SELECT route FROM STREAM bus LIMIT 3 OFFSET 1", plan.Append, legacy},
		{"SELECT count(*) " + busMark + "GROUP BY session_window(time, '1 minute')", plan.Append, "STREAM_FAILED"},
		{"SELECT count(*) " + busMark + "GROUP BY session_window(time, '1 minute'), route", plan.Append, ""},
		{"SELECT count(*) " + busMark + "GROUP BY session_window(time, '1 minute'), route", plan.Update, legacy},
		{"SELECT route FROM (SELECT * " + busMark + ") WATERMARK time DELAY OF INTERVAL 5 SECONDS", plan.Append, "STREAM_FAILED"},
		{"SELECT DISTINCT route FROM STREAM bus", plan.Append, mode},
		{"SELECT DISTINCT route FROM STREAM bus", plan.Update, ""},
		{"SELECT DISTINCT time, route " + busMark, plan.Append, ""},
		{"SELECT route FROM STREAM bus EXCEPT SELECT route FROM routes", plan.Append, legacy},
		{"SELECT route FROM STREAM bus UNION ALL SELECT route FROM routes", plan.Append, legacy},
		{"SELECT passengers FROM STREAM bus WHERE passengers > (SELECT max(passengers) FROM STREAM bus)", plan.Append, legacy},
		{"SELECT name FROM STREAM bus LEFT JOIN routes USING (route)", plan.Append, ""},
		{"SELECT name FROM STREAM bus RIGHT JOIN routes USING (route)", plan.Append, legacy},
		{"SELECT name FROM routes LEFT JOIN STREAM bus USING (route)", plan.Append, legacy},
		{"SELECT name FROM STREAM bus FULL JOIN routes USING (route)", plan.Append, legacy},
		{joined("", ""), plan.Append, ""},
		{joined("", ""), plan.Update, ""},
		{joined("LEFT", ""), plan.Update, mode},
		{joined("LEFT", ""), plan.Append, legacy},
		{joined("LEFT", " AND bts BETWEEN ats AND ats + INTERVAL 5 SECONDS"), plan.Append, ""},
		{joined("LEFT", " AND bts >= ats"), plan.Append, legacy},
		{joined("RIGHT", " AND bts >= ats"), plan.Append, ""},
		{joined("FULL", " AND bts >= ats"), plan.Append, ""},
		{strings.Replace(joined("LEFT", " AND bts BETWEEN ats AND ats + INTERVAL 5 SECONDS"), "WATERMARK ats DELAY OF INTERVAL 10 SECONDS", "", 1), plan.Append, ""},
		{strings.Replace(joined("LEFT", " AND bts BETWEEN ats AND ats + INTERVAL 5 SECONDS"), "WATERMARK bts DELAY OF INTERVAL 10 SECONDS", "", 1), plan.Append, legacy},
		{joined("LEFT", "") + " WHERE bts > ats", plan.Append, legacy},
		{joined("FULL", " AND bts >= ats AND bts < ats + INTERVAL 5 SECONDS"), plan.Append, ""},
		{joined("LEFT", " AND ats = bts"), plan.Append, ""},
		{"SELECT sum(p), count(*) FROM (SELECT bus_id, max_by(passengers, time) AS p FROM STREAM bus GROUP BY bus_id)", plan.Update, ""},
		{"SELECT max(c) FROM (SELECT route, window, count(*) c " + busMark + "GROUP BY route, window(time, '1 minute')) GROUP BY route", plan.Update, legacy},
		{"SELECT window.start, max(c) FROM (SELECT route, window AS w, count(*) c " + busMark + "GROUP BY route, window(time, '1 minute')) GROUP BY window(w, '5 minutes')", plan.Append, ""},
	} {
		_, err := analyze(t, c.text, plan.AnalyzeOptions{Mode: c.mode})
		var e *expr.Error
		got := ""
		if errors.As(err, &e) {
			got = e.Condition
		} else if err != nil {
			got = err.Error()
		}
		if got != c.condition {
			t.Errorf("%s in mode %s: got %q (%v), want %q", c.text, c.mode, got, err, c.condition)
		}
	}
}

func TestDefaultMode(t *testing.T) {
	for text, want := range map[string]plan.Mode{
		"SELECT route FROM STREAM bus":                                     plan.Append,
		"SELECT count(*) " + busMark + "GROUP BY window(time, '1 second')": plan.Append,
		"SELECT count(*) " + busMark + "GROUP BY time":                     plan.Append,
		"SELECT count(*) " + busMark:                                       plan.Update,
		"SELECT count(*) FROM STREAM bus GROUP BY route":                   plan.Update,
	} {
		q, err := analyze(t, text, plan.AnalyzeOptions{})
		if err != nil || q.Mode != want {
			t.Errorf("%s: got mode %v (%v), want %s", text, q, err, want)
		}
	}
}

// TestPlans holds whole plans: what is pushed where, and which columns are read.
func TestPlans(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"SELECT route " + busMark + "WHERE passengers > 3 AND time > TIMESTAMP'2024-01-01' AND speed < 5", `
Project route = route#2
  Filter (time#0 > TIMESTAMP'2024-01-01 00:00:00')
    Watermark time - 10 seconds
      Filter ((passengers#3 > 3L) AND (speed#4 < 5.0D))
        Stream bus (time, route, passengers, speed)`},
		{"SELECT c FROM (SELECT route r, count(*) c, sum(speed) s FROM bus GROUP BY route) WHERE r = 'x' AND c > 1", `
Project c = c#1
  Project r = route#0, c = count()#1, s = sum(speed#4)#2
    Filter (count()#1 > 1L)
      Aggregate by (route#2) of count(), sum(speed#4)
        Filter (route#2 = 'x')
          Table bus (route, speed)`},
		{"SELECT bus.passengers, name FROM bus JOIN routes ON bus.route = routes.route AND cap > 1 WHERE passengers > 2 AND name <> route2.name", ""},
		{"SELECT bus.passengers, name FROM bus, routes WHERE bus.route = routes.route AND cap > 1 AND passengers > cap", `
Project passengers = passengers#3, name = name#7
  Filter (passengers#3 > cap#8)
    Inner join route#2 = route#0
      Table bus (route, passengers)
      Filter (cap#2 > 1L)
        Table routes (route, name, cap)`},
		{"SELECT count(*) FROM bus", `
Project count(*) = count()#0
  Aggregate by () of count()
    Table bus ()`},
		{"SELECT 1 + 2 * 3 AS x FROM routes WHERE cap > 10 - 3", `
Project x = 7
  Filter (cap#2 > 7L)
    Table routes (cap)`},
	} {
		q, err := analyze(t, c.text, plan.AnalyzeOptions{})
		if c.want == "" {
			if err == nil {
				t.Errorf("%s: accepted", c.text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		got := planOnly(plan.Explain(q, plan.Options{}))
		if normal(got) != normal(c.want) {
			t.Errorf("%s: got\n%s\nwant%s", c.text, got, c.want)
		}
	}
}

// planOnly cuts the options and states off an explanation.
func planOnly(s string) string {
	_, s, _ = strings.Cut(s, "\nplan\n")
	if s == "" {
		return ""
	}
	return s
}

func normal(s string) string {
	var out []string
	for _, l := range strings.Split(s, "\n") {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "id ") {
			out = append(out, l)
		}
	}
	return strings.Join(out, "\n")
}

func TestTimeBound(t *testing.T) {
	for _, c := range []struct {
		on   string
		want plan.TimeBound
	}{
		{" AND bts >= ats AND bts <= ats + INTERVAL 5 SECONDS", plan.TimeBound{Lo: 0, Hi: 5_000_000, HasLo: true, HasHi: true}},
		{" AND ats > bts - INTERVAL 1 MINUTE", plan.TimeBound{Hi: 60_000_000 - 1, HasHi: true}},
		{" AND ats + INTERVAL 1 SECOND < bts", plan.TimeBound{Lo: 1_000_001, HasLo: true}},
		{" AND bts BETWEEN ats - INTERVAL 1 SECOND AND ats", plan.TimeBound{Lo: -1_000_000, Hi: 0, HasLo: true, HasHi: true}},
		{" AND ats = bts", plan.TimeBound{HasLo: true, HasHi: true}},
	} {
		q, err := analyze(t, joined("", c.on), plan.AnalyzeOptions{})
		if err != nil {
			t.Fatalf("%s: %v", c.on, err)
		}
		n := q.Root
		for {
			if j, ok := n.(*plan.Join); ok {
				if j.Bound == nil || *j.Bound != c.want {
					t.Errorf("%s: got %+v, want %+v", c.on, j.Bound, c.want)
				}
				break
			}
			n = n.Inputs()[0]
		}
	}
}

func TestCheckFindsEverything(t *testing.T) {
	errs := plan.Check(`CREATE STREAM bus (time TIMESTAMP, id STRING, p BIGINT);
CREATE STREAMING TABLE x AS
SELECT nosuch, sum(p), avg(alsonot)
FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND
WHERE id > notthere
GROUP BY window(time, '1 minute');
CREATE STREAMING TABLE y AS SELECT * FROM STREAM x;
SELEC 1;
CREATE STREAMING TABLE z AS SELECT p FROM STREAM bsu;
SELECT p FROM bus`, nil)
	var got []string
	for _, e := range errs {
		line, _ := plan.Position(e)
		cond := ""
		var p *sql.Error
		var a *expr.Error
		if errors.As(e, &p) {
			cond = p.Condition
		} else if errors.As(e, &a) {
			cond = a.Condition
		}
		got = append(got, strings.Repeat("+", line)+" "+cond)
	}
	want := []string{
		"+++ UNRESOLVED_COLUMN.WITH_SUGGESTION", "+++ UNRESOLVED_COLUMN.WITH_SUGGESTION",
		"+++++ UNRESOLVED_COLUMN.WITH_SUGGESTION", "++++++++ PARSE_SYNTAX_ERROR", "+++++++++ TABLE_OR_VIEW_NOT_FOUND",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s\n%v", strings.Join(got, "\n"), strings.Join(want, "\n"), errs)
	}
}

// What a broken declaration was to declare is not reported again where it is read, in later scripts either.
func TestCheckReportsAMistakeOnce(t *testing.T) {
	var c plan.Checker
	errs := c.Check(`CREATE STREAM bus (time TIMESTAMP, id STRIN);
CREATE TABLE t (a BIGINT, a BIGINT);
CREATE STREAMING TABLE x AS SELEC id FROM STREAM bus;
CREATE STREAMING TABLE y AS SELECT id FROM STREAM bus JOIN t ON id = a;
SELECT * FROM y JOIN x ON true`, nil)
	if len(errs) != 3 {
		t.Fatal(errs)
	}
	if errs := c.Check("CREATE STREAMING TABLE z AS SELECT id FROM STREAM Bus; SELECT * FROM x, y, z, nowhere", nil); len(errs) != 0 {
		t.Fatal(errs)
	}
	if errs := c.Check("SELECT * FROM nowhere", nil); len(errs) != 1 {
		t.Fatal(errs)
	}
}

// FuzzAnalyze: no query may panic the analyser.
func FuzzAnalyze(f *testing.F) {
	for _, s := range []string{
		"SELECT window.start, count(*) c " + busMark + "GROUP BY window(time, '1 minute') HAVING c > 1",
		"SELECT (SELECT max(cap) FROM routes r WHERE r.route = bus.route) FROM bus WHERE EXISTS (SELECT 1 FROM routes)",
		joined("LEFT", " AND bts > ats"),
		"SELECT route, sum(passengers) OVER (ORDER BY time ROWS 2 PRECEDING) FROM bus QUALIFY 1 = 1 ORDER BY 1",
		"SELECT route, count(*) FROM bus GROUP BY ROLLUP (route, bus_id) ORDER BY grouping_id()",
		"WITH x AS (SELECT 1 AS a UNION SELECT 2.5) SELECT explode(array(a, a + 1)) FROM x",
		"SELECT transform(array(1), x -> x + passengers) FROM bus LATERAL VIEW posexplode(array(1)) t AS i, v",
		"SELECT (SELECT count(*) FROM routes r WHERE r.cap < bus.passengers GROUP BY r.name LIMIT 1) FROM bus WHERE route NOT IN (SELECT r.route FROM routes r WHERE r.cap > passengers)",
		"SELECT * FROM bus b LEFT JOIN LATERAL (SELECT r.cap + b.passengers AS c FROM routes r WHERE r.route = b.route) t ON c > 1, LATERAL (SELECT max(cap) m FROM routes WHERE cap < b.passengers) u",
		"SELECT * FROM bus b LEFT JOIN routes r ON b.route = r.route AND b.passengers IN (SELECT cap FROM routes)",
		"SELECT * FROM (SELECT route, open, passengers FROM bus) PIVOT (sum(passengers) s, max(route) FOR open IN (true, false AS f))",
		"SELECT * FROM bus UNPIVOT INCLUDE NULLS (v FOR n IN (passengers AS p, speed))",
		"WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r a JOIN r b ON a.n = b.n LIMIT 3",
		"SELECT route, open, grouping_id() FROM bus GROUP BY route, GROUPING SETS (ROLLUP (open), CUBE (route))",
		"FROM bus |> WHERE speed > 1 |> EXTEND speed * 2 AS s |> AGGREGATE max(s) GROUP BY route |> ORDER BY 1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := sql.ParseSelect(text)
		if err != nil {
			return
		}
		for _, streaming := range []bool{false, true} {
			p, err := plan.Analyze(q, catalog(), plan.AnalyzeOptions{Streaming: streaming})
			if err == nil {
				plan.Explain(p, plan.Options{})
			}
		}
	})
}
