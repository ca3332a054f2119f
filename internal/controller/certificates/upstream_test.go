package certificates_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	upstreaminformers "k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"
	"k8s.io/kubernetes/pkg/controller/certificates/approver"
	"k8s.io/kubernetes/pkg/controller/certificates/clustertrustbundlepublisher"
	"k8s.io/kubernetes/pkg/controller/certificates/signer"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
)

func TestNamesAreUpstreams(t *testing.T) {
	for ours, theirs := range map[string]string{
		controller.CertificateSigning:    names.CertificateSigningRequestSigningController,
		controller.CertificateApproving:  names.CertificateSigningRequestApprovingController,
		controller.CertificateCleaner:    names.CertificateSigningRequestCleanerController,
		controller.PodCertificateCleaner: names.PodCertificateRequestCleanerController,
		controller.TrustBundlePublisher:  names.KubeAPIServerClusterTrustBundlePublisherController,
	} {
		if ours != theirs {
			t.Errorf("%s is called %s by upstream", ours, theirs)
		}
	}
}

var (
	node           = pkix.Name{CommonName: "system:node:a", Organization: []string{"system:nodes"}}
	jane           = pkix.Name{CommonName: "jane", Organization: []string{"dev", "ops"}, Country: []string{"FO"}, SerialNumber: "7"}
	approved       = []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved}
	denied         = []certificatesv1.RequestConditionType{certificatesv1.CertificateDenied}
	clientUsages   = usages("digital signature,key encipherment,client auth")
	clientUsagesEC = usages("digital signature,client auth")
	servingUsages  = usages("digital signature,key encipherment,server auth")
	hosts          = []string{"a.example.com"}
	addresses      = []net.IP{net.IPv4(10, 0, 0, 1).To4(), net.ParseIP("2001:db8::1")}
)

func usages(list string) (all []certificatesv1.KeyUsage) {
	for _, u := range strings.Split(list, ",") {
		all = append(all, certificatesv1.KeyUsage(u))
	}
	return all
}

func named(common string, organizations ...string) pkix.Name {
	return pkix.Name{CommonName: common, Organization: organizations}
}

