// Package e2e tests the product as its users run it: the four programs as
// processes of their own, a real mosquitto, a real Cassandra, a real browser.
//
// It promises that what comes out equals a slow oracle over what was sent, to
// the reading, while processes are killed; that a missing service is told
// loudly and fails in CI; and that it leaves nothing running. It refuses to
// know the inside of the programs: only flags, files, topics, tables and HTTP.
package e2e
