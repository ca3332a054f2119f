package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// idle is a flag of a program that knarr stands in for which is taken and does
// nothing, since whatever it says, no answer would be another.
type idle struct {
	name string
	// values are those it may have; empty for any.
	values []string
	// why it can do nothing.
	why string
}

var (
	yesNo    = []string{"true", "false"}
	onlyTrue = []string{"true"}
)

// ofAPIServer are flags of kube-apiserver.
var ofAPIServer = []idle{
	{"apiserver-count", nil, "for a way to keep endpoints that is gone"},
	{"contention-profiling", yesNo, "there are no profiles"},
	{"default-watch-cache-size", nil, "there is no watch cache: watches read the history"},
	{"delete-collection-workers", nil, "how fast, not what"},
	{"enable-garbage-collector", onlyTrue, "finalizers for it are kept"},
	{"endpoint-reconciler-type", []string{"lease"}, "there is one server"},
	{"etcd-compaction-interval", nil, "there is no etcd"},
	{"etcd-count-metric-poll-period", nil, "there is no etcd"},
	{"etcd-db-metric-poll-interval", nil, "there is no etcd"},
	{"etcd-healthcheck-timeout", nil, "there is no etcd"},
	{"etcd-prefix", nil, "nobody else sees the keys"},
	{"etcd-readycheck-timeout", nil, "there is no etcd"},
	{"kubelet-read-only-port", nil, "nothing is asked there"},
	{"kubelet-timeout", nil, "nothing waits for it, in kube-apiserver neither"},
	{"kubernetes-service-node-port", []string{"0"}, "the Service has none"},
	{"lease-reuse-duration-seconds", nil, "there is no etcd"},
	{"livez-grace-period", nil, "it serves when it is ready"},
	{"log-flush-frequency", nil, "about the log"},
	{"log-text-info-buffer-size", nil, "about the log"},
	{"log-text-split-stream", yesNo, "about the log"},
	{"logging-format", nil, "about the log"},
	{"max-connection-bytes-per-sec", []string{"0"}, "there is no limit"},
	{"profiling", yesNo, "there are no profiles"},
	{"storage-backend", []string{"etcd3"}, "the only one there is"},
	{"storage-initialization-timeout", nil, "memory is there at once"},
	{"storage-media-type", nil, "nobody else sees the values"},
	{"watch-cache", yesNo, "there is no watch cache: watches read the history"},
	{"watch-cache-sizes", nil, "there is no watch cache: watches read the history"},
}

// ofEtcd are flags of etcd.
var ofEtcd = []idle{
	{"advertise-client-urls", nil, "there are no others to be told"},
	{"auto-compaction-mode", nil, "nothing is kept"},
	{"auto-compaction-retention", nil, "nothing is kept"},
	{"data-dir", nil, "nothing is kept"},
	{"election-timeout", nil, "there are no others"},
	{"heartbeat-interval", nil, "there are no others"},
	{"initial-advertise-peer-urls", nil, "there are no others to be told"},
	{"initial-cluster", nil, "there are no others"},
	{"initial-cluster-state", nil, "there are no others"},
	{"initial-cluster-token", nil, "there are no others"},
	{"listen-peer-urls", nil, "there are no others"},
	{"log-level", nil, "about the log"},
	{"log-outputs", nil, "about the log"},
	{"logger", nil, "about the log"},
	{"max-request-bytes", nil, "nothing is kept"},
	{"name", nil, "there are no others to be told"},
	{"quota-backend-bytes", nil, "nothing is kept"},
	{"snapshot-count", nil, "nothing is kept"},
	{"unsafe-no-fsync", yesNo, "nothing is kept"},
	{"wal-dir", nil, "nothing is kept"},
}

// addIdle adds flags that do nothing, and says so of them.
func addIdle(fs *pflag.FlagSet, all []idle) {
	for _, f := range all {
		usage := "taken, does nothing: " + f.why
		if len(f.values) == 1 {
			usage = fmt.Sprintf("only %q: %s", f.values[0], f.why)
		}
		flag := fs.VarPF(&idleValue{of: f}, f.name, "", usage)
		if slices.Contains(f.values, "true") {
			flag.NoOptDefVal = "true"
		}
	}
}

// idleValue is the value of an idle flag.
type idleValue struct {
	of    idle
	given string
}

func (v *idleValue) Set(s string) error {
	if len(v.of.values) > 0 && !slices.Contains(v.of.values, s) {
		return fmt.Errorf("knarr has only %s here; leave the flag out", strings.Join(v.of.values, " and "))
	}
	v.given = s
	return nil
}

func (v *idleValue) String() string { return v.given }
func (v *idleValue) Type() string   { return "value" }
