// Package cmd_test holds the architecture to its rules: which package may
// import which, what the engine may use, and what the edge binary may link.
// Passing on clean code proves nothing, so TestPlantedViolations plants
// violations and expects each to be found.
package cmd_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

const module = "signalbox/"

// allowed maps a package, or "dir/..." for a subtree, to which of our packages it may import.
// The longest matching key wins. "x" means exactly x; "x/..." means x and below.
var allowed = map[string][]string{
	"engine/...":         {"engine/..."},
	"sinks":              {"engine/..."},
	"sinks/...":          {"sinks", "sinks/row", "sinks/meter", "engine/..."}, // what sinks share; never another sink
	"edge/wire":          {"engine/..."},
	"edge/...":           {"edge/...", "engine/...", "sinks"},
	"raftstore/...":      {"raftstore/..."},
	"core/...":           {"core/...", "raftstore/...", "engine/...", "sinks", "sinks/row", "edge/wire"},
	"simulator/...":      {"simulator/...", "core/...", "edge/...", "raftstore/...", "engine/...", "sinks/..."},
	"deploy/...":         {"deploy/..."},
	"cmd":                {},
	"cmd/config":         {"engine/spelling"},
	"cmd/datadir":        {},
	"cmd/signalbox-edge": {"edge/...", "engine/...", "sinks", "sinks/mqtt", "cmd/config", "cmd/datadir"},
	"cmd/signalbox-core": {"core/...", "raftstore/...", "engine/...", "sinks/...", "cmd/config", "cmd/corecmd"},
	"cmd/corecmd":        {"core/...", "raftstore/...", "engine/...", "sinks/...", "cmd/config", "cmd/datadir"},
	"cmd/signalbox-sim":  {"simulator/...", "engine/...", "cmd/config"},
	"cmd/signalbox":      {"..."},
	"cmd/signalbox/...":  {"..."},
	"cmd/...":            {"cmd/config"},
}

// testsAlso may be imported by tests of any package besides its own rule: the real services.
var testsAlso = []string{"deploy/dev", "sinks/sinktest", "edge/wire", "engine/..."}

// pure is all that engine may use from outside this module. An allow-list, since
// a list of forbidden packages is never complete.
var pure = []string{
	"bytes", "cmp", "container/heap", "embed", "encoding", "encoding/base32", "encoding/base64", "encoding/binary", "encoding/hex", "encoding/json", "encoding/csv",
	"errors", "fmt", "hash", "hash/crc32", "hash/fnv", "net/url", "sync", "io", "iter", "maps", "math", "math/big", "math/bits", "reflect", "regexp",
	"regexp/syntax", "slices", "sort", "strconv", "strings", "text/template", "text/template/parse", "time", "unicode", "unicode/utf16", "unicode/utf8", "unsafe",
	"weak", // engine/snapshot.go: a snapshot that was dropped is forgotten; decides memory, never a result
	"crypto/md5", "crypto/sha1", "crypto/sha256", "crypto/sha512", "bufio",
	"github.com/zeebo/xxh3",
}

// pureIn are libraries that one engine package alone may use.
var pureIn = map[string][]string{
	"engine/expr":      {"github.com/cespare/xxhash/v2"}, // XXH64, which Spark uses; XXH3 is another function
	"engine/lineproto": {"github.com/influxdata/line-protocol/v2/lineprotocol"},
	"engine/alert":     {"github.com/goccy/go-yaml", "github.com/goccy/go-yaml/ast", "github.com/goccy/go-yaml/parser", "github.com/goccy/go-yaml/token"},
}

// clock is what of package time the engine may not use (LoadLocation reads the zone files of the machine), under any import name, methods included.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Local", "LoadLocation"}

// output is what of package fmt the engine may not use.
var output = []string{"Print", "Println", "Printf", "Scan", "Scanln", "Scanf"}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func load(t *testing.T, patterns []string, overlay map[string]string) []*packages.Package {
	t.Helper()
	cfg := &packages.Config{Dir: root(t), Tests: false, Overlay: map[string][]byte{},
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo}
	for name, text := range overlay {
		cfg.Overlay[filepath.Join(cfg.Dir, name)] = []byte(text)
	}
	ps, err := packages.Load(cfg, patterns...)
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

func match(p, pattern string) bool {
	if pattern == "..." {
		return true
	}
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return p == dir || strings.HasPrefix(p, dir+"/")
	}
	return p == pattern
}

func anyMatch(p string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(a string) bool { return match(p, a) })
}

func rule(p string) (best string) {
	for k := range allowed {
		if match(p, k) && (best == "" || len(strings.TrimSuffix(k, "/...")) > len(strings.TrimSuffix(best, "/...")) || k == p) {
			best = k
		}
	}
	return best
}