// askings are good and bad requests, approved or not.
func askings() []asking {
	spiffe := []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/a"}}
	all := []asking{
		{signer: client, subject: jane, usages: clientUsages},
		{signer: client, subject: jane, usages: usages("client auth")},
		{signer: client, subject: jane, usages: usages("client auth,digital signature"), key: "rsa"},
		{signer: client, subject: jane, usages: usages("client auth"), key: "ed25519"},
		{signer: client, subject: jane, usages: clientUsages, dns: hosts, ips: addresses, emails: []string{"jane@example.com"}, uris: spiffe},
		{signer: client, subject: pkix.Name{}, usages: clientUsages},
		{signer: client, subject: named("admin", "system:masters"), usages: clientUsages},
		{signer: client, subject: jane, usages: usages("digital signature,key encipherment")},
		{signer: client, subject: jane, usages: usages("client auth,server auth")},
		{signer: client, subject: jane, usages: usages("any")},
		{signer: client, subject: jane, usages: clientUsages, seconds: 600},
		{signer: client, subject: jane, usages: clientUsages, seconds: 3600},
		{signer: client, subject: jane, usages: clientUsages, seconds: 8*3600 - 1},
		{signer: client, subject: jane, usages: clientUsages, seconds: 8 * 3600},
		{signer: client, subject: jane, usages: clientUsages, seconds: 364 * 24 * 3600},
		{signer: client, subject: jane, usages: clientUsages, seconds: 20 * 365 * 24 * 3600},
		{signer: kubeletClient, subject: node, usages: clientUsages},
		{signer: kubeletClient, subject: node, usages: clientUsagesEC, key: "rsa"},
		{signer: kubeletClient, subject: node, usages: usages("client auth")},
		{signer: kubeletClient, subject: node, usages: servingUsages},
		{signer: kubeletClient, subject: named("system:node:a"), usages: clientUsages},
		{signer: kubeletClient, subject: named("system:node:a", "system:nodes", "system:masters"), usages: clientUsages},
		{signer: kubeletClient, subject: named("a", "system:nodes"), usages: clientUsages},
		{signer: kubeletClient, subject: named("system:node:", "system:nodes"), usages: clientUsages},
		{signer: kubeletClient, subject: node, usages: clientUsages, dns: hosts},
		{signer: kubeletClient, subject: node, usages: clientUsages, ips: addresses},
		{signer: kubeletClient, subject: node, usages: clientUsages, emails: []string{"a@example.com"}},
		{signer: kubeletClient, subject: node, usages: clientUsages, uris: spiffe},
		{signer: kubeletServing, subject: node, usages: servingUsages, dns: hosts, ips: addresses},
		{signer: kubeletServing, subject: node, usages: usages("digital signature,server auth"), ips: addresses},
		{signer: kubeletServing, subject: node, usages: servingUsages},
		{signer: kubeletServing, subject: node, usages: clientUsages, dns: hosts},
		{signer: kubeletServing, subject: named("a", "system:nodes"), usages: servingUsages, dns: hosts},
		{signer: kubeletServing, subject: named("system:node:a"), usages: servingUsages, dns: hosts},
		{signer: kubeletServing, subject: node, usages: servingUsages, dns: hosts, emails: []string{"a@example.com"}},
		{signer: kubeletServing, subject: node, usages: servingUsages, dns: hosts, uris: spiffe},
		{signer: legacy, subject: jane, usages: usages("any"), dns: hosts, ips: addresses, uris: spiffe},
		{signer: legacy, subject: jane, usages: usages("signing,content commitment,key agreement,data encipherment,cert sign,crl sign,encipher only,decipher only")},
		{signer: legacy, subject: jane, usages: usages("s/mime,ipsec end system,ipsec tunnel,ipsec user,timestamping,ocsp signing,microsoft sgc,netscape sgc,email protection,code signing")},
		{signer: "example.com/own", subject: jane, usages: clientUsages},
		{signer: "kubernetes.io/kube-apiserver-serving", subject: jane, usages: servingUsages},
	}
	for i := range all {
		all[i].conditions = approved
	}
	all = append(all, []asking{
		{signer: client, subject: jane, usages: clientUsages},
		{signer: client, subject: jane, usages: clientUsages, conditions: denied},
		{signer: client, subject: jane, usages: clientUsages, conditions: []certificatesv1.RequestConditionType{certificatesv1.CertificateFailed, certificatesv1.CertificateApproved}},
	}...)
	return all
}

// requested are requests of kubelets and others, in whose name whoever asks.
func requested() []asking {
	of := func(name string, groups ...string) user.Info { return &user.DefaultInfo{Name: name, Groups: groups} }
	extra := &user.DefaultInfo{Name: "x", UID: "7", Extra: map[string][]string{"scopes": {"a"}}}
	var all []asking
	for _, who := range []user.Info{
		of("system:node:a", "system:nodes"), of("system:node:a", "system:nodes", "bootstrappers"), of("system:node:a"), of("system:node:b", "system:nodes"),
		of("system:bootstrap:abcdef", "bootstrappers"), of("jane", "dev"), extra,
	} {
		all = append(all,
			asking{by: who, signer: kubeletClient, subject: node, usages: clientUsages},
			asking{by: who, signer: kubeletClient, subject: node, usages: clientUsagesEC, conditions: denied},
			asking{by: who, signer: kubeletClient, subject: node, usages: servingUsages},
			asking{by: who, signer: kubeletClient, subject: named("system:node:a", "system:masters"), usages: clientUsages},
			asking{by: who, signer: kubeletClient, subject: node, usages: clientUsages, dns: hosts},
			asking{by: who, signer: kubeletServing, subject: node, usages: servingUsages, dns: hosts},
			asking{by: who, signer: client, subject: node, usages: clientUsages},
			asking{by: who, signer: legacy, subject: node, usages: clientUsages},
		)
	}
	return all
}

