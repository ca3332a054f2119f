package admission

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/informers"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/store"
)

// newDefault returns the chain of all plugins that run by default, for a server
// that has one namespace, "here", with its ServiceAccount.
func newDefault(t testing.TB) *Chain {
	t.Helper()
	c, err := newOf(t, Settings{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newOf is newDefault with settings.
func newOf(t testing.TB, s Settings) (*Chain, error) {
	t.Helper()
	c, _, err := newWith(t, s)
	return c, err
}

// newWith is newOf, and tells what the plugins work with.
func newWith(t testing.TB, s Settings) (*Chain, *Environment, error) {
	t.Helper()
	st := statetest.Start(t)
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	current := func() *kind.Catalogue { return catalogue }
	for resource, obj := range map[string]runtime.Object{
		"namespaces":      &api.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "here"}},
		"serviceaccounts": &api.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: "here"}},
	} {
		storage := catalogue.Lookup(corev1.SchemeGroupVersion.WithResource(resource)).Resource.Storage
		m := obj.(metav1.Object)
		value, err := storage.Codec.Encode(obj)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Commit(t.Context(), store.Change{Key: storage.Key(m.GetNamespace(), m.GetName()), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	nowhere := &rest.Config{Host: "http://127.0.0.1:1"}
	e := &Environment{
		State: st, Catalogue: current, Informers: informers.New(st, current), Stopped: t.Context().Done(),
		Client: kubernetes.NewForConfigOrDie(nowhere), Dynamic: dynamic.NewForConfigOrDie(nowhere),
		Authorizer: authorizerfactory.NewAlwaysAllowAuthorizer(),
	}
	c, err := New(s, e)
	return c, e, err
}

// Every plugin can be asked for, and those that need to know something are told.
func TestEveryPluginCanRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	reviewer := write("reviewer", `apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
`)
	write("images", "imagePolicy: {kubeConfigFile: "+reviewer+", allowTTL: 50, denyTTL: 50, retryBackoff: 500, defaultAllow: true}")
	const head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n"
	config := write("config", head+`plugins: [
{name: EventRateLimit, configuration: {apiVersion: eventratelimit.admission.k8s.io/v1alpha1, kind: Configuration, limits: [{type: Server, qps: 1, burst: 1}]}},
{name: ImagePolicyWebhook, path: images}]`)
	known, _ := Names()
	c, err := newOf(t, Settings{Enable: known, ConfigFile: config})
	if err != nil {
		t.Fatal(err)
	}
	running := map[string]bool{}
	for _, s := range append(slices.Collect(maps.Values(c.named)), c.others) {
		for _, m := range slices.Concat(s.mutating, s.validating) {
			running[m.name] = true
		}
	}
	for _, p := range all() {
		if want := len(p.resources) > 0; running[p.name] != want {
			t.Errorf("%s runs: %t", p.name, !want)
		}
	}
	for text, bad := range map[string]string{
		"unable to read admission control configuration":                       filepath.Join(dir, "none"),
		"the configuration of admission plugin PodNodeSelector cannot be read": write("lost", head+"plugins: [{name: PodNodeSelector, path: none}]"),
		`unknown field "plugin"`:                                               write("wrong", head+"plugin: []"),
		`couldn't init admission plugin "PodSecurity"`:                         write("level", head+`plugins: [{name: PodSecurity, configuration: {kind: None}}]`),
		`couldn't init admission plugin "ResourceQuota"`:                       write("quota", head+`plugins: [{name: ResourceQuota, configuration: {kind: None}}]`),
		`couldn't init admission plugin "ValidatingAdmissionPolicy"`:           write("validating", head+`plugins: [{name: ValidatingAdmissionPolicy, configuration: {kind: None}}]`),
		`couldn't init admission plugin "MutatingAdmissionPolicy"`:             write("mutating", head+`plugins: [{name: MutatingAdmissionPolicy, configuration: {kind: None}}]`),
		`couldn't init admission plugin "ValidatingAdmissionWebhook"`:          write("webhook", head+`plugins: [{name: ValidatingAdmissionWebhook, configuration: {kind: None}}]`),
	} {
		if _, err := newOf(t, Settings{ConfigFile: bad}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func create(kind, resource string, obj runtime.Object) admission.Attributes {
	return admission.NewAttributesRecord(obj, nil, schema.GroupVersionKind{Version: "v1", Kind: kind}, "here", "a",
		schema.GroupVersionResource{Version: "v1", Resource: resource}, "", admission.Create, &metav1.CreateOptions{}, false, &user.DefaultInfo{Name: "jane"})
}

// A ConfigMap costs the look at its namespace, and no copy.
func TestDefaultsLeaveConfigMapsAlone(t *testing.T) {
	c := newDefault(t)
	a := create("ConfigMap", "configmaps", &api.ConfigMap{})
	if !c.Mutates(a) || c.Validates(a) {
		t.Errorf("a ConfigMap: mutates %t, validates %t", c.Mutates(a), c.Validates(a))
	}
	if a := create("Pod", "pods", &api.Pod{}); !c.Validates(a) {
		t.Error("nobody looks at a pod")
	}
}

// BenchmarkDefaults is what the plugins that run by default add to a create, with
// the copy for validation.
func BenchmarkDefaults(b *testing.B) {
	c := newDefault(b)
	pod := &api.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "here"}, Spec: api.PodSpec{Containers: []api.Container{{Name: "c", Image: "i"}}}}
	for name, made := range map[string]func() admission.Attributes{
		"ConfigMap": func() admission.Attributes {
			return create("ConfigMap", "configmaps", &api.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "here"}})
		},
		"Pod": func() admission.Attributes { return create("Pod", "pods", pod.DeepCopy()) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a := made()
				if err := c.Admit(b.Context(), a, nil); err != nil {
					b.Fatal(err)
				}
				if !c.Validates(a) {
					continue
				}
				a = create(a.GetKind().Kind, a.GetResource().Resource, a.GetObject().DeepCopyObject())
				if err := c.Validate(b.Context(), a, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
