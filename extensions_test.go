package knarr_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/knarrtest"
)

// The group is there only if it is asked for by its name.
func TestExtensionsAreOffByDefault(t *testing.T) {
	for _, test := range []struct {
		config map[string]string
		want   []string
	}{
		{nil, nil},
		{map[string]string{"api/all": "true"}, nil},
		{map[string]string{"api/beta": "true"}, nil},
		{map[string]string{"extensions/v1beta1": "true"}, []string{"daemonsets", "daemonsets/status", "deployments", "deployments/scale", "deployments/status",
			"ingresses", "ingresses/status", "networkpolicies", "replicasets", "replicasets/scale", "replicasets/status"}},
		{map[string]string{"extensions/v1beta1/ingresses": "true"}, []string{"ingresses", "ingresses/status"}},
	} {
		client := newClient(t, knarrtest.StartWith(t, knarr.Options{RuntimeConfig: test.config}))
		list, err := client.Discovery().ServerResourcesForGroupVersion("extensions/v1beta1")
		if (err == nil) != (test.want != nil) {
			t.Errorf("%v: %v", test.config, err)
			continue
		}
		var got []string
		if list != nil {
			for _, r := range list.APIResources {
				got = append(got, r.Name)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%v: there are %v", test.config, got)
		}
		if test.want == nil {
			continue // nor is it described: what is described is what there is
		}
		paths, err := client.Discovery().OpenAPIV3().Paths()
		if err != nil {
			t.Fatal(err)
		}
		document := paths["apis/extensions/v1beta1"]
		if document == nil {
			t.Errorf("%v: there is no document", test.config)
			continue
		}
		text, err := document.Schema("application/json")
		if err != nil || !json.Valid(text) || !strings.Contains(string(text), "io.k8s.api.extensions.v1beta1.IngressSpec") {
			t.Errorf("%v: the document is %.200s, %v", test.config, text, err)
		}
	}
}

// Who watches one group sees what is done in the other.
func TestExtensionsAreWatchedAcross(t *testing.T) {
	client := newClient(t, knarrtest.StartWith(t, knarr.Options{RuntimeConfig: map[string]string{"extensions/v1beta1": "true"}}))
	inApps, err := client.AppsV1().Deployments("default").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer inApps.Stop()
	inExtensions, err := client.ExtensionsV1beta1().Deployments("default").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer inExtensions.Stop()
	old := &extensionsv1beta1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "d"},
		Spec: extensionsv1beta1.DeploymentSpec{Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		}},
	}
	if _, err := client.ExtensionsV1beta1().Deployments("default").Create(t.Context(), old, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AppsV1().Deployments("default").Patch(t.Context(), "d", types.MergePatchType, []byte(`{"spec":{"replicas":2}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.ExtensionsV1beta1().Deployments("default").Delete(t.Context(), "d", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	want := []watch.EventType{watch.Added, watch.Modified, watch.Deleted}
	for version, events := range map[string]watch.Interface{"apps/v1": inApps, "extensions/v1beta1": inExtensions} {
		var got []watch.EventType
		for range want {
			e := <-events.ResultChan()
			got = append(got, e.Type)
			if is := e.Object.GetObjectKind().GroupVersionKind().GroupVersion().String(); is != version && is != "" {
				t.Errorf("who watches %s got an object of %s", version, is)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v", version, got)
		}
	}
}