// What is signed, and how, is what upstream's controllers do with the same requests.
func TestSignedAsUpstreams(t *testing.T) {
	for _, lasts := range []time.Duration{10 * 365 * 24 * time.Hour, 30 * 24 * time.Hour, 20 * time.Minute} {
		t.Run(lasts.String(), func(t *testing.T) {
			ca := newAuthority(t, lasts)
			dir := t.TempDir()
			cert, key := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
			if err := errors.Join(os.WriteFile(cert, ca.certPEM, 0o600), os.WriteFile(key, ca.keyPEM, 0o600)); err != nil {
				t.Fatal(err)
			}
			compare(t, newCluster(t, clock.RealClock{}, ca, controller.CertificateSigning), askings(), func(u *upstream) {
				for _, start := range []func(context.Context, *upstream) (*signer.CSRSigningController, error){
					func(ctx context.Context, u *upstream) (*signer.CSRSigningController, error) {
						return signer.NewKubeletServingCSRSigningController(ctx, u.client, u.informers.Certificates().V1().CertificateSigningRequests(), cert, key, 365*24*time.Hour)
					},
					func(ctx context.Context, u *upstream) (*signer.CSRSigningController, error) {
						return signer.NewKubeletClientCSRSigningController(ctx, u.client, u.informers.Certificates().V1().CertificateSigningRequests(), cert, key, 365*24*time.Hour)
					},
					func(ctx context.Context, u *upstream) (*signer.CSRSigningController, error) {
						return signer.NewKubeAPIServerClientCSRSigningController(ctx, u.client, u.informers.Certificates().V1().CertificateSigningRequests(), cert, key, 365*24*time.Hour)
					},
					func(ctx context.Context, u *upstream) (*signer.CSRSigningController, error) {
						return signer.NewLegacyUnknownCSRSigningController(ctx, u.client, u.informers.Certificates().V1().CertificateSigningRequests(), cert, key, 365*24*time.Hour)
					},
				} {
					c, err := start(u.ctx, u)
					if err != nil {
						t.Fatal(err)
					}
					u.running.Go(func() { c.Run(u.ctx, 1) })
				}
			})
		})
	}
}

// What is approved by itself, and why, is what upstream's controller approves.
func TestApprovedAsUpstreams(t *testing.T) {
	compare(t, newCluster(t, clock.RealClock{}, newAuthority(t, time.Hour), controller.CertificateApproving), requested(), func(u *upstream) {
		u.client.PrependReactor("create", "subjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
			review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview)
			spec, asked := review.Spec, review.Spec.ResourceAttributes
			extra := map[string][]string{}
			for name, values := range spec.Extra {
				extra[name] = values
			}
			decision, _, err := mayAsk(u.ctx, authorizer.AttributesRecord{
				User: &user.DefaultInfo{Name: spec.User, UID: spec.UID, Groups: spec.Groups, Extra: extra}, ResourceRequest: true,
				Verb: asked.Verb, APIGroup: asked.Group, APIVersion: asked.Version, Resource: asked.Resource, Subresource: asked.Subresource,
			})
			review.Status.Allowed = decision == authorizer.DecisionAllow
			return true, review, err
		})
		c := approver.NewCSRApprovingController(u.ctx, u.client, u.informers.Certificates().V1().CertificateSigningRequests())
		u.running.Go(func() { c.Run(u.ctx, 1) })
	})
}

// What is published is what upstream's controller publishes.
func TestPublishedAsUpstreams(t *testing.T) {
	c := newCluster(t, clock.RealClock{}, newAuthority(t, time.Hour), controller.TrustBundlePublisher)
	c.options.TrustBundle = c.ca.certPEM
	c.run()
	content, err := dynamiccertificates.NewStaticCAContent("test", c.ca.certPEM)
	if err != nil {
		t.Fatal(err)
	}
	theirs := fake.NewClientset()
	publisher, err := clustertrustbundlepublisher.NewGAClusterTrustBundlePublisher("kubernetes.io/kube-apiserver-serving", content, theirs)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { publisher.Run(ctx) })
	defer func() {
		cancel()
		running.Wait()
	}()
	var published *certificatesv1.ClusterTrustBundle
	await(t, "upstream's is there", func() bool {
		all, err := theirs.CertificatesV1().ClusterTrustBundles().List(ctx, metav1.ListOptions{})
		if err != nil || len(all.Items) == 0 {
			return false
		}
		published = &all.Items[0]
		return true
	})
	ours := &certificatesv1.ClusterTrustBundle{}
	await(t, "ours is called so, too", func() bool { return c.get(bundles, "", published.Name, ours) })
	if diff := cmp.Diff(published.Spec, ours.Spec); diff != "" {
		t.Errorf("upstream's -, ours +\n%s", diff)
	}
}

