package cli

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	_ "unsafe" // for linkname

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // as kubectl has them
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	componentversion "k8s.io/component-base/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/plugin"
	"k8s.io/kubectl/pkg/cmd/util"

	"github.com/knarr-io/knarr/internal/version"
)

func newKubectl() *cobra.Command {
	return &cobra.Command{
		Use:     "kubectl [--data-dir DIR] ...",
		GroupID: clients,
		Short:   "Run the built-in kubectl",
		Long: `Run the built-in kubectl, which is upstream's.

With no KUBECONFIG and no ~/.kube/config it uses the admin.kubeconfig of the
data directory.`,
		DisableFlagParsing: true, // they are kubectl's
		RunE: func(cmd *cobra.Command, args []string) error {
			return runKubectl(cmd, nil, args)
		},
	}
}

// newKubectlAlone is the program kubectl, which knows nothing of knarr.
func newKubectlAlone() *cobra.Command {
	return &cobra.Command{
		Use:                kubectlName,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return execKubectl(cmd, "", args)
		},
	}
}

// runKubectl runs kubectl with the arguments of the user after those in before.
func runKubectl(cmd *cobra.Command, before, args []string) error {
	dataDir, args, err := cutDataDir(args)
	if err != nil {
		return err
	}
	args = append(before, args...)
	config, err := kubeconfig(dataDir, args)
	if err != nil {
		return err
	}
	return execKubectl(cmd, config, args)
}

// execKubectl runs kubectl; config, if not empty, is the default of --kubeconfig.
func execKubectl(cmd *cobra.Command, config string, args []string) error {
	if err := tellVersion(version.Kubernetes()); err != nil {
		return err
	}
	// As kubectl's main does, for what happens before flags are parsed.
	if _, err := logs.GlogSetter(kubectl.GetLogVerbosity(args)); err != nil {
		return err
	}
	streams := genericiooptions.IOStreams{In: cmd.InOrStdin(), Out: cmd.OutOrStdout(), ErrOut: cmd.ErrOrStderr()}
	command := kubectl.NewDefaultKubectlCommandWithArgs(kubectl.KubectlOptions{
		PluginHandler: kubectl.NewDefaultPluginHandler(plugin.ValidPluginFilenamePrefixes),
		Arguments:     append([]string{"kubectl"}, args...),
		ConfigFlags:   configFlags(config).WithWarningPrinter(streams),
		IOStreams:     streams,
	})
	command.SetArgs(args)
	command.SetIn(cmd.InOrStdin())
	command.SetOut(cmd.OutOrStdout())
	command.SetErr(cmd.ErrOrStderr())
	if err := cli.RunNoErrOutput(command); err != nil {
		util.CheckErr(err) // in kubectl's words, and with its exit codes
	}
	return nil
}

// cutDataDir takes --data-dir from the front of args. After that, all is
// kubectl's.
func cutDataDir(args []string) (dataDir string, rest []string, err error) {
	if len(args) == 0 {
		return defaultDataDir, []string{}, nil
	}
	if dir, ok := strings.CutPrefix(args[0], "--data-dir="); ok {
		return dir, args[1:], nil
	}
	if args[0] != "--data-dir" {
		return defaultDataDir, args, nil
	}
	if len(args) == 1 {
		return "", nil, errors.New("--data-dir needs a directory after it")
	}
	return args[1], args[2:], nil
}

// kubeconfig returns the kubeconfig of a data directory, or nothing if there is
// another that kubectl finds by itself, or it needs none since args name a server.
func kubeconfig(dataDir string, args []string) (string, error) {
	if os.Getenv(clientcmd.RecommendedConfigPathEnvVar) != "" || !missing(clientcmd.RecommendedHomeFile) {
		return "", nil
	}
	path, err := filepath.Abs(filepath.Join(dataDir, "admin.kubeconfig"))
	if err != nil {
		return "", err
	}
	if missing(path) && slices.ContainsFunc(args, namesServer) {
		return "", nil
	}
	// Plugins are processes of their own, and know no other way to be told.
	return path, os.Setenv(clientcmd.RecommendedConfigPathEnvVar, path)
}

// namesServer reports whether an argument is the flag that says where the server is.
func namesServer(arg string) bool {
	name, _, _ := strings.Cut(arg, "=")
	return name == "--server" || name == "-s"
}

// configFlags returns what kubectl has by default, and config, if not empty, as
// the default of --kubeconfig: when it is not there, kubectl says so, where it
// would otherwise try localhost:8080.
func configFlags(config string) *genericclioptions.ConfigFlags {
	flags := genericclioptions.NewConfigFlags(true).
		WithDeprecatedPasswordFlag().
		WithDiscoveryBurst(300).
		WithDiscoveryQPS(50.0)
	*flags.KubeConfig = config
	return flags
}

// gitVersion is what a kubectl of a release is linked with (-ldflags -X). As go
// run and go build without flags must do, it is set here; without it kubectl
// would call itself v0.0.0 and warn that the server is too new.
//
//go:linkname gitVersion k8s.io/component-base/version.gitVersion
var gitVersion string

// tellVersion makes release the version that kubectl tells of itself.
func tellVersion(release string) error {
	gitVersion = release
	return componentversion.SetDynamicVersion(release)
}
