package house

import (
	"bytes"
	"go/ast"
	"go/doc"
	"go/format"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// maxLines is the most lines a file may have. One that grows longer holds more
// than one thing.
const maxLines = 600

func TestFilesAreShort(t *testing.T) {
	for _, f := range files(t) {
		if lines := bytes.Count(f.src, []byte("\n")); lines > maxLines && !ast.IsGenerated(f.syntax) {
			t.Errorf("%s has %d lines, more than %d: divide it", f.path, lines, maxLines)
		}
	}
}

func TestFilesAreFormatted(t *testing.T) {
	for _, f := range files(t) {
		formatted, err := format.Source(f.src)
		if err != nil {
			t.Errorf("%s: %v", f.path, err)
		} else if !bytes.Equal(formatted, f.src) {
			t.Errorf("%s is not as gofmt writes it", f.path)
		}
	}
}

// Every package says once what it is for.
func TestPackageComments(t *testing.T) {
	type pkg struct {
		name     string
		comments []string // files that have one
	}
	packages := map[string]*pkg{}
	for _, f := range files(t) {
		if f.isTest() {
			if f.syntax.Doc != nil && !isDirective(f.syntax.Doc) {
				t.Errorf("%s has a package comment: it belongs to the package's own files", f.path)
			}
			continue
		}
		p := packages[f.dir()]
		if p == nil {
			p = &pkg{name: f.syntax.Name.Name}
			packages[f.dir()] = p
		}
		if f.syntax.Doc == nil || isDirective(f.syntax.Doc) {
			continue
		}
		p.comments = append(p.comments, f.path)
		want := "Package " + p.name + " "
		if p.name == "main" {
			want = "Command "
		}
		if text := f.syntax.Doc.Text(); !strings.HasPrefix(text, want) {
			t.Errorf("%s: the package comment begins %q, not %q", f.path, doc.Synopsis(text), want)
		}
	}
	for dir, p := range packages {
		if len(p.comments) != 1 {
			t.Errorf("package %s has %d package comments %v, want one", dir, len(p.comments), p.comments)
		}
	}
}

// isDirective says whether the comment has nothing but directives, such as
// //go:build.
func isDirective(comment *ast.CommentGroup) bool {
	return strings.TrimSpace(comment.Text()) == ""
}

// Wiring is explicit: who needs something is handed it.
func TestNoInit(t *testing.T) {
	for _, f := range files(t) {
		if f.isTest() {
			continue
		}
		for _, decl := range f.syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: func init: call it from where it is needed", f.at(fn))
			}
		}
	}
}

// perProcess are the package-level variables that may change, as directory.name,
// each with the thing that upstream keeps once per process.
var perProcess = map[string]string{
	"internal/cli.gitVersion": "the version that kubectl tells of itself",
	"internal/process.mu":     "feature gates and capabilities",
	"internal/process.first":  "feature gates and capabilities",
}

// Servers share nothing but code: twenty of them run in one process. No
// package-level variable is written by a function, or is of a kind that is made
// to be changed.
func TestNoPackageState(t *testing.T) {
	byDir := map[string][]file{}
	for _, f := range product(t) {
		byDir[f.dir()] = append(byDir[f.dir()], f)
	}
	for dir, files := range byDir {
		variables := map[string]bool{}
		for _, f := range files {
			for _, spec := range packageVariables(f.syntax) {
				for _, name := range spec.Names {
					if name.Name == "_" || perProcess[dir+"."+name.Name] != "" {
						continue
					}
					variables[name.Name] = true
					if isSync(spec.Type) || slices.ContainsFunc(spec.Values, isSyncValue) {
						t.Errorf("%s: %s is package-level state: put it into the struct of a server", f.at(name), name.Name)
					}
				}
			}
		}
		for _, f := range files {
			for _, written := range writes(f.syntax) {
				if variables[written.Name] && isPackageLevel(f.syntax, written) {
					t.Errorf("%s: writes the package-level variable %s: put it into the struct of a server", f.at(written), written.Name)
				}
			}
		}
	}
}