// violations lists what is wrong with a package.
func violations(p *packages.Package) (out []string) {
	name := strings.TrimPrefix(p.PkgPath, module)
	r := rule(name)
	if r == "" {
		return []string{name + ": no import rule; add one"}
	}
	imports := make([]string, 0, len(p.Imports))
	for i := range p.Imports {
		imports = append(imports, i)
	}
	slices.Sort(imports)
	for _, i := range imports {
		dep, ours := strings.CutPrefix(i, module)
		if ours && dep != name && !anyMatch(dep, allowed[r]) {
			out = append(out, fmt.Sprintf("%s imports %s: not allowed by %q", name, dep, r))
		}
		if !ours && match(name, "engine/...") && !slices.Contains(pure, i) && !slices.Contains(pureIn[name], i) {
			out = append(out, fmt.Sprintf("%s imports %s: the engine may import only the pure list", name, i))
		}
	}
	if match(name, "engine/...") {
		for _, f := range p.Syntax {
			out = append(out, impure(p.Fset, f, p.TypesInfo, p.Types)...)
		}
	}
	if len(p.Syntax) > 0 && !slices.ContainsFunc(p.Syntax, func(f *ast.File) bool { return f.Doc != nil }) {
		out = append(out, name+": no package comment")
	}
	return out
}

// impure finds clocks, output, concurrency, map order and changing globals.
func impure(fset *token.FileSet, f *ast.File, info *types.Info, pkg *types.Package) (out []string) {
	report := func(n ast.Node, format string, args ...any) {
		out = append(out, fmt.Sprintf("%s: %s", fset.Position(n.Pos()), fmt.Sprintf(format, args...)))
	}
	excused := excusedLines(fset, f)
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt, *ast.SelectStmt, *ast.SendStmt:
			report(n, "no concurrency in the engine")
		case *ast.Ident:
			if why := forbiddenUse(info.Uses[n]); why != "" && !excused[fset.Position(n.Pos()).Line] {
				report(n, "%s", why)
			}
		case *ast.RangeStmt:
			if tv := info.Types[n.X]; tv.Type != nil && !excused[fset.Position(n.Pos()).Line] {
				if _, isMap := tv.Type.Underlying().(*types.Map); isMap {
					report(n, "range over a map has no order; sort the keys, or say why with // unordered:")
				}
			}
		case *ast.AssignStmt:
			for _, l := range n.Lhs {
				if v := globalOf(l, info, pkg); v != "" && n.Tok != token.DEFINE && !excused[fset.Position(n.Pos()).Line] {
					report(n, "package variable %s changes", v)
				}
			}
		case *ast.IncDecStmt:
			if v := globalOf(n.X, info, pkg); v != "" {
				report(n, "package variable %s changes", v)
			}
		}
		return true
	})
	return out
}

// excusedLines are the lines of and below a comment that says "unordered:" and
// why, and the body of a sync.Once, marked "filled once:" and why.
func excusedLines(fset *token.FileSet, f *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, g := range f.Comments {
		if strings.Contains(g.Text(), "unordered:") {
			lines[fset.Position(g.Pos()).Line] = true
			lines[fset.Position(g.End()).Line+1] = true
		}
		if strings.Contains(g.Text(), "filled once:") {
			for i := range onceLines {
				lines[fset.Position(g.Pos()).Line+i] = true
			}
		}
	}
	return lines
}

// onceLines is how long the body of a sync.Once may be.
const onceLines = 20

func forbiddenUse(o types.Object) string {
	if o == nil || o.Pkg() == nil {
		return ""
	}
	_, isFunc := o.(*types.Func)
	switch {
	case o.Pkg().Path() == "time" && isFunc && slices.Contains(clock, o.Name()) && !comparison(o):
		return "time." + o.Name() + " in the engine: time is an argument"
	case o.Pkg().Path() == "fmt" && isFunc && slices.Contains(output, o.Name()):
		return "fmt." + o.Name() + " in the engine: no output"
	case o.Pkg().Path() == "maps" && isFunc && slices.Contains([]string{"Keys", "Values", "All"}, o.Name()):
		return "maps." + o.Name() + " has no order"
	}
	return ""
}

// comparison reports Time.After, the method, which shares its name with the clock function.
func comparison(o types.Object) bool {
	sig, ok := o.Type().(*types.Signature)
	return ok && sig.Recv() != nil && o.Name() == "After"
}

