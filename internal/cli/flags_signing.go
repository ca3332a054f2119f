package cli

import (
	"github.com/spf13/pflag"

	"github.com/knarr-io/knarr"
)

// addSigningFlags adds kube-controller-manager's flags about who signs certificates.
func addSigningFlags(fs *pflag.FlagSet, c *knarr.ClusterSigning) {
	for _, s := range []struct {
		name, signs string
		files       *knarr.SigningFiles
	}{
		{"", "all certificates that are asked for by CertificateSigningRequests", &c.SigningFiles},
		{"kube-apiserver-client-", "clients' certificates", &c.KubeAPIServerClient},
		{"kubelet-client-", "certificates that kubelets are clients by", &c.KubeletClient},
		{"kubelet-serving-", "certificates that kubelets serve with", &c.KubeletServing},
		{"legacy-unknown-", "certificates for kubernetes.io/legacy-unknown", &c.LegacyUnknown},
	} {
		cert, key := "cluster-signing-"+s.name+"cert-file", "cluster-signing-"+s.name+"key-file"
		fs.StringVar(&s.files.CertFile, cert, "", "authority that signs "+s.signs+", instead of this server's own")
		fs.StringVar(&s.files.KeyFile, key, "", "key of --"+cert)
	}
	fs.DurationVar(&c.Duration, "cluster-signing-duration", c.Duration, "how long certificates last at most that are asked for by CertificateSigningRequests")
}
