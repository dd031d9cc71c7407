package cassandra

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"
)

// maxName is what Cassandra allows for the name of a keyspace or table.
const maxName = 48

var (
	plainName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)
	hashed    = regexp.MustCompile(`_h[0-9a-f]{8}$`)
	loneMark  = regexp.MustCompile(`[^$_]\$[^$_]`)
	invalid   = regexp.MustCompile(`[^A-Za-z0-9_]`)
)

// TableName returns the name that a result table has in Cassandra. Names of
// letters, digits and underscores stay as they are (letter case included, so
// quote them in cqlsh where they have capitals); bus$late becomes bus__late;
// everything else becomes as readable a name as possible plus a hash of the
// original, so that two tables never meet.
func TableName(name string) string {
	reserved := name == alertsTable || name == historyTable
	if plainName.MatchString(name) && len(name) <= maxName && !strings.Contains(name, "__") && !hashed.MatchString(name) && !reserved {
		return name
	}
	if strings.Count(name, "$") == 1 && loneMark.MatchString(name) && !strings.Contains(name, "__") && len(name) < maxName {
		if mapped := strings.Replace(name, "$", "__", 1); plainName.MatchString(mapped) && !hashed.MatchString(mapped) {
			return mapped
		}
	}
	h := fnv.New32a()
	h.Write([]byte(name))
	suffix := fmt.Sprintf("_h%08x", h.Sum32())
	base := invalid.ReplaceAllString(name, "_")
	if base == "" || !plainName.MatchString(base) {
		base = "t" + base
	}
	return base[:min(len(base), maxName-len(suffix))] + suffix
}

// quote makes a name safe inside CQL.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func quoteAll(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = quote(n)
	}
	return strings.Join(out, ", ")
}

// text makes a CQL string literal.
func text(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
