// Package bus is the model case as files: pipeline, rules and static table.
// The demo and the tests use the same ones that a user would copy.
package bus

import _ "embed" // the files below

// Pipeline declares the stream, the static table and the streaming tables.
//
//go:embed pipeline.sql
var Pipeline string

// Rules are the alert rules.
//
//go:embed rules.yaml
var Rules string

// VehicleTypes are the rows of the static table vehicle_types, as CSV.
//
//go:embed vehicle_types.csv
var VehicleTypes string
