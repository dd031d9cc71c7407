package sql

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sameTree compares trees without positions and source text.
func sameTree(a, b any) string {
	return cmp.Diff(a, b, cmpopts.IgnoreTypes(Pos{}, Source{}), cmpopts.IgnoreFields(CreateStreamingTable{}, "QueryText"), cmpopts.EquateEmpty())
}

// roundTrip prints q and parses that again: the tree must be the same, and so must the next print.
func roundTrip(t *testing.T, text string, q *Query) {
	t.Helper()
	out := Format(q)
	again, err := ParseSelect(out)
	if err != nil {
		t.Fatalf("%q is printed as %q, which does not parse: %v", text, out, err)
	}
	if d := sameTree(q, again); d != "" {
		t.Fatalf("%q is printed as %q, which is another tree:\n%s", text, out, d)
	}
	if second := Format(again); second != out {
		t.Fatalf("printing is not stable: %q, then %q", out, second)
	}
}

// TestExpressions shows how expressions are read: the canonical form has every grouping that precedence implies.
func TestExpressions(t *testing.T) {
	for in, want := range map[string]string{
		"1 + 2 * 3":                         "1 + 2 * 3",
		"(1 + 2) * 3":                       "(1 + 2) * 3",
		"a - b - c":                         "a - b - c",
		"a - (b - c)":                       "a - (b - c)",
		"-a * b":                            "-a * b",
		"- -1":                              "-(-1)",
		"-(1)":                              "-(1)",
		"-9223372036854775808":              "-9223372036854775808L",
		"9223372036854775808":               "9223372036854775808BD",
		"2147483648":                        "2147483648L",
		"007":                               "7",
		"1e3":                               "1e3D",
		"1.50":                              "1.50BD",
		"1e3BD":                             "1000BD",
		"15e-1BD":                           "1.5BD",
		".5":                                "0.5BD",
		"5.":                                "5BD",
		"1Y + 2S + 3L + 4D + 5F":            "1Y + 2S + 3L + 4D + 5F",
		"a = b = c":                         "a = b = c",
		"a == b != c":                       "a = b <> c",
		"a | b ^ c & d << 1 + 2":            "a | b ^ c & d << 1 + 2",
		"a || b + c":                        "a || b + c",
		"a DIV b % c":                       "a DIV b % c",
		"not a and b or c":                  "NOT a AND b OR c",
		"not (a and b)":                     "NOT (a AND b)",
		"!a":                                "NOT a",
		"a = b is null":                     "(a = b) IS NULL",
		"(a is null) is not true":           "(a IS NULL) IS NOT TRUE",
		"a between 1 and 2 and b":           "a BETWEEN 1 AND 2 AND b",
		"a not between b + 1 and c":         "a NOT BETWEEN b + 1 AND c",
		"a ! in (1, 2)":                     "a NOT IN (1, 2)",
		"a is not distinct from null":       "a IS NOT DISTINCT FROM NULL",
		"a not like 'x%' escape '!'":        "a NOT LIKE 'x%' ESCAPE '!'",
		"a like any ('x', 'y')":             "a LIKE ANY ('x', 'y')",
		"a regexp 'x'":                      "a RLIKE 'x'",
		"a::int + 1":                        "CAST(a AS INT) + 1",
		"-1::string":                        "CAST(-1 AS STRING)",
		"a.b.c[0].d":                        "a.b.c[0].d",
		"window(ts, '1 minute').start":      "`window`(ts, '1 minute').start",
		"f(x -> x + 1, (a, b) -> a)":        "f(x -> x + 1, (a, b) -> a)",
		"case a when 1 then 2 else 3 end":   "CASE a WHEN 1 THEN 2 ELSE 3 END",
		"extract(year from ts)":             "extract('YEAR', ts)",
		"substring('abc' from 2 for 1)":     "substring('abc', 2, 1)",
		"trim(both 'x' from s)":             "trim('x', s)",
		"trim(leading from s)":              "ltrim(s)",
		"trim(trailing 'x' from s)":         "rtrim('x', s)",
		"trim(s)":                           "trim(s)",
		"position('a' in s)":                "position('a', s)",
		"overlay('abc' placing 'x' from 1)": "overlay('abc', 'x', 1)",
		"timestampadd(minute, 5, ts)":       "timestampadd(MINUTE, 5, ts)",
		"dateadd(DAY, 5, ts)":               "timestampadd(DAY, 5, ts)",
		"datediff(HOUR, a, b)":              "timestampdiff(HOUR, a, b)",
		"datediff(a, b)":                    "datediff(a, b)",
		"date_add(day, 1)":                  "date_add(`DAY`, 1)",
		"current_timestamp":                 "CURRENT_TIMESTAMP()",
		"count(*)":                          "count(*)",
		"count(distinct a, b)":              "count(DISTINCT a, b)",
		"first(a ignore nulls)":             "first(a) IGNORE NULLS",
		"sum(a) filter (where b) over (w)":  "sum(a) FILTER (WHERE b) OVER w",
		"sum(a) over (order by b rows 1 preceding)":      "sum(a) OVER (ORDER BY b ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
		"listagg(a, ',') within group (order by a desc)": "listagg(a, ',') WITHIN GROUP (ORDER BY a DESC)",
		"struct(a as x, 1 y)":                            "struct(a AS x, 1 AS y)",
		"(a, b) in (select 1, 2)":                        "(a, b) IN (SELECT 1, 2)",
		"'a' 'b' \"c\"":                                  "'abc'",
		"'it''s'":                                        `'it\'s'`,
		`'a\tb\\c\%d\u00e9\101'`:                         "'a\tb\\\\c\\\\%dé" + "A'",
		`r'a\tb'`:                                        `'a\\tb'`,
		"X'0aFF'":                                        "X'0aff'",
		"date'2024-01-01'":                               "DATE'2024-01-01'",
		"timestamp_ltz '2024-01-01'":                     "TIMESTAMP'2024-01-01'",
		"interval 10 seconds":                            "INTERVAL '10.000000' SECONDS",
		"interval '1' year":                              "INTERVAL 1 YEARS",
		"interval 1 day 2 hours":                         "INTERVAL 1 DAYS 2 HOURS",
		"interval '1 day 2 hours'":                       "INTERVAL 1 DAYS 2 HOURS",
		"interval '-1 02:03:04.5' day to second":         "INTERVAL -1 DAYS -2 HOURS -3 MINUTES '-4.500000' SECONDS",
		"interval '1-2' year to month":                   "INTERVAL 1 YEARS 2 MONTHS",
		"interval -'5' minute":                           "INTERVAL -5 MINUTES",
		"interval '1.5' second":                          "INTERVAL '1.500000' SECONDS",
		"interval 2 weeks":                               "INTERVAL 14 DAYS",
		"interval - 5":                                   "`interval` - 5",
		"interval 1 day - 2":                             "INTERVAL 1 DAYS - 2",
		"map('a', 1)['a']":                               "map('a', 1)['a']",
		"exists(arr, x -> x > 1)":                        "`exists`(arr, x -> x > 1)",
		"exists (select 1)":                              "EXISTS (SELECT 1)",
		"((select 1)) + 2":                               "(SELECT 1) + 2",
		"a in ((select 1))":                              "a IN ((SELECT 1))",
		"a in ((select 1) union (select 2))":             "a IN ((SELECT 1) UNION (SELECT 2))",
		"try_cast('1' as decimal(5))":                    "TRY_CAST('1' AS DECIMAL(5, 0))",
		"cast(a as array<struct<x: int, y: map<string, array<int>>>>)": "CAST(a AS ARRAY<STRUCT<x: INT, y: MAP<STRING, ARRAY<INT>>>>)",
		"cast(a as interval day to minute)":                            "CAST(a AS INTERVAL DAY TO MINUTE)",
		"left(s, 2) || right(s, 1)":                                    "LEFT(s, 2) || RIGHT(s, 1)",
		"if(a, b, c)":                                                  "if(a, b, c)",
		"`weird ``name`.`select`":                                      "`weird ``name`.`select`",
		"end + offset":                                                 "`end` + `offset`",
		"/* c /* nested */ */ 1 -- x\n + 2":                            "1 + 2",
		"range(end => 5)":                                              "range(`end` => 5)",
	} {
		e, err := ParseExpr(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		got := Format(e)
		if !strings.EqualFold(strings.ReplaceAll(got, "`window`", "window"), strings.ReplaceAll(want, "`window`", "window")) {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		again, err := ParseExpr(got)
		if err != nil {
			t.Errorf("%q printed as %q: %v", in, got, err)
		} else if d := sameTree(e, again); d != "" {
			t.Errorf("%q printed as %q is another tree:\n%s", in, got, d)
		}
	}
}

// TestQueries parses whole queries and compares their canonical form.
func TestQueries(t *testing.T) {
	for in, want := range map[string]string{
		"select a b, c as `d e` from t u where x group by 1, b having y order by a desc, b nulls last limit 5 offset 2;": "SELECT a AS b, c AS `d e` FROM t AS u WHERE x GROUP BY 1, b HAVING y ORDER BY a DESC, b NULLS LAST LIMIT 5 OFFSET 2",
		"with a as (select 1), b (x) as (values (1), (2)) select * from a, b":                                            "WITH a AS (SELECT 1), b (x) AS (VALUES (1), (2)) SELECT * FROM a, b",
		"select 1 union all select 2 intersect select 3 minus select 4":                                                  "SELECT 1 UNION ALL SELECT 2 INTERSECT SELECT 3 EXCEPT SELECT 4",
		"(select 1 union select 2) except (select 3 limit 1) order by 1":                                                 "(SELECT 1 UNION SELECT 2) EXCEPT (SELECT 3 LIMIT 1) ORDER BY 1",
		"select t.*, u.a.* from t left outer join u on t.a = u.a right join v using (b) natural join w cross join x":     "SELECT t.*, u.a.* FROM t LEFT JOIN u ON t.a = u.a RIGHT JOIN v USING (b) NATURAL INNER JOIN w CROSS JOIN x",
		"select * from a, b join c on a.x = c.x":                                                                         "SELECT * FROM a, b INNER JOIN c ON a.x = c.x",
		"select * from a left semi join b on c anti join d on e":                                                         "SELECT * FROM a LEFT SEMI JOIN b ON c LEFT ANTI JOIN d ON e",
		"select * from ((select 1) union (select 2)) t":                                                                  "SELECT * FROM ((SELECT 1) UNION (SELECT 2)) AS t",
		"select * from (a join b on c) t (x, y)":                                                                         "SELECT * FROM (a INNER JOIN b ON c) AS t (x, y)",
		"select * from range(10) t(id) where id > 1":                                                                     "SELECT * FROM RANGE(10) AS t (id) WHERE id > 1",
		"select k, e from edge lateral view outer posexplode(a) t as p, e lateral view explode(b) u":                     "SELECT k, e FROM edge LATERAL VIEW OUTER posexplode(a) t AS p, e LATERAL VIEW explode(b) u",
		"select e lateral view explode(array(1)) t as e":                                                                 "SELECT e LATERAL VIEW explode(ARRAY(1)) t AS e",
		"select * from values 1, 2 as t(x)":                                                                              "SELECT * FROM VALUES (1), (2) AS t (x)",
		"select a, count(*) from t group by a with rollup":                                                               "SELECT a, count(*) FROM t GROUP BY ROLLUP ((a))",
		"select a from t group by grouping sets ((a, b), a, ())":                                                         "SELECT a FROM t GROUP BY GROUPING SETS ((a, b), (a), ())",
		"select a from t group by all order by all":                                                                      "SELECT a FROM t GROUP BY ALL ORDER BY `all`",
		"select sum(a) over w from t window w as (partition by b order by c)":                                            "SELECT sum(a) OVER w FROM t WINDOW w AS (PARTITION BY b ORDER BY c)",
		"select count(*) from stream bus b watermark time delay of interval 10 seconds":                                  "",
		"select count(*) from stream bus watermark time delay of interval 10 seconds dedup by (k, time) within watermark b group by window(time, '1 minute')": "SELECT count(*) FROM STREAM bus WATERMARK time DELAY OF INTERVAL '10.000000' SECONDS DEDUP BY (k, time) WITHIN WATERMARK AS b GROUP BY window(time, '1 minute')",
		"select 1 from (select * from stream s) watermark timestamp_seconds(v) as et delay of interval 1 minute x":                                            "SELECT 1 FROM (SELECT * FROM STREAM s) WATERMARK timestamp_seconds(v) AS et DELAY OF INTERVAL 1 MINUTES AS x",
		"select /*+ broadcast(b) */ distinct a from stream(s)":                                                                                                "SELECT DISTINCT a FROM STREAM s",
		"select stream.a from stream":   "SELECT `stream`.a FROM `stream`",
		"select ts end, a desc from t":  "SELECT ts AS `end`, a AS `desc` FROM t",
		"select from edge":              "SELECT `from` AS edge",
		"select * except (a, b) from t": "SELECT * EXCEPT (a, b) FROM t",
		"table t":                       "TABLE t",
		"select a from t group by a, rollup (b), cube ((c, d), e)":                                              "SELECT a FROM t GROUP BY a, ROLLUP ((b)), CUBE ((c, d), (e))",
		"select a from t group by grouping sets (rollup (a, b), (c), cube (d))":                                 "SELECT a FROM t GROUP BY GROUPING SETS ((c), ROLLUP ((a), (b)), CUBE ((d)))",
		"select * from t pivot (sum(a) s, count(*) for b in (1 as x, 2, null)) p":                               "SELECT * FROM t PIVOT (sum(a) AS s, count(*) FOR b IN (1 AS x, 2, NULL)) AS p",
		"select * from t x pivot (max(a) for (b, c.d) in ((1, 'q') as z, (2, 'r')))":                            "SELECT * FROM t AS x PIVOT (max(a) FOR (b, c.d) IN ((1, 'q') AS z, (2, 'r')))",
		"select * from t unpivot include nulls (v for n in (a as x, b)) u where v":                              "SELECT * FROM t UNPIVOT INCLUDE NULLS (v FOR n IN (a AS x, b)) AS u WHERE v",
		"select * from t unpivot exclude nulls ((v, w) for n in ((a, b), (c, d) y))":                            "SELECT * FROM t UNPIVOT ((v, w) FOR n IN ((a, b), (c, d) AS y))",
		"with recursive r(n) max recursion level 5 as (select 1 union all select n + 1 from r) select * from r": "WITH RECURSIVE r (n) MAX RECURSION LEVEL 5 AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT * FROM r",
		"with recursive as (select 1) select * from recursive":                                                  "WITH recursive AS (SELECT 1) SELECT * FROM recursive",
		"select * from a, lateral (select a.x) b left join lateral explode(y) c on z":                           "SELECT * FROM a, LATERAL (SELECT a.x) AS b LEFT JOIN LATERAL explode(y) AS c ON z",
		"from t select a where b group by a":                                                                    "SELECT a FROM t WHERE b GROUP BY a",
		"from t":                                                                                                "SELECT * FROM t",
		"from t x |> where a |> where b |> select c, d |> limit 2":                                              "SELECT c, d FROM t AS x WHERE a AND b LIMIT 2",
		"select a from t |> extend b as c |> drop d, e |> as f |> order by g":                                   "SELECT * FROM (SELECT * EXCEPT (d, e) FROM (SELECT *, b AS c FROM (SELECT a FROM t))) AS f ORDER BY g",
		"from t |> aggregate sum(a) s group by b, c as d |> where s > 1":                                        "SELECT * FROM (SELECT b, c AS d, sum(a) AS s FROM t GROUP BY b, c) WHERE s > 1",
		"from t |> aggregate count(*) |> union all select 1 |> join u on true":                                  "SELECT * FROM ((SELECT count(*) FROM t) UNION ALL SELECT 1) INNER JOIN u ON TRUE",
		"with a as (select 1) from a |> limit 1 |> limit 2 |> pivot (sum(x) for y in (1))":                      "WITH a AS (SELECT 1) SELECT * FROM (SELECT * FROM (SELECT * FROM a LIMIT 1) LIMIT 2) PIVOT (sum(x) FOR y IN (1))",
		"select inline(x) as (a, b) from t":                                                                     "SELECT inline(x) AS (a, b) FROM t",
	} {
		q, err := ParseSelect(in)
		if want == "" {
			if err == nil {
				t.Errorf("%q parsed as %q", in, Format(q))
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if got := Format(q); unquote(got) != unquote(want) {
			t.Errorf("%q:\n got %q\nwant %q", in, got, want)
		}
		roundTrip(t, in, q)
	}
}

// unquote ignores the case and the backquotes of names: which words are quoted is not the point there.
func unquote(s string) string { return strings.ToLower(strings.ReplaceAll(s, "`", "")) }

// TestStatements parses a script.
func TestStatements(t *testing.T) {
	const script = `
-- the fleet
CREATE STREAM bus (time TIMESTAMP, bus_id STRING, fare DECIMAL(10,2), doors ARRAY<STRUCT<id: INT, open: BOOLEAN>>) OPTIONS (time 'time', 'a.b' = 5, x TRUE);
CREATE TABLE vehicle (bus_id STRING COMMENT 'key', capacity INT);
CREATE STREAMING TABLE fleet_now OPTIONS (mode 'update', state_ttl '15 minutes') AS
SELECT sum(p) AS passengers FROM (SELECT bus_id, max_by(passengers, time) AS p FROM STREAM bus GROUP BY bus_id);;
DROP STREAMING TABLE fleet_now; DROP STREAM bus
; SELECT 1`
	got, errs := ParseScript(script)
	if len(errs) > 0 || len(got) != 6 {
		t.Fatalf("%d statements, errors %v", len(got), errs)
	}
	var printed []string
	for _, st := range got {
		printed = append(printed, Format(st))
	}
	again, errs := ParseScript(strings.Join(printed, ";\n"))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if d := sameTree(got, again); d != "" {
		t.Error(d)
	}
	st := got[2].(*CreateStreamingTable)
	if !strings.HasPrefix(st.QueryText, "SELECT sum(p)") || !strings.HasSuffix(st.QueryText, "BY bus_id)") {
		t.Errorf("query text %q", st.QueryText)
	}
	if st.Position() != (Pos{5, 1}) || st.Query.Position() != (Pos{6, 1}) {
		t.Errorf("positions %v %v", st.Position(), st.Query.Position())
	}
	s := got[0].(*CreateStream)
	if o := s.Options; len(o) != 3 || o[1].Key != "a.b" || o[1].Value != "5" || o[2].Value != "true" {
		t.Errorf("options %+v", o)
	}
}

// TestErrors holds the messages: position, what was found, what was expected, what was meant.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		in, state string
		pos       Pos
		says      []string
	}{
		{"SELEC k FROM edge", "42601", Pos{1, 1}, []string{"found 'SELEC'", "did you mean SELECT?"}},
		{"SELECT a FORM t", "42601", Pos{1, 15}, []string{"did you mean FROM instead of FORM?"}},
		{"SELECT a\nFROM t WERE a > 1", "42601", Pos{2, 13}, []string{"did you mean WHERE instead of WERE?"}},
		{"SELECT a FROM t b WHERE", "42601", Pos{1, 24}, []string{"ends too early", "an expression"}},
		{"SELECT (a FROM t", "42601", Pos{1, 11}, []string{"expected ')'"}},
		{"SELECT 'abc FROM t", "42601", Pos{1, 8}, []string{"no closing quote"}},
		{"SELECT a /* b", "42601", Pos{1, 10}, []string{"comment has no end"}},
		{"SELECT a FROM t GROUP x", "42601", Pos{1, 17}, nil},
		{"SELECT CASE WHEN a THEN 1 FROM t", "42601", Pos{1, 27}, []string{"END"}},
		{"SELECT CAST(a AS INTT) FROM t", "0A000", Pos{1, 18}, []string{"INTT", "did you mean"}},
		{"SELECT CAST(a AS DECIMAL(50,2))", "22003", Pos{1, 26}, []string{"38"}},
		{"SELECT 128Y", "22003", Pos{1, 8}, []string{"TINYINT"}},
		{"SELECT 1e400", "22003", Pos{1, 8}, []string{"DOUBLE"}},
		{"SELECT 123456789012345678901234567890123456789", "22003", Pos{1, 8}, []string{"38"}},
		{"SELECT INTERVAL 1 MONTH 1 DAY", "22006", Pos{1, 8}, []string{"years and months"}},
		{"SELECT INTERVAL '1 fortnight'", "22006", Pos{1, 17}, []string{"FORTNIGHT"}},
		{"SELECT INTERVAL '25:00' HOUR TO SECOND", "22006", Pos{1, 17}, nil},
		{"SELECT größe FROM t", "42602", Pos{1, 8}, []string{"backquotes"}},
		{"SELECT a FROM my-table", "42602", Pos{1, 17}, []string{"`my-table`"}},
		{"SELECT ‘a’", "42601", Pos{1, 8}, []string{"plain '"}},
		{"SELECT a FROM t TABLESAMPLE (10 ROWS)", "0A000", Pos{1, 17}, []string{"TABLESAMPLE"}},
		{"SELECT timestampdiff('HOUR', a, b)", "22023", Pos{1, 22}, []string{"bare word"}},
		{"SELECT foo 'x'", "0A000", Pos{1, 8}, nil},
		{"SELECT a LIKE 'x' ESCAPE 'ab'", "42604", Pos{1, 26}, nil},
		{"SELECT a FROM t UNION", "42601", Pos{1, 22}, nil},
		{"SELECT a IN ()", "42601", Pos{1, 14}, nil},
		{"INSERT INTO t VALUES (1)", "0A000", Pos{1, 1}, []string{"INSERT"}},
		{"SELECT a FROM t DEDUP BY (a) WATERMARK b DELAY OF INTERVAL 1 SECOND", "42601", Pos{1, 30}, []string{"before DEDUP"}},
		{"SELECT 1 2", "42601", Pos{1, 10}, nil},
		{"SELECT a b c FROM t", "42601", Pos{1, 12}, nil},
		{"SELECT a = AND b", "42601", Pos{1, 12}, []string{"an expression"}},
		{"SELECT X'0g'", "42604", Pos{1, 9}, nil},
		{"", "42601", Pos{1, 1}, nil},
		{strings.Repeat("(", 1_000_000), "42601", Pos{1, 400}, []string{"MaxDepth"}},
		{"SELECT " + strings.Repeat("-+", 400_000) + "1", "42601", Pos{1, 407}, []string{"MaxDepth"}},
		{"SELECT " + strings.Repeat("not ", 100_000) + "a", "42601", Pos{1, 1604}, []string{"MaxDepth"}},
		{"SELECT 1" + strings.Repeat("+1", 400_000), "42601", Pos{}, []string{"MaxTreeHeight"}},
		{"SELECT CAST(1 AS " + strings.Repeat("ARRAY<", 100_000), "42601", Pos{}, []string{"MaxDepth"}},
		{strings.Repeat(" ", MaxQueryBytes+1), "42601", Pos{1, 1}, []string{"MaxQueryBytes"}},
		{"SELECT " + strings.Repeat("substring(", 399) + "a" + strings.Repeat(", 1)", 399), "42601", Pos{}, []string{"MaxDepth"}},
	} {
		st, errs := ParseScript(c.in)
		var e *Error
		if c.in == "" {
			_, err := ParseSelect(c.in)
			errs = []error{err}
		}
		if len(errs) == 0 || !errors.As(errs[0], &e) {
			t.Errorf("%.60q: parsed as %v", c.in, st)
			continue
		}
		if e.SQLState != c.state || c.pos != (Pos{}) && e.Pos != c.pos && len(c.in) < 1000 {
			t.Errorf("%.60q: %v, state %s, want %v and %s", c.in, e, e.SQLState, c.pos, c.state)
		}
		for _, s := range c.says {
			if !strings.Contains(e.Error(), s) {
				t.Errorf("%.60q: %v does not say %q", c.in, e, s)
			}
		}
	}
}

// TestScriptReportsAllErrors holds that one bad statement does not hide the next.
func TestScriptReportsAllErrors(t *testing.T) {
	got, errs := ParseScript("SELEC 1; SELECT 2; SELECT (3; CREATE STREAM s (a INT, A INT); DROP TABLE x; SELECT 'a")
	if len(got) != 2 || len(errs) != 4 {
		t.Fatalf("%d statements, errors %q", len(got), errs)
	}
}

// TestDecimalLiterals holds precision and scale to Spark's.
func TestDecimalLiterals(t *testing.T) {
	for in, want := range map[string][3]any{
		"0.001": {"1", 3, 3}, "1.50": {"150", 3, 2}, "-2.5": {"-25", 2, 1}, "0.0": {"0", 1, 1}, "12BD": {"12", 2, 0}, "0.10": {"10", 2, 2},
	} {
		e, err := ParseExpr(in)
		if err != nil {
			t.Fatal(err)
		}
		u, p, s := e.(*Literal).Decimal()
		if u != want[0] || p != want[1] || s != want[2] {
			t.Errorf("%s: %s decimal(%d,%d), want %v", in, u, p, s, want)
		}
	}
}

// TestRender holds the look of a message.
func TestRender(t *testing.T) {
	const text = "SELECT a\nFROM\tt WERE é > 1"
	_, err := ParseSelect(text)
	const want = "f.sql:2:13: error: [INVALID_IDENTIFIER] the name é has letters beyond A-Z\n" +
		"    2 | FROM\tt WERE é > 1\n" +
		"      |     \t       ^\n" +
		"      = write it in backquotes: `é`\n"
	if got := Render("f.sql", text, err); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	long := "SELECT " + strings.Repeat("aaaa + ", 100) + ")"
	_, err = ParseSelect(long)
	lines := strings.Split(Render("f.sql", long, err), "\n")
	if caret := len([]rune(lines[2])) - 1; []rune(lines[1])[caret] != ')' || len(lines[1]) > 160 {
		t.Fatalf("the caret is not under the parenthesis:\n%s\n%s", lines[1], lines[2])
	}
	if got := Render("f", "x", errors.New("other")); got != "f: other" {
		t.Fatal(got)
	}
	for _, pos := range []Pos{{}, {9, 9}, {1, 99}} {
		if got := RenderAt("f", "x", pos, "m", ""); !strings.Contains(got, "error: m") {
			t.Fatal(got)
		}
	}
}

// FuzzParse holds that no text makes the parser panic, and that what parses prints and parses to the same tree.
func FuzzParse(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, errs := ParseScript(text)
		for _, err := range errs {
			var e *Error
			if !errors.As(err, &e) || e.Pos.Line < 1 || e.Pos.Col < 1 || e.Msg == "" || e.Condition == "" {
				t.Fatalf("%q: error without position or text: %#v", text, err)
			}
		}
		for _, st := range got {
			out := Format(st)
			again, errs := ParseScript(out)
			if len(errs) > 0 || len(again) != 1 {
				t.Fatalf("%q is printed as %q: %v", text, out, errs)
			}
			if d := sameTree(st, again[0]); d != "" {
				t.Fatalf("%q is printed as %q:\n%s", text, out, d)
			}
		}
	})
}

