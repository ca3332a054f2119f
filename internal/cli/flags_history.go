package cli

import (
	"errors"

	"github.com/spf13/pflag"

	"github.com/knarr-io/knarr"
)

// addHistoryFlags adds the flags of how much of the past is kept.
func addHistoryFlags(fs *pflag.FlagSet, o *knarr.Options) {
	fs.DurationVar(&o.HistoryRetention, "history-retention", o.HistoryRetention, "how long the past is kept: what can be watched from, listed at, shown by knarr history and undone")
	fs.Int64Var(&o.HistoryBytes, "history-bytes", o.HistoryBytes, "how many bytes the past may take beside the present, in memory and on disk; the oldest goes first")
}

// checkHistory refuses what would keep nothing.
func checkHistory(o *knarr.Options) error {
	switch {
	case o.HistoryRetention <= 0:
		return errors.New("--history-retention must be more than 0")
	case o.HistoryBytes <= 0:
		return errors.New("--history-bytes must be more than 0")
	}
	return nil
}
