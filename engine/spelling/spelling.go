// Package spelling compares names, for hints such as "did you mean". It knows
// no list of names and no wording: who asks has those.
package spelling

// MaxName bounds what is compared of a name, in bytes: the work is its square.
const MaxName = 64

// Distance is the number of bytes inserted, removed, replaced or exchanged
// with their neighbour that make b of a (optimal string alignment), over the
// first MaxName bytes of both.
func Distance(a, b string) int {
	a, b = a[:min(len(a), MaxName)], b[:min(len(b), MaxName)]
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev2, prev, cur := rows[(i+1)%3], rows[(i+2)%3], rows[i%3]
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}