// upstream is what upstream's controllers work on.
type upstream struct {
	ctx       context.Context //nolint:containedctx // a test's
	client    *fake.Clientset
	informers upstreaminformers.SharedInformerFactory
	running   sync.WaitGroup
}

// compare has both make what they make of the same requests, and compares it.
func compare(t *testing.T, c *cluster, all []asking, start func(*upstream)) {
	t.Helper()
	var objects []runtime.Object
	for i := range all {
		all[i].name = fmt.Sprint("csr-", i)
		objects = append(objects, c.made(all[i]))
	}
	ctx, cancel := context.WithCancel(t.Context())
	u := &upstream{ctx: ctx, client: fake.NewClientset(objects...)}
	u.informers = upstreaminformers.NewSharedInformerFactory(u.client, 0)
	start(u)
	u.informers.Start(ctx.Done())
	defer func() {
		cancel()
		u.informers.Shutdown()
		u.running.Wait()
	}()
	c.run()
	theirs := func(name string) string {
		csr, err := u.client.Tracker().Get(requests, "", name)
		if err != nil {
			t.Fatal(err)
		}
		return says(t, csr.(*certificatesv1.CertificateSigningRequest), c.ca)
	}
	ours := func(name string) string { return says(t, c.request(name), c.ca) }
	// Until both have answered some, the same, and then nothing more for a while.
	said, since := "", time.Now()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		now, equal, changed := "", true, 0
		for i, a := range all {
			one, other := ours(a.name), theirs(a.name)
			now, equal = now+one+other, equal && one == other
			if one != says(t, objects[i].(*certificatesv1.CertificateSigningRequest), c.ca) {
				changed++
			}
		}
		if now != said {
			said, since = now, time.Now()
		}
		if equal && changed >= 4 && time.Since(since) > time.Second {
			break
		}
	}
	changed := 0
	for i, a := range all {
		if ours(a.name) != says(t, objects[i].(*certificatesv1.CertificateSigningRequest), c.ca) {
			changed++
		}
		if diff := cmp.Diff(theirs(a.name), ours(a.name)); diff != "" {
			t.Errorf("%+v: upstream's -, ours +\n%s", a, diff)
		}
	}
	t.Logf("%d of %d requests were answered", changed, len(all))
	if changed < 4 {
		t.Error("too few requests were answered")
	}
}

// says is what a request's status tells, without what is different each time.
func says(t *testing.T, csr *certificatesv1.CertificateSigningRequest, ca *authority) string {
	t.Helper()
	told := map[string]any{}
	for i, c := range csr.Status.Conditions {
		told[fmt.Sprint("condition ", i)] = []string{string(c.Type), string(c.Status), c.Reason, c.Message}
	}
	if block, rest := pem.Decode(csr.Status.Certificate); block != nil {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		cert.Raw, cert.RawTBSCertificate, cert.Signature, cert.SerialNumber = nil, nil, nil, nil
		told["lasts"] = cert.NotAfter.Sub(cert.NotBefore).String()
		if cert.NotAfter.Equal(ca.certificate.NotAfter) {
			told["lasts"] = "as long as the authority"
		}
		told["began"] = time.Since(cert.NotBefore).Round(time.Minute).String()
		cert.NotBefore, cert.NotAfter = time.Time{}, time.Time{}
		told["certificate"], told["type"], told["rest"] = cert, block.Type, string(rest)
	}
	text, err := json.MarshalIndent(told, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
