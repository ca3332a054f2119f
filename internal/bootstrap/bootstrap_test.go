package bootstrap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	rbacvalidation "k8s.io/component-helpers/auth/rbac/validation"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/pki"
	"github.com/knarr-io/knarr/internal/service"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is what there is of a server before it has an HTTP side.
type server struct {
	*run
	options Options
}

func newServer(t testing.TB, runtimeConfig map[string]string) *server {
	t.Helper()
	st := statetest.Start(t)
	s := &server{
		run: &run{verbs: &verb.Verbs{State: st}},
		options: Options{
			Fairness:         true,
			ServiceRanges:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")},
			AdvertiseAddress: net.IPv4(192, 0, 2, 1),
			Port:             26443,
			ClientCA:         newCA(t),
		},
	}
	s.serve(t, runtimeConfig)
	return s
}

// serve has the server serve what runtimeConfig says, as after a restart.
func (s *server) serve(t testing.TB, runtimeConfig map[string]string) {
	t.Helper()
	catalogue, err := native.Catalogue(native.Options{RuntimeConfig: runtimeConfig})
	if err != nil {
		t.Fatal(err)
	}
	s.catalogue = catalogue
	s.verbs.Companions = map[schema.GroupResource]verb.Companion{
		service.Resource: service.New(s.verbs.State, catalogue, service.Options{}),
	}
}

func (s *server) start(t testing.TB) {
	t.Helper()
	if err := Run(t.Context(), s.verbs, s.catalogue, s.options); err != nil {
		t.Fatal(err)
	}
}

func newCA(t testing.TB) []byte {
	t.Helper()
	bundle, err := pki.New(pki.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return bundle.CA.CertPEM()
}

// TestFresh compares everything there is after a first start with what a fresh
// kube-apiserver v1.37.2 holds (testdata/fresh.json, by version and resource,
// without what differs at every start).
func TestFresh(t *testing.T) {
	s := newServer(t, nil)
	s.start(t)

	file, err := os.ReadFile("testdata/fresh.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string][]any
	if err := json.Unmarshal(file, &want); err != nil {
		t.Fatal(err)
	}
	got := s.dump(t)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("resources that have objects (-want +got):\n%s", diff)
	}
	for resource, objects := range want {
		if diff := cmp.Diff(objects, got[resource]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", resource, diff)
		}
	}
}

// dump returns all objects there are, in the first of their versions that is
// not a preview.
func (s *server) dump(t *testing.T) map[string][]any {
	t.Helper()
	all := map[string][]any{}
	for _, group := range s.catalogue.Groups {
		for _, r := range group.Resources {
			if r.Storage == nil || (group.Name == "events.k8s.io" && r.Name == "events") {
				continue
			}
			version := r.Versions[0]
			s.verbs.State.Snapshot(r.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
				gv := version.GroupVersion().String()
				all[gv+"/"+r.Name] = append(all[gv+"/"+r.Name], s.plain(t, version, o))
				return true
			})
		}
	}
	return all
}

// plain returns an object as JSON has it, without what differs at every start.
func (s *server) plain(t *testing.T, version *kind.Version, o *object.Object) map[string]any {
	t.Helper()
	encoded, err := version.JSON.Encode(o)
	if err != nil {
		t.Fatal(err)
	}
	var obj map[string]any
	if err := json.Unmarshal(encoded, &obj); err != nil {
		t.Fatal(err)
	}
	delete(obj, "kind")
	delete(obj, "apiVersion")
	metadata := obj["metadata"].(map[string]any)
	for _, field := range []string{"uid", "creationTimestamp", "resourceVersion"} {
		if metadata[field] == nil || metadata[field] == "" {
			t.Errorf("%s %s has no %s", version.Resource.Name, o.Name, field)
		}
		delete(metadata, field)
	}
	delete(metadata, "managedFields")
	if status, ok := obj["status"].(map[string]any); ok {
		conditions, _ := status["conditions"].([]any)
		for _, c := range conditions {
			if c.(map[string]any)["lastTransitionTime"] == nil {
				t.Errorf("%s %s: %v has no time", version.Resource.Name, o.Name, c)
			}
			delete(c.(map[string]any), "lastTransitionTime")
		}
	}
	if data, ok := obj["data"].(map[string]any); ok {
		if ca, ok := data["client-ca-file"].(string); ok && ca == string(s.options.ClientCA) {
			data["client-ca-file"] = "<ca>"
		}
		if since, ok := data["since"].(string); ok {
			if _, err := time.Parse(time.DateOnly, since); err != nil {
				t.Error(err)
			}
			data["since"] = "<date>"
		}
	}
	return obj
}

