package pki

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// In memory: the server's and a client's certificates work over TLS, both ways.
func TestNewServesTLS(t *testing.T) {
	b, err := New(Options{Hosts: Hosts(net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1))})
	if err != nil {
		t.Fatal(err)
	}
	jane, err := b.CA.IssueClient("jane", "dev", "ops")
	if err != nil {
		t.Fatal(err)
	}

	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		subject := r.TLS.VerifiedChains[0][0].Subject
		groups := slices.Sorted(slices.Values(subject.Organization))
		io.WriteString(w, subject.CommonName+" "+strings.Join(groups, ","))
	}))
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{b.Serving.TLS()},
		ClientCAs:    b.CA.Pool(),
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}
	server.StartTLS()
	defer server.Close()

	for _, c := range []struct {
		pair *Pair
		want string
	}{
		{b.Admin, "kubernetes-admin system:masters"},
		{jane, "jane dev,ops"},
	} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs:      b.CA.Pool(),
			Certificates: []tls.Certificate{c.pair.TLS()},
		}}
		resp, err := (&http.Client{Transport: transport}).Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		transport.CloseIdleConnections()
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != c.want {
			t.Errorf("the server saw %q, want %q", got, c.want)
		}
	}
}

func TestCertificates(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	b, err := New(Options{Hosts: []string{"localhost", "10.0.0.1", "::1"}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	ca, serving, admin := b.CA.pair.Leaf(), b.Serving.Leaf(), b.Admin.Leaf()
	for _, c := range []struct {
		name     string
		cert     *x509.Certificate
		validity time.Duration
	}{
		{"ca", ca, 3650 * day},
		{"serving", serving, 365 * day},
		{"admin", admin, 365 * day},
	} {
		if got := c.cert.NotAfter.Sub(now); got != c.validity {
			t.Errorf("%s is valid for %v, want %v", c.name, got, c.validity)
		}
		if got := now.Sub(c.cert.NotBefore); got != backdate {
			t.Errorf("%s is valid since %v ago, want %v", c.name, got, backdate)
		}
	}
	for _, host := range []string{"localhost", "10.0.0.1", "::1"} {
		if err := serving.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	verify := func(cert *x509.Certificate, b *Bundle, usage x509.ExtKeyUsage) error {
		_, err := cert.Verify(x509.VerifyOptions{Roots: b.CA.Pool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	for _, c := range []struct {
		name string
		err  error
		ok   bool
	}{
		{"serving serves", verify(serving, b, x509.ExtKeyUsageServerAuth), true},
		{"serving is no client", verify(serving, b, x509.ExtKeyUsageClientAuth), false},
		{"admin is a client", verify(admin, b, x509.ExtKeyUsageClientAuth), true},
		{"admin does not serve", verify(admin, b, x509.ExtKeyUsageServerAuth), false},
		{"admin is unknown elsewhere", verify(admin, other, x509.ExtKeyUsageClientAuth), false},
	} {
		if (c.err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, c.err)
		}
	}
	if _, err := b.CA.IssueClient(""); err == nil {
		t.Error("a client certificate without a name was issued")
	}
}

func TestHosts(t *testing.T) {
	always := []string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		"localhost", "127.0.0.1", "::1",
	}
	for _, c := range []struct {
		name          string
		bind, service string
		want          []string
	}{
		{"loopback", "127.0.0.1", "10.0.0.1", []string{"10.0.0.1"}},
		{"an address", "192.0.2.7", "fd00::1", []string{"192.0.2.7", "fd00::1"}},
		{"nothing more", "", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Hosts(net.ParseIP(c.bind), net.ParseIP(c.service))
			for _, want := range append(slices.Clone(always), c.want...) {
				if !slices.Contains(got, want) {
					t.Errorf("%v lacks %s", got, want)
				}
			}
			if sorted := slices.Sorted(slices.Values(got)); len(slices.Compact(sorted)) != len(got) {
				t.Errorf("%v has duplicates", got)
			}
			name, err := os.Hostname()
			extra := len(got) - len(always) - len(c.want)
			if extra != 0 && !(extra == 1 && err == nil && slices.Contains(got, strings.ToLower(name))) {
				t.Errorf("%v has more than asked for", got)
			}
		})
	}
	// Every address: what the machine has, not 0.0.0.0 itself.
	got := Hosts(net.IPv4zero, nil)
	if slices.Contains(got, "0.0.0.0") {
		t.Errorf("%v holds the unspecified address", got)
	}
	for _, ip := range interfaceAddresses() {
		if !slices.Contains(got, ip.String()) {
			t.Errorf("%v lacks %s", got, ip)
		}
	}
	if _, err := New(Options{Hosts: got}); err != nil {
		t.Error(err)
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		if _, err := New(Options{Hosts: []string{"localhost"}}); err != nil {
			b.Fatal(err)
		}
	}
}
