package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/knarr-io/knarr/twin/peer"
)

// side is one of the servers.
type side struct {
	*world
	name    string
	address string
	config  *rest.Config
	client  *kubernetes.Clientset
	admin   tls.Certificate
	// frontProxy is the address of the one before this server.
	frontProxy string
	account    *corev1.ServiceAccount // default/holder
}

func newSide(ctx context.Context, w *world, server *peer.Server) (*side, error) {
	s := &side{world: w, name: server.Name, config: server.Config}
	u, err := url.Parse(server.Config.Host)
	if err != nil {
		return nil, err
	}
	s.address = u.Host
	config := rest.CopyConfig(server.Config)
	config.QPS = -1
	if s.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	s.admin = w.certs["admin"]
	cert, key, err := w.writePair("proxy", w.certs["proxy"])
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	proxy, err := w.start(ctx, self, "frontproxy", server.Config.Host, cert, key)
	if err != nil {
		return nil, err
	}
	s.frontProxy = strings.TrimPrefix(proxy, "http://")
	s.account, err = s.client.CoreV1().ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "holder"}}, metav1.CreateOptions{})
	return s, err
}

// request is one, byte by byte.
type request struct {
	name string
	// who is the name of a certificate, empty for none.
	who string
	// method and path; by default a SelfSubjectReview is made.
	method, path string
	headers      []string
	body         string
	// raw replaces all of it.
	raw string
	// plain sends it to the front proxy.
	plain bool
	// many more requests of the same, before this; only the last answer counts.
	before int
}

const whoami = `{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}`

func (r request) bytes() []byte {
	if r.raw != "" {
		return []byte(strings.ReplaceAll(r.raw, "\n", "\r\n"))
	}
	if r.method == "" {
		r.method = http.MethodPost
	}
	if r.path == "" {
		r.path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
	}
	if r.body == "" && r.method == http.MethodPost {
		r.body = whoami
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: kubernetes\r\n", r.method, r.path)
	for _, h := range r.headers {
		b.WriteString(h + "\r\n")
	}
	if r.body != "" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(r.body))
	}
	b.WriteString("\r\n" + r.body)
	return b.Bytes()
}

// send returns what was answered, on a connection of its own.
func (s *side) send(r request) string {
	for range r.before {
		s.once(r)
	}
	return s.once(r)
}

func (s *side) once(r request) string {
	conn, err := s.connect(r)
	if err != nil {
		return "no connection: " + err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Write(r.bytes()); err != nil {
		return "not sent"
	}
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, &http.Request{Method: r.method})
	if err != nil {
		return "closed"
	}
	var headers []string
	for _, name := range []string{"Content-Type", "Connection", "Warning", "Www-Authenticate", "Location", "Sec-Websocket-Protocol", "Upgrade", "Retry-After", "Cache-Control"} {
		for _, v := range answer.Header.Values(name) {
			headers = append(headers, name+": "+v)
		}
	}
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return normal(fmt.Sprint(answer.StatusCode, " ", headers))
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	answer.Body.Close()
	text := string(body)
	if strings.Contains(text, `"gitVersion"`) {
		text = "the version"
	}
	if len(text) > 3000 {
		sum := sha256.Sum256([]byte(normal(text)))
		text = fmt.Sprintf("%d bytes, %x", len(text), sum[:4])
		if answer.StatusCode == http.StatusOK {
			text = "much" // lists hold other objects on each
		}
	}
	if err != nil {
		text += " (cut off)"
	}
	return normal(fmt.Sprint(answer.StatusCode, " ", headers, " ", text))
}

func (s *side) connect(r request) (net.Conn, error) {
	if r.plain {
		return net.Dial("tcp", s.frontProxy)
	}
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
	if r.who != "" {
		pair, ok := s.certs[r.who]
		if !ok {
			return nil, fmt.Errorf("no certificate %s", r.who)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return tls.Dial("tcp", s.address, config)
}

// token is one of a service account, as the server makes it.
func (s *side) token(ctx context.Context, account string, spec authenticationv1.TokenRequestSpec) (string, error) {
	answer, err := s.client.CoreV1().ServiceAccounts("default").CreateToken(ctx, account, &authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return answer.Status.Token, nil
}

const issuer = "https://kubernetes.default.svc"

// claims are those of a token of default/holder, with others in their place.
func (s *side) claims(others map[string]any) map[string]any {
	now := time.Now().Unix()
	all := map[string]any{
		"iss": issuer, "aud": []string{issuer}, "sub": "system:serviceaccount:default:holder", "iat": now, "nbf": now, "exp": now + 3600,
		"kubernetes.io": map[string]any{"namespace": "default", "serviceaccount": map[string]any{"name": "holder", "uid": string(s.account.UID)}},
	}
	for name, value := range others {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

// legacy are the claims of an old token, in a Secret.
func (s *side) legacy(secret string, others map[string]any) map[string]any {
	all := map[string]any{
		"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:default:holder", "kubernetes.io/serviceaccount/namespace": "default",
		"kubernetes.io/serviceaccount/secret.name": secret, "kubernetes.io/serviceaccount/service-account.name": "holder",
		"kubernetes.io/serviceaccount/service-account.uid": string(s.account.UID),
	}
	for name, value := range others {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

// jwt signs claims by ES256, whatever the header says.
func jwt(key *ecdsa.PrivateKey, header, claims map[string]any) (string, error) {
	if header == nil {
		header = map[string]any{"alg": "ES256", "kid": keyID(key)}
	}
	var parts []string
	for _, part := range []any{header, claims} {
		b, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(b))
	}
	signed := strings.Join(parts, ".")
	digest := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return "", err
	}
	signature := slices.Concat(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32)))
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// keyID is what Kubernetes calls a key.
func keyID(key *ecdsa.PrivateKey) string {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func bearer(token string) []string { return []string{"Authorization: Bearer " + token} }
