package cli

import (
	"strings"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/knarr-io/knarr"
)

// tlsFlags are the flags about connections where they differ in form from the options
// that they become.
type tlsFlags struct {
	named []cliflag.NamedCertKey
}

func (f *tlsFlags) addTo(fs *pflag.FlagSet, o *knarr.Options) {
	fs.StringVar(&o.CertDir, "cert-dir", o.CertDir, "directory for certificates (default <data-dir>/pki)")
	fs.StringVar(&o.TLSCertFile, "tls-cert-file", o.TLSCertFile, "serving certificate to use instead of one that is made")
	fs.StringVar(&o.TLSPrivateKeyFile, "tls-private-key-file", o.TLSPrivateKeyFile, "key of --tls-cert-file")
	fs.StringVar(&o.ProxyClientCertFile, "proxy-client-cert-file", o.ProxyClientCertFile, "client certificate that proves this server to those that it passes requests on to, instead of one that is made")
	fs.StringVar(&o.ProxyClientKeyFile, "proxy-client-key-file", o.ProxyClientKeyFile, "key of --proxy-client-cert-file")
	fs.Var(cliflag.NewNamedCertKeyArray(&f.named), "tls-sni-cert-key", "certificate and key for those who ask for certain names: cert,key or cert,key:name,*.name; may be given again")
	fs.StringVar(&o.TLSMinVersion, "tls-min-version", o.TLSMinVersion, "oldest TLS to speak: "+strings.Join(cliflag.TLSPossibleVersions(), ", ")+" (default VersionTLS12)")
	fs.StringSliceVar(&o.TLSCipherSuites, "tls-cipher-suites", o.TLSCipherSuites, "cipher suites of TLS 1.2, by name (default Go's)")
	fs.Int32SliceVar(&o.TLSCurvePreferences, "tls-curve-preferences", o.TLSCurvePreferences, "what keys may be exchanged by, as numbers of Go's crypto/tls (default Go's)")
	fs.BoolVar(&o.DisableHTTP2Serving, "disable-http2-serving", o.DisableHTTP2Serving, "speak HTTP/1.1 only")
	fs.IntVar(&o.HTTP2MaxStreamsPerConnection, "http2-max-streams-per-connection", o.HTTP2MaxStreamsPerConnection, "how many requests of an HTTP/2 connection may run at once (default 250)")
	fs.Float64Var(&o.GoawayChance, "goaway-chance", o.GoawayChance, "share of requests, up to 0.02, after which clients of HTTP/2 are asked to connect anew")
	fs.StringSliceVar(&o.CORSAllowedOrigins, "cors-allowed-origins", o.CORSAllowedOrigins, "expressions for the origins of web pages that browsers let see answers, such as ^https://example\\.com$ (default none)")
	fs.StringSliceVar(&o.StrictTransportSecurityDirectives, "strict-transport-security-directives", o.StrictTransportSecurityDirectives, "what browsers are told of HSTS: max-age=SECONDS, includeSubDomains, preload (default nothing)")
}

// complete turns the flags into options.
func (f *tlsFlags) complete(o *knarr.Options) {
	for _, n := range f.named {
		o.TLSSNICertKeys = append(o.TLSSNICertKeys, knarr.NamedCertKey(n))
	}
}
