package knarr_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/knarr-io/knarr/knarrtest"
)

// What another server serves is in discovery and OpenAPI as if this one had it,
// until its APIService is gone.
func TestTellsWhatIsServedElsewhere(t *testing.T) {
	const group, path = "wardle.example.com", "/openapi/v3/apis/wardle.example.com/v1alpha1"
	mux := http.NewServeMux()
	for at, answer := range map[string]struct{ contentType, file string }{
		"/apis":                             {"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", "internal/discovery/testdata/elsewhere-sample.json"},
		"/openapi/v3":                       {"text/plain", "internal/openapi/testdata/elsewhere-sample-index.json"},
		"/openapi/v2":                       {"application/json", "internal/openapi/testdata/elsewhere-sample-v2.json"},
		"/apis/wardle.example.com/v1alpha1": {"application/json", "internal/aggregate/testdata/sample-v1alpha1.json"},
	} {
		mux.HandleFunc(at, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", answer.contentType)
			http.ServeFile(w, r, answer.file)
		})
	}
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "for %s", r.Header.Get("X-Remote-User")) })
	backend := httptest.NewTLSServer(mux)
	defer backend.Close()
	_, number, err := net.SplitHostPort(backend.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	port := int32(parsed)

	a := newAggregating(t, knarrtest.Start(t))
	_, before := a.get("/openapi/v2")
	_, err = a.client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "wardle"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	service, err := a.services.ApiregistrationV1().APIServices().Create(t.Context(), &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1alpha1." + group},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: group, Version: "v1alpha1", GroupPriorityMinimum: 17450, VersionPriority: 15, InsecureSkipTLSVerify: true,
			Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "wardle", Port: &port},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}

	a.routed("/apis/"+group, http.StatusOK, `"preferredVersion":{"groupVersion":"wardle.example.com/v1alpha1"`)
	a.routed("/", http.StatusOK, `"/apis/wardle.example.com/v1alpha1"`)
	// client-go asks for aggregated documents.
	var groups []*metav1.APIGroup
	var resources int
	told := func() bool {
		var lists []*metav1.APIResourceList
		resources = 0
		groups, lists, err = a.client.Discovery().ServerGroupsAndResources()
		for _, list := range lists {
			if list.GroupVersion == group+"/v1alpha1" {
				resources = len(list.APIResources)
			}
		}
		return err == nil && resources == 2
	}
	is := func() string { return fmt.Sprint(resources, err) }
	a.eventually("discovery of two resources", told, is)
	var order []string
	for _, g := range groups {
		switch g.Name {
		case "autoscaling", group, "batch":
			order = append(order, g.Name)
		}
	}
	if got := strings.Join(order, " "); got != "autoscaling wardle.example.com batch" {
		t.Errorf("groups are in the order %s", got)
	}
	a.routed("/openapi/v3", http.StatusOK, `"`+path+"?hash=")
	a.routed(path, http.StatusOK, "for kubernetes-admin")
	a.routed("/openapi/v2", http.StatusOK, `"/apis/wardle.example.com/v1alpha1/flunders":`)

	if err := a.services.ApiregistrationV1().APIServices().Delete(t.Context(), service.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	a.routed("/apis/"+group, http.StatusNotFound, "")
	a.routed(path, http.StatusNotFound, "")
	if _, after := a.get("/openapi/v2"); after != before {
		t.Error("/openapi/v2 is not what it was")
	}
}