func TestSecondStartWritesNothing(t *testing.T) {
	s := newServer(t, nil)
	s.start(t)
	rev := s.verbs.State.Rev()
	s.start(t)
	if now := s.verbs.State.Rev(); now != rev {
		t.Errorf("the second start wrote %d changes", now-rev)
	}
}

// TestReconciled changes objects between two starts.
func TestReconciled(t *testing.T) {
	ctx := context.Background()
	s := newServer(t, nil)
	s.start(t)

	namespaces, _ := served[*corev1.Namespace](s.run, corev1.SchemeGroupVersion.WithResource("namespaces"))
	public, err := namespaces.Get(ctx, "kube-public", metav1.GetOptions{})
	must(t, err)
	public.Labels["mine"] = "kept"
	_, err = namespaces.Update(ctx, public, metav1.UpdateOptions{})
	must(t, err)

	roles, _ := served[*rbacv1.ClusterRole](s.run, rbacv1.SchemeGroupVersion.WithResource("clusterroles"))
	discovery, err := roles.Get(ctx, "system:discovery", metav1.GetOptions{})
	must(t, err)
	rules := discovery.DeepCopy().Rules
	extra := rbacv1.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: []string{"/mine"}}
	discovery.Rules = []rbacv1.PolicyRule{extra}
	_, err = roles.Update(ctx, discovery, metav1.UpdateOptions{})
	must(t, err)
	view, err := roles.Get(ctx, "system:basic-user", metav1.GetOptions{})
	must(t, err)
	view.Annotations[rbacv1.AutoUpdateAnnotationKey], view.Rules = "false", nil
	_, err = roles.Update(ctx, view, metav1.UpdateOptions{})
	must(t, err)

	configMaps, _ := s.systemConfigMaps()
	tracking, err := configMaps.Get(ctx, "kube-apiserver-legacy-service-account-token-tracking", metav1.GetOptions{})
	must(t, err)
	tracking.Data = map[string]string{"since": "never"}
	_, err = configMaps.Update(ctx, tracking, metav1.UpdateOptions{})
	must(t, err)

	first := s.options.ClientCA
	s.options.ClientCA = newCA(t)
	s.options.Port = 6443
	s.start(t)

	public, err = namespaces.Get(ctx, "kube-public", metav1.GetOptions{})
	must(t, err)
	if public.Labels["mine"] != "kept" {
		t.Error("a namespace was written again")
	}
	discovery, err = roles.Get(ctx, "system:discovery", metav1.GetOptions{})
	must(t, err)
	if ok, missing := rbacvalidation.Covers(discovery.Rules, append(rules, extra)); !ok {
		t.Errorf("rules missing after the second start: %v", missing)
	}
	view, err = roles.Get(ctx, "system:basic-user", metav1.GetOptions{})
	must(t, err)
	if view.Rules != nil {
		t.Error("a protected role was reconciled")
	}
	tracking, err = configMaps.Get(ctx, tracking.Name, metav1.GetOptions{})
	must(t, err)
	if _, err := time.Parse(time.DateOnly, tracking.Data["since"]); err != nil {
		t.Error(err)
	}
	trust, err := configMaps.Get(ctx, "extension-apiserver-authentication", metav1.GetOptions{})
	must(t, err)
	if want := string(first) + string(s.options.ClientCA); trust.Data["client-ca-file"] != want {
		t.Errorf("trusted authorities:\n%s\nwant those of both starts", trust.Data["client-ca-file"])
	}
	endpoints, _ := served[*corev1.Endpoints](s.run, corev1.SchemeGroupVersion.WithResource("endpoints"))
	where, err := endpoints.in("default").Get(ctx, "kubernetes", metav1.GetOptions{})
	must(t, err)
	if port := where.Subsets[0].Ports[0].Port; port != 6443 {
		t.Errorf("endpoints have port %d after a start on 6443", port)
	}
}

