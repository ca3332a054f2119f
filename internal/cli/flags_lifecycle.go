package cli

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/knarr-io/knarr"
)

// addLifecycleFlags adds the flags of kube-controller-manager about what is removed by
// itself.
func addLifecycleFlags(fs *pflag.FlagSet, o *knarr.Options) {
	fs.IntVar(&o.TerminatedPodGCThreshold, "terminated-pod-gc-threshold", 12500, "how many pods that have ended are kept; 0 for any number")
	fs.DurationVar(&o.LegacyServiceAccountTokenCleanUpPeriod, "legacy-service-account-token-clean-up-period", 365*24*time.Hour, "how long a token of a service account in a Secret that was made by itself stays unused until it is marked as invalid, and then until it is removed")
}
