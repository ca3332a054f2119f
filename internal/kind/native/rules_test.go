package native

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration"
	api "k8s.io/kubernetes/pkg/apis/core"
	controlplane "k8s.io/kubernetes/pkg/controlplane/apiserver"
	servicestore "k8s.io/kubernetes/pkg/registry/core/service/storage"
	"k8s.io/utils/ptr"

	"github.com/knarr-io/knarr/internal/kind"
)

func find(t *testing.T, c *kind.Catalogue, name string) *kind.Resource {
	t.Helper()
	r := c.Resource(schema.ParseGroupResource(name))
	if r == nil {
		t.Fatalf("%s is not served", name)
	}
	return r
}

// TestDecorateService compares how Services are completed with upstream, for
// each shape that a Service of an older release may have.
func TestDecorateService(t *testing.T) {
	policy := ptr.To(api.ServiceInternalTrafficPolicyCluster)
	specs := map[string]api.ServiceSpec{
		"IPv4":                        {ClusterIP: "10.0.0.1", InternalTrafficPolicy: policy},
		"IPv6":                        {ClusterIP: "fd00::1"},
		"both":                        {ClusterIP: "10.0.0.1", ClusterIPs: []string{"10.0.0.1", "fd00::1"}},
		"complete":                    {ClusterIP: "10.0.0.1", ClusterIPs: []string{"10.0.0.1"}, IPFamilies: []api.IPFamily{"IPv4"}},
		"headless":                    {ClusterIP: "None", Selector: map[string]string{"a": "b"}},
		"headless without a selector": {ClusterIP: "None"},
		"no address":                  {},
		"external name":               {Type: api.ServiceTypeExternalName, ExternalName: "x.io", InternalTrafficPolicy: policy},
	}
	for _, family := range []api.IPFamily{api.IPv4Protocol, api.IPv6Protocol} {
		r := find(t, catalogue(t, Options{IPFamily: corev1.IPFamily(family)}), "services")
		store, _, _, err := servicestore.NewREST(storeOptions(t, everything(corev1.SchemeGroupVersion)), family, nil, nil, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, spec := range specs {
			got := &api.Service{Spec: spec}
			want := got.DeepCopy()
			r.Decorate(got)
			store.Decorator(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s: Service differs from upstream's (-want +got):\n%s", family, name, diff)
			}
		}
	}
}

func TestDecorateClaim(t *testing.T) {
	r := find(t, catalogue(t, Options{}), "persistentvolumeclaims")
	claim := &api.PersistentVolumeClaim{Spec: api.PersistentVolumeClaimSpec{
		DataSource: &api.TypedLocalObjectReference{APIGroup: ptr.To("snapshot.storage.k8s.io"), Kind: "VolumeSnapshot", Name: "s"},
	}}
	r.Decorate(claim)
	if ref := claim.Spec.DataSourceRef; ref == nil || ref.Name != "s" {
		t.Errorf("dataSourceRef = %v, want that of dataSource", ref)
	}
}

// TestAPIServiceTable compares the columns of APIServices with upstream's.
func TestAPIServiceTable(t *testing.T) {
	upstream := newUpstream(t, nil)["apiregistration.k8s.io/v1/apiservices"].(rest.TableConvertor)
	ours := find(t, catalogue(t, Options{}), "apiservices.apiregistration.k8s.io").Table
	condition := func(status apiregistration.ConditionStatus, reason string) apiregistration.APIServiceStatus {
		return apiregistration.APIServiceStatus{Conditions: []apiregistration.APIServiceCondition{
			{Type: "Other"}, {Type: apiregistration.Available, Status: status, Reason: reason},
		}}
	}
	list := &apiregistration.APIServiceList{ListMeta: metav1.ListMeta{ResourceVersion: "7", Continue: "more", RemainingItemCount: ptr.To[int64](3)}}
	for _, status := range []apiregistration.APIServiceStatus{
		{}, condition(apiregistration.ConditionTrue, "Local"), condition(apiregistration.ConditionFalse, "ServiceNotFound"), condition(apiregistration.ConditionUnknown, ""),
	} {
		list.Items = append(list.Items, apiregistration.APIService{ObjectMeta: metav1.ObjectMeta{Name: "v1.x.io"}, Status: status})
	}
	list.Items[1].Spec.Service = &apiregistration.ServiceReference{Namespace: "ns", Name: "svc"}
	for _, obj := range []runtime.Object{list, &list.Items[1]} {
		want, err := upstream.ConvertToTable(context.Background(), obj, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ours.ConvertToTable(context.Background(), obj, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("table differs from upstream's (-want +got):\n%s", diff)
		}
	}
}

func TestDeprecated(t *testing.T) {
	c := catalogue(t, Options{RuntimeConfig: allOn()})
	for gvr, want := range map[schema.GroupVersionResource]string{
		{Version: "v1", Resource: "endpoints"}:         "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
		{Version: "v1", Resource: "componentstatuses"}: "v1 ComponentStatus is deprecated in v1.19+",
		{Version: "v1", Resource: "pods"}:              "",
	} {
		if got := c.Lookup(gvr).Deprecated; got != want {
			t.Errorf("warning for %s = %q, want %q", gvr.Resource, got, want)
		}
	}
}

func TestEventTTL(t *testing.T) {
	for ttl, want := range map[time.Duration]uint64{0: 3600, 90 * time.Second: 90} {
		c := catalogue(t, Options{EventTTL: ttl})
		for _, name := range []string{"events", "events.events.k8s.io"} {
			if got, err := find(t, c, name).TTL(&api.Event{}, false); err != nil || got != want {
				t.Errorf("time to live of %s = %d, %v, want %d", name, got, err, want)
			}
		}
	}
}

// warnings records what clients would be told.
type warnings []string

func (w *warnings) AddWarning(_, text string) { *w = append(*w, text) }

func TestDeleteJobWarns(t *testing.T) {
	r := find(t, catalogue(t, Options{}), "jobs.batch")
	for _, c := range []struct {
		options metav1.DeleteOptions
		warns   bool
	}{
		{metav1.DeleteOptions{}, true},
		{metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationOrphan)}, false},
		{metav1.DeleteOptions{OrphanDependents: ptr.To(true)}, false},
	} {
		var told warnings
		ctx := warning.WithWarningRecorder(context.Background(), &told)
		ctx = request.WithRequestInfo(ctx, &request.RequestInfo{APIGroup: "batch", APIVersion: "v1"})
		if err := r.BeforeDelete(ctx, "j", &c.options); err != nil {
			t.Fatal(err)
		}
		if got := len(told) == 1 && strings.HasPrefix(told[0], "child pods are preserved by default"); got != c.warns {
			t.Errorf("%+v: warnings = %q", c.options, told)
		}
	}
}

