package cli

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/pflag"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/internal/cli/apiserverflags"
)

// freePorts sets variables to ports that nobody listens on.
func freePorts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: freeports NAME...")
	}
	for _, name := range args {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer l.Close()
		ts.Setenv(name, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
}

// poll runs a program until it succeeds, for up to 20 seconds.
func poll(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: poll program args...")
	}
	program := args[0]
	if filepath.Base(program) != program {
		program = ts.MkAbs(program)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := ts.Exec(program, args[1:]...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%v: %v", args, err)
		}
	}
}

func parseAPIServer(args ...string) (knarr.Options, error) {
	s, cmd := newAPIServerFlags(), newAPIServer()
	cmd.ResetFlags()
	s.addTo(cmd.Flags())
	if err := cmd.ParseFlags(args); err != nil {
		return knarr.Options{}, flagError(cmd, err)
	}
	return s.options()
}

// Called as kube-apiserver, knarr has that program's defaults.
func TestAPIServerDefaults(t *testing.T) {
	got, err := parseAPIServer("--etcd-servers=http://127.0.0.1:2379")
	if err != nil {
		t.Fatal(err)
	}
	if got.Store != knarr.Memory || got.DataDir != "" {
		t.Errorf("objects are kept in %s %q", got.Store, got.DataDir)
	}
	if !slices.Equal(got.AuthorizationModes, []string{"AlwaysAllow"}) || got.AnonymousAuth == nil || *got.AnonymousAuth {
		t.Errorf("authorization by %v, anonymous %v", got.AuthorizationModes, got.AnonymousAuth)
	}
	got, err = parseAPIServer("--etcd-servers=http://127.0.0.1:2379", "--authorization-mode=RBAC", "--anonymous-auth")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.AuthorizationModes, []string{"RBAC"}) || got.AnonymousAuth == nil || !*got.AnonymousAuth {
		t.Errorf("authorization by %v, anonymous %v", got.AuthorizationModes, got.AnonymousAuth)
	}
}

// What kube-controller-manager does is left undone, unless the suite says otherwise, or
// who runs it.
func TestAPIServerControllers(t *testing.T) {
	for _, test := range []struct {
		variable string
		args     []string
		want     []string
	}{
		{"", nil, []string{}},
		{"*", nil, []string{"*"}},
		{"*", []string{"--controllers=serviceaccount-controller"}, []string{"serviceaccount-controller"}},
	} {
		t.Setenv(controllersVariable, test.variable)
		got, err := parseAPIServer(append(test.args, "--etcd-servers=http://127.0.0.1:2379")...)
		if err != nil || got.Controllers == nil || !slices.Equal(got.Controllers, test.want) { // nil would be all
			t.Errorf("%q %v: %v, %v, want %v", test.variable, test.args, got.Controllers, err, test.want)
		}
	}
}

// What stands in the list of flags that do nothing is a flag of kube-apiserver,
// and has a reason.
func TestIdleFlags(t *testing.T) {
	for _, f := range ofAPIServer {
		if !apiserverflags.Has(f.name) || f.why == "" {
			t.Errorf("--%s: not kube-apiserver's, or without a reason", f.name)
		}
	}
	serve := pflag.NewFlagSet("", pflag.ContinueOnError)
	newServeFlags().addTo(serve)
	for _, f := range ofAPIServer {
		// What serve says of etcd is not for the stand-in, which keeps nothing.
		if serve.Lookup(f.name) != nil && !strings.HasPrefix(f.name, "etcd-") {
			t.Errorf("--%s does something", f.name)
		}
	}
}

// A program that a test has started ends when the test has, however that was.
func TestEndsWithItsParent(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the parent is a shell")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), etcdName)
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	parent := exec.Command("sh", "-c", `"$0" "$@" & read line`, program, "--listen-client-urls", url)
	stdin, err := parent.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = parent.Wait() }()
	defer stdin.Close()

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	await := func(what string, well bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			response, err := client.Get(url + "/health")
			if err == nil {
				_ = response.Body.Close()
			}
			if well == (err == nil) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	await("it does not serve", true)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	await("it has outlived its parent", false)
}
