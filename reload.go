package knarr

import (
	"context"

	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/auth/authn"
	"github.com/knarr-io/knarr/internal/bootstrap"
	"github.com/knarr-io/knarr/internal/filewatch"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/pki"
	"github.com/knarr-io/knarr/internal/verb"
)

// files are those that others may change while the server runs, as they were before
// they were read.
type files struct {
	serving, authorities, keys, proxyClient, authentication, kubelets *filewatch.Seen
}

func (o *Options) files() *files {
	pairs := []string{o.TLSCertFile, o.TLSPrivateKeyFile}
	for _, n := range o.TLSSNICertKeys {
		pairs = append(pairs, n.CertFile, n.KeyFile)
	}
	return &files{
		serving:        filewatch.See(pairs...),
		authorities:    filewatch.See(o.ClientCAFile, o.RequestHeaderClientCAFile),
		keys:           filewatch.See(append([]string{o.ServiceAccountSigningKeyFile}, o.ServiceAccountKeyFiles...)...),
		proxyClient:    filewatch.See(o.ProxyClientCertFile, o.ProxyClientKeyFile),
		authentication: filewatch.See(o.AuthenticationConfigFile),
		kubelets:       filewatch.See(o.Kubelet.ClientCertificate, o.Kubelet.ClientKey, o.Kubelet.CertificateAuthority),
	}
}

// followFiles uses what is in files when it has changed. Where there are none,
// nothing runs.
func (s *Server) followFiles(background context.Context, f *files, certs *certificates) {
	o := &s.options
	follow := func(seen *filewatch.Seen, changed func() error) {
		if !seen.Empty() {
			s.background.Go(func() { seen.Follow(background, changed) })
		}
	}
	follow(f.serving, certs.readServing)
	follow(f.authorities, func() error {
		if err := certs.readAuthorities(); err != nil {
			return err
		}
		return certs.readServing() // it names them
	})
	follow(f.keys, func() error {
		keys, err := readKeys(o)
		if err != nil {
			return err
		}
		return certs.issuer.SetKeys(keys)
	})
	follow(f.proxyClient, func() error {
		pair, err := pki.ReadPair(o.ProxyClientCertFile, o.ProxyClientKeyFile)
		if err != nil {
			return err
		}
		s.aggregation.connector.SetCertificate(pair.CertPEM, pair.KeyPEM)
		return nil
	})
	follow(f.kubelets, s.connections.Reload)
	follow(f.authentication, func() error {
		config, err := authn.ReadConfiguration(o.AuthenticationConfigFile, certs.issuer.Issuers)
		if err != nil {
			return err
		}
		return s.authenticator.Update(background, config)
	})
}

// keepTrust keeps what extension API servers are told, as it is now.
func (s *Server) keepTrust(background context.Context, verbs *verb.Verbs, catalogue *kind.Catalogue, first bootstrap.Options, certs *certificates) {
	for background.Err() == nil {
		ctx, cancel := context.WithCancel(background)
		changed := certs.told.next()
		s.background.Go(func() {
			defer cancel()
			select {
			case <-changed:
			case <-ctx.Done():
			}
		})
		first.ClientCA, first.FrontProxies = certs.clients.pem(), certs.proxies.told()
		bootstrap.KeepTrust(ctx, verbs, catalogue, first, clock.RealClock{})
		cancel()
	}
}