func TestSystemPriorityClassesStay(t *testing.T) {
	r := find(t, catalogue(t, Options{}), "priorityclasses.scheduling.k8s.io")
	err := r.BeforeDelete(context.Background(), "system-node-critical", &metav1.DeleteOptions{})
	if !apierrors.IsForbidden(err) || !strings.HasSuffix(err.Error(), "this is a system priority class and cannot be deleted") {
		t.Errorf("error = %v", err)
	}
	if err := r.BeforeDelete(context.Background(), "mine", &metav1.DeleteOptions{}); err != nil {
		t.Errorf("error = %v", err)
	}
}

func TestTerminateNamespace(t *testing.T) {
	r := find(t, catalogue(t, Options{}), "namespaces")
	ns := &api.Namespace{Spec: api.NamespaceSpec{Finalizers: []api.FinalizerName{"kubernetes"}}, Status: api.NamespaceStatus{Phase: api.NamespaceActive}}
	r.Terminate(ns, &metav1.DeleteOptions{})
	if ns.DeletionTimestamp == nil || ns.Status.Phase != api.NamespaceTerminating {
		t.Errorf("a namespace being deleted has deletionTimestamp %v and phase %s", ns.DeletionTimestamp, ns.Status.Phase)
	}
	if r.Terminated(ns) || r.DeleteDuringUpdate(context.Background(), "", ns, ns) {
		t.Error("a namespace with content may be removed")
	}
	ns.Spec.Finalizers = nil
	if !r.Terminated(ns) || !r.DeleteDuringUpdate(context.Background(), "", ns, ns) {
		t.Error("a namespace without content may not be removed")
	}
}

// TestReadsJSON checks that objects stored as JSON, as an etcd may hold them,
// are read.
func TestReadsJSON(t *testing.T) {
	r := find(t, catalogue(t, Options{}), "configmaps")
	obj, err := r.Storage.Codec.Decode([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"b"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if cm := obj.(*api.ConfigMap); cm.Name != "c" || cm.Data["a"] != "b" {
		t.Errorf("read %+v", cm)
	}
}

func TestConvertFieldLabel(t *testing.T) {
	c := catalogue(t, Options{})
	pods := c.Lookup(schema.GroupVersionResource{Version: "v1", Resource: "pods"})
	if label, value, err := pods.ConvertFieldLabel("spec.host", "n1"); err != nil || label != "spec.nodeName" || value != "n1" {
		t.Errorf("spec.host=n1 became %s=%s, %v", label, value, err)
	}
	if _, _, err := pods.ConvertFieldLabel("spec.nothing", "x"); err == nil || err.Error() != "field label not supported: spec.nothing" {
		t.Errorf("error = %v", err)
	}
}

// TestForApart checks that nothing ties catalogues together: selectors and
// forms of one are not those of another.
func TestForApart(t *testing.T) {
	a, b := find(t, catalogue(t, Options{}), "pods"), find(t, catalogue(t, Options{}), "pods")
	if a.Selector() != a.Selector() {
		t.Error("a resource has two selectors")
	}
	if a.Selector() == b.Selector() || a.Versions[0].JSON == b.Versions[0].JSON {
		t.Error("two catalogues share a selector or a form")
	}
	forms := []any{a.Versions[0].JSON, a.Versions[0].Protobuf, a.Versions[0].MetadataJSON, a.Versions[0].MetadataProtobuf}
	for i, f := range forms {
		if slices.Contains(forms[i+1:], f) {
			t.Error("two forms of a version are the same")
		}
	}
}

// TestPriorities checks that each version of the catalogue has a place, and
// that it is upstream's where upstream lets others read it.
func TestPriorities(t *testing.T) {
	places := Priorities()
	for gv, want := range controlplane.DefaultGenericAPIServicePriorities() {
		got, ok := places[gv]
		if ok && gv.Group != "resource.k8s.io" && got != (Priority{want.Group, want.Version}) { // kube-apiserver moves that one
			t.Errorf("place of %s = %v, want %v", gv, got, want)
		}
	}
	for _, g := range catalogue(t, Options{RuntimeConfig: allOn()}).Groups {
		if g.Name == apiregistration.GroupName {
			continue
		}
		for _, v := range g.Versions {
			if p := places[schema.GroupVersion{Group: g.Name, Version: v}]; p.Group == 0 || p.Version == 0 {
				t.Errorf("%s/%s has no place in discovery", g.Name, v)
			}
		}
	}
}
