package authn

import (
	"crypto/x509"
	"net/http"
	"reflect"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/knarr-io/knarr/internal/pki"
)

func TestFrontProxies(t *testing.T) {
	b := bundle(t)
	proxies, err := pki.NewFrontProxies(pki.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := proxies.CA.IssueClient("stranger")
	if err != nil {
		t.Fatal(err)
	}
	authenticate := func(names []string, headers ...string) func(certs ...*x509.Certificate) (user.Info, http.Header, error) {
		auth, err := New(Options{ClientCAs: fixed(b.CA.Pool()), Anonymous: anyone, FrontProxies: &FrontProxies{
			CAs: fixed(proxies.CA.Pool()), Names: names,
			UsernameHeaders: []string{"X-Remote-User", "X-Who"}, UIDHeaders: []string{"X-Remote-Uid"},
			GroupHeaders: []string{"X-Remote-Group"}, ExtraHeaderPrefixes: []string{"X-Remote-Extra-", "X-More-"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return func(certs ...*x509.Certificate) (user.Info, http.Header, error) {
			r := request(certs, headers...)
			answer, ok, err := auth.AuthenticateRequest(r)
			if !ok {
				return nil, r.Header, err
			}
			return answer.User, r.Header, err
		}
	}
	told := []string{
		"X-Remote-User", "ann", "X-Remote-Uid", "u1", "X-Remote-Group", "dev", "X-Remote-Group", "ops",
		"X-Remote-Extra-Acme.com%2fProject", "p", "X-More-Scopes", "a", "X-More-Scopes", "b", "X-Who", "bob", "Accept", "*/*",
	}
	proxy, allowed := proxies.Client.Leaf(), []string{"front-proxy-client"}
	for _, c := range []struct {
		name    string
		names   []string
		headers []string
		cert    *x509.Certificate
		want    *user.DefaultInfo // nil: refused
	}{
		{"a front proxy", allowed, told, proxy, &user.DefaultInfo{
			Name: "ann", UID: "u1", Groups: []string{"dev", "ops", "system:authenticated"},
			Extra: map[string][]string{"acme.com/project": {"p"}, "scopes": {"a", "b"}},
		}},
		{"the second header", allowed, []string{"X-Who", "bob"}, proxy, &user.DefaultInfo{Name: "bob", Groups: []string{"system:authenticated"}, Extra: map[string][]string{}}},
		{"another name", allowed, told, stranger.Leaf(), nil},
		{"any name", nil, []string{"X-Remote-User", "ann"}, stranger.Leaf(), &user.DefaultInfo{Name: "ann", Groups: []string{"system:authenticated"}, Extra: map[string][]string{}}},
		{"who tells no name", allowed, []string{"X-Remote-Group", "system:masters"}, proxy, nil},
		{"no certificate", allowed, told, nil, &user.DefaultInfo{Name: "system:anonymous", Groups: []string{"system:unauthenticated"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var certs []*x509.Certificate
			if c.cert != nil {
				certs = append(certs, c.cert)
			}
			who, left, err := authenticate(c.names, c.headers...)(certs...)
			if c.want == nil {
				if who != nil || err == nil {
					t.Fatalf("%v, %v; want an error", who, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := (&user.DefaultInfo{Name: who.GetName(), UID: who.GetUID(), Groups: who.GetGroups(), Extra: who.GetExtra()}); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
			delete(left, "Accept")
			if len(left) > 0 {
				t.Errorf("headers left: %v", left)
			}
		})
	}
	// A user's own certificate counts, whatever headers there are.
	who, left, err := authenticate(allowed, told...)(b.Admin.Leaf())
	if err != nil || who.GetName() != "kubernetes-admin" || len(left) != 1 {
		t.Errorf("%v, %v, %v", who, left, err)
	}
}

// Who is nobody with a certificate that is no front proxy's is refused, as upstream
// does.
func TestCertificateWithoutName(t *testing.T) {
	proxies, err := pki.NewFrontProxies(pki.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ca, key := authority(t, "ca", nil, nil, time.Now().Add(time.Hour))
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	nameless, _ := issue(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotAfter: time.Now().Add(time.Hour)}, ca, key)
	for _, c := range []struct {
		name    string
		proxies *FrontProxies
		certs   []*x509.Certificate
		want    bool
	}{
		{"no front proxies", nil, certs(nameless), true},
		{"front proxies", &FrontProxies{CAs: fixed(proxies.CA.Pool()), UsernameHeaders: []string{"X-Remote-User"}}, certs(nameless), false},
		{"a front proxy itself", &FrontProxies{CAs: fixed(proxies.CA.Pool()), UsernameHeaders: []string{"X-Remote-User"}}, certs(proxies.Client.Leaf()), false}, // no authority of clients knows it
		{"no certificate", &FrontProxies{CAs: fixed(proxies.CA.Pool()), UsernameHeaders: []string{"X-Remote-User"}}, nil, true},
	} {
		auth, err := New(Options{ClientCAs: fixed(pool), Anonymous: anyone, FrontProxies: c.proxies})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok, err := auth.AuthenticateRequest(request(c.certs)); ok != c.want || (err == nil) != c.want {
			t.Errorf("%s: %v, %v", c.name, ok, err)
		}
	}
}
