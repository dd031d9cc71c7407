package expr

import (
	"fmt"

	"signalbox/engine/column"
)

// analysisErr is an error Spark raises while it analyses a query.
func analysisErr(cond, state, format string, args ...any) *Error {
	return &Error{Phase: Analysis, Condition: cond, SQLState: state, Message: fmt.Sprintf(format, args...)}
}

// runtimeErr is an error Spark raises for a row.
func runtimeErr(cond, state, format string, args ...any) *Error {
	return &Error{Phase: Runtime, Condition: cond, SQLState: state, Message: fmt.Sprintf(format, args...)}
}

func errOverflow(what string) *Error {
	return runtimeErr("ARITHMETIC_OVERFLOW", "22003", "%s overflows; cast to a wider type or use the try_ form of the operator", what)
}

func errDivideByZero() *Error {
	return runtimeErr("DIVIDE_BY_ZERO", "22012", "division by zero; use try_divide to get NULL instead")
}

func errRemainderByZero() *Error {
	return runtimeErr("REMAINDER_BY_ZERO", "22012", "remainder by zero; use try_mod to get NULL instead")
}

func errCastInvalid(from, to column.Type, text string) *Error {
	return runtimeErr("CAST_INVALID_INPUT", "22018", "%s value %q cannot be cast to %s because it is malformed; use try_cast to get NULL instead", from, clip(text), to)
}

func errCastOverflow(from, to column.Type, text string) *Error {
	return runtimeErr("CAST_OVERFLOW", "22003", "%s value %s does not fit into %s; use try_cast to get NULL instead", from, clip(text), to)
}

func errOutOfRange(text string, t column.Type) *Error {
	return runtimeErr("NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION", "22003", "%s cannot be represented as %s; cast to a wider decimal or use a try_ function", clip(text), t)
}

func errDatetimeOverflow(what string) *Error {
	return runtimeErr("DATETIME_OVERFLOW", "22008", "datetime operation overflow: %s", what)
}

// clip bounds the text of a value in a message.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}

func errInputType(fn string, i int, want string, got Expr) *Error {
	return analysisErr("DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09", "%s: argument %d must be %s, but %s is %s", fn, i+1, want, got, got.Type())
}

func errWrongNumArgs(fn, want string, got int) *Error {
	return analysisErr("WRONG_NUM_ARGS.WITHOUT_SUGGESTION", "42605", "%s takes %s arguments, not %d", fn, want, got)
}

func errDiffTypes(op string, a, b Expr) *Error {
	return analysisErr("DATATYPE_MISMATCH.BINARY_OP_DIFF_TYPES", "42K09", "%s: the operands %s and %s have types %s and %s that do not go together", op, a, b, a.Type(), b.Type())
}

func errWrongOpType(op, want string, a Expr) *Error {
	return analysisErr("DATATYPE_MISMATCH.BINARY_OP_WRONG_TYPE", "42K09", "%s needs %s operands, but %s is %s", op, want, a, a.Type())
}

func errDataDiffTypes(op string, types []string) *Error {
	return analysisErr("DATATYPE_MISMATCH.DATA_DIFF_TYPES", "42K09", "%s needs values of one type, got %v", op, types)
}
