package node

import (
	"context"
	"fmt"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/utils/ptr"

	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/memory"
)

var n1 = &user.DefaultInfo{Name: "system:node:n1", Groups: []string{"system:nodes"}}

// The keys that are read are those that the catalogue writes.
func TestPrefixes(t *testing.T) {
	catalogue, err := native.Catalogue(native.Options{RuntimeConfig: map[string]string{"api/all": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, gr := range []schema.GroupResource{
		corev1.Resource("pods"), corev1.Resource("persistentvolumes"), storagev1.Resource("volumeattachments"), resourcev1.Resource("resourceslices"),
		{Group: "certificates.k8s.io", Resource: "podcertificaterequests"},
	} {
		if r := catalogue.Resource(gr); r == nil || r.Storage.Prefix != prefixes[i] {
			t.Errorf("%s is not kept under %s", gr, prefixes[i])
		}
	}
}

type cluster struct {
	t  *testing.T
	st *state.State
	a  *Authorizer
}

func newCluster(t *testing.T, o state.Options) *cluster {
	st, err := state.Start(t.Context(), memory.New(memory.Options{}), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Stop() })
	return &cluster{t, st, New(st)}
}

func (c *cluster) put(key string, obj runtime.Object, gv schema.GroupVersion) {
	c.t.Helper()
	var value []byte
	if obj != nil {
		var err error
		if value, err = runtime.Encode(legacyscheme.Codecs.LegacyCodec(gv), obj); err != nil {
			c.t.Fatal(err)
		}
	}
	change := store.Change{Key: key, Value: value}
	if o := c.st.Get(key); o != nil {
		change.If = o.Rev
	}
	if _, err := c.st.Commit(context.Background(), change); err != nil {
		c.t.Fatal(err)
	}
}

// pod is one on a node, none if empty, that mounts a secret of its name and a
// claim.
func (c *cluster) pod(name, on string) {
	c.t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: "1"}}
	p.Spec.NodeName, p.Spec.ServiceAccountName = on, "builder"
	p.Spec.Containers = []corev1.Container{{Name: "c", EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}}}}
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}}}
	c.put("/registry/pods/ns/"+name, p, corev1.SchemeGroupVersion)
}

func (c *cluster) expect(verb, group, resource, namespace, name string, want bool) {
	c.t.Helper()
	decision, _, err := c.a.Authorize(c.t.Context(), authorizer.AttributesRecord{
		User: n1, Verb: verb, APIGroup: group, Resource: resource, Namespace: namespace, Name: name, ResourceRequest: true,
	})
	if err != nil || (decision == authorizer.DecisionAllow) != want {
		c.t.Errorf("%s %s %s: %v, %v, want %v", verb, resource, name, decision, err, want)
	}
}

// A node may do what its pods need as soon as they are there, and no longer.
func TestEveryChangeHoldsAtOnce(t *testing.T) {
	c := newCluster(t, state.Options{})
	secret := func(name string, want bool) {
		t.Helper()
		c.expect("get", "", "secrets", "ns", name, want)
	}
	c.pod("a", "n1")
	c.pod("b", "n2")
	c.pod("c", "")
	secret("a", true)
	secret("b", false)
	secret("c", false)
	c.pod("c", "n1") // bound
	secret("c", true)
	c.expect("get", "", "pods", "ns", "c", true)
	c.expect("get", "", "serviceaccounts", "ns", "builder", true)
	c.put("/registry/pods/ns/c", nil, corev1.SchemeGroupVersion)
	secret("c", false)
	c.expect("get", "", "pods", "ns", "c", false)

	pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}}
	pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: "a"}
	c.put("/registry/persistentvolumes/pv", pv, corev1.SchemeGroupVersion)
	c.expect("get", "", "persistentvolumes", "", "pv", true)
	pv.Spec.ClaimRef.Name = "b"
	c.put("/registry/persistentvolumes/pv", pv, corev1.SchemeGroupVersion)
	c.expect("get", "", "persistentvolumes", "", "pv", false)

	va := &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: "va"}}
	va.Spec.NodeName = "n1"
	c.put("/registry/volumeattachments/va", va, storagev1.SchemeGroupVersion)
	c.expect("get", "storage.k8s.io", "volumeattachments", "", "va", true)
	c.put("/registry/volumeattachments/va", nil, storagev1.SchemeGroupVersion)
	c.expect("get", "storage.k8s.io", "volumeattachments", "", "va", false)

	slice := &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: "s"}}
	slice.Spec.NodeName = ptr.To("n1")
	c.put("/registry/resourceslices/s", slice, resourcev1.SchemeGroupVersion)
	c.expect("delete", "resource.k8s.io", "resourceslices", "", "s", true)
	c.put("/registry/resourceslices/s", nil, resourcev1.SchemeGroupVersion)
	c.expect("delete", "resource.k8s.io", "resourceslices", "", "s", false)

	request := &certificatesv1.PodCertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "r"}}
	request.Spec.NodeName = "n1"
	c.put("/registry/podcertificaterequests/ns/r", request, certificatesv1.SchemeGroupVersion)
	c.expect("get", "certificates.k8s.io", "podcertificaterequests", "ns", "r", true)
	c.put("/registry/podcertificaterequests/ns/r", nil, certificatesv1.SchemeGroupVersion)
	c.expect("get", "certificates.k8s.io", "podcertificaterequests", "ns", "r", false)
}

// Who asks so rarely that the history has gone on is told what is true now.
func TestAfterTheHistory(t *testing.T) {
	c := newCluster(t, state.Options{HistoryBytes: 1})
	c.pod("a", "n1")
	c.expect("get", "", "secrets", "ns", "a", true)
	c.put("/registry/pods/ns/a", nil, corev1.SchemeGroupVersion)
	for i := range 20 {
		c.pod("b", fmt.Sprint("other-", i))
	}
	c.pod("b", "n1")
	c.expect("get", "", "secrets", "ns", "a", false)
	c.expect("get", "", "secrets", "ns", "b", true)
	c.pod("b", "")
	c.expect("get", "", "secrets", "ns", "b", false)
}

// Others are none of its business, and what nodes do all the time needs no graph.
func TestNoGraphWithoutNeed(t *testing.T) {
	c := newCluster(t, state.Options{})
	c.pod("a", "n1")
	c.expect("update", "coordination.k8s.io", "leases", "kube-node-lease", "n1", true)
	c.expect("get", "", "nodes", "", "n1", true)
	c.expect("get", "", "nodes", "", "n2", false)
	decision, reason, err := c.a.Authorize(t.Context(), authorizer.AttributesRecord{User: &user.DefaultInfo{Name: "jane"}, Verb: "get", Resource: "secrets", Namespace: "ns", Name: "a", ResourceRequest: true})
	if decision != authorizer.DecisionNoOpinion || reason != "" || err != nil {
		t.Errorf("jane: %v %q %v", decision, reason, err)
	}
	if c.a.begun {
		t.Error("the graph was made")
	}
}
