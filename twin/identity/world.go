package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const staticTokens = `static-token,ann,ann-uid,"dev,ops"
static-plain,bob,bob-uid
`

// world is what both servers know of: authorities, keys, and processes beside them.
type world struct {
	dir       string
	clients   *authority // of users
	proxies   *authority // of front proxies
	stranger  *authority // nobody's
	keys      map[string]*ecdsa.PrivateKey
	provider  *providerClient
	certs     map[string]tls.Certificate
	flags     []string
	oidcFlags []string // in place of the configuration
	processes []*exec.Cmd
}

func newWorld(ctx context.Context, dir, provider string) (_ *world, err error) {
	w := &world{dir: dir, keys: map[string]*ecdsa.PrivateKey{}, certs: map[string]tls.Certificate{}}
	defer func() {
		if err != nil {
			w.stop()
		}
	}()
	for _, a := range []struct {
		to   **authority
		name string
	}{{&w.clients, "identity-ca"}, {&w.proxies, "identity-proxies"}, {&w.stranger, "stranger-ca"}} {
		if *a.to, err = newAuthority(a.name); err != nil {
			return nil, err
		}
	}
	if err := w.issue(); err != nil {
		return nil, err
	}
	for _, name := range []string{"known", "unknown"} {
		if w.keys[name], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	}
	der, err := x509.MarshalPKIXPublicKey(w.keys["known"].Public())
	if err != nil {
		return nil, err
	}
	keyFile, err := w.write("service-accounts.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		return nil, err
	}
	proxiesFile, err := w.write("proxies.crt", w.proxies.pem)
	if err != nil {
		return nil, err
	}
	issuer, err := w.start(ctx, provider, "-ca", filepath.Join(dir, "provider.crt"))
	if err != nil {
		return nil, err
	}
	if w.provider, err = newProviderClient(issuer, filepath.Join(dir, "provider.crt")); err != nil {
		return nil, err
	}
	webhook, err := w.startWebhook(ctx)
	if err != nil {
		return nil, err
	}
	config, err := w.write("authentication.yaml", []byte(fmt.Sprintf(configuration, issuer, w.provider.caJSON)))
	if err != nil {
		return nil, err
	}
	w.oidcFlags = []string{
		"--oidc-issuer-url=" + issuer, "--oidc-client-id=twin", "--oidc-ca-file=" + filepath.Join(dir, "provider.crt"),
		"--oidc-groups-claim=groups", "--oidc-groups-prefix=oidc:", "--oidc-required-claim=sub=ann", "--oidc-signing-algs=RS256,ES256",
	}
	w.flags = []string{
		"--authentication-config=" + config, "--authentication-token-webhook-config-file=" + webhook, "--authentication-token-webhook-version=v1",
		"--enable-bootstrap-token-auth", "--service-account-key-file=" + keyFile,
		"--requestheader-client-ca-file=" + proxiesFile, "--requestheader-uid-headers=X-Remote-Uid",
	}
	return w, nil
}

// headersOfProxies are what kube-apiserver is started with anyway.
var headersOfProxies = []string{
	"--requestheader-allowed-names=front-proxy-client", "--requestheader-username-headers=X-Remote-User",
	"--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
}

const configuration = `apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous: {enabled: true, conditions: [{path: /livez}, {path: /readyz}, {path: /version}]}
jwt:
- issuer: {url: %q, audiences: [twin], certificateAuthority: %s}
  claimMappings:
    username: {expression: '"oidc:" + claims.sub'}
    groups: {expression: 'claims.?groups.orValue([])'}
    uid: {expression: 'claims.?oid.orValue("")'}
    extra: [{key: example.com/tenant, valueExpression: 'claims.?tenant.orValue("")'}]
  claimValidationRules:
  - {expression: 'claims.?hd.orValue("example.com") == "example.com"', message: hd must be example.com}
  userValidationRules:
  - {expression: "!user.username.startsWith('oidc:system:')", message: reserved}
`

