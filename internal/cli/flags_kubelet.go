package cli

import (
	"github.com/spf13/pflag"

	"github.com/knarr-io/knarr"
)

// addKubeletFlags adds kube-apiserver's flags about how kubelets are reached.
func addKubeletFlags(fs *pflag.FlagSet, k *knarr.KubeletOptions) {
	k.Port = 10250
	fs.StringVar(&k.ClientCertificate, "kubelet-client-certificate", "", "certificate that kubelets know the server by")
	fs.StringVar(&k.ClientKey, "kubelet-client-key", "", "key of --kubelet-client-certificate")
	fs.StringVar(&k.CertificateAuthority, "kubelet-certificate-authority", "", "authorities of kubelets' certificates; without, any kubelet is believed")
	fs.StringSliceVar(&k.PreferredAddressTypes, "kubelet-preferred-address-types", []string{"Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP"}, "which of a node's addresses its kubelet is reached at: the first that it has")
	fs.UintVar(&k.Port, "kubelet-port", k.Port, "port of kubelets whose node does not say")
	_ = fs.MarkDeprecated("kubelet-port", "nodes say where their kubelet is") // it is there
}
