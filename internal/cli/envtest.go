package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"
)

func newEnvtest() *cobra.Command {
	return &cobra.Command{
		Use:     "envtest DIR",
		GroupID: serving,
		Short:   "Make a directory of what envtest starts",
		Long: `Fill DIR with kube-apiserver, etcd and kubectl, which are this program by other names.

Tests that use envtest (sigs.k8s.io/controller-runtime/pkg/envtest) run with them
as they are:

  KUBEBUILDER_ASSETS=DIR go test ./...

As kube-apiserver it takes that program's flags and keeps its objects in memory; as
etcd it only says that it is there. They end with the process that started them.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return errors.New("knarr envtest needs one directory to fill: knarr envtest DIR")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if err := fillAssets(dir); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "export KUBEBUILDER_ASSETS=%s\n", quote(dir))
			return err
		},
	}
}

// fillAssets makes the links in dir. What knarr made there before is replaced,
// what it did not is let be.
func fillAssets(dir string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if program, err = filepath.EvalSymlinks(program); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	link := os.Symlink
	if runtime.GOOS == "windows" || temporary() {
		link = linkOrCopy
	}
	for _, name := range []string{apiServerName, etcdName, kubectlName} {
		path := filepath.Join(dir, name)
		if runtime.GOOS == "windows" {
			path += ".exe"
		}
		if err := clear(path); err != nil {
			return err
		}
		if err := link(program, path); err != nil {
			return err
		}
	}
	return nil
}

// clear removes a link that knarr has made: one to a program called knarr, or
// this program itself.
func clear(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	own := false
	if info.Mode()&fs.ModeSymlink != 0 {
		to, err := os.Readlink(path)
		self, _ := os.Executable()
		own = err == nil && (filepath.Base(to) == "knarr" || filepath.Base(to) == filepath.Base(self))
	} else if self, err := os.Executable(); err == nil {
		program, err := os.Stat(self)
		own = err == nil && os.SameFile(info, program)
	}
	if !own {
		return fmt.Errorf("%s is there already and is not knarr's; remove it, or choose another directory", path)
	}
	return os.Remove(path)
}

// linkOrCopy makes path the same file as program, or a copy of it where that
// cannot be.
func linkOrCopy(program, path string) error {
	if os.Link(program, path) == nil {
		return nil
	}
	from, err := os.Open(program)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
