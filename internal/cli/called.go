package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// The names besides its own that knarr may be called by: those of the programs
// that knarr envtest makes links for.
const (
	apiServerName = "kube-apiserver"
	etcdName      = "etcd"
	kubectlName   = "kubectl"
)

// RunAs runs what the program is that argv[0] names: one of those that knarr
// stands in for, or knarr. Otherwise it is Run.
func RunAs(argv []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var root *cobra.Command
	name := strings.TrimSuffix(filepath.Base(argv[0]), ".exe")
	switch name {
	case apiServerName:
		root = newAPIServer()
	case etcdName:
		root = newEtcd()
	case kubectlName:
		root = newKubectlAlone()
	default:
		return Run(argv[1:], stdin, stdout, stderr)
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(flagError)
	return execute(name, root, argv[1:], stdin, stdout, stderr)
}

// execute runs a command, and tells its error in one line.
func execute(name string, root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.Execute(); err != nil {
		fmt.Fprintln(stderr, name+":", oneLine(err))
		return 1
	}
	return 0
}
