package ownership_test

import (
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/ownership"
)

func TestName(t *testing.T) {
	for _, c := range []struct{ given, agent, want string }{
		{"mine", "kubectl/v1.37", "mine"},
		{"", "kubectl/v1.37.2 (linux/amd64)", "kubectl"},
		{"", "", ""},
		{"", "a\x00b\tc/1", "abc"},
		{"", strings.Repeat("x", 200), strings.Repeat("x", 128)},
		// A character is never cut in two.
		{"", strings.Repeat("ä", 100), strings.Repeat("ä", 64)},
	} {
		if got := ownership.Name(c.given, c.agent); got != c.want {
			t.Errorf("Name(%q, %q) = %q, want %q", c.given, c.agent, got, c.want)
		}
	}
}

// What was owned in a version that is not served is owned no longer, without
// harm to the rest.
func TestVersionsNotServed(t *testing.T) {
	catalogue := everything(t)
	v := catalogue.Lookup(corev1.SchemeGroupVersion.WithResource("configmaps"))
	p := &pair{t, v, newUpstream(t, catalogue).manager(t, v, nil), new(ownership.Managers).For(v, nil)}
	none, err := v.Resource.Scheme.New(v.GVK())
	if err != nil {
		t.Fatal(err)
	}
	live := p.update(none, full(t, v), "creator")
	m, _ := meta.Accessor(live)
	m.SetUID("u")
	other := m.GetManagedFields()[0].DeepCopy()
	other.Manager, other.APIVersion = "old", "events.k8s.io/v1"
	m.SetManagedFields(append(m.GetManagedFields(), *other))
	changed := live.DeepCopyObject()
	m, _ = meta.Accessor(changed)
	m.SetLabels(map[string]string{"changed": "yes"})
	got := p.update(live, changed, "changer")
	for _, entry := range owners(got) {
		if entry.Manager == "old" {
			t.Error("old still owns something")
		}
	}
}

// The owner of an object's replicas is that of its Scale's, and back.
func TestForScale(t *testing.T) {
	catalogue := everything(t)
	for _, resource := range []string{"deployments", "replicasets", "statefulsets"} {
		v := catalogue.Lookup(appsv1.SchemeGroupVersion.WithResource(resource))
		entry := func(manager, version, subresource, fields string) metav1.ManagedFieldsEntry {
			return metav1.ManagedFieldsEntry{
				Manager: manager, Operation: "Update", APIVersion: version, Subresource: subresource,
				FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
			}
		}
		h := ownership.ForScale(v, fieldpath.MakePathOrDie("spec", "replicas"), []metav1.ManagedFieldsEntry{
			entry("creator", "apps/v1", "", `{"f:spec":{"f:paused":{},"f:replicas":{}}}`),
			entry("old", "apps/v1beta2", "", `{"f:metadata":{"f:labels":{}}}`),
		})
		shown, err := h.ToSubresource()
		if err != nil {
			t.Fatal(err)
		}
		if len(shown) != 1 || shown[0].Manager != "creator" || shown[0].APIVersion != "autoscaling/v1" || shown[0].FieldsV1.String() != `{"f:spec":{"f:replicas":{}}}` {
			t.Errorf("%s: owners of the Scale = %v", resource, shown)
		}
		back, err := h.ToParent([]metav1.ManagedFieldsEntry{entry("scaler", "autoscaling/v1", "scale", `{"f:spec":{"f:replicas":{}}}`)})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, e := range back {
			got[e.Manager+" "+e.APIVersion+" "+e.Subresource] = e.FieldsV1.String()
		}
		want := map[string]string{
			"creator apps/v1 ":     `{"f:spec":{"f:paused":{}}}`,
			"old apps/v1beta2 ":    `{"f:metadata":{"f:labels":{}}}`,
			"scaler apps/v1 scale": `{"f:spec":{"f:replicas":{}}}`,
		}
		for k, fields := range want {
			if got[k] != fields || len(got) != len(want) {
				t.Errorf("%s: owners = %v, want %v", resource, got, want)
			}
		}
	}
}

// Kinds are found out about, and walked, by many at once.
func TestConcurrentWrites(t *testing.T) {
	v := everything(t).Lookup(corev1.SchemeGroupVersion.WithResource("pods"))
	obj := full(t, v)
	managers := new(ownership.Managers)
	results := make([]apiruntime.Object, 8)
	var wait sync.WaitGroup
	for i := range results {
		wait.Go(func() {
			none, _ := v.Resource.Scheme.New(v.GVK())
			created := managers.For(v, nil).Update(none, obj.DeepCopyObject(), "creator")
			m, _ := meta.Accessor(created)
			m.SetUID("u")
			changed := created.DeepCopyObject()
			m, _ = meta.Accessor(changed)
			m.SetLabels(map[string]string{"changed": "yes"})
			results[i] = managers.For(v, nil).Update(created, changed, "changer")
			timeless(results[i])
		})
	}
	wait.Wait()
	for _, result := range results {
		if len(owners(result)) != 2 || !reflect.DeepEqual(result, results[0]) {
			t.Errorf("owners are %v, and elsewhere %v", owners(result), owners(results[0]))
		}
	}
}

