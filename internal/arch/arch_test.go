package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/orielhq/oriel/"

// mayImport is the package map of docs/architecture.md: what each package of
// ours may import of ours. Tests may import more.
var mayImport = map[string][]string{
	"cmd/oriel": {"internal/access", "internal/login", "internal/mail", "internal/config", "internal/server", "internal/org", "internal/grant", "internal/audit", "internal/ingest/importer", "internal/login/sso", "internal/quiet", "internal/scim"},

	// Words: they know nobody.
	"internal/audit":      {},
	"internal/mail":       {},
	"internal/certs":      {},
	"internal/chart":      {},
	"internal/spantree":   {"internal/telemetry"},
	"internal/oauth/spec": {},
	"internal/quiet":      {},
	"internal/telemetry":  {},
	"internal/web":        {},

	// Rules: they know words and each other, no SQL and no HTTP server.
	"internal/config": {"internal/grant", "internal/mail", "internal/oauth/spec"},
	"internal/org":    {"internal/audit", "internal/telemetry"},
	"internal/grant":  {"internal/audit", "internal/oauth/spec", "internal/org"},
	"internal/access": {"internal/grant", "internal/oauth/spec", "internal/org", "internal/telemetry"},
	"internal/tools":  {"internal/access", "internal/chart", "internal/org", "internal/spantree", "internal/telemetry", "internal/oauth/spec", "internal/grant", "internal/tools/patterns"},

	"internal/tools/patterns": {},

	"internal/login": {"internal/audit", "internal/login/mfa", "internal/mail", "internal/org", "internal/web"},

	"internal/login/mfa": {"internal/audit", "internal/org"},

	"internal/login/sso/saml": {},

	"internal/login/sso": {"internal/audit", "internal/login", "internal/login/sso/saml", "internal/oauth/clientdoc", "internal/org", "internal/web"},

	// Doors: they never know each other.
	"internal/console":         {"internal/access", "internal/audit", "internal/chart", "internal/grant", "internal/login", "internal/login/mfa", "internal/login/sso", "internal/org", "internal/oauth/spec", "internal/spantree", "internal/telemetry", "internal/tools", "internal/web"},
	"internal/ingest":          {"internal/access", "internal/telemetry", "internal/web"},
	"internal/ingest/importer": {"internal/ingest", "internal/ingest/logfile", "internal/telemetry"},
	"internal/ingest/logfile":  {"internal/ingest", "internal/telemetry"},
	"internal/mcpserver":       {"internal/access", "internal/grant", "internal/oauth/dpop", "internal/oauth/spec", "internal/tools", "internal/web"},
	"internal/oauth":           {"internal/access", "internal/audit", "internal/grant", "internal/login", "internal/oauth/clientdoc", "internal/oauth/dpop", "internal/oauth/spec", "internal/org", "internal/web"},
	"internal/scim":            {"internal/audit", "internal/org", "internal/web"},
	"internal/oauth/dpop":      {"internal/oauth/spec"},
	"internal/oauth/clientdoc": {"internal/audit", "internal/oauth/spec", "internal/grant"},

	// Adapters: they know the words and rules they serve.
	"internal/store":              {"internal/access", "internal/audit", "internal/grant", "internal/login", "internal/login/mfa", "internal/login/sso", "internal/oauth/clientdoc", "internal/oauth/spec", "internal/org", "internal/scim", "internal/telemetry"},
	"internal/telemetry/victoria": {"internal/telemetry"},
	"internal/telemetry/spool":    {"internal/telemetry"},
	"internal/telemetry/disk":     {"internal/telemetry"},
	"internal/telemetry/prom":     {"internal/telemetry"},
	"internal/telemetry/proof":    {"internal/telemetry"},
	"internal/telemetry/remote":   {},

	"internal/telemetry/promremote": {"internal/telemetry", "internal/telemetry/prom"},

	// The whole.
	"internal/server":          {"*"},
	"internal/testkit":         {"internal/audit", "internal/config", "internal/grant", "internal/oauth/clientdoc", "internal/org", "internal/pgtest", "internal/server", "internal/store/storetest", "internal/web"},
	"internal/grant/granttest": {"internal/audit", "internal/grant", "internal/oauth/spec", "internal/org", "internal/store", "internal/store/storetest"},
	"internal/store/storetest": {"internal/store", "internal/pgtest"},
	"internal/pgtest":          {},

	"internal/telemetry/victoria/victoriatest": {},
	"internal/arch": {},
}

