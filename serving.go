package knarr

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/klog/v2"
)

// NamedCertKey is a certificate for those who ask for certain names.
type NamedCertKey struct {
	// Names are domains, the first label of which may be *, and addresses of the
	// server. If there are none, the certificate's count.
	Names             []string
	CertFile, KeyFile string
}

// checkServing checks the options about connections.
func (o *Options) checkServing() error {
	switch {
	case (o.TLSCertFile == "") != (o.TLSPrivateKeyFile == ""):
		return errors.New("a serving certificate needs both its file and its key's file")
	case o.GoawayChance < 0 || o.GoawayChance > 0.02:
		return errors.New("--goaway-chance can not be less than 0 or greater than 0.02")
	case o.HTTP2MaxStreamsPerConnection < 0:
		return errors.New("--http2-max-streams-per-connection must not be negative; 0 is the default")
	}
	if err := checkOrigins(o.CORSAllowedOrigins); err != nil {
		return err
	}
	for _, d := range o.StrictTransportSecurityDirectives {
		if age, ok := strings.CutPrefix(d, "max-age="); d != "includeSubDomains" && d != "preload" && (!ok || age == "" || strings.Contains(age, "=")) {
			return fmt.Errorf("--strict-transport-security-directives has %q; allowed are max-age=SECONDS, includeSubDomains and preload", d)
		}
	}
	_, err := o.tlsConfig()
	return err
}

// checkOrigins checks that expressions are such, and that each is for whole hosts:
// it matches something before them and something after (CVE-2022-1996).
func checkOrigins(origins []string) error {
	for _, origin := range origins {
		if _, err := regexp.Compile(origin); err != nil {
			return fmt.Errorf("--cors-allowed-origins has %q, which is no expression: %w", origin, err)
		}
		begins, ends := strings.Contains(origin, "^") || strings.Contains(origin, "//"), strings.ContainsAny(origin, "$:")
		if !begins || !ends {
			return fmt.Errorf("--cors-allowed-origins has %q, which would match parts of hosts: pin it to their start by // or ^, and to their end by $ or (:|$)", origin)
		}
	}
	return nil
}

// tlsConfig is what all connections have in common.
func (o *Options) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{
		ClientAuth: tls.RequestClientCert, // verified by authn, which answers 401
		NextProtos: []string{"h2", "http/1.1"},
	}
	if o.DisableHTTP2Serving {
		config.NextProtos = []string{"http/1.1"}
	}
	var err error
	if config.MinVersion, err = cliflag.TLSVersion(o.TLSMinVersion); err != nil {
		return nil, err
	}
	if config.CipherSuites, err = cliflag.TLSCipherSuites(o.TLSCipherSuites); err != nil {
		return nil, err
	}
	if config.CurvePreferences, err = cliflag.TLSCurvePreferences(o.TLSCurvePreferences); err != nil {
		return nil, err
	}
	for name, id := range cliflag.InsecureTLSCiphers() {
		if slices.Contains(config.CipherSuites, id) {
			klog.InfoS("A cipher suite that is not secure is offered", "name", name)
		}
	}
	if required := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}; !o.DisableHTTP2Serving &&
		config.CipherSuites != nil && config.MinVersion < tls.VersionTLS13 && !slices.ContainsFunc(config.CipherSuites, func(id uint16) bool { return slices.Contains(required, id) }) {
		return nil, fmt.Errorf("HTTP/2 needs a cipher suite that --tls-cipher-suites lacks: %s or %s", tls.CipherSuiteName(required[0]), tls.CipherSuiteName(required[1]))
	}
	return config, nil
}

// serve begins to accept connections.
func (s *Server) serve(handler http.Handler, certs *certificates) {
	base := certs.serving.Load().Clone()
	base.GetConfigForClient = certs.configFor
	streams := s.options.HTTP2MaxStreamsPerConnection
	if streams == 0 {
		streams = 250
	}
	s.http = &http.Server{
		Handler:   s.requests.around(withGoaway(handler, s.options.GoawayChance)),
		TLSConfig: base,
		// Upstream's limits, but for streams, of which it allows 100.
		MaxHeaderBytes:    1 << 20,
		IdleTimeout:       90 * time.Second,
		ReadHeaderTimeout: 32 * time.Second,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: streams, MaxReceiveBufferPerStream: 1 << 20},
		ErrorLog:          log.New(httpLog{}, "", 0),
	}
	if s.options.DisableHTTP2Serving {
		s.http.Protocols = &http.Protocols{}
		s.http.Protocols.SetHTTP1(true)
	}
	go func() {
		defer close(s.served)
		if err := s.http.ServeTLS(yielding{s.listener}, "", ""); !errors.Is(err, http.ErrServerClosed) {
			s.serveErr = err
		}
	}()
}

// withGoaway asks clients of HTTP/2 to connect anew after some of their requests, so
// that those of several servers behind one address spread again.
func withGoaway(next http.Handler, chance float64) http.Handler {
	if chance == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && rand.Float64() < chance {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// httpLog takes what net/http says about single connections, which is of use
// only to those who look closely.
type httpLog struct{}

func (httpLog) Write(p []byte) (int, error) {
	klog.V(3).Info(string(p))
	return len(p), nil
}