// BenchmarkFirstWrite is of the first object of a kind: "everything" has all
// fields that the kind has.
func BenchmarkFirstWrite(b *testing.B) {
	catalogue := everything(b)
	pods := catalogue.Lookup(corev1.SchemeGroupVersion.WithResource("pods"))
	roles := catalogue.Lookup(rbacv1.SchemeGroupVersion.WithResource("clusterroles"))
	for _, c := range []struct {
		name string
		v    *kind.Version
		obj  apiruntime.Object
	}{{"pods", pods, usual(b, pods)}, {"everything in pods", pods, full(b, pods)}, {"everything in clusterroles", roles, full(b, roles)}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				none, _ := c.v.Resource.Scheme.New(c.v.GVK())
				new(ownership.Managers).For(c.v, nil).Update(none, c.obj, "a")
			}
		})
	}
}

// BenchmarkUpdate is of an object of some size and one changed label, by us and
// by upstream's manager. A copy of the object is part of it.
func BenchmarkUpdate(b *testing.B) {
	catalogue := everything(b)
	reference := newUpstream(b, catalogue)
	managers := new(ownership.Managers)
	for _, resource := range []string{"pods", "configmaps"} {
		v := catalogue.Lookup(corev1.SchemeGroupVersion.WithResource(resource))
		theirs := reference.manager(b, v, nil)
		none, err := v.Resource.Scheme.New(v.GVK())
		if err != nil {
			b.Fatal(err)
		}
		obj := usual(b, v)
		for _, by := range []struct {
			name   string
			update func(live, obj apiruntime.Object, manager string) apiruntime.Object
		}{{resource, managers.For(v, nil).Update}, {resource + " by upstream", theirs.UpdateNoErrors}} {
			b.Run("create/"+by.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					by.update(none, obj.DeepCopyObject(), "creator")
				}
			})
			live := by.update(none, obj.DeepCopyObject(), "creator")
			changed := live.DeepCopyObject()
			accessor, _ := meta.Accessor(changed)
			accessor.SetLabels(map[string]string{"changed": "yes"})
			b.Run("update/"+by.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					by.update(live, changed.DeepCopyObject(), "changer")
				}
			})
		}
	}
}

// BenchmarkHeap tells what is kept once all kinds were written.
func BenchmarkHeap(b *testing.B) {
	catalogue := everything(b)
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / 1024
	}
	for b.Loop() {
		before := heap()
		managers := new(ownership.Managers)
		eachVersion(catalogue, func(v *kind.Version) {
			none, _ := v.Resource.Scheme.New(v.GVK())
			managers.For(v, nil).Update(none, full(b, v), "a")
		})
		b.ReportMetric(heap()-before, "KB-kept")
		runtime.KeepAlive(managers)
	}
}

func eachVersion(c *kind.Catalogue, do func(v *kind.Version)) {
	for _, g := range c.Groups {
		for _, r := range g.Resources {
			for _, v := range r.Versions {
				if r.Storage != nil {
					do(v)
				}
			}
		}
	}
}

// usual is an object of about 3 KB.
func usual(b *testing.B, v *kind.Version) apiruntime.Object {
	b.Helper()
	var obj apiruntime.Object = &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "it", Labels: map[string]string{"a": "b"}},
		Data:       map[string]string{"one": strings.Repeat("1", 1000), "two": strings.Repeat("2", 2000)},
	}
	if v.Resource.Name == "pods" {
		container := corev1.Container{
			Name: "main", Image: "registry/image:1", Command: []string{"serve"}, Args: []string{"--port=80", "--log=2"},
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80, Protocol: "TCP"}},
			Env: []corev1.EnvVar{
				{Name: "A", Value: strings.Repeat("a", 100)}, {Name: "B", Value: strings.Repeat("b", 100)},
				{Name: "IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
			},
			VolumeMounts:   []corev1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "config", MountPath: "/etc/it"}},
			LivenessProbe:  &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}},
			ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}},
		}
		side := *container.DeepCopy()
		side.Name = "side"
		obj = &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: "it", Labels: map[string]string{"app": "web", "tier": "front"},
				Annotations: map[string]string{"note": strings.Repeat("n", 200)},
			},
			Spec: corev1.PodSpec{
				Containers: []corev1.Container{container, side},
				Volumes: []corev1.Volume{
					{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
					{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "it"}}}},
				},
				Tolerations: []corev1.Toleration{{Key: "a", Operator: "Exists"}},
			},
		}
	}
	v.Resource.Scheme.Default(obj)
	hub, err := v.Resource.ToHub(obj)
	if err != nil {
		b.Fatal(err)
	}
	return hub
}