// root is the repository, seen from this package.
const root = "../.."

// goFiles calls do with every Go file of ours and its folder.
func goFiles(t *testing.T, do func(dir, name string, f *ast.File, fset *token.FileSet)) {
	t.Helper()
	fset := token.NewFileSet()
	for _, top := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			src, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			f, err := parser.ParseFile(fset, path, src, parser.ParseComments)
			if err != nil {
				return err
			}
			dir, err := filepath.Rel(root, filepath.Dir(path))
			do(filepath.ToSlash(dir), d.Name(), f, fset)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestImports(t *testing.T) {
	seen := make(map[string]bool)
	goFiles(t, func(dir, name string, f *ast.File, _ *token.FileSet) {
		if strings.HasSuffix(name, "_test.go") {
			return
		}
		seen[dir] = true
		allowed, ok := mayImport[dir]
		if !ok {
			t.Errorf("%s is not in the package map: say in internal/arch what it may import", dir)
			return
		}
		for _, imp := range f.Imports {
			path, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				t.Error(err)
			}
			ours, ok := strings.CutPrefix(path, module)
			if ok && !slices.Contains(allowed, ours) && !slices.Contains(allowed, "*") {
				t.Errorf("%s/%s imports %s, which the package map does not allow", dir, name, ours)
			}
			if strings.HasPrefix(path, "github.com/VictoriaMetrics/") && dir != "internal/telemetry/victoria" {
				t.Errorf("%s/%s imports the log engine; only internal/telemetry/victoria may", dir, name)
			}
		}
	})
	for dir := range mayImport {
		if !seen[dir] {
			t.Errorf("%s is in the package map and not in the tree", dir)
		}
	}
}

func TestEachPackageSaysWhatItIsFor(t *testing.T) {
	comments := make(map[string]int)
	goFiles(t, func(dir, name string, f *ast.File, _ *token.FileSet) {
		if strings.HasSuffix(name, "_test.go") {
			return
		}
		if _, ok := comments[dir]; !ok {
			comments[dir] = 0
		}
		if f.Doc != nil {
			comments[dir]++
		}
	})
	for dir, n := range comments {
		if n != 1 {
			t.Errorf("%s has %d package comments, want one", dir, n)
		}
	}
}

// A view made anywhere else would be one that nobody decided about.
func TestOnlyAccessMakesViews(t *testing.T) {
	goFiles(t, func(dir, name string, f *ast.File, fset *token.FileSet) {
		if strings.HasSuffix(name, "_test.go") || dir == "internal/access" || dir == "internal/telemetry" {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "NewView" {
				t.Errorf("%s: only package access makes views", fset.Position(sel.Pos()))
			}
			return true
		})
	})
}

// A network without the guard would let strangers fetch from ours.
func TestOnlyTestsLeaveTheGuard(t *testing.T) {
	goFiles(t, func(dir, name string, f *ast.File, fset *token.FileSet) {
		if strings.HasSuffix(name, "_test.go") || dir == "internal/testkit" || dir == "internal/oauth/clientdoc" {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "LoopbackForTests" {
				t.Errorf("%s: only tests fetch without the guard", fset.Position(sel.Pos()))
			}
			return true
		})
	})
}

func TestNoInitFunctions(t *testing.T) {
	goFiles(t, func(_, _ string, f *ast.File, fset *token.FileSet) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: an init function", fset.Position(fn.Pos()))
			}
		}
	})
}

// Nothing skips: a test that cannot run fails and says what it needs.
func TestNoTestSkipsOrSleeps(t *testing.T) {
	goFiles(t, func(_, name string, f *ast.File, fset *token.FileSet) {
		if !strings.HasSuffix(name, "_test.go") {
			return
		}
		// Inside a synctest bubble a sleep takes no time.
		bubble := slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"testing/synctest"` })
		ast.Inspect(f, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, _ := sel.X.(*ast.Ident)
			if sel.Sel.Name == "Skip" || sel.Sel.Name == "SkipNow" || sel.Sel.Name == "Skipf" {
				t.Errorf("%s: skips", fset.Position(sel.Pos()))
			}
			if pkg != nil && pkg.Name == "time" && sel.Sel.Name == "Sleep" && !bubble {
				t.Errorf("%s: sleeps", fset.Position(sel.Pos()))
			}
			return true
		})
	})
}
