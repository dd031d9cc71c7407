package sql

import "strings"

// kind is the lexical kind of a token.
type kind uint8

const (
	tEOF    kind = iota
	tWord        // unquoted identifier or keyword; val is the text as written
	tQuoted      // `identifier`; val is the inside
	tString      // '…', "…" or r'…'; val is the value
	tNumber      // val is the text without suffix, suffix is upper case
	tOp          // operator or punctuation; val is the canonical spelling
	tHint        // /*+ … */, skipped by the parser
	tError       // a lexical error, reported when the parser reaches it
)

// token is one lexical element.
type token struct {
	kind   kind
	val    string
	suffix string // numbers: "", L, S, Y, D, F, BD
	exp    bool   // numbers: has an exponent
	point  bool   // numbers: has a decimal point
	off    int    // byte offsets in the text
	end    int
	pos    Pos
	match  int // for ( the index of its ), -1 when there is none
	err    *Error
}

// is reports whether the token is the unquoted word w (upper case), whatever its case.
func (t *token) is(w string) bool {
	return t.kind == tWord && len(t.val) == len(w) && strings.EqualFold(t.val, w)
}

func (t *token) op(o string) bool { return t.kind == tOp && t.val == o }

// isName reports whether the token can be a name.
func (t *token) isName() bool { return t.kind == tWord || t.kind == tQuoted }

// describe names the token for messages: what was found.
func (t *token) describe() string {
	switch t.kind {
	case tEOF:
		return "the end of the text"
	case tString:
		return "the string '" + clip(t.val) + "'"
	case tNumber:
		return "the number " + clip(t.val+t.suffix)
	case tQuoted:
		return "`" + clip(t.val) + "`"
	}
	return "'" + clip(t.val) + "'"
}

func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}

// Words that begin the next clause: never an alias without AS.
const clauseWords = " FROM WHERE GROUP HAVING ORDER LIMIT OFFSET UNION INTERSECT EXCEPT MINUS QUALIFY CLUSTER DISTRIBUTE SORT" +
	" WATERMARK DEDUP PIVOT UNPIVOT TABLESAMPLE ANTI CROSS FULL INNER JOIN LATERAL LEFT NATURAL ON RIGHT SEMI USING" +
	" AND OR NOT IN IS BETWEEN LIKE ILIKE RLIKE REGEXP DIV AS WITH DELAY "

// Words that the printer quotes when they are names, beside the clause words, because they begin
// something special in an expression, a relation or a declaration.
const quotedWords = " SELECT CASE CAST TRY_CAST EXISTS NULL TRUE FALSE INTERVAL ALL DISTINCT THEN WHEN ELSE END ASC DESC NULLS IGNORE RESPECT OVER FILTER WITHIN" +
	" VALUES TABLE STREAM VIEW OUTER WINDOW ROWS RANGE ROW UNBOUNDED PRECEDING FOLLOWING CURRENT PARTITION BY ROLLUP CUBE GROUPING SETS" +
	" CURRENT_DATE CURRENT_TIMESTAMP CURRENT_TIME LOCALTIMESTAMP YEAR QUARTER MONTH WEEK DAY DAYOFYEAR HOUR MINUTE SECOND MILLISECOND MICROSECOND" +
	" FIRST LAST ESCAPE ANY SOME FOR PLACING BOTH LEADING TRAILING STRUCT ARRAY MAP OPTIONS CREATE DROP RECURSIVE EXCEPT COLLATE "

// has reports whether set, words between spaces, holds w in any case.
func has(set, w string) bool {
	if w == "" || len(w) > 20 {
		return false
	}
	return strings.Contains(set, " "+strings.ToUpper(w)+" ") && !strings.Contains(w, " ")
}
