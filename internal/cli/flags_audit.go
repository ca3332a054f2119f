package cli

import (
	"github.com/spf13/pflag"

	"github.com/knarr-io/knarr"
)

// addAuditFlags adds the flags of what is recorded of requests.
func addAuditFlags(fs *pflag.FlagSet, a *knarr.Audit) {
	fs.StringVar(&a.PolicyFile, "audit-policy-file", a.PolicyFile, "what is recorded of which requests; without it, nothing is")

	l := &a.Log
	fs.StringVar(&l.Path, "audit-log-path", l.Path, "file to record requests in, or - for standard output")
	fs.StringVar(&l.Format, "audit-log-format", l.Format, `"json", or "legacy" for lines of text`)
	fs.IntVar(&l.MaxAge, "audit-log-maxage", l.MaxAge, "how many days old files of the log are kept; 0 for ever")
	fs.IntVar(&l.MaxBackups, "audit-log-maxbackup", l.MaxBackups, "how many old files of the log are kept; 0 for all")
	fs.IntVar(&l.MaxSize, "audit-log-maxsize", l.MaxSize, "megabytes of the log from which another file is begun; 0 for never")
	fs.BoolVar(&l.Compress, "audit-log-compress", l.Compress, "compress old files of the log")
	addDeliveryFlags(fs, "audit-log-", &l.Delivery)

	w := &a.Webhook
	fs.StringVar(&w.ConfigFile, "audit-webhook-config-file", w.ConfigFile, "kubeconfig of a server to post the record to")
	fs.DurationVar(&w.InitialBackoff, "audit-webhook-initial-backoff", w.InitialBackoff, "how long to wait before what failed is posted again")
	fs.DurationVar(&w.InitialBackoff, "audit-webhook-batch-initial-backoff", w.InitialBackoff, "")
	_ = fs.MarkDeprecated("audit-webhook-batch-initial-backoff", "use --audit-webhook-initial-backoff") // there is one
	addDeliveryFlags(fs, "audit-webhook-", &w.Delivery)
}

func addDeliveryFlags(fs *pflag.FlagSet, prefix string, d *knarr.AuditDelivery) {
	fs.StringVar(&d.Mode, prefix+"mode", d.Mode, `"batch" keeps events until there are many, "blocking" has requests wait, "blocking-strict" refuses those that cannot be recorded`)
	fs.StringVar(&d.Version, prefix+"version", d.Version, "group and version of the events")
	b := &d.Batch
	fs.IntVar(&b.BufferSize, prefix+"batch-buffer-size", b.BufferSize, "how many events may wait; more are lost")
	fs.IntVar(&b.MaxBatchSize, prefix+"batch-max-size", b.MaxBatchSize, "how many events are a batch")
	fs.DurationVar(&b.MaxBatchWait, prefix+"batch-max-wait", b.MaxBatchWait, "how long events wait for a batch to fill")
	fs.BoolVar(&b.ThrottleEnable, prefix+"batch-throttle-enable", b.ThrottleEnable, "limit how many batches go out")
	fs.Float32Var(&b.ThrottleQPS, prefix+"batch-throttle-qps", b.ThrottleQPS, "how many go out a second")
	fs.IntVar(&b.ThrottleBurst, prefix+"batch-throttle-burst", b.ThrottleBurst, "how many may go out at once")
	fs.BoolVar(&d.TruncateEnabled, prefix+"truncate-enabled", d.TruncateEnabled, "take what is largest out of events that are too large")
	fs.Int64Var(&d.Truncate.MaxBatchSize, prefix+"truncate-max-batch-size", d.Truncate.MaxBatchSize, "bytes from which a batch is divided")
	fs.Int64Var(&d.Truncate.MaxEventSize, prefix+"truncate-max-event-size", d.Truncate.MaxEventSize, "bytes from which an event is too large")
}
