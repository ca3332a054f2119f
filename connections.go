package knarr

import (
	"net/netip"

	"github.com/knarr-io/knarr/internal/connect"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/verb"
)

// KubeletOptions say how kubelets are reached, as kube-apiserver's flags do.
type KubeletOptions struct {
	// ClientCertificate and ClientKey are files of what kubelets know the server
	// by; default nothing. CertificateAuthority has the authorities that kubelets'
	// certificates are of; without, any is believed. They are read again when they
	// change.
	ClientCertificate, ClientKey, CertificateAuthority string
	// PreferredAddressTypes are those of a node's addresses to use, in this order;
	// default Hostname, InternalDNS, InternalIP, ExternalDNS, ExternalIP.
	PreferredAddressTypes []string
	// Port is where kubelets listen whose node does not say; default 10250.
	Port uint
}

// connect has verbs connect clients to what is behind nodes, pods and Services.
func (s *Server) connect(verbs *verb.Verbs, catalogue *kind.Catalogue, ranges []netip.Prefix) (err error) {
	o := s.options.Kubelet
	s.connections, err = connect.New(verbs, catalogue, connect.Options{
		Dial: s.aggregation.connector.Dial, EndpointSlices: s.aggregation.resolver.EndpointSlices(), Family: family(ranges[0]),
		Kubelet: connect.KubeletOptions{
			CertFile: o.ClientCertificate, KeyFile: o.ClientKey, CAFile: o.CertificateAuthority,
			AddressTypes: o.PreferredAddressTypes, Port: int(o.Port),
		},
	})
	if err == nil {
		verbs.Connecters, verbs.Streams = s.connections.Connecters(), s.connections.Streams()
	}
	return err
}
