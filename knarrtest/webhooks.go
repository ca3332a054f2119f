package knarrtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// Webhooks is where the webhooks of a test are served: it has an address and a
// certificate for who serves them, and as an Option of a server it has that send
// there what it would send to Services: that of the configurations here, and
// conversions of custom resources whose definitions have a webhook.
//
//	hooks := knarrtest.NewWebhooks(t)
//	hooks.Paths = []string{"config/webhook"}
//	server := knarrtest.Start(t, knarrtest.CRDPaths("config/crd/bases"), hooks)
//
// The webhooks are then served at hooks.Host and hooks.Port, such as with
// controller-runtime's webhook.Options{Host: hooks.Host, Port: hooks.Port, CertDir: hooks.CertDir}.
type Webhooks struct {
	// Paths are files, or directories of YAML and JSON files, with configurations.
	// What else is in the files is passed over.
	Paths []string
	// Mutating and Validating are further configurations.
	Mutating   []*admissionv1.MutatingWebhookConfiguration
	Validating []*admissionv1.ValidatingWebhookConfiguration

	// Host and Port are a free address of this machine.
	Host string
	Port int
	// CertDir has the certificate for that address, tls.crt, and its key, tls.key.
	CertDir string
	// Certificate is the same, and CA what it is verified with, PEM.
	Certificate tls.Certificate
	CA          []byte
}

var _ Option = &Webhooks{}

// NewWebhooks returns an address and a certificate for the webhooks of a test.
func NewWebhooks(t testing.TB) *Webhooks {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	w := &Webhooks{Host: address.IP.String(), Port: address.Port, CertDir: t.TempDir()}
	certificate, key, err := selfSigned(address.IP)
	if err != nil {
		t.Fatal(err)
	}
	w.CA = certificate
	if w.Certificate, err = tls.X509KeyPair(certificate, key); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"tls.crt": certificate, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(w.CertDir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// selfSigned makes a certificate for an address, and its key, PEM.
func selfSigned(address net.IP) (certificate, key []byte, err error) {
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "webhooks"},
		NotBefore:   time.Now().Add(-time.Hour),
		NotAfter:    time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{address},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, made.Public(), made)
	if err != nil {
		return nil, nil, err
	}
	key, err = keyutil.MarshalPrivateKeyToPEM(made)
	return pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: der}), key, err
}

// Address is Host and Port, to listen on.
func (w *Webhooks) Address() string { return net.JoinHostPort(w.Host, strconv.Itoa(w.Port)) }

func (w *Webhooks) objects() ([]*object, error) {
	all, err := readAll(w.Paths, mutatingKind, validatingKind)
	if err != nil {
		return nil, err
	}
	mutating, err := given(mutatingKind, w.Mutating)
	if err != nil {
		return nil, err
	}
	validating, err := given(validatingKind, w.Validating)
	return append(append(all, mutating...), validating...), err
}

// change has an object's webhooks be here.
func (w *Webhooks) change(o *object) error {
	switch o.GroupVersionKind() {
	case definitionKind:
		config, ok, err := unstructured.NestedMap(o.Object, "spec", "conversion", "webhook", "clientConfig")
		if strategy, _, _ := unstructured.NestedString(o.Object, "spec", "conversion", "strategy"); err != nil || strategy != "Webhook" {
			return err
		}
		if !ok {
			config = map[string]any{}
		}
		if err := w.point(config, "/convert"); err != nil {
			return err
		}
		return unstructured.SetNestedMap(o.Object, config, "spec", "conversion", "webhook", "clientConfig")
	case mutatingKind, validatingKind:
		hooks, _, err := unstructured.NestedSlice(o.Object, "webhooks")
		if err != nil {
			return err
		}
		for _, h := range hooks {
			hook, ok := h.(map[string]any)
			if !ok {
				continue // the server says what is wrong
			}
			config, ok := hook["clientConfig"].(map[string]any)
			if !ok {
				config = map[string]any{}
				hook["clientConfig"] = config
			}
			if err := w.point(config, "/"); err != nil {
				return err
			}
		}
		return unstructured.SetNestedSlice(o.Object, hooks, "webhooks")
	}
	return nil
}

// point has a client configuration name this address in place of a Service, with its
// path. One that has a URL stays as it is.
func (w *Webhooks) point(config map[string]any, path string) error {
	if url, ok := config["url"].(string); ok && url != "" {
		return nil
	}
	if its, ok, err := unstructured.NestedString(config, "service", "path"); err != nil {
		return err
	} else if ok {
		path = its
	}
	delete(config, "service")
	config["url"] = "https://" + w.Address() + path
	config["caBundle"] = base64.StdEncoding.EncodeToString(w.CA)
	return nil
}