// TestRuntimeConfig starts without a version that was served before.
func TestRuntimeConfig(t *testing.T) {
	s := newServer(t, nil)
	s.start(t)
	s.serve(t, map[string]string{"batch/v1": "false", "flowcontrol.apiserver.k8s.io/v1": "false"})
	s.start(t)

	services, _ := served[*apiregistrationv1.APIService](s.run, apiregistrationv1.SchemeGroupVersion.WithResource("apiservices"))
	all, err := services.All()
	must(t, err)
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	if len(names) != 20 || slices.Contains(names, "v1.batch") {
		t.Errorf("API services: %s", strings.Join(names, " "))
	}
}

func TestAdvertisesBindAddress(t *testing.T) {
	s := newServer(t, nil)
	s.options.AdvertiseAddress, s.options.BindAddress = nil, net.IPv4(192, 0, 2, 7)
	s.start(t)
	o := s.verbs.State.Get("/registry/services/endpoints/default/kubernetes")
	if o == nil || !bytes.Contains(o.Value, []byte("192.0.2.7")) {
		t.Error("the address that the server is bound to is not that of its endpoints")
	}
}

// TestFails starts on a store that does not take anything.
func TestFails(t *testing.T) {
	s := newServer(t, nil)
	must(t, s.verbs.State.Stop())
	err := Run(t.Context(), s.verbs, s.catalogue, s.options)
	if !errors.Is(err, store.ErrClosed) || !strings.Contains(err.Error(), ": ") {
		t.Errorf("on a closed store: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	if err := Run(ctx, s.verbs, s.catalogue, s.options); !errors.Is(err, stopped) {
		t.Errorf("without time: %v", err)
	}
}

// TestIdentity watches the Lease over the life of a server, on a clock of its
// own.
func TestIdentity(t *testing.T) {
	if got, want := identityName("vm"), "apiserver-wlv32tlttr4jl3gtroqexyxapa"; got != want {
		t.Errorf("the Lease of machine vm is called %s, kube-apiserver's %s", got, want)
	}
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		leases, _ := served[*coordinationv1.Lease](s.run, coordinationv1.SchemeGroupVersion.WithResource("leases"))
		only := func() *coordinationv1.Lease {
			t.Helper()
			synctest.Wait()
			all, err := leases.All()
			if err != nil || len(all) != 1 {
				t.Fatalf("leases: %v, %v", all, err)
			}
			return all[0]
		}
		ctx, cancel := context.WithCancel(t.Context())
		var kept sync.WaitGroup
		kept.Go(func() { KeepIdentity(ctx, s.verbs, s.catalogue, s.options) })
		first := only()
		if first.Namespace != "kube-system" || !strings.HasPrefix(*first.Spec.HolderIdentity, first.Name+"_") ||
			*first.Spec.LeaseDurationSeconds != 3600 || first.Labels["apiserver.kubernetes.io/identity"] != "kube-apiserver" ||
			first.Annotations["kubernetes.io/peer-advertise-address"] != "192.0.2.1:26443" {
			t.Errorf("lease: %+v", first)
		}
		time.Sleep(25 * time.Second)
		later := only()
		if age := later.Spec.RenewTime.Sub(first.Spec.RenewTime.Time); age != 20*time.Second || later.UID != first.UID {
			t.Errorf("after 25 s, the lease was renewed after %s", age)
		}
		cancel()
		kept.Wait()
		if all, err := leases.All(); err != nil || len(all) != 0 {
			t.Errorf("after the end: %v, %v", all, err)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func BenchmarkFirstStart(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := newServer(b, nil)
		b.StartTimer()
		s.start(b)
	}
}

func BenchmarkSecondStart(b *testing.B) {
	s := newServer(b, nil)
	s.start(b)
	for b.Loop() {
		s.start(b)
	}
}
