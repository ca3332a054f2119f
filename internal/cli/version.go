package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/knarr-io/knarr/internal/version"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		GroupID: other,
		Short:   "Print the version of knarr and the release of Kubernetes it serves",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "knarr v%s (Kubernetes %s)\n", version.Knarr, version.Kubernetes())
			return err
		},
	}
}
