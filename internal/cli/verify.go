package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/knarr-io/knarr/internal/offline"
)

func newVerify() *cobra.Command {
	var dataDir, backup string
	cmd := &cobra.Command{
		Use:     "verify [--data-dir DIR | --backup FILE]",
		GroupID: data,
		Short:   "Check what is kept in a data directory, or in a backup",
		Long: `Read everything in a data directory that no server uses, or in a backup: its
checksums, its index, its history, and whether every object can be decoded as what
it is. Each thing that is wrong is a line, and the exit code is 1 if there is any.
Nothing is changed.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report := func(problem error) { fmt.Fprintln(cmd.OutOrStdout(), oneLine(problem)) }
			what, from := shown(dataDir), "the data directory"
			verify := func() (*offline.Findings, error) { return offline.VerifyDir(cmd.Context(), dataDir, report) }
			if backup != "" {
				what, from = shown(backup), "the backup"
				verify = func() (*offline.Findings, error) { return offline.VerifyBackup(backup, report) }
			}
			found, err := verify()
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: revision %d, %d objects and %d changes since revision %d; %d values decoded",
				what, found.Rev, found.Base, found.History, found.Floor, found.Decoded)
			if found.Encrypted > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), ", %d are encrypted", found.Encrypted)
			}
			fmt.Fprintln(cmd.OutOrStdout())
			if found.Problems > 0 {
				return fmt.Errorf("%s has %d problems", from, found.Problems)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", defaultDataDir, "the data directory")
	cmd.Flags().StringVar(&backup, "backup", "", "a backup to check in place of a data directory")
	cmd.MarkFlagsMutuallyExclusive("data-dir", "backup")
	return cmd
}
