// Package alert evaluates alert rules in the shape of Prometheus rule files as
// a deterministic state machine: per rule and key inactive, pending, firing,
// resolved. It promises that a transition is reported exactly once, with the
// same id on every node, and refuses to know how it is delivered.
package alert

// State is the state of one alert.
type State string

// The states.
const (
	Inactive State = "inactive"
	Pending  State = "pending"
	Firing   State = "firing"
	NoData   State = "no-data"
	Resolved State = "resolved"
)

// Label is a name and a value; sets of labels are sorted by name.
type Label struct{ Name, Value string }

// Transition is a change of state that must be told once.
type Transition struct {
	ID          string // hex of hash(group, rule, sorted by values): the alert, over all its episodes
	Episode     int64  // event time (µs) of the first true reading of this episode
	Seq         uint64 // state sequence of this alert, from 1: consumers keep the highest
	Group, Rule string
	From, To    State
	At          int64 // event time of the transition, µs
	Value       string
	Labels      []Label
	Annotations []Label
	Historical  bool // found in replayed or old readings: "would have fired"
}
