package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/knarr-io/knarr/internal/store/disk"
)

// bumpRevision is what etcd's documentation has clusters be restored with: more
// changes than were ever made after a backup.
const bumpRevision = 1_000_000_000

func newRestore() *cobra.Command {
	var dataDir string
	var bump uint64
	cmd := &cobra.Command{
		Use:     "restore FILE [--data-dir DIR]",
		GroupID: data,
		Short:   "Fill a data directory from a backup",
		Long: `Fill a data directory that has no objects in it from a backup.

Objects are what they were, and have the resourceVersions that they had. What is
changed from now on has higher ones than anything that a client has seen since the
backup was made, and the history begins here: clients that watch, or go on with a
list, are told that theirs is too old, and list anew.

A backup has objects in it. Certificates and keys are files in the data directory;
copy them too, if clients and tokens are to be known as before.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return errors.New("knarr restore needs the file of the backup: knarr restore FILE")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			c, err := disk.Restore(cmd.Context(), dataDir, f, bump)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d objects; the revision is %d, %d more than in the backup\n", shown(dataDir), c.Base, c.Rev, bump)
			return err
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", defaultDataDir, "the data directory")
	cmd.Flags().Uint64Var(&bump, "bump-revision", bumpRevision, "how far the revision is moved on; at least as many changes as may have been made since the backup")
	return cmd
}
