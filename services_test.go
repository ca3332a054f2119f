package knarr_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/knarrtest"
)

// eventually waits for what the server does by itself.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s has not happened", what)
		}
	}
}

// Services have addresses of two families, and node ports of the range that
// the server was started with.
func TestDualStackServices(t *testing.T) {
	server := knarrtest.StartWith(t, knarr.Options{
		ServiceClusterIPRange: "10.0.0.0/24,fd00:10::/112",
		ServiceNodePortRange:  utilnet.PortRange{Base: 40000, Size: 2},
	})
	client := kubernetes.NewForConfigOrDie(server.ClientConfig())
	ctx := t.Context()
	create := func(name string, policy corev1.IPFamilyPolicy) (*corev1.Service, error) {
		return client.CoreV1().Services("default").Create(ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeNodePort, IPFamilyPolicy: &policy, Ports: []corev1.ServicePort{{Port: 80}},
			},
		}, metav1.CreateOptions{})
	}
	both, err := create("both", corev1.IPFamilyPolicyRequireDualStack)
	if err != nil {
		t.Fatal(err)
	}
	if ips := both.Spec.ClusterIPs; len(ips) != 2 || !strings.HasPrefix(ips[0], "10.0.0.") || !strings.HasPrefix(ips[1], "fd00:10::") {
		t.Errorf("addresses %q", ips)
	}
	if port := both.Spec.Ports[0].NodePort; port < 40000 || port > 40001 {
		t.Errorf("node port %d", port)
	}
	single := corev1.IPFamilyPolicySingleStack
	both.Spec.IPFamilyPolicy = &single
	first, err := client.CoreV1().Services("default").Update(ctx, both, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(first.Spec.ClusterIPs, both.Spec.ClusterIPs[:1]) {
		t.Errorf("addresses %q", first.Spec.ClusterIPs)
	}
	addresses, err := client.NetworkingV1().IPAddresses().List(ctx, metav1.ListOptions{LabelSelector: "ipaddress.kubernetes.io/ip-family=IPv6"})
	if err != nil || len(addresses.Items) != 0 {
		t.Errorf("%v, error %v", addresses.Items, err)
	}
	if _, err := create("second", single); err != nil {
		t.Fatal(err)
	}
	const full = "Internal error occurred: failed to allocate a nodePort: range is full"
	if _, err := create("third", single); err == nil || err.Error() != full {
		t.Errorf("a third node port of two: %v", err)
	}
}

// What goes with Services is kept: addresses, ServiceCIDRs, and the server's
// own Service.
func TestServicesAreKept(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(knarrtest.Start(t).ClientConfig())
	ctx := t.Context()
	services, cidrs, addresses := client.CoreV1().Services("default"), client.NetworkingV1().ServiceCIDRs(), client.NetworkingV1().IPAddresses()

	if err := services.Delete(ctx, "kubernetes", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the return of the kubernetes Service", func() bool {
		svc, err := services.Get(ctx, "kubernetes", metav1.GetOptions{})
		return err == nil && svc.Spec.ClusterIP == "10.0.0.1"
	})
	if err := addresses.Delete(ctx, "10.0.0.1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the return of its IPAddress", func() bool {
		ip, err := addresses.Get(ctx, "10.0.0.1", metav1.GetOptions{})
		return err == nil && ip.Spec.ParentRef.Name == "kubernetes"
	})
	told, err := client.EventsV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: "reason=ClusterIPNotAllocated"})
	if err != nil || len(told.Items) != 1 || told.Items[0].Regarding.Name != "kubernetes" || told.Items[0].ReportingController != "ipallocator-repair-controller" {
		t.Errorf("events %+v, error %v", told, err)
	}

	if _, err := cidrs.Create(ctx, &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: "more"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.9.0.0/24"}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	says := func(status metav1.ConditionStatus) func() bool {
		return func() bool {
			cidr, err := cidrs.Get(ctx, "more", metav1.GetOptions{})
			return err == nil && slices.Equal(cidr.Finalizers, []string{"networking.k8s.io/service-cidr-finalizer"}) &&
				len(cidr.Status.Conditions) == 1 && cidr.Status.Conditions[0].Status == status
		}
	}
	eventually(t, "a ServiceCIDR that is ready", says(metav1.ConditionTrue))
	if _, err := services.Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "svc"}, Spec: corev1.ServiceSpec{ClusterIP: "10.9.0.7", Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := cidrs.Delete(ctx, "more", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a ServiceCIDR that waits", says(metav1.ConditionFalse))
}

// A server that is started again with another range of node ports keeps what
// Services have, and gives others of the new range.
func TestNodePortRangeChanges(t *testing.T) {
	options := knarr.Options{DataDir: t.TempDir()}
	for i, r := range []utilnet.PortRange{{Base: 30000, Size: 10}, {Base: 30005, Size: 10}} {
		options.ServiceNodePortRange = r
		server := start(t, options)
		client := kubernetes.NewForConfigOrDie(server.ClientConfig())
		create := func(port int32) error {
			_, err := client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("svc-%d-%d", i, port)},
				Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80, NodePort: port}}},
			}, metav1.CreateOptions{})
			return err
		}
		if i == 0 {
			for _, port := range []int32{30001, 30006} {
				if err := create(port); err != nil {
					t.Fatal(err)
				}
			}
		} else {
			if err := create(30006); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "provided port is already allocated") {
				t.Errorf("a port that a Service has: %v", err)
			}
			const outside = "provided port is not in the valid range. The range of valid ports is 30005-30014"
			if err := create(30002); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), outside) {
				t.Errorf("a port of the former range: %v", err)
			}
			if err := create(30014); err != nil {
				t.Error(err)
			}
		}
		if err := server.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestServiceRangesRefused(t *testing.T) {
	for ranges, want := range map[string]string{
		"10.0.0.0":                    `service-cluster-ip-range "10.0.0.0" is not a network such as 10.0.0.0/24`,
		"10.0.0.0/24,x":               `service-cluster-ip-range "x" is not a network such as 10.0.0.0/24`,
		"10.0.0.0/30":                 "the service cluster IP range must be at least 8 IP addresses; 10.0.0.0/30 has fewer",
		"fd00::/48":                   "shortest allowed prefix length for service CIDR is 64; fd00::/48 is shorter",
		"10.0.0.0/24,10.1.0.0/24":     "--service-cluster-ip-range[0] and --service-cluster-ip-range[1] must be of different IP family",
		"10.0.0.0/24,fd00::/64,::/64": "--service-cluster-ip-range must not contain more than two entries",
	} {
		_, err := knarr.Start(t.Context(), knarr.Options{ServiceClusterIPRange: ranges})
		if err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", ranges, err, want)
		}
	}
}

// A write of the status of a Service that is not there makes it, as upstream
// does, but allocates nothing for it: that is done for Services written whole.
func TestServiceMadeByItsStatus(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(knarrtest.Start(t).ClientConfig())
	services := client.CoreV1().Services("default")
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "s"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80}}},
	}
	made, err := services.UpdateStatus(t.Context(), svc, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if made.Spec.ClusterIP != "" || made.Spec.Ports[0].NodePort != 0 {
		t.Errorf("it has the address %q and the node port %d", made.Spec.ClusterIP, made.Spec.Ports[0].NodePort)
	}
	svc.Name, svc.Spec.Type, svc.Spec.ExternalTrafficPolicy = "t", corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyLocal
	_, err = services.UpdateStatus(t.Context(), svc, metav1.UpdateOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "spec.healthCheckNodePort: Required value") {
		t.Errorf("a load balancer without a port for health checks: %v", err)
	}
}
