package certificates_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller/certificates"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	requests = certificatesv1.SchemeGroupVersion.WithResource("certificatesigningrequests")
	bundles  = certificatesv1.SchemeGroupVersion.WithResource("clustertrustbundles")
	pods     = certificatesv1.SchemeGroupVersion.WithResource("podcertificaterequests")
)

const (
	kubeletServing = certificatesv1.KubeletServingSignerName
	kubeletClient  = certificatesv1.KubeAPIServerClientKubeletSignerName
	client         = certificatesv1.KubeAPIServerClientSignerName
	legacy         = certificatesv1beta1.LegacyUnknownSignerName
)

// cluster is a server without its HTTP side.
type cluster struct {
	t         *testing.T
	verbs     *verb.Verbs
	catalogue *kind.Catalogue
	options   certificates.Options
	enabled   []string
	ca        *authority
}

// newCluster makes one whose controllers of these names, once they run, sign by ca.
func newCluster(t *testing.T, clock clock.Clock, ca *authority, enabled ...string) *cluster {
	t.Helper()
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, ca: ca, catalogue: catalogue, verbs: &verb.Verbs{State: statetest.Start(t), Ownership: new(ownership.Managers).For}}
	c.options = certificates.Options{
		Signers: map[string]certificates.Authority{}, Duration: 365 * 24 * time.Hour,
		Authorizer: authorizer.AuthorizerFunc(mayAsk), Clock: clock,
	}
	c.enabled = enabled
	for _, name := range []string{kubeletServing, kubeletClient, client, legacy} {
		c.options.Signers[name] = ca.issuing
	}
	return c
}

// mayAsk lets bootstrappers ask for any node, and nodes for themselves.
func mayAsk(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	question := fmt.Sprint(a.GetVerb(), a.GetAPIGroup(), a.GetAPIVersion(), a.GetResource(), a.GetNamespace(), a.GetName(), a.IsResourceRequest())
	if question != fmt.Sprint("create", "certificates.k8s.io", "*", "certificatesigningrequests", "", "", true) {
		return authorizer.DecisionNoOpinion, "", fmt.Errorf("asked %s", question)
	}
	who := a.GetUser()
	for _, group := range who.GetGroups() {
		if a.GetSubresource() == map[string]string{"bootstrappers": "nodeclient", "system:nodes": "selfnodeclient"}[group] {
			return authorizer.DecisionAllow, "", nil
		}
	}
	if a.GetSubresource() == "nodeclient" && who.GetUID() == "7" && len(who.GetExtra()["scopes"]) == 1 {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

// run runs the controllers until the test ends.
func (c *cluster) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, one := range certificates.New(c.verbs, c.catalogue, c.options) {
		if slices.Contains(c.enabled, one.Name()) {
			running.Go(func() { one.Run(ctx) })
		}
	}
	c.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func (c *cluster) target(gvr schema.GroupVersionResource, namespace, name, subresource string) verb.Target {
	t := verb.Target{Version: c.catalogue.Lookup(gvr), Namespace: namespace, Name: name, Agent: "tester"}
	if subresource != "" {
		t.Subresource = t.Version.Subresource(subresource)
	}
	return t
}

var admin = &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}

func (c *cluster) hub(t verb.Target, obj runtime.Object) runtime.Object {
	c.t.Helper()
	t.Version.Resource.Scheme.Default(obj)
	hub, err := t.Version.Resource.ToHub(obj)
	if err != nil {
		c.t.Fatal(err)
	}
	return hub
}

func (c *cluster) create(gvr schema.GroupVersionResource, namespace string, obj runtime.Object, who user.Info) {
	c.t.Helper()
	t := c.target(gvr, namespace, "", "")
	if _, err := c.verbs.Create(t.Context(context.Background(), "create", who), t, c.hub(t, obj), &metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// write writes a subresource of a request.
func (c *cluster) write(csr *certificatesv1.CertificateSigningRequest, subresource string) {
	c.t.Helper()
	t := c.target(requests, "", csr.Name, subresource)
	if _, err := c.verbs.Update(t.Context(context.Background(), "update", admin), t, c.hub(t, csr), &metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) remove(gvr schema.GroupVersionResource, name string) {
	c.t.Helper()
	t := c.target(gvr, "", name, "")
	if _, err := c.verbs.Delete(t.Context(context.Background(), "delete", admin), t, &metav1.DeleteOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// get reads an object as clients see it into obj; false if there is none.
func (c *cluster) get(gvr schema.GroupVersionResource, namespace, name string, obj any) bool {
	c.t.Helper()
	v := c.catalogue.Lookup(gvr)
	o := c.verbs.State.Get(v.Resource.Storage.Key(namespace, name))
	if o == nil {
		return false
	}
	encoded, err := v.JSON.Encode(o)
	if err == nil {
		err = json.Unmarshal(encoded, obj)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return true
}

func (c *cluster) request(name string) *certificatesv1.CertificateSigningRequest {
	csr := &certificatesv1.CertificateSigningRequest{}
	if !c.get(requests, "", name, csr) {
		return nil
	}
	return csr
}

// condition adds a condition to a request, as an administrator or another signer does.
func (c *cluster) condition(name string, kind certificatesv1.RequestConditionType) {
	c.t.Helper()
	csr := c.request(name)
	csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: kind, Status: corev1.ConditionTrue, Reason: "Test", Message: "by hand",
	})
	subresource := "approval"
	if kind == certificatesv1.CertificateFailed {
		subresource = "status"
	}
	c.write(csr, subresource)
}

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never came about: ", what)
		}
	}
}

// authority signs.
type authority struct {
	certificate     *x509.Certificate
	key             crypto.Signer
	certPEM, keyPEM []byte

	mu     sync.Mutex
	broken int // how often it fails before it works
}

func newAuthority(t *testing.T, lasts time.Duration) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "test-ca"}, SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lasts),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a.certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	a.keyPEM = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	return a
}

