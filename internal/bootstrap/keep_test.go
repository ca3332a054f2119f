package bootstrap

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	api "k8s.io/kubernetes/pkg/apis/core"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/service"
	"github.com/knarr-io/knarr/internal/verb"
)

// keep has what stands for the server kept until the test ends.
func (s *server) keep(t *testing.T) *clocktesting.FakeClock {
	t.Helper()
	clock := clocktesting.NewFakeClock(time.Now())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { KeepKubernetes(ctx, s.verbs, s.catalogue, s.options, clock) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return clock
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s has not happened", what)
		}
	}
}

// spec is what an object says beside its metadata.
func (s *server) spec(t *testing.T, gvr schema.GroupVersionResource, o *object.Object) string {
	t.Helper()
	encoded, err := s.catalogue.Lookup(gvr).JSON.Encode(o)
	if err != nil {
		t.Fatal(err)
	}
	var obj map[string]any
	if err := json.Unmarshal(encoded, &obj); err != nil {
		t.Fatal(err)
	}
	labels, _ := obj["metadata"].(map[string]any)["labels"]
	delete(obj, "metadata")
	delete(obj, "status")
	obj["labels"] = labels
	encoded, err = json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// TestKept deletes what stands for the server: it comes back as it was. When it
// is deleted again, it does after a while.
func TestKept(t *testing.T) {
	s := newServer(t, nil)
	s.start(t)
	clock := s.keep(t)
	ctx := t.Context()
	for key, kept := range map[string]struct {
		gvr    schema.GroupVersionResource
		delete func() error
	}{
		"/registry/servicecidrs/kubernetes": {networkingv1.SchemeGroupVersion.WithResource("servicecidrs"), func() error {
			cidrs, _ := served[*networkingv1.ServiceCIDR](s.run, networkingv1.SchemeGroupVersion.WithResource("servicecidrs"))
			return cidrs.Delete(ctx, name, metav1.DeleteOptions{})
		}},
		"/registry/services/specs/default/kubernetes": {corev1.SchemeGroupVersion.WithResource("services"), func() error {
			services, _ := served[*corev1.Service](s.run, corev1.SchemeGroupVersion.WithResource("services"))
			return services.in("default").Delete(ctx, name, metav1.DeleteOptions{})
		}},
		"/registry/services/endpoints/default/kubernetes": {corev1.SchemeGroupVersion.WithResource("endpoints"), func() error {
			endpoints, _ := served[*corev1.Endpoints](s.run, corev1.SchemeGroupVersion.WithResource("endpoints"))
			return endpoints.in("default").Delete(ctx, name, metav1.DeleteOptions{})
		}},
		"/registry/endpointslices/default/kubernetes": {discoveryv1.SchemeGroupVersion.WithResource("endpointslices"), func() error {
			slices, _ := served[*discoveryv1.EndpointSlice](s.run, discoveryv1.SchemeGroupVersion.WithResource("endpointslices"))
			return slices.in("default").Delete(ctx, name, metav1.DeleteOptions{})
		}},
		"/registry/configmaps/kube-system/kube-apiserver-legacy-service-account-token-tracking": {corev1.SchemeGroupVersion.WithResource("configmaps"), func() error {
			configMaps, _ := s.systemConfigMaps()
			return configMaps.Delete(ctx, "kube-apiserver-legacy-service-account-token-tracking", metav1.DeleteOptions{})
		}},
	} {
		t.Run(key, func(t *testing.T) {
			clock.Step(keepInterval)
			before := s.verbs.State.Get(key)
			back := func() bool { return s.verbs.State.Get(key) != nil }
			if err := kept.delete(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "its return", back)
			if got, want := s.spec(t, kept.gvr, s.verbs.State.Get(key)), s.spec(t, kept.gvr, before); got != want {
				t.Errorf("it came back as\n%s, was\n%s", got, want)
			}
			if err := kept.delete(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "a timer", clock.HasWaiters)
			if back() {
				t.Error("it is back at once again")
			}
			eventually(t, "its return", func() bool {
				clock.Step(keepInterval) // again, if it was before the timer was set
				return back()
			})
		})
	}
}

// TestEndpointsKept has another write its port into the endpoints.
func TestEndpointsKept(t *testing.T) {
	s := newServer(t, nil)
	s.start(t)
	s.keep(t)
	endpoints, _ := served[*corev1.Endpoints](s.run, corev1.SchemeGroupVersion.WithResource("endpoints"))
	endpoints = endpoints.in("default")
	where, err := endpoints.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	where.Subsets[0].Ports[0].Port = 99
	if _, err := endpoints.Update(t.Context(), where, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the return of the port", func() bool {
		now, err := endpoints.Get(t.Context(), name, metav1.GetOptions{})
		return err == nil && now.Subsets[0].Ports[0].Port == 26443
	})
}

// TestServiceCIDRController has the first ServiceCIDR made as the controller
// of that name leaves it.
func TestServiceCIDRController(t *testing.T) {
	s := newServer(t, nil)
	s.options.ServiceCIDRController = true
	s.start(t)
	cidrs, _ := served[*networkingv1.ServiceCIDR](s.run, networkingv1.SchemeGroupVersion.WithResource("servicecidrs"))
	cidr, err := cidrs.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cidr.Finalizers, []string{"networking.k8s.io/service-cidr-finalizer"}) ||
		len(cidr.Status.Conditions) != 1 || cidr.Status.Conditions[0].Message != "Kubernetes Service CIDR is ready" {
		t.Errorf("finalizers %q, conditions %+v", cidr.Finalizers, cidr.Status.Conditions)
	}
}

// TestSecondFamily adds one at a later start.
func TestSecondFamily(t *testing.T) {
	s := newServer(t, nil)
	s.start(t)
	s.options.ServiceRanges = append(s.options.ServiceRanges, netip.MustParsePrefix("fd00::/112"))
	s.options.AdvertiseAddress = net.IPv4(192, 0, 2, 1)
	s.verbs.Companions = map[schema.GroupResource]verb.Companion{
		service.Resource: service.New(s.verbs.State, s.catalogue, service.Options{Families: []api.IPFamily{api.IPv4Protocol, api.IPv6Protocol}}),
	}
	s.start(t)
	cidrs, _ := served[*networkingv1.ServiceCIDR](s.run, networkingv1.SchemeGroupVersion.WithResource("servicecidrs"))
	cidr, err := cidrs.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"10.0.0.0/24", "fd00::/112"}; !slices.Equal(cidr.Spec.CIDRs, want) {
		t.Errorf("networks %q, want %q", cidr.Spec.CIDRs, want)
	}
}
