package alert

import (
	"fmt"
	"regexp"
	"strings"

	"signalbox/engine/sql"
)

// Rule is one alerting rule. Durations are microseconds of event time.
type Rule struct {
	Group, Name string
	From        string   // text of the FROM clause: a stream, streaming table, or a join of one with static tables
	Time        string   // expression of the event time; "" = the column time
	Expr        string   // boolean: the alert's condition; "" only with AbsentFor
	Resolve     string   // boolean: clears the alert; "" = it clears when Expr is false
	Value       string   // what $value and the transitions show; "" = nothing
	By          []string // columns that identify an alert; none = one alert for the rule

	For           int64 // the condition must hold that long before the alert fires
	KeepFiringFor int64 // a cleared alert keeps firing that long
	AbsentFor     int64 // a key without a reading for that long has no data; 0 = never
	Limit         int   // most alerts pending or firing at once; 0 = no limit. What is beyond is counted and starts when there is room

	Labels, Annotations []Label // values are templates; sorted by name
}

// Names of the columns that SelectSQL adds, beside the by columns and what templates need.
const (
	TimeColumn    = "$time"
	CondColumn    = "$cond"
	ResolveColumn = "$resolve"
	ValueColumn   = "$value"
)

// SelectSQL returns the stateless query over From whose rows Set.Observe takes:
// the by columns, $time, $cond, $resolve, $value (STRING) and the further columns that templates name.
func SelectSQL(r Rule) string {
	var items []string
	for _, c := range r.By {
		items = append(items, c+" AS "+sql.QuoteName(LabelName(c)))
	}
	time := r.Time
	if time == "" {
		time = "time"
	}
	items = append(items,
		time+" AS "+sql.QuoteName(TimeColumn),
		orNull(r.Expr, "(%s)", "BOOLEAN")+" AS "+sql.QuoteName(CondColumn),
		orNull(r.Resolve, "(%s)", "BOOLEAN")+" AS "+sql.QuoteName(ResolveColumn),
		orNull(r.Value, "CAST((%s) AS STRING)", "STRING")+" AS "+sql.QuoteName(ValueColumn))
	for _, c := range r.extraColumns() {
		items = append(items, "CAST("+sql.QuoteName(c)+" AS STRING) AS "+sql.QuoteName(c))
	}
	return "SELECT " + strings.Join(items, ", ") + " FROM " + r.From
}

func orNull(text, form, typ string) string {
	if text == "" {
		return "CAST(NULL AS " + typ + ")"
	}
	return fmt.Sprintf(form, text)
}

// LabelName is the label of a by column: its last part, without table and backquotes.
func LabelName(column string) string {
	e, err := sql.ParseExpr(column)
	if id, ok := e.(*sql.Ident); err == nil && ok {
		return id.Parts[len(id.Parts)-1]
	}
	return column
}

var labelReference = regexp.MustCompile(`(?:\$labels|\.Labels)\.([A-Za-z_][A-Za-z0-9_]*)`)

// extraColumns lists the columns that templates use beyond by columns and the rule's own labels, sorted as found.
func (r Rule) extraColumns() []string {
	known := map[string]bool{}
	for _, c := range r.By {
		known[LabelName(c)] = true
	}
	for _, l := range r.Labels {
		known[l.Name] = true
	}
	var out []string
	for _, list := range [...][]Label{r.Labels, r.Annotations} {
		for _, l := range list {
			for _, m := range labelReference.FindAllStringSubmatch(l.Value, -1) {
				if !known[m[1]] {
					known[m[1]] = true
					out = append(out, m[1])
				}
			}
		}
	}
	return out
}

// Validate says what is wrong with the rule, or nil.
func (r Rule) Validate() error {
	name := fmt.Sprintf("group %q, rule %q", r.Group, r.Name)
	switch {
	case r.Group == "" || r.Name == "":
		return fmt.Errorf("%s: group and rule need a name", name)
	case r.From == "":
		return fmt.Errorf("%s: from is missing: the stream or streaming table that is watched", name)
	case r.Expr == "" && r.AbsentFor == 0:
		return fmt.Errorf("%s: expr is missing", name)
	case r.For < 0 || r.KeepFiringFor < 0 || r.AbsentFor < 0 || r.Limit < 0:
		return fmt.Errorf("%s: durations and limit must not be negative", name)
	}
	if _, err := sql.ParseRelation(r.From); err != nil {
		return fmt.Errorf("%s: from: %w", name, err)
	}
	for _, e := range [...][2]string{{"time", r.Time}, {"expr", r.Expr}, {"resolve", r.Resolve}, {"value", r.Value}} {
		if e[1] == "" {
			continue
		}
		if _, err := sql.ParseExpr(e[1]); err != nil {
			return fmt.Errorf("%s: %s: %w", name, e[0], err)
		}
	}
	seen := map[string]bool{}
	for _, c := range r.By {
		e, err := sql.ParseExpr(c)
		if err != nil {
			return fmt.Errorf("%s: by: %w", name, err)
		}
		if _, ok := e.(*sql.Ident); !ok {
			return fmt.Errorf("%s: by: %q is not a column", name, c)
		}
		if seen[LabelName(c)] {
			return fmt.Errorf("%s: by: the label %q is given twice", name, LabelName(c))
		}
		seen[LabelName(c)] = true
	}
	_, err := compile(r)
	return err
}
