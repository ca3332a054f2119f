package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/internal/store/disk"
)

func newBackup() *cobra.Command {
	var dataDir, config string
	cmd := &cobra.Command{
		Use:     "backup FILE [--data-dir DIR | --kubeconfig FILE]",
		GroupID: data,
		Short:   "Copy all objects to a file, while the server runs or not",
		Long: `Write all objects, as they are at one revision, to a file. While a server runs it is
asked for them, and goes on with its work meanwhile; else they are read from the data
directory. With --kubeconfig it is the server named there, as an administrator of it.

What is encrypted in the store is encrypted in the backup. Certificates and keys are
files in the data directory, and not in the backup: copy them too.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return errors.New("knarr backup needs the file to write: knarr backup FILE")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			write := func(w io.Writer) error {
				err := disk.Backup(cmd.Context(), dataDir, w)
				if errors.Is(err, disk.ErrInUse) {
					return fetchBackup(cmd.Context(), filepath.Join(dataDir, "admin.kubeconfig"), w)
				}
				return err
			}
			if config != "" {
				write = func(w io.Writer) error { return fetchBackup(cmd.Context(), config, w) }
			}
			c, size, err := writeBackup(args[0], write)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: revision %d, %d KiB\n", shown(args[0]), c.Rev, size>>10)
			return err
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", defaultDataDir, "the data directory")
	cmd.Flags().StringVar(&config, "kubeconfig", "", "the server to ask, as an administrator of it")
	cmd.MarkFlagsMutuallyExclusive("data-dir", "kubeconfig")
	return cmd
}

// writeBackup makes path a backup that has been read again, or leaves it alone.
func writeBackup(path string, write func(io.Writer) error) (c *disk.Contents, size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // of mode 0600: there are secrets in it
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, 0, err
	}
	// Damaged values are those of the store: verify tells of them.
	if c, err = disk.CheckBackup(f.Name(), func(error) {}, nil); err != nil {
		return nil, 0, err
	}
	info, err := os.Stat(f.Name())
	if err != nil {
		return nil, 0, err
	}
	return c, info.Size(), os.Rename(f.Name(), path)
}

// fetchBackup asks a server for a backup.
func fetchBackup(ctx context.Context, config string, w io.Writer) error {
	loaded, err := clientcmd.BuildConfigFromFlags("", config)
	if err != nil {
		return err
	}
	client, err := rest.HTTPClientFor(loaded)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(loaded.Host, "/")+knarr.BackupPath, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(answer.Body, 1000)) // what came is told
		return fmt.Errorf("the server gives no backup: %s: %s", answer.Status, strings.TrimSpace(string(said)))
	}
	if _, err := io.Copy(w, answer.Body); err != nil {
		return fmt.Errorf("the server broke off the backup: %w", err)
	}
	return nil
}
