package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/knarr-io/knarr/internal/store/disk"
)

func newCompact() *cobra.Command {
	var dataDir string
	cmd := &cobra.Command{
		Use:     "compact [--data-dir DIR]",
		GroupID: data,
		Short:   "Make the file of a data directory as small as it can be",
		Long: `Forget the history in a data directory that no server uses, and make its file as
small as it can be. A server does the same by itself while it runs, with what is older
than --history-retention, when most of the file is free.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			before, after, err := disk.Compact(cmd.Context(), dataDir)
			if errors.Is(err, disk.ErrInUse) {
				return fmt.Errorf("%w: a server that runs compacts by itself; stop it to do more", err)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d KiB, before %d KiB\n", shown(dataDir), after>>10, before>>10)
			return err
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", defaultDataDir, "the data directory")
	return cmd
}