// The check above sees what it should: w is written in the lines marked so.
func TestWrites(t *testing.T) {
	const src = `package p

var w, other = map[string]int{}, 0

func f() {
	w = nil        // written
	w["a"]++       // written
	w["a"] = 1     // written
	(*w).x.y = 1   // written
	delete(w, "a") // written
	clear(w)       // written
	for w = range other {} // written
	_ = w
	other := w
	other = nil
	{
		w := w
		w["a"] = 1
		w = nil
	}
	elsewhere = 1  // written
}

func g(w int) { w = 2 }
`
	fset := token.NewFileSet()
	syntax, err := parser.ParseFile(fset, "p.go", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []int
	for _, name := range writes(syntax) {
		if (name.Name == "w" || name.Name == "elsewhere") && isPackageLevel(syntax, name) {
			got = append(got, fset.Position(name.Pos()).Line)
		}
	}
	for i, line := range strings.Split(src, "\n") {
		if strings.Contains(line, "// written") {
			want = append(want, i+1)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("written in lines %v, want %v", got, want)
	}

	for expr, want := range map[string]bool{
		"sync.Mutex{}": true, "&sync.Mutex{}": true, "new(sync.Once)": true, "sync.OnceFunc(f)": true,
		"atomic.Pointer[int]{}": true, "errors.New(\"x\")": false, "map[string]int{}": false, "f()": false,
	} {
		value, err := parser.ParseExpr(expr)
		if err != nil {
			t.Fatal(err)
		}
		if got := isSyncValue(value); got != want {
			t.Errorf("%s: %v, want %v", expr, got, want)
		}
	}
}

func packageVariables(syntax *ast.File) []*ast.ValueSpec {
	var specs []*ast.ValueSpec
	for _, decl := range syntax.Decls {
		if gen, ok := decl.(*ast.GenDecl); ok && gen.Tok == token.VAR {
			for _, spec := range gen.Specs {
				specs = append(specs, spec.(*ast.ValueSpec))
			}
		}
	}
	return specs
}

// isSync says whether the type is one of sync or sync/atomic.
func isSync(typ ast.Expr) bool {
	switch typ := typ.(type) {
	case *ast.StarExpr:
		return isSync(typ.X)
	case *ast.IndexExpr: // atomic.Pointer[T]
		return isSync(typ.X)
	case *ast.SelectorExpr:
		pkg, ok := typ.X.(*ast.Ident)
		return ok && (pkg.Name == "sync" || pkg.Name == "atomic")
	}
	return false
}

// isSyncValue is isSync for a variable without a type: sync.Mutex{},
// &sync.Mutex{}, sync.OnceFunc(f), new(sync.Once).
func isSyncValue(value ast.Expr) bool {
	switch value := value.(type) {
	case *ast.UnaryExpr:
		return isSyncValue(value.X)
	case *ast.CompositeLit:
		return isSync(value.Type)
	case *ast.CallExpr:
		if fn, ok := value.Fun.(*ast.Ident); ok && fn.Name == "new" && len(value.Args) == 1 {
			return isSync(value.Args[0])
		}
		return isSync(value.Fun)
	}
	return false
}

// writes are the variables that the file's functions assign to, or to a part of.
func writes(syntax *ast.File) []*ast.Ident {
	var written []*ast.Ident
	add := func(target ast.Expr) {
		if name := base(target); name != nil {
			written = append(written, name)
		}
	}
	ast.Inspect(syntax, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.AssignStmt:
			if node.Tok != token.DEFINE {
				for _, target := range node.Lhs {
					add(target)
				}
			}
		case *ast.IncDecStmt:
			add(node.X)
		case *ast.RangeStmt:
			if node.Tok == token.ASSIGN {
				add(node.Key)
				add(node.Value)
			}
		case *ast.CallExpr:
			if fn, ok := node.Fun.(*ast.Ident); ok && (fn.Name == "delete" || fn.Name == "clear") && len(node.Args) > 0 {
				add(node.Args[0])
			}
		}
		return true
	})
	return written
}

// base is x of x, x.f, x[i], *x and (x).
func base(target ast.Expr) *ast.Ident {
	switch target := target.(type) {
	case *ast.Ident:
		return target
	case *ast.SelectorExpr:
		return base(target.X)
	case *ast.IndexExpr:
		return base(target.X)
	case *ast.StarExpr:
		return base(target.X)
	case *ast.ParenExpr:
		return base(target.X)
	}
	return nil
}

// isPackageLevel says whether a name that some package-level variable has means
// that variable here and not a local one. The parser resolves names within a
// file: one it did not find comes from another file of the package.
func isPackageLevel(syntax *ast.File, name *ast.Ident) bool {
	return name.Obj == nil || syntax.Scope.Objects[name.Name] == name.Obj
}
