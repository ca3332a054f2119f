package everynamespace

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/controller/certificates/rootcacertpublisher"

	"github.com/knarr-io/knarr/internal/admission"
	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ca = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"

// cluster is a server without its HTTP side, whose keeper does not run yet.
type cluster struct {
	*testing.T
	ctx       context.Context // ends after a time in which everything should have happened
	state     *state.State
	catalogue *kind.Catalogue
	verbs     *verb.Verbs
	keeper    *Keeper
}

func newCluster(t *testing.T, controllers ...string) *cluster {
	t.Helper()
	st := statetest.Start(t)
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	enabled, err := controller.Enable(controllers)
	if err != nil {
		t.Fatal(err)
	}
	managers := new(ownership.Managers)
	keeper := New(st, catalogue, Options{Enabled: enabled, RootCA: []byte(ca),
		Own: func(v *kind.Version, obj runtime.Object, by string) runtime.Object {
			return managers.For(v, nil).Update(v.Resource.New(), obj, by)
		}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	current := func() *kind.Catalogue { return catalogue }
	admitted, err := admission.New(admission.Settings{Control: []string{"NamespaceLifecycle"}}, &admission.Environment{State: st, Catalogue: current})
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{
		T: t, ctx: ctx, state: st, catalogue: catalogue, keeper: keeper,
		verbs: &verb.Verbs{
			State: st, Ownership: managers.For, Admission: admitted,
			Companions: map[schema.GroupResource]verb.Companion{Resource: keeper},
		},
	}
}

// run runs the keeper until the test ends.
func (c *cluster) run() {
	ctx, cancel := context.WithCancel(c.ctx)
	var running sync.WaitGroup
	for _, name := range []string{controller.ServiceAccounts, controller.RootCAPublisher} {
		running.Go(func() { c.keeper.Run(ctx, c.verbs, name) })
	}
	c.Cleanup(func() { cancel(); running.Wait() })
}

func (c *cluster) target(resource, namespace, name string) verb.Target {
	return verb.Target{Version: c.catalogue.Lookup(corev1.SchemeGroupVersion.WithResource(resource)), Namespace: namespace, Name: name}
}

func (c *cluster) as(t verb.Target, verb string) context.Context {
	return t.Context(c.ctx, verb, &user.DefaultInfo{Name: "tester"})
}

func (c *cluster) createNamespace(name string, dryRun ...string) {
	c.Helper()
	t := c.target("namespaces", "", name)
	obj := &api.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: api.NamespaceSpec{Finalizers: []api.FinalizerName{"kubernetes"}}}
	if _, err := c.verbs.Create(c.as(t, "create"), t, obj, &metav1.CreateOptions{DryRun: dryRun}); err != nil {
		c.Fatal(err)
	}
}

func (c *cluster) patch(resource, namespace, name, body string) {
	c.Helper()
	t := c.target(resource, namespace, name)
	if _, err := c.verbs.Patch(c.as(t, "patch"), t, types.MergePatchType, []byte(body), &metav1.PatchOptions{FieldManager: "tester"}); err != nil {
		c.Fatal(err)
	}
}

func (c *cluster) delete(resource, namespace, name string) {
	c.Helper()
	t := c.target(resource, namespace, name)
	if _, err := c.verbs.Delete(c.as(t, "delete"), t, &metav1.DeleteOptions{}); err != nil {
		c.Fatal(err)
	}
}

// get returns an object as JSON has it, or nil.
func (c *cluster) get(resource, namespace, name string) map[string]any {
	c.Helper()
	t := c.target(resource, namespace, name)
	o, err := c.verbs.Get(c.ctx, t, &metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		c.Fatal(err)
	}
	encoded, err := t.Version.JSON.Encode(o)
	if err != nil {
		c.Fatal(err)
	}
	var obj map[string]any
	if err := json.Unmarshal(encoded, &obj); err != nil {
		c.Fatal(err)
	}
	return obj
}

// await waits until what is at a place is as wanted, woken by each change of
// its resource.
func (c *cluster) await(resource, namespace, name string, wanted func(map[string]any) bool) {
	c.Helper()
	prefix := c.target(resource, "", "").Version.Resource.Storage.Prefix
	for {
		cursor, err := c.state.Watch(prefix, c.state.Snapshot(prefix).Rev)
		if err != nil {
			c.Fatal(err)
		}
		if wanted(c.get(resource, namespace, name)) {
			return
		}
		if _, err := cursor.Next(c.ctx, make([]state.Event, 8)); err != nil {
			c.Fatalf("%s %s/%s is still %v", resource, namespace, name, c.get(resource, namespace, name))
		}
	}
}

func there(obj map[string]any) bool { return obj != nil }

func rootCAIsRight(obj map[string]any) bool {
	data, _ := obj["data"].(map[string]any)
	metadata, _ := obj["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	return cmp.Equal(data, map[string]any{"ca.crt": ca}) && annotations[descriptionKey] == description
}

// A namespace comes with its objects, though no controller runs.
func TestTogetherWithTheNamespace(t *testing.T) {
	c := newCluster(t)
	before := c.state.Rev()
	c.createNamespace("shop")
	if got := c.state.Rev() - before; got != 3 {
		t.Errorf("the namespace took %d changes, want 3", got)
	}
	account, root := c.get("serviceaccounts", "shop", "default"), c.get("configmaps", "shop", "kube-root-ca.crt")
	for _, obj := range []map[string]any{account, root} {
		metadata := obj["metadata"].(map[string]any)
		for _, field := range []string{"uid", "creationTimestamp", "resourceVersion"} {
			if metadata[field] == nil {
				t.Errorf("no %s in %v", field, metadata)
			}
			delete(metadata, field)
		}
		for _, entry := range slice(metadata["managedFields"]) {
			delete(entry.(map[string]any), "time")
		}
	}
	wantAccount := map[string]any{
		"kind": "ServiceAccount", "apiVersion": "v1",
		"metadata": map[string]any{"name": "default", "namespace": "shop"},
	}
	wantRoot := map[string]any{
		"kind": "ConfigMap", "apiVersion": "v1",
		"metadata": map[string]any{
			"name": "kube-root-ca.crt", "namespace": "shop",
			"annotations": map[string]any{"kubernetes.io/description": rootcacertpublisher.Description},
			"managedFields": []any{map[string]any{
				"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
				"fieldsV1": map[string]any{
					"f:data":     map[string]any{".": map[string]any{}, "f:ca.crt": map[string]any{}},
					"f:metadata": map[string]any{"f:annotations": map[string]any{".": map[string]any{}, "f:kubernetes.io/description": map[string]any{}}},
				},
			}},
		},
		"data": map[string]any{"ca.crt": ca},
	}
	if diff := cmp.Diff([]map[string]any{wantAccount, wantRoot}, []map[string]any{account, root}); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func slice(v any) []any { s, _ := v.([]any); return s }

// It is so too where a namespace is made by an apply, or under a generated name.
func TestOtherWaysToMakeANamespace(t *testing.T) {
	c := newCluster(t)
	applied := c.target("namespaces", "", "applied")
	body := []byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"applied"}}`)
	if _, err := c.verbs.Patch(c.as(applied, "patch"), applied, types.ApplyYAMLPatchType, body, &metav1.PatchOptions{FieldManager: "tester"}); err != nil {
		t.Fatal(err)
	}
	generated := c.target("namespaces", "", "")
	made, err := c.verbs.Create(c.as(generated, "create"), generated, &api.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "generated-"}}, &metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"applied", made.Object.Name} {
		if !there(c.get("serviceaccounts", name, "default")) || !there(c.get("configmaps", name, "kube-root-ca.crt")) {
			t.Errorf("namespace %s has nothing", name)
		}
	}
}

// A namespace that is refused is refused for what is wrong with itself.
func TestRefusedNamespace(t *testing.T) {
	c := newCluster(t)
	before := c.state.Rev()
	for _, name := range []string{"Bad_Name", "a/b", ""} {
		t := c.target("namespaces", "", name)
		_, err := c.verbs.Create(c.as(t, "create"), t, &api.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, &metav1.CreateOptions{})
		if err == nil || strings.Contains(err.Error(), "ServiceAccount") || strings.Contains(err.Error(), "ConfigMap") {
			c.Errorf("namespace %q: %v", name, err)
		}
	}
	if c.state.Rev() != before {
		t.Error("something was written")
	}
}

func TestDryRunMakesNothing(t *testing.T) {
	c := newCluster(t)
	before := c.state.Rev()
	c.createNamespace("shop", metav1.DryRunAll)
	if got := c.state.Rev(); got != before {
		t.Errorf("a dry run wrote %d changes", got-before)
	}
}

// What an earlier namespace of that name has left is kept, or mended.
func TestLeftovers(t *testing.T) {
	c := newCluster(t)
	c.createNamespace("shop")
	c.patch("serviceaccounts", "shop", "default", `{"metadata":{"labels":{"mine":"yes"}}}`)
	c.patch("configmaps", "shop", "kube-root-ca.crt", `{"data":{"ca.crt":"of an earlier server"}}`)
	c.patch("namespaces", "", "shop", `{"spec":{"finalizers":null}}`)
	remove(c, "shop")
	c.createNamespace("shop")
	labels := c.get("serviceaccounts", "shop", "default")["metadata"].(map[string]any)["labels"]
	if !cmp.Equal(labels, any(map[string]any{"mine": "yes"})) {
		t.Errorf("the service account has labels %v", labels)
	}
	c.run()
	c.await("configmaps", "shop", "kube-root-ca.crt", rootCAIsRight)
}

// remove takes a namespace away, with nothing in it.
func remove(c *cluster, name string) {
	c.Helper()
	c.delete("namespaces", "", name)
	if c.get("namespaces", "", name) == nil {
		return
	}
	t := c.target("namespaces", "", name)
	t.Subresource = t.Version.Subresource("finalize")
	obj, err := t.Version.Resource.Decode(c.state.Get(t.Version.Resource.Storage.Key("", name)))
	if err != nil {
		c.Fatal(err)
	}
	obj.(*api.Namespace).Spec.Finalizers = nil
	if _, err := c.verbs.Update(c.as(t, "update"), t, obj, &metav1.UpdateOptions{}); err != nil {
		c.Fatal(err)
	}
	if c.get("namespaces", "", name) != nil {
		c.delete("namespaces", "", name)
	}
}

// What is deleted or changed comes back as it was, and what others may change
// stays.
func TestRepairs(t *testing.T) {
	c := newCluster(t)
	c.createNamespace("shop")
	c.run()
	t.Run("the account", func(t *testing.T) {
		uid := func(obj map[string]any) any { return obj["metadata"].(map[string]any)["uid"] }
		before := uid(c.get("serviceaccounts", "shop", "default"))
		c.delete("serviceaccounts", "shop", "default")
		c.await("serviceaccounts", "shop", "default", func(obj map[string]any) bool { return there(obj) && uid(obj) != before })
	})
	for name, patch := range map[string]string{
		"other data":     `{"data":{"ca.crt":"forged"}}`,
		"more data":      `{"data":{"more":"x"}}`,
		"no data":        `{"data":null}`,
		"no description": `{"metadata":{"annotations":null}}`,
		"both":           `{"data":{"a":"b"},"metadata":{"annotations":{"kubernetes.io/description":""},"labels":{"mine":"yes"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			c.patch("configmaps", "shop", "kube-root-ca.crt", patch)
			c.await("configmaps", "shop", "kube-root-ca.crt", rootCAIsRight)
		})
	}
	t.Run("deleted", func(t *testing.T) {
		c.delete("configmaps", "shop", "kube-root-ca.crt")
		c.await("configmaps", "shop", "kube-root-ca.crt", rootCAIsRight)
	})
	t.Run("what could not be mended", func(t *testing.T) {
		c.patch("configmaps", "shop", "kube-root-ca.crt", `{"data":{"ca.crt":"forged"},"immutable":true}`)
		c.delete("configmaps", "shop", "kube-root-ca.crt")
		c.await("configmaps", "shop", "kube-root-ca.crt", rootCAIsRight)
	})
	t.Run("what is not its business", func(t *testing.T) {
		c.patch("configmaps", "shop", "kube-root-ca.crt", `{"metadata":{"annotations":{"kubernetes.io/description":"mine"},"labels":{"mine":"yes"}}}`)
		c.patch("serviceaccounts", "shop", "default", `{"automountServiceAccountToken":false}`)
		c.delete("configmaps", "shop", "kube-root-ca.crt") // comes back after all that went before was looked at
		c.await("configmaps", "shop", "kube-root-ca.crt", rootCAIsRight)
		if got := c.get("serviceaccounts", "shop", "default")["automountServiceAccountToken"]; got != false {
			t.Errorf("the service account's setting is %v", got)
		}
	})
}

// Namespaces that were there before the controllers get their objects, those
// that are going away do not.
func TestNamespacesThatExist(t *testing.T) {
	c := newCluster(t)
	c.verbs.Companions = nil // of a server without these controllers
	for i := range 100 {
		c.createNamespace(fmt.Sprintf("old-%d", i))
	}
	c.createNamespace("dying")
	c.delete("namespaces", "", "dying")
	c.run()
	c.createNamespace("new") // by another server on the same store
	for i := range 100 {
		c.await("serviceaccounts", fmt.Sprintf("old-%d", i), "default", there)
		c.await("configmaps", fmt.Sprintf("old-%d", i), "kube-root-ca.crt", rootCAIsRight)
	}
	c.await("serviceaccounts", "new", "default", there)
	c.await("configmaps", "new", "kube-root-ca.crt", rootCAIsRight)
	// "new" came last, so "dying" was looked at.
	if account, root := c.get("serviceaccounts", "dying", "default"), c.get("configmaps", "dying", "kube-root-ca.crt"); account != nil || root != nil {
		t.Errorf("a namespace that goes away got %v and %v", account, root)
	}
}

// In a namespace that is going away nothing is brought back.
func TestNothingInADyingNamespace(t *testing.T) {
	c := newCluster(t)
	c.createNamespace("dying")
	c.createNamespace("shop")
	c.run()
	c.delete("namespaces", "", "dying")
	c.delete("serviceaccounts", "dying", "default")
	c.delete("configmaps", "dying", "kube-root-ca.crt")
	// The other one's come back after that was looked at.
	c.delete("serviceaccounts", "shop", "default")
	c.delete("configmaps", "shop", "kube-root-ca.crt")
	c.await("serviceaccounts", "shop", "default", there)
	c.await("configmaps", "shop", "kube-root-ca.crt", rootCAIsRight)
	if account, root := c.get("serviceaccounts", "dying", "default"), c.get("configmaps", "dying", "kube-root-ca.crt"); account != nil || root != nil {
		t.Errorf("a namespace that goes away got %v and %v back", account, root)
	}
}

func TestSwitchedOff(t *testing.T) {
	for _, test := range []struct {
		controllers   string
		account, root bool
	}{
		{"*", true, true},
		{"-serviceaccount-controller,*", false, true},
		{"serviceaccount-controller", true, false},
		{"-serviceaccount-controller,-root-ca-certificate-publisher-controller", false, false},
	} {
		c := newCluster(t, strings.Split(test.controllers, ",")...)
		c.createNamespace("shop")
		account, root := c.get("serviceaccounts", "shop", "default"), c.get("configmaps", "shop", "kube-root-ca.crt")
		if there(account) != test.account || there(root) != test.root {
			t.Errorf("--controllers=%s: service account %v, config map %v", test.controllers, account, root)
		}
		if !test.account && !test.root {
			c.keeper.Run(c.ctx, c.verbs, controller.ServiceAccounts) // returns, as there is nothing to do
		}
	}
}

// Namespaces are made while others make and delete the very same objects: none
// is lost in the end, and no creation fails.
func TestUnderContention(t *testing.T) {
	c := newCluster(t)
	c.run()
	var writers sync.WaitGroup
	for i := range 8 {
		name := fmt.Sprintf("shop-%d", i)
		writers.Go(func() { c.createNamespace(name) })
		writers.Go(func() {
			for range 20 {
				sa := c.target("serviceaccounts", name, "default")
				if _, err := c.verbs.Create(c.as(sa, "create"), c.target("serviceaccounts", name, ""), &api.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, &metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
					t.Error(err)
				}
				if _, err := c.verbs.Delete(c.as(sa, "delete"), sa, &metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	for i := range 8 {
		c.await("serviceaccounts", fmt.Sprintf("shop-%d", i), "default", there)
		c.await("configmaps", fmt.Sprintf("shop-%d", i), "kube-root-ca.crt", rootCAIsRight)
	}
}

// They are called and described as upstream's.
func TestAsUpstream(t *testing.T) {
	c := newCluster(t)
	names := []string{}
	for _, content := range c.keeper.content {
		names = append(names, content.name+" by "+content.as.GetName()+" of "+strings.Join(content.as.GetGroups(), ","))
	}
	const groups = " of system:serviceaccounts,system:serviceaccounts:kube-system,system:authenticated"
	want := []string{
		"default by system:serviceaccount:kube-system:service-account-controller" + groups,
		rootcacertpublisher.RootCACertConfigMapName + " by system:serviceaccount:kube-system:root-ca-cert-publisher" + groups,
	}
	if !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	if descriptionKey != rootcacertpublisher.DescriptionAnnotation || description != rootcacertpublisher.Description {
		t.Error("the description is not upstream's")
	}
}
