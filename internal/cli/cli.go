// Package cli is the command line of knarr, one command in a file.
//
// It must not know how a server works: serve turns flags into knarr.Options,
// and kubectl and proxy are upstream's kubectl.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// The groups of commands in knarr help.
const (
	serving = "serving"
	clients = "clients"
	data    = "data"
	other   = "other"
)

// defaultDataDir is where serve keeps its data and kubectl looks for it.
const defaultDataDir = "knarr-data"

// Run runs the command that args are, without the name of the program, and
// returns the exit code. An error is one line on stderr. What the built-in
// kubectl refuses ends the process from within kubectl.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return execute("knarr", newRoot(), args, stdin, stdout, stderr)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:               "knarr",
		Short:             "knarr is a Kubernetes API server in one process",
		Long:              "knarr is a Kubernetes API server in one process, with kubectl built in.",
		Args:              cobra.ArbitraryArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no command %q; knarr help lists them", args[0])
			}
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(flagError)
	root.AddGroup(
		&cobra.Group{ID: serving, Title: "Serving:"},
		&cobra.Group{ID: clients, Title: "Clients:"},
		&cobra.Group{ID: data, Title: "Data:"},
		&cobra.Group{ID: other, Title: "Other:"},
	)
	root.SetHelpCommandGroupID(other)
	root.AddCommand(newServe(), newEnvtest(), newKubectl(), newProxy(), newHistory(), newUndo(), newVerify(), newCompact(), newBackup(), newRestore(), newVersion())
	return root
}

// noArgs refuses arguments that are not flags.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, but there is %q; its flags begin with --", cmd.CommandPath(), args[0])
	}
	return nil
}

// oneLine joins the lines of an error.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// temporary reports whether this program is one that go run has made, and will
// remove.
func temporary() bool {
	return filepath.Base(filepath.Dir(os.Args[0])) == "exe" && strings.Contains(os.Args[0], "go-build")
}

// program is how the user calls this program, for hints.
func program() string {
	if temporary() {
		return "go run ./cmd/knarr"
	}
	return quote(os.Args[0])
}

// shown is a path as it is shown to users: what is in the working directory
// begins with "./".
func shown(path string) string {
	path = filepath.Clean(path)
	if filepath.IsLocal(path) && path != "." {
		return "./" + path
	}
	return path
}

// quote makes one word for a shell of s.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+,:@%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// missing reports whether there is no file of that name.
func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist)
}