// globalOf returns the package variable that an assignment's target belongs to, or "".
func globalOf(e ast.Expr, info *types.Info, pkg *types.Package) string {
	for {
		switch x := e.(type) {
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.Ident:
			if v, ok := info.Uses[x].(*types.Var); ok && pkg != nil && v.Parent() == pkg.Scope() {
				return v.Name()
			}
			return ""
		default:
			return ""
		}
	}
}

func TestArchitecture(t *testing.T) {
	for _, p := range load(t, []string{"./..."}, nil) {
		for _, v := range violations(p) {
			t.Error(v)
		}
	}
}

// TestTestImports holds test files to the same import rules, plus the service helpers.
func TestTestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .TestImports ","}},{{join .XTestImports ","}}`, module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		path, deps, _ := strings.Cut(strings.TrimSpace(line), " ")
		name := strings.TrimPrefix(path, module)
		for _, d := range strings.Split(deps, ",") {
			dep, ours := strings.CutPrefix(d, module)
			if ours && dep != name && !anyMatch(dep, allowed[rule(name)]) && !anyMatch(dep, testsAlso) {
				t.Errorf("tests of %s import %s: not allowed by %q", name, dep, rule(name))
			}
		}
	}
}

// TestEdgeBinaryLinks keeps Raft and databases out of the agent.
func TestEdgeBinaryLinks(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"cmd/signalbox-edge").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.Lines(string(out)) {
		for _, banned := range []string{"hashicorp/raft", "gocql", "sqlite", "bbolt", "signalbox/core", "signalbox/raftstore"} {
			if strings.Contains(dep, banned) {
				t.Errorf("signalbox-edge links %s", strings.TrimSpace(dep))
			}
		}
	}
}

// TestPlantedViolations plants one violation at a time and expects it to be found.
func TestPlantedViolations(t *testing.T) {
	plants := map[string]struct{ file, text, want string }{
		"clock":          {"engine/column/planted.go", "package column\nimport \"time\"\nfunc planted() time.Time { return time.Now() }", "time.Now"},
		"renamed clock":  {"engine/column/planted.go", "package column\nimport tt \"time\"\nvar planted = tt.Since", "time.Since"},
		"local zone":     {"engine/column/planted.go", "package column\nimport \"time\"\nfunc planted(t time.Time) time.Time { return t.Local() }", "time.Local"},
		"randomness":     {"engine/column/planted.go", "package column\nimport \"math/rand\"\nvar planted = rand.Int()", "math/rand"},
		"disk":           {"engine/column/planted.go", "package column\nimport \"os\"\nvar planted = os.Args", "imports os"},
		"seeded hash":    {"engine/column/planted.go", "package column\nimport \"hash/maphash\"\nvar planted maphash.Hash", "hash/maphash"},
		"output":         {"engine/column/planted.go", "package column\nimport \"fmt\"\nfunc planted() { fmt.Println() }", "fmt.Println"},
		"map order":      {"engine/column/planted.go", "package column\nfunc planted(m map[int]int) (s int) { for k := range m { s += k }; return }", "range over a map"},
		"map keys":       {"engine/column/planted.go", "package column\nimport \"maps\"\nfunc planted(m map[int]int) { for range maps.Keys(m) {} }", "maps.Keys"},
		"goroutine":      {"engine/column/planted.go", "package column\nfunc planted() { go func() {}() }", "no concurrency"},
		"channel":        {"engine/column/planted.go", "package column\nfunc planted(c chan int) { c <- 1 }", "no concurrency"},
		"global":         {"engine/column/planted.go", "package column\nvar counter int\nfunc planted() { counter++ }", "package variable counter"},
		"global map":     {"engine/column/planted.go", "package column\nvar cache = map[int]int{}\nfunc planted() { cache[1] = 2 }", "package variable cache"},
		"engine to core": {"engine/column/planted.go", "package column\nimport _ \"signalbox/sinks\"", "imports sinks"},
		"raft to engine": {"raftstore/planted.go", "package raftstore\nimport _ \"signalbox/engine/column\"", "imports engine/column"},
		"edge to raft":   {"edge/wire/planted.go", "package wire\nimport _ \"signalbox/raftstore\"", "imports raftstore"},
		"sink to sink":   {"sinks/planted.go", "package sinks\nimport _ \"signalbox/edge/wire\"", "imports edge/wire"},
	}
	for name, pl := range plants {
		t.Run(name, func(t *testing.T) {
			var found []string
			for _, p := range load(t, []string{"./" + filepath.Dir(pl.file)}, map[string]string{pl.file: pl.text}) {
				found = append(found, violations(p)...)
			}
			if !slices.ContainsFunc(found, func(v string) bool { return strings.Contains(v, pl.want) }) {
				t.Errorf("planted violation not found; got %q", found)
			}
		})
	}
}
