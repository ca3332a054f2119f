package knarr

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/features"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
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
	// authorities are those of whom it believes.
	authorities authorities
	// believed are those that it believes; nil for none.
	believed *authn.FrontProxies
	headers  bootstrap.FrontProxies // without authorities
}

// told is what others are told of them.
func (p *frontProxies) told() bootstrap.FrontProxies {
	told := p.headers
	told.CA = p.authorities.pem()
	return told
}

// ownFrontProxies reports whether the certificates of front proxies are made.
func (o *Options) ownFrontProxies() bool {
	return o.ProxyClientCertFile == "" && o.RequestHeaderClientCAFile == ""
}

// loadFrontProxies makes or reads the certificates. Authorities in a file are read by
// who has read those of clients.
func loadFrontProxies(o *Options) (*frontProxies, error) {
	p := &frontProxies{headers: bootstrap.FrontProxies{
		Names: o.RequestHeaderAllowedNames, UsernameHeaders: o.RequestHeaderUsernameHeaders, UIDHeaders: o.RequestHeaderUIDHeaders,
		GroupHeaders: o.RequestHeaderGroupHeaders, ExtraHeaderPrefixes: o.RequestHeaderExtraHeadersPrefix,
	}}
	if err := p.load(o); err != nil {
		return nil, err
	}
	if h := &p.headers; o.ownFrontProxies() || o.RequestHeaderClientCAFile != "" {
		p.believed = &authn.FrontProxies{
			CAs: p.authorities.pool, Names: h.Names,
			UsernameHeaders: trimmed(h.UsernameHeaders), UIDHeaders: trimmed(h.UIDHeaders),
			GroupHeaders: trimmed(h.GroupHeaders), ExtraHeaderPrefixes: trimmed(h.ExtraHeaderPrefixes),
		}
	}
	return p, nil
}

// load fills in what is made, and what the server shows others.
func (p *frontProxies) load(o *Options) error {
	if o.ownFrontProxies() {
		made, err := o.makeFrontProxies()
		if err != nil {
			return err
		}
		p.certPEM, p.keyPEM = made.Client.CertPEM, made.Client.KeyPEM
		byDefault(&p.headers.Names, pki.FrontProxyUser)
		byDefault(&p.headers.UsernameHeaders, "X-Remote-User")
		byDefault(&p.headers.GroupHeaders, "X-Remote-Group")
		byDefault(&p.headers.ExtraHeaderPrefixes, "X-Remote-Extra-")
		authorities, err := newTrusted("", made.CA.Certificate())
		p.authorities.now.Store(authorities)
		return err
	}
	if o.ProxyClientCertFile != "" {
		pair, err := pki.ReadPair(o.ProxyClientCertFile, o.ProxyClientKeyFile)
		if err != nil {
			return err
		}
		p.certPEM, p.keyPEM = pair.CertPEM, pair.KeyPEM
	}
	return nil
}

func (o *Options) makeFrontProxies() (*pki.FrontProxies, error) {
	if dir := o.pkiDir(); dir != "" {
		return pki.LoadFrontProxies(dir, pki.Options{})
	}
	return pki.NewFrontProxies(pki.Options{})
}

// apart refuses authorities of front proxies which are those of others too, where it
// is not said which names are front proxies': anyone could tell that he is someone
// else.
func apart(clients, proxies *trusted) error {
	for _, c := range clients.all {
		if slices.ContainsFunc(proxies.all, c.Equal) {
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
