package admission

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The table is upstream's, in its order and with its defaults, read from the
// source of the release in go.mod.
func TestPluginsAreUpstreams(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes").Output()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(strings.TrimSpace(string(dir)), "pkg", "kubeapiserver", "options", "plugins.go")
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	ordered, on := upstreamPlugins(t, parsed)
	known, byDefault := Names()
	var order []string
	for _, p := range all() {
		order = append(order, p.name)
	}
	if diff := cmp.Diff(ordered, order); diff != "" {
		t.Errorf("order (-upstream +ours):\n%s", diff)
	}
	slices.Sort(ordered)
	if diff := cmp.Diff(ordered, known); diff != "" {
		t.Errorf("known (-upstream +ours):\n%s", diff)
	}
	slices.Sort(on)
	slices.Sort(byDefault)
	if diff := cmp.Diff(on, byDefault); diff != "" {
		t.Errorf("on by default (-upstream +ours):\n%s", diff)
	}
}

// upstreamPlugins returns the names in AllOrderedPlugins, and those that
// DefaultOffAdmissionPlugins takes out. The source has constants; their values
// are in the comments behind them.
func upstreamPlugins(t *testing.T, file *ast.File) (ordered, on []string) {
	t.Helper()
	names := map[string]string{} // by expression, such as admit.PluginName
	expression := func(e ast.Expr) string {
		s, ok := e.(*ast.SelectorExpr)
		if !ok || s.Sel.Name != "PluginName" {
			t.Fatalf("%T is no name of a plugin", e)
		}
		return s.X.(*ast.Ident).Name
	}
	comment := func(after token.Pos) string {
		for _, group := range file.Comments {
			if group.Pos() > after {
				return strings.FieldsFunc(group.Text(), func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })[0]
			}
		}
		return ""
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			if n.Names[0].Name != "AllOrderedPlugins" {
				return false
			}
			for _, e := range n.Values[0].(*ast.CompositeLit).Elts {
				names[expression(e)] = comment(e.End())
				ordered = append(ordered, names[expression(e)])
			}
		case *ast.CallExpr:
			if s, ok := n.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "New" && len(n.Args) > 1 {
				for _, e := range n.Args {
					on = append(on, names[expression(e)])
				}
			}
		}
		return true
	})
	return ordered, on
}

func TestSettingsAreChecked(t *testing.T) {
	for _, test := range []struct {
		settings Settings
		want     string
	}{
		{Settings{}, ""},
		{Settings{Enable: []string{"AlwaysDeny"}, Disable: []string{"Priority"}}, ""},
		{Settings{Enable: []string{"Nonsense"}}, `enable-admission-plugins plugin "Nonsense" is unknown`},
		{Settings{Disable: []string{"Nonsense"}}, `disable-admission-plugins plugin "Nonsense" is unknown`},
		{Settings{Control: []string{"Nonsense"}}, `admission-control plugin "Nonsense" is unknown`},
		{
			Settings{Enable: []string{"Priority", "LimitRanger"}, Disable: []string{"LimitRanger", "Priority"}},
			"[LimitRanger Priority] in enable-admission-plugins and disable-admission-plugins overlapped",
		},
		{
			Settings{Control: []string{"Priority"}, Enable: []string{"Priority"}},
			"admission-control and enable-admission-plugins/disable-admission-plugins flags are mutually exclusive",
		},
	} {
		got := ""
		if err := test.settings.Check(); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%+v:\n%s, not\n%s", test.settings, got, test.want)
		}
	}
}

// What runs is what is asked for, in upstream's order whatever the order of the
// flags.
func TestSettingsEnable(t *testing.T) {
	_, byDefault := Names()
	for _, test := range []struct {
		settings Settings
		want     []string
	}{
		{Settings{}, byDefault},
		{Settings{Control: []string{}}, nil},
		{Settings{Control: []string{"ResourceQuota", "AlwaysDeny", "Priority"}}, []string{"Priority", "ResourceQuota", "AlwaysDeny"}},
		{Settings{Enable: []string{"AlwaysDeny", "Priority"}}, append(slices.Clone(byDefault), "AlwaysDeny")},
		{Settings{Disable: byDefault[1:]}, byDefault[:1]},
	} {
		var got []string
		for _, p := range test.settings.enabled() {
			got = append(got, p.name)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test.settings, diff)
		}
	}
}
