package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Named is a pair that a server shows to those who ask for certain names.
type Named struct {
	*Pair
	// Names are domains, the first label of which may be *, and addresses of
	// the server. If there are none, those of the certificate count.
	Names []string
}

// names are those that the pair is for, as upstream takes them from a certificate:
// no addresses, as clients do not ask for them.
func (n Named) names() []string {
	if len(n.Names) > 0 {
		return n.Names
	}
	var names []string
	cn := n.Leaf().Subject.CommonName
	if net.ParseIP(cn) == nil && (cn == "*" || len(validation.IsDNS1123Subdomain(strings.TrimPrefix(cn, "*."))) == 0) {
		names = append(names, cn)
	}
	return append(names, n.Leaf().DNSNames...)
}

// ServerConfig completes base with certificates: one of named for a client who asks
// for its name, or comes to its address without asking, and serving for others.
// Names that are told win over those of certificates, and the first over
// later ones. The authorities are those that clients may have certificates of;
// their chains are not verified here.
func ServerConfig(base *tls.Config, serving *Pair, named []Named, authorities *x509.CertPool) *tls.Config {
	config := base.Clone()
	config.ClientCAs = authorities
	config.Certificates = []tls.Certificate{serving.TLS()}
	if len(named) == 0 {
		return config
	}
	byName := map[string]*tls.Certificate{}
	for _, told := range []bool{true, false} {
		for _, n := range named {
			if (len(n.Names) > 0) != told {
				continue
			}
			pair := n.TLS()
			config.Certificates = append(config.Certificates, pair) // for who asks for none of the names
			for _, name := range n.names() {
				if byName[name] == nil {
					byName[name] = &pair
				}
			}
		}
	}
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		name := strings.ToLower(hello.ServerName)
		if pair := byName[name]; pair != nil {
			return pair, nil
		}
		if _, rest, ok := strings.Cut(name, "."); ok {
			return byName["*."+rest], nil // or what fits best
		}
		return byName["*"], nil
	}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName != "" {
			return nil, nil
		}
		host, _, err := net.SplitHostPort(hello.Conn.LocalAddr().String())
		pair := byName[host]
		if err != nil || pair == nil {
			return nil, nil
		}
		its := config.Clone()
		its.Certificates, its.GetCertificate = []tls.Certificate{*pair}, nil
		return its, nil
	}
	return config
}
