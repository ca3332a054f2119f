package knarr_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/certificate/csr"
	"k8s.io/client-go/util/keyutil"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/knarrtest"
)

var clientUsages = []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}

// wanted is a certificate that is asked for, and its key.
type wanted struct {
	t         *testing.T
	client    kubernetes.Interface
	name      string
	key       []byte
	requested *certificatesv1.CertificateSigningRequest
}

// ask asks for a certificate as kubelets do.
func ask(t *testing.T, client kubernetes.Interface, signer string, usages []certificatesv1.KeyUsage, subject pkix.Name, hosts []string, ips []net.IP) *wanted {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := cert.MakeCSR(key, &subject, hosts, ips)
	if err != nil {
		t.Fatal(err)
	}
	w := &wanted{t: t, client: client}
	if w.key, err = keyutil.MarshalPrivateKeyToPEM(key); err != nil {
		t.Fatal(err)
	}
	made, err := client.CertificatesV1().CertificateSigningRequests().Create(t.Context(), &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "csr-"},
		Spec:       certificatesv1.CertificateSigningRequestSpec{Request: request, SignerName: signer, Usages: usages},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.requested, w.name = made, made.Name
	return w
}

// approve does what kubectl certificate approve does.
func (w *wanted) approve(admin kubernetes.Interface) *wanted {
	w.t.Helper()
	approved := w.requested.DeepCopy()
	approved.Status.Conditions = append(approved.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test",
	})
	if _, err := admin.CertificatesV1().CertificateSigningRequests().UpdateApproval(w.t.Context(), w.name, approved, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	return w
}

// wait waits for the certificate as kubelets do, by a watch.
func (w *wanted) wait() (certificate []byte) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	certificate, err := csr.WaitForCertificate(ctx, w.client, w.name, w.requested.UID)
	if err != nil {
		w.t.Fatal(err)
	}
	return certificate
}

// with is a client with the certificate.
func (w *wanted) with(server *knarr.Server, certificate []byte) *kubernetes.Clientset {
	w.t.Helper()
	config := rest.AnonymousClientConfig(server.ClientConfig())
	config.CertData, config.KeyData = certificate, w.key
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		w.t.Fatal(err)
	}
	return client
}

