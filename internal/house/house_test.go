package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	root       = "../.."
	modulePath = "github.com/knarr-io/knarr"
)

// file is a Go file of the repository.
type file struct {
	path   string // relative to the root, with slashes
	src    []byte
	syntax *ast.File
	fset   *token.FileSet
	own    bool // in the main module, not in one of its own (bench, twin)
}

// dir is the file's directory relative to the root, "." for the root itself.
func (f file) dir() string { return path.Dir(f.path) }

func (f file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// imports are the paths that the file imports.
func (f file) imports() []string {
	var paths []string
	for _, spec := range f.syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser has accepted it
		}
		paths = append(paths, p)
	}
	return paths
}

// at says where in the repository the node is.
func (f file) at(node ast.Node) string {
	return f.path + ":" + strconv.Itoa(f.fset.Position(node.Pos()).Line)
}

// files are all Go files of the repository but those under testdata, in order.
func files(t *testing.T) []file {
	t.Helper()
	all, err := readOnce()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no Go files: is the root right?")
	}
	return all
}

// product are the files of the main module that are no tests.
func product(t *testing.T) []file {
	t.Helper()
	return slices.DeleteFunc(slices.Clone(files(t)), func(f file) bool { return !f.own || f.isTest() })
}

var readOnce = sync.OnceValues(func() ([]file, error) { return readTree(root) })

func readTree(root string) ([]file, error) {
	var all []file
	fset := token.NewFileSet()
	others := map[string]bool{} // directories of other modules
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if entry.IsDir() {
			base := entry.Name()
			if rel != "." && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return fs.SkipDir
			}
			_, err := os.Stat(filepath.Join(name, "go.mod"))
			others[rel] = rel != "." && (err == nil || others[path.Dir(rel)])
			return nil
		}
		if !entry.Type().IsRegular() || !strings.HasSuffix(rel, ".go") {
			return nil
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(fset, name, src, parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, file{path: rel, src: src, syntax: syntax, fset: fset, own: !others[path.Dir(rel)]})
		return nil
	})
	return all, err
}
