// Package sqlcheck is for one test: random queries, in the part of SQL whose
// meaning does not differ, are answered by the engine's parser, analyser and
// bounded executor and by SQLite, and must agree. It promises no API and
// refuses to know streams: that a continuous query ends with what the bounded
// executor says is tested beside the engine.
package sqlcheck
