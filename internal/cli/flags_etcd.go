package cli

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/knarr-io/knarr"
)

// etcdFlags are the flags of objects kept in etcd.
type etcdFlags struct {
	given      func() bool // --store is
	compaction time.Duration
}

func (f *etcdFlags) addTo(fs *pflag.FlagSet, o *knarr.Options) {
	e := &o.Etcd
	fs.StringSliceVar(&e.Servers, "etcd-servers", e.Servers, "URLs of etcd's servers, divided by commas, to keep objects there")
	fs.StringVar(&e.CAFile, "etcd-cafile", e.CAFile, "authority of the certificates of etcd's servers")
	fs.StringVar(&e.CertFile, "etcd-certfile", e.CertFile, "certificate to show etcd's servers")
	fs.StringVar(&e.KeyFile, "etcd-keyfile", e.KeyFile, "key of that certificate")
	fs.StringVar(&e.Prefix, "etcd-prefix", "/registry", "what all keys in etcd begin with")
	fs.DurationVar(&f.compaction, "etcd-compaction-interval", 5*time.Minute, "how often to remove old revisions from etcd; 0 leaves it to others")
	fs.DurationVar(&e.HealthcheckTimeout, "etcd-healthcheck-timeout", 2*time.Second, "how long etcd may take to answer until the server is told to be ill")
	fs.DurationVar(&e.ReadycheckTimeout, "etcd-readycheck-timeout", 2*time.Second, "how long etcd may take to answer until the server is told not to be ready")
	f.given = func() bool { return fs.Changed("store") }
}

// complete sets where objects are kept: if --store does not say, --etcd-servers does.
func (f *etcdFlags) complete(o *knarr.Options, store string) {
	o.Store = knarr.StoreKind(store)
	if len(o.Etcd.Servers) > 0 && !f.given() {
		o.Store = knarr.Etcd
	}
	if o.Etcd.CompactionInterval = f.compaction; f.compaction == 0 {
		o.Etcd.CompactionInterval = -1
	}
}