// A kubelet begins with a bootstrap token and ends with certificates of its own, by
// upstream's roles alone.
func TestKubeletBootstrap(t *testing.T) {
	server := knarrtest.StartWith(t, knarr.Options{EnableBootstrapTokenAuth: true})
	admin := newClient(t, server)
	must(t, func() error {
		_, err := admin.CoreV1().Secrets("kube-system").Create(t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-abcdef"}, Type: corev1.SecretTypeBootstrapToken,
			StringData: map[string]string{"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"},
		}, metav1.CreateOptions{})
		return err
	})
	bind := func(role, group string) {
		t.Helper()
		must(t, func() error {
			_, err := admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
				ObjectMeta: metav1.ObjectMeta{GenerateName: "b-"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
				Subjects:   []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: group}},
			}, metav1.CreateOptions{})
			return err
		})
	}
	bind("system:node-bootstrapper", "system:bootstrappers")
	config := rest.AnonymousClientConfig(server.ClientConfig())
	config.BearerToken = "abcdef.0123456789abcdef"
	bootstrapper, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	subject := pkix.Name{CommonName: "system:node:a", Organization: []string{"system:nodes"}}
	first := ask(t, bootstrapper, certificatesv1.KubeAPIServerClientKubeletSignerName, clientUsages, subject, nil, nil)
	// It may ask, but nobody says yet that it gets.
	bind("system:certificates.k8s.io:certificatesigningrequests:nodeclient", "system:bootstrappers")
	certificate := first.wait()
	saw := func(w *wanted, message string) {
		t.Helper()
		now, err := admin.CertificatesV1().CertificateSigningRequests().Get(t.Context(), w.name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if c := now.Status.Conditions; len(c) != 1 || c[0].Type != certificatesv1.CertificateApproved || c[0].Reason != "AutoApproved" || c[0].Message != message {
			t.Errorf("the conditions are %+v", c)
		}
	}
	saw(first, "Auto approving kubelet client certificate after SubjectAccessReview.")

	// With it, the kubelet is its node, and no other.
	kubelet := first.with(server, certificate)
	if _, err := kubelet.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := kubelet.CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("it lists secrets: %v", err)
	}
	// It renews its certificate by itself.
	bind("system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "system:nodes")
	second := ask(t, kubelet, certificatesv1.KubeAPIServerClientKubeletSignerName, clientUsages, subject, nil, nil)
	renewed := second.wait()
	saw(second, "Auto approving self kubelet client certificate after SubjectAccessReview.")
	if _, err := second.with(server, renewed).CoreV1().Nodes().Get(t.Context(), "a", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}

	// What it serves with is approved by somebody.
	serving := ask(t, kubelet, certificatesv1.KubeletServingSignerName, []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth},
		subject, []string{"a.example.com"}, []net.IP{net.IPv4(10, 1, 2, 3)})
	certs, err := cert.ParseCertsPEM(serving.approve(admin).wait())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(server.ClientConfig().CAData)
	for _, host := range []string{"a.example.com", "10.1.2.3"} {
		if _, err := certs[0].Verify(x509.VerifyOptions{DNSName: host, Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// testAuthority is an authority of somebody else's.
type testAuthority struct {
	certPEM, keyPEM []byte
	name            string
}

func newTestAuthority(t *testing.T, name string) testAuthority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := cert.NewSelfSignedCACert(cert.Config{CommonName: name}, key)
	if err != nil {
		t.Fatal(err)
	}
	a := testAuthority{name: name}
	if a.certPEM, err = cert.EncodeCertificates(ca); err == nil {
		a.keyPEM, err = keyutil.MarshalPrivateKeyToPEM(key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a testAuthority) write(t *testing.T, f knarr.SigningFiles) {
	t.Helper()
	if err := errors.Join(os.WriteFile(f.CertFile, a.certPEM, 0o600), os.WriteFile(f.KeyFile, a.keyPEM, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// Authorities of others sign in the place of the server's own, each for its signer.
func TestClusterSigningFiles(t *testing.T) {
	dir := t.TempDir()
	files := func(name string) knarr.SigningFiles {
		f := knarr.SigningFiles{CertFile: filepath.Join(dir, name+".crt"), KeyFile: filepath.Join(dir, name+".key")}
		newTestAuthority(t, name).write(t, f)
		return f
	}
	all, one := files("all"), files("one")
	jane := pkix.Name{CommonName: "jane", Organization: []string{"dev", "ops"}}
	issuer := func(server *knarr.Server) string {
		t.Helper()
		admin := newClient(t, server)
		certs, err := cert.ParseCertsPEM(ask(t, admin, certificatesv1.KubeAPIServerClientSignerName, clientUsages, jane, nil, nil).approve(admin).wait())
		if err != nil {
			t.Fatal(err)
		}
		if got := certs[0].Subject; got.CommonName != "jane" || !slices.Equal(got.Organization, jane.Organization) {
			t.Errorf("the certificate is for %s", got)
		}
		return fmt.Sprint(certs[0].Issuer.CommonName, " ", certs[0].NotAfter.Sub(certs[0].NotBefore))
	}
	server := knarrtest.StartWith(t, knarr.Options{ClusterSigning: knarr.ClusterSigning{SigningFiles: all, Duration: 48 * time.Hour}})
	if got := issuer(server); got != "all 48h0m0s" {
		t.Errorf("signed by %s", got)
	}
	newTestAuthority(t, "another").write(t, all)
	if got := issuer(server); got != "another 48h0m0s" {
		t.Errorf("once its files have changed, signed by %s", got)
	}

	single := knarrtest.StartWith(t, knarr.Options{ClusterSigning: knarr.ClusterSigning{KubeAPIServerClient: one}})
	if got := issuer(single); got != "one 8760h0m0s" {
		t.Errorf("signed by %s", got)
	}
	admin := newClient(t, single)
	unsigned := ask(t, admin, certificatesv1.KubeletServingSignerName, []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth},
		pkix.Name{CommonName: "system:node:a", Organization: []string{"system:nodes"}}, []string{"a.example.com"}, nil).approve(admin)
	issuer(single) // a later one was signed
	now, err := admin.CertificatesV1().CertificateSigningRequests().Get(t.Context(), unsigned.name, metav1.GetOptions{})
	if err != nil || len(now.Status.Certificate) > 0 {
		t.Errorf("who has no files of its own signs (%v)", err)
	}
}

func TestClusterSigningRefused(t *testing.T) {
	key, cert, both := knarr.SigningFiles{KeyFile: "none"}, knarr.SigningFiles{CertFile: "none"}, knarr.SigningFiles{CertFile: "none", KeyFile: "none"}
	for want, signing := range map[string]knarr.ClusterSigning{
		`"cluster-signing": cannot specify key without cert`:                                                         {SigningFiles: key},
		`"cluster-signing-kubelet-serving": cannot specify cert without key`:                                         {KubeletServing: cert},
		`"cluster-signing-kubelet-client": cannot specify key without cert`:                                          {KubeletClient: key},
		`"cluster-signing-kube-apiserver-client": cannot specify cert without key`:                                   {KubeAPIServerClient: cert},
		`"cluster-signing-legacy-unknown": cannot specify key without cert`:                                          {LegacyUnknown: key},
		`cannot specify --cluster-signing-{cert,key}-file and other --cluster-signing-*-file flags at the same time`: {SigningFiles: both, KubeletClient: both},
		`open none: no such file or directory`:                                                                       {SigningFiles: both},
	} {
		server, err := knarr.Start(t.Context(), knarr.Options{ClusterSigning: signing})
		if err == nil {
			_ = server.Stop(t.Context()) // it should not have started
		}
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