// issue makes the certificates that clients have.
func (w *world) issue() error {
	uid := func(values ...string) (names []pkix.AttributeTypeAndValue) {
		for _, v := range values {
			names = append(names, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 2}, Value: v})
		}
		return names
	}
	now := time.Now()
	for name, c := range map[string]struct {
		by      *authority
		subject pkix.Name
		change  func(*x509.Certificate)
	}{
		"jane":       {w.clients, pkix.Name{CommonName: "jane", Organization: []string{"dev", "ops"}}, nil},
		"no-groups":  {w.clients, pkix.Name{CommonName: "jane"}, nil},
		"no-name":    {w.clients, pkix.Name{Organization: []string{"dev"}}, nil},
		"admin":      {w.clients, pkix.Name{CommonName: "root", Organization: []string{"system:masters"}}, nil},
		"uid":        {w.clients, pkix.Name{CommonName: "jane", ExtraNames: uid("4711")}, nil},
		"two-uids":   {w.clients, pkix.Name{CommonName: "jane", ExtraNames: uid("1", "2")}, nil},
		"empty-uid":  {w.clients, pkix.Name{CommonName: "jane", ExtraNames: uid("")}, nil},
		"anonymous":  {w.clients, pkix.Name{CommonName: "system:anonymous", Organization: []string{"system:unauthenticated"}}, nil},
		"stranger":   {w.stranger, pkix.Name{CommonName: "jane", Organization: []string{"system:masters"}}, nil},
		"expired":    {w.clients, pkix.Name{CommonName: "jane"}, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }},
		"future":     {w.clients, pkix.Name{CommonName: "jane"}, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) }},
		"server":     {w.clients, pkix.Name{CommonName: "jane"}, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }},
		"no-usage":   {w.clients, pkix.Name{CommonName: "jane"}, func(c *x509.Certificate) { c.ExtKeyUsage = nil }},
		"unicode":    {w.clients, pkix.Name{CommonName: "jäne\n☃", Organization: []string{"gr ü"}}, nil},
		"proxy":      {w.proxies, pkix.Name{CommonName: "front-proxy-client"}, nil},
		"proxy-else": {w.proxies, pkix.Name{CommonName: "another"}, nil},
		"proxy-fake": {w.clients, pkix.Name{CommonName: "front-proxy-client"}, nil},
		"proxy-old":  {w.proxies, pkix.Name{CommonName: "front-proxy-client"}, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }},
	} {
		var err error
		if w.certs[name], err = c.by.issue(c.subject, c.change); err != nil {
			return fmt.Errorf("certificate %s: %w", name, err)
		}
	}
	return nil
}

func (w *world) write(name string, content []byte) (string, error) {
	path := filepath.Join(w.dir, name)
	return path, os.WriteFile(path, content, 0o600)
}

// writePair writes a certificate and its key.
func (w *world) writePair(name string, pair tls.Certificate) (cert, key string, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return "", "", err
	}
	if cert, err = w.write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})); err != nil {
		return "", "", err
	}
	key, err = w.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return cert, key, err
}

// start starts a process and returns the first line that it prints.
func (w *world) start(ctx context.Context, path string, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, path, arguments...)
	log, err := os.OpenFile(filepath.Join(w.dir, "beside.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	defer log.Close()
	cmd.Stderr = log
	output, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	w.processes = append(w.processes, cmd)
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%s printed nothing: %w", filepath.Base(path), err)
	}
	return strings.TrimSpace(line), nil
}

func (w *world) stop() {
	for _, p := range w.processes {
		_ = p.Process.Kill()
		_ = p.Wait() // it was killed
	}
}

// startWebhook starts the webhook and returns the kubeconfig that names it.
func (w *world) startWebhook(ctx context.Context) (string, error) {
	pair, err := w.stranger.issue(pkix.Name{CommonName: "webhook"}, func(c *x509.Certificate) {
		c.ExtKeyUsage, c.IPAddresses = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []net.IP{net.IPv4(127, 0, 0, 1)}
	})
	if err != nil {
		return "", err
	}
	cert, key, err := w.writePair("webhook", pair)
	if err != nil {
		return "", err
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	url, err := w.start(ctx, self, "webhook", cert, key)
	if err != nil {
		return "", err
	}
	ca, err := json.Marshal(w.stranger.pem)
	if err != nil {
		return "", err
	}
	return w.write("webhook.kubeconfig", []byte(fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],
		clusters: [{name: k, cluster: {server: %q, certificate-authority-data: %s}}], users: [{name: u, user: {}}]}`, url, ca)))
}

// authority signs certificates.
type authority struct {
	pem  []byte
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), cert, key}, err
}

func (a *authority) issue(subject pkix.Name, change func(*x509.Certificate)) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: subject, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
