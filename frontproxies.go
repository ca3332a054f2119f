package knarr

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/features"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/util/cert"
	"k8s.io/klog/v2"

	"github.com/knarr-io/knarr/internal/auth/authn"
	"github.com/knarr-io/knarr/internal/bootstrap"
	"github.com/knarr-io/knarr/internal/pki"
)

// frontProxies is how this server tells others who asks, and believes those that
// tell it.
type frontProxies struct {
	// certPEM and keyPEM are what it shows others; empty for nothing.
	certPEM, keyPEM []byte
	// believed are those that it believes; nil for none.
	believed *authn.FrontProxies
	// told is what others are told of them.
	told bootstrap.FrontProxies
}

// ownFrontProxies reports whether the certificates of front proxies are made.
func (o *Options) ownFrontProxies() bool {
	return o.ProxyClientCertFile == "" && o.RequestHeaderClientCAFile == ""
}

// loadFrontProxies makes or reads the certificates.
func loadFrontProxies(o *Options) (*frontProxies, error) {
	p := &frontProxies{told: bootstrap.FrontProxies{
		Names: o.RequestHeaderAllowedNames, UsernameHeaders: o.RequestHeaderUsernameHeaders, UIDHeaders: o.RequestHeaderUIDHeaders,
		GroupHeaders: o.RequestHeaderGroupHeaders, ExtraHeaderPrefixes: o.RequestHeaderExtraHeadersPrefix,
	}}
	authorities, err := p.load(o)
	if err != nil || authorities == nil {
		return p, err
	}
	p.believed = &authn.FrontProxies{
		CAs: func() *x509.CertPool { return authorities }, Names: p.told.Names,
		UsernameHeaders: trimmed(p.told.UsernameHeaders), UIDHeaders: trimmed(p.told.UIDHeaders),
		GroupHeaders: trimmed(p.told.GroupHeaders), ExtraHeaderPrefixes: trimmed(p.told.ExtraHeaderPrefixes),
	}
	return p, nil
}

// load fills in what is made or read, and returns the authorities to believe.
func (p *frontProxies) load(o *Options) (*x509.CertPool, error) {
	if o.ownFrontProxies() {
		made, err := o.makeFrontProxies()
		if err != nil {
			return nil, err
		}
		p.certPEM, p.keyPEM, p.told.CA = made.Client.CertPEM, made.Client.KeyPEM, made.CA.CertPEM()
		byDefault(&p.told.Names, pki.FrontProxyUser)
		byDefault(&p.told.UsernameHeaders, "X-Remote-User")
		byDefault(&p.told.GroupHeaders, "X-Remote-Group")
		byDefault(&p.told.ExtraHeaderPrefixes, "X-Remote-Extra-")
		return made.CA.Pool(), nil
	}
	if o.ProxyClientCertFile != "" {
		pair, err := pki.ReadPair(o.ProxyClientCertFile, o.ProxyClientKeyFile)
		if err != nil {
			return nil, err
		}
		p.certPEM, p.keyPEM = pair.CertPEM, pair.KeyPEM
	}
	if o.RequestHeaderClientCAFile == "" {
		return nil, nil
	}
	certs, err := pki.ReadCertificates(o.RequestHeaderClientCAFile)
	if err != nil {
		return nil, err
	}
	if p.told.CA, err = cert.EncodeCertificates(certs...); err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool, p.apart(o)
}

func (o *Options) makeFrontProxies() (*pki.FrontProxies, error) {
	if dir := o.pkiDir(); dir != "" {
		return pki.LoadFrontProxies(dir, pki.Options{})
	}
	return pki.NewFrontProxies(pki.Options{})
}

// apart refuses authorities of front proxies which are those of others too,
// unless it is said which names are front proxies': anyone could tell that he is
// someone else.
func (p *frontProxies) apart(o *Options) error {
	if o.ClientCAFile == "" || len(o.RequestHeaderAllowedNames) > 0 {
		return nil
	}
	clients, err := pki.ReadCertificates(o.ClientCAFile)
	if err != nil {
		return err
	}
	for _, c := range clients {
		one, err := cert.EncodeCertificates(c)
		if err != nil {
			return err
		}
		if bytes.Contains(p.told.CA, one) {
			return errors.New("--requestheader-client-ca-file and --client-ca-file contain overlapping certificates; --requestheader-allowed-names must be specified to ensure regular client certificates cannot set authenticating proxy headers for arbitrary users")
		}
	}
	return nil
}

// checkFrontProxies checks the options about front proxies. The process has its
// feature gates.
func (o *Options) checkFrontProxies() error {
	if (o.ProxyClientCertFile == "") != (o.ProxyClientKeyFile == "") {
		return errors.New("the certificate that proves this server to others needs both its file and its key's file")
	}
	for _, l := range []struct {
		flag     string
		list     []string
		standard string // without which servers that are aggregated do not know who asks
	}{
		{"requestheader-username-headers", o.RequestHeaderUsernameHeaders, "X-Remote-User"},
		{"requestheader-group-headers", o.RequestHeaderGroupHeaders, "X-Remote-Group"},
		{"requestheader-extra-headers-prefix", o.RequestHeaderExtraHeadersPrefix, "X-Remote-Extra-"},
		{"requestheader-allowed-names", o.RequestHeaderAllowedNames, ""},
		{"requestheader-uid-headers", o.RequestHeaderUIDHeaders, "X-Remote-Uid"},
	} {
		if slices.ContainsFunc(l.list, func(s string) bool { return strings.TrimSpace(s) == "" }) {
			return fmt.Errorf("empty value in %q", l.flag)
		}
		lacks := len(l.list) > 0 && l.standard != "" &&
			!slices.ContainsFunc(l.list, func(s string) bool { return strings.EqualFold(s, l.standard) })
		switch {
		case l.flag != "requestheader-uid-headers":
			if lacks {
				klog.ErrorS(nil, "API aggregation will not work without the standard header", "flag", l.flag, "header", l.standard)
			}
		case len(l.list) > 0 && !utilfeature.DefaultFeatureGate.Enabled(features.RemoteRequestHeaderUID):
			return fmt.Errorf("--%s requires the %q feature to be enabled", l.flag, features.RemoteRequestHeaderUID)
		case lacks:
			return fmt.Errorf("--%s is set without specifying the standard %s header - API aggregation will not work", l.flag, l.standard)
		}
	}
	return nil
}

func byDefault(list *[]string, value string) {
	if len(*list) == 0 {
		*list = []string{value}
	}
}

func trimmed(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, strings.TrimSpace(s))
	}
	return out
}