var fuzzSeeds = []string{
	"SELECT a, b.c[1].d AS `x y` FROM STREAM s WATERMARK ts DELAY OF INTERVAL 10 SECONDS DEDUP BY (k) t WHERE a LIKE 'x%' ESCAPE '!' AND NOT EXISTS (SELECT 1)",
	"WITH a AS (VALUES (1, 'x'), (2, NULL)) SELECT DISTINCT *, count(*) FILTER (WHERE x) OVER (PARTITION BY a ORDER BY b DESC NULLS FIRST ROWS BETWEEN 1 PRECEDING AND UNBOUNDED FOLLOWING) FROM a NATURAL LEFT JOIN b USING (c)",
	"CREATE STREAM s (a DECIMAL(10,2), b ARRAY<STRUCT<x: INT, y: MAP<STRING, ARRAY<INT>>>>) OPTIONS (k 'v'); DROP TABLE t;",
	"SELECT CASE a WHEN 1 THEN -1 ELSE INTERVAL '1 02:03:04.5' DAY TO SECOND END, x -> -x, (a, b) -> a::int, TRIM(BOTH 'x' FROM s), EXTRACT(YEAR FROM ts), r'\\n' 'a\\tb\\u00e9'",
	"SELECT a FROM t LATERAL VIEW OUTER explode(x) u AS y GROUP BY GROUPING SETS ((a), ()) HAVING a QUALIFY b WINDOW w AS (ORDER BY c) ORDER BY 1 LIMIT 2 OFFSET 3",
	"(SELECT 1 UNION ALL SELECT 2) INTERSECT SELECT 3 MINUS TABLE t",
	"SELECT * FROM t PIVOT (sum(a) s FOR (b, c) IN ((1, 2) x)) p UNPIVOT INCLUDE NULLS ((v, w) FOR n IN ((a, b) AS y))",
	"WITH RECURSIVE r(n) MAX RECURSION LEVEL 5 AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) FROM r |> WHERE a |> SELECT b |> EXTEND c AS d |> DROP e |> AS f |> JOIN g ON h |> AGGREGATE sum(i) GROUP BY j |> ORDER BY k |> LIMIT 1 |> UNION ALL SELECT 1",
	"SELECT a FROM t, LATERAL (SELECT t.b) u GROUP BY a, GROUPING SETS (ROLLUP (a, b), (c), ()), CUBE (d)",
	"SELECT -9223372036854775808, 1e3, .5, 5., 1.5BD, 128Y, X'0aff', DATE'2024-01-01', /* c */ current_timestamp -- x\n",
	"SELECT '\\", "SELECT `", "((((", "SELECT \xff\xfe", "SELECT a <=> b || c ^ d & ~e >>> 1 != !f", "SELECT INTERVAL -9223372036854775808 DAYS",
}
