package plan_test

import (
	"errors"
	"strings"
	"testing"

	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// Over a stream a sub-query must become a join with a table; what cannot is refused where it stands.
func TestShapesOverAStream(t *testing.T) {
	const from = "SELECT * FROM STREAM bus "
	for text, want := range map[string]string{
		from + "JOIN LATERAL (SELECT r.cap * 2 AS c FROM routes r WHERE r.route = bus.route) t":                    "",
		from + "LEFT JOIN LATERAL (SELECT r.cap * 2 AS c FROM routes r WHERE r.route = bus.route) t ON c > 1":      "",
		from + "WHERE passengers > (SELECT max(r.cap) FROM routes r WHERE r.route = bus.route)":                    "",
		from + "WHERE EXISTS (SELECT 1 FROM routes r WHERE r.route = bus.route AND r.cap < passengers)":            "",
		from + "WHERE (route, passengers) NOT IN (SELECT route, cap FROM routes)":                                  "",
		from + "LEFT JOIN routes r ON r.route = bus.route AND passengers IN (SELECT cap FROM routes)":              "",
		from + "UNPIVOT (val FOR name IN (passengers, speed))":                                                     "",
		from + "WHERE passengers > (SELECT count(*) FROM routes r WHERE r.cap < bus.passengers)":                   "STREAM_FAILED",
		from + "JOIN LATERAL (SELECT r.cap FROM routes r WHERE r.route = bus.route ORDER BY cap LIMIT 1) t":        "_LEGACY_ERROR_TEMP_3102",
		from + "PIVOT (sum(passengers) FOR route IN ('R1'))":                                                       "_LEGACY_ERROR_TEMP_3102",
		"WITH RECURSIVE r(n) AS (SELECT passengers FROM STREAM bus UNION ALL SELECT n + 1 FROM r) SELECT n FROM r": "STREAM_FAILED",
	} {
		_, err := analyze(t, text, plan.AnalyzeOptions{Streaming: true, Mode: plan.Append})
		var e *expr.Error
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (!errors.As(err, &e) || e.Condition != want || e.Line != 1 || e.Col < 2):
			t.Errorf("%s: got %v, want %s with a position", text, err, want)
		}
	}
}

// A sub-query that only filters is taken apart into a join, with its equalities as keys; others name what they depend on.
func TestSubqueriesBecomeJoins(t *testing.T) {
	for text, want := range map[string]string{
		"SELECT 1 FROM bus, LATERAL (SELECT cap + passengers AS c FROM routes r WHERE r.route = bus.route) t":   "Inner join route#",
		"SELECT 1 FROM bus LEFT JOIN LATERAL (SELECT cap FROM routes r WHERE r.route = bus.route) t":            "Left join route#",
		"SELECT (SELECT count(*) FROM routes r WHERE r.route = bus.route) FROM bus":                             "Left join route#",
		"SELECT (SELECT count(*) FROM routes r WHERE r.cap < bus.passengers) FROM bus":                          "Left single join for each outer(passengers#",
		"SELECT 1 FROM bus WHERE EXISTS (SELECT 1 FROM routes r WHERE r.route = bus.route HAVING count(*) > 1)": "Semi join for each outer(route#",
	} {
		q, err := analyze(t, text, plan.AnalyzeOptions{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := plan.Explain(q, plan.Options{}); !strings.Contains(got, want) {
			t.Errorf("%s: no %q in\n%s", text, want, got)
		}
	}
}
