package plan

import "signalbox/engine/expr"

// fold computes the constant parts of every expression of a plan once. A part
// that fails stays: it fails for each row, and not at all when there is none.
func fold(root Node) {
	each(root, func(n Node) {
		switch n := n.(type) {
		case *Filter:
			n.Cond = expr.Fold(n.Cond)
		case *Project:
			foldAll(n.Exprs)
		case *TimeAssign:
			n.Time = expr.Fold(n.Time)
			if n.Gap != nil {
				n.Gap = expr.Fold(n.Gap)
			}
		case *Aggregate:
			foldAll(n.Keys)
			for i := range n.Calls {
				if n.Calls[i].Filter != nil {
					n.Calls[i].Filter = expr.Fold(n.Calls[i].Filter)
				}
			}
		case *Join:
			foldAll(n.LeftKeys)
			foldAll(n.RightKeys)
			if n.Cond != nil {
				n.Cond = expr.Fold(n.Cond)
			}
		case *KeyedState:
			foldAll(n.Keys)
			for i := range n.Calls {
				foldAll(n.Calls[i].Args)
			}
		case *Sort:
			for i := range n.Keys {
				n.Keys[i].Expr = expr.Fold(n.Keys[i].Expr)
			}
		}
	})
}

func foldAll(es []expr.Expr) {
	for i, e := range es {
		es[i] = expr.Fold(e)
	}
}
