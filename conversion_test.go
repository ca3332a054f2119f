package knarr_test

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/knarr-io/knarr/internal/kind/custom/customtest"
	"github.com/knarr-io/knarr/internal/pki"
	"github.com/knarr-io/knarr/knarrtest"
)

const boatDefinition = `
metadata: {name: boats.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: boats, kind: Boat}
  conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {
    service: {namespace: default, name: shipwright, port: %d}, caBundle: %s}}}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {feet: {type: integer}}}}}
  - {name: v2, served: true, storage: false, schema: {openAPIV3Schema: {type: object, properties: {inches: {type: integer}}}}}
`

// TestConversionByService has custom objects converted by a webhook that is a
// Service: it is found as others' servers are, and known by the Service's name.
func TestConversionByService(t *testing.T) {
	server := knarrtest.Start(t)
	certificates, err := pki.New(pki.Options{Hosts: []string{"shipwright.default.svc"}})
	if err != nil {
		t.Fatal(err)
	}
	shipwright := &customtest.Webhook{Convert: func(u *unstructured.Unstructured) error {
		if feet, ok, _ := unstructured.NestedInt64(u.Object, "feet"); ok {
			delete(u.Object, "feet")
			return unstructured.SetNestedField(u.Object, 12*feet, "inches")
		}
		inches, _, _ := unstructured.NestedInt64(u.Object, "inches")
		delete(u.Object, "inches")
		return unstructured.SetNestedField(u.Object, inches/12, "feet")
	}}
	hook := httptest.NewUnstartedServer(shipwright)
	hook.TLS = &tls.Config{Certificates: []tls.Certificate{certificates.Serving.TLS()}}
	hook.StartTLS()
	defer hook.Close()
	defer hook.CloseClientConnections()

	_, err = newClient(t, server).CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "shipwright"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := newCustom(t, server)
	port := hook.Listener.Addr().(*net.TCPAddr).Port
	c.define(fmt.Sprintf(boatDefinition, port, base64.StdEncoding.EncodeToString(certificates.CA.CertPEM())))
	boats := func(version string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: "example.com", Version: version, Resource: "boats"}
	}
	for i := range 3 {
		boat := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "example.com/v1", "kind": "Boat", "metadata": map[string]any{"name": fmt.Sprint("b", i)}, "feet": int64(10 + i),
		}}
		if _, err := c.dynamic.Resource(boats("v1")).Namespace("default").Create(t.Context(), boat, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := c.dynamic.Resource(boats("v2")).Namespace("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var inches []int64
	for _, boat := range list.Items {
		n, _, _ := unstructured.NestedInt64(boat.Object, "inches")
		inches = append(inches, n)
	}
	if got := fmt.Sprint(inches); got != "[120 132 144]" {
		t.Errorf("listed: %s", got)
	}
	if calls := fmt.Sprint(shipwright.Calls()); calls != "[3]" {
		t.Errorf("objects in each call: %s", calls)
	}
}
