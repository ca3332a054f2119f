package cli

import "github.com/spf13/cobra"

func newProxy() *cobra.Command {
	return &cobra.Command{
		Use:                "proxy [--data-dir DIR] ...",
		GroupID:            clients,
		Short:              "Run kubectl proxy: the API on a local port, without credentials",
		DisableFlagParsing: true, // they are kubectl's
		RunE: func(cmd *cobra.Command, args []string) error {
			return runKubectl(cmd, []string{"proxy"}, args)
		},
	}
}