func (a *authority) issuing() (*x509.Certificate, crypto.Signer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken > 0 {
		a.broken--
		return nil, nil, errors.New("broken")
	}
	return a.certificate, a.key, nil
}

// asking is what a request for a certificate says.
type asking struct {
	name, signer string
	subject      pkix.Name
	usages       []certificatesv1.KeyUsage
	seconds      int32
	dns, emails  []string
	ips          []net.IP
	uris         []*url.URL
	key          string // "", rsa or ed25519
	by           user.Info
	conditions   []certificatesv1.RequestConditionType
}

func (a asking) object(t *testing.T) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	var key crypto.Signer
	var err error
	switch a.key {
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: a.subject, DNSNames: a.dns, EmailAddresses: a.emails, IPAddresses: a.ips, URIs: a.uris,
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: a.name}, Spec: certificatesv1.CertificateSigningRequestSpec{
		Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: a.signer, Usages: a.usages,
	}}
	if a.seconds != 0 {
		csr.Spec.ExpirationSeconds = &a.seconds
	}
	return csr
}

// made makes the request of an asking, with its conditions.
func (c *cluster) made(a asking) *certificatesv1.CertificateSigningRequest {
	c.t.Helper()
	if a.by == nil {
		a.by = admin
	}
	asked := a.object(c.t)
	if a.signer == legacy {
		asked.Spec.SignerName = "example.com/legacy"
	}
	c.create(requests, "", asked, a.by)
	if a.signer == legacy {
		c.becomeLegacy(a.name)
	}
	for _, condition := range a.conditions {
		c.condition(a.name, condition)
	}
	return c.request(a.name)
}

// becomeLegacy makes a request one that was written by an API that is gone: by v1, none
// can be made that is for nobody in particular.
func (c *cluster) becomeLegacy(name string) {
	c.t.Helper()
	csr := c.request(name)
	csr.Spec.SignerName = legacy
	c.put(requests, csr)
}

// put stores an object as it is, whatever the rules say.
func (c *cluster) put(gvr schema.GroupVersionResource, obj interface {
	runtime.Object
	metav1.Object
}) {
	c.t.Helper()
	r := c.catalogue.Lookup(gvr).Resource
	obj.SetResourceVersion("")
	if obj.GetUID() == "" {
		obj.SetUID(types.UID(obj.GetName()))
	}
	hub, err := r.ToHub(obj)
	if err != nil {
		c.t.Fatal(err)
	}
	encoded, err := r.Storage.Codec.Encode(hub)
	change := store.Change{Key: r.Storage.Key(obj.GetNamespace(), obj.GetName()), Value: encoded}
	if o := c.verbs.State.Get(change.Key); o != nil {
		change.If = o.Rev
	}
	if err == nil {
		_, err = c.verbs.State.Commit(context.Background(), change)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}
