package agg

import (
	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// coerce casts argument i implicitly to t.
func (c *call) coerce(i int, t column.Type) error {
	if c.args[i].Type().Equal(t) {
		return nil
	}
	e, err := expr.ImplicitCast(c.args[i], t)
	if err != nil {
		return c.typeError(i, t.String())
	}
	c.args[i] = e
	return nil
}

// numeric makes argument i a number or an interval; strings and NULL become DOUBLE, as in Spark.
func (c *call) numeric(i int) error {
	switch t := c.args[i].Type(); {
	case t.Kind.IsNumeric(), t.Kind == column.IntervalDT, t.Kind == column.IntervalYM:
		return nil
	case t.Kind == column.String, t.Kind == column.Void:
		return c.coerce(i, column.Of(column.Double))
	}
	return c.typeError(i, "a number or an interval")
}

// double makes argument i a DOUBLE.
func (c *call) double(i int) error {
	switch t := c.args[i].Type(); {
	case t.Kind == column.Double:
		return nil
	case t.Kind.IsNumeric(), t.Kind == column.String, t.Kind == column.Void:
		return c.coerce(i, column.Of(column.Double))
	}
	return c.typeError(i, "a number")
}

// orderable requires that values of argument i can be compared.
func (c *call) orderable(i int) error {
	if !orderableType(c.args[i].Type()) {
		return c.typeError(i, "a type that has an order (not MAP)")
	}
	return nil
}

func orderableType(t column.Type) bool {
	switch t.Kind {
	case column.Map:
		return false
	case column.Array:
		return orderableType(*t.Elem)
	case column.Struct:
		for _, f := range t.Fields {
			if !orderableType(f.Type) {
				return false
			}
		}
	}
	return true
}
