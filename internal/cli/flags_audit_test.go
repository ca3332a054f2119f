package cli

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/knarr-io/knarr"
)

func TestAuditFlags(t *testing.T) {
	got, err := parse("--audit-policy-file=p",
		"--audit-log-path=l", "--audit-log-format=legacy", "--audit-log-maxage=1", "--audit-log-maxbackup=2", "--audit-log-maxsize=3", "--audit-log-compress",
		"--audit-log-mode=batch", "--audit-log-version=v", "--audit-log-batch-buffer-size=4", "--audit-log-batch-max-size=5", "--audit-log-batch-max-wait=6s",
		"--audit-log-batch-throttle-enable", "--audit-log-batch-throttle-qps=7", "--audit-log-batch-throttle-burst=8",
		"--audit-log-truncate-enabled", "--audit-log-truncate-max-batch-size=9", "--audit-log-truncate-max-event-size=10",
		"--audit-webhook-config-file=w", "--audit-webhook-initial-backoff=11s", "--audit-webhook-mode=blocking-strict", "--audit-webhook-batch-throttle-enable=false",
		"--audit-webhook-batch-buffer-size=12", "--audit-webhook-truncate-enabled")
	if err != nil {
		t.Fatal(err)
	}
	want := knarr.DefaultAudit()
	want.PolicyFile = "p"
	l, w := &want.Log, &want.Webhook
	l.Path, l.Format, l.MaxAge, l.MaxBackups, l.MaxSize, l.Compress = "l", "legacy", 1, 2, 3, true
	l.Mode, l.Version, l.Batch.BufferSize, l.Batch.MaxBatchSize, l.Batch.MaxBatchWait = "batch", "v", 4, 5, 6*time.Second
	l.Batch.ThrottleEnable, l.Batch.ThrottleQPS, l.Batch.ThrottleBurst = true, 7, 8
	l.TruncateEnabled, l.Truncate.MaxBatchSize, l.Truncate.MaxEventSize = true, 9, 10
	w.ConfigFile, w.InitialBackoff, w.Mode, w.Batch.ThrottleEnable = "w", 11*time.Second, "blocking-strict", false
	w.Batch.BufferSize, w.TruncateEnabled = 12, true
	if diff := cmp.Diff(want, got.Audit); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEncryptionFlags(t *testing.T) {
	got, err := parse("--encryption-provider-config=e", "--encryption-provider-config-automatic-reload")
	if err != nil {
		t.Fatal(err)
	}
	if got.EncryptionProviderConfig != "e" || !got.EncryptionProviderConfigAutomaticReload {
		t.Errorf("%+v", got)
	}
}
