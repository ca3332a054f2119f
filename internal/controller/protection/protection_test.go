package protection

import (
	"context"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/storage"
	volumeutil "k8s.io/kubernetes/pkg/volume/util"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/controller/controllertest"
	"github.com/knarr-io/knarr/internal/state/statetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newCluster is a server with a namespace, whose protection does not run yet.
func newCluster(t *testing.T) *controllertest.Cluster {
	c := controllertest.New(t, statetest.Start(t), "NamespaceLifecycle")
	c.Namespace("shop")
	return c
}

func run(c *controllertest.Cluster, name string) (stop func()) {
	return c.Run(func(ctx context.Context) { New(name, c.Verbs, c.Catalogue, clock.RealClock{}).Run(ctx) })
}

func claim(name string, change ...func(*api.PersistentVolumeClaim)) *api.PersistentVolumeClaim {
	mode := api.PersistentVolumeFilesystem
	p := &api.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: api.PersistentVolumeClaimSpec{
			AccessModes: []api.PersistentVolumeAccessMode{api.ReadWriteOnce}, VolumeMode: &mode,
			Resources: api.VolumeResourceRequirements{Requests: api.ResourceList{api.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func getClaim(c *controllertest.Cluster, name string) *api.PersistentVolumeClaim {
	return controllertest.Get[*api.PersistentVolumeClaim](c, "persistentvolumeclaims", "shop", name)
}

// protected awaits that an object has the finalizer.
func protected(c *controllertest.Cluster, resource, namespace, name, finalizer string) {
	c.Helper()
	c.Await(resource, name+" is protected", func() bool {
		m, ok := controllertest.Get[runtime.Object](c, resource, namespace, name).(metav1.Object)
		return ok && slices.Contains(m.GetFinalizers(), finalizer)
	})
}

// using has a pod name claims.
func using(names ...string) func(*api.Pod) {
	return func(p *api.Pod) {
		for _, name := range names {
			p.Spec.Volumes = append(p.Spec.Volumes, api.Volume{Name: name, VolumeSource: api.VolumeSource{
				PersistentVolumeClaim: &api.PersistentVolumeClaimVolumeSource{ClaimName: name},
			}})
		}
	}
}

func TestClaims(t *testing.T) {
	c := newCluster(t)
	c.Create("pods", "shop", controllertest.Pod("before", "node-1", using("a")))
	run(c, controller.ClaimProtection)
	for _, name := range []string{"a", "b", "c"} {
		c.Create("persistentvolumeclaims", "shop", claim(name))
		protected(c, "persistentvolumeclaims", "shop", name, claimFinalizer)
	}
	c.Create("pods", "shop", controllertest.Pod("after", "node-1", using("a", "b")))
	c.Create("pods", "shop", controllertest.Pod("unbound", "", using("c")))
	for _, name := range []string{"a", "b", "c"} {
		c.Delete("persistentvolumeclaims", "shop", name)
	}
	c.AwaitGone("persistentvolumeclaims", "shop", "c") // no kubelet knows the pod
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	c.Delete("pods", "shop", "after", now)
	c.AwaitGone("persistentvolumeclaims", "shop", "b")
	if !c.There("persistentvolumeclaims", "shop", "a") {
		t.Fatal("a claim is gone that a pod uses")
	}
	c.Delete("pods", "shop", "before", now)
	c.AwaitGone("persistentvolumeclaims", "shop", "a")
}

// What is made for a pod goes as soon as the pod has ended, though it is still there;
// another of that name is none of its.
func TestClaimsOfAPod(t *testing.T) {
	c := newCluster(t)
	run(c, controller.ClaimProtection)
	c.Create("pods", "shop", controllertest.Pod("web", "node-1", func(p *api.Pod) {
		p.Finalizers = []string{"example.com/mine"}
		p.Spec.Volumes = []api.Volume{{Name: "own", VolumeSource: api.VolumeSource{Ephemeral: &api.EphemeralVolumeSource{
			VolumeClaimTemplate: &api.PersistentVolumeClaimTemplate{Spec: claim("").Spec},
		}}}}
	}))
	pod := controllertest.Get[*api.Pod](c, "pods", "shop", "web")
	yes := true
	mine := func(uid types.UID) func(*api.PersistentVolumeClaim) {
		return func(p *api.PersistentVolumeClaim) {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "web", UID: uid, Controller: &yes}}
		}
	}
	c.Create("persistentvolumeclaims", "shop", claim("web-own", mine("another")))
	protected(c, "persistentvolumeclaims", "shop", "web-own", claimFinalizer)
	c.Delete("persistentvolumeclaims", "shop", "web-own")
	c.AwaitGone("persistentvolumeclaims", "shop", "web-own")

	c.Create("persistentvolumeclaims", "shop", claim("web-own", mine(pod.UID)))
	protected(c, "persistentvolumeclaims", "shop", "web-own", claimFinalizer)
	c.Delete("persistentvolumeclaims", "shop", "web-own")
	c.Create("persistentvolumeclaims", "shop", claim("last"))
	protected(c, "persistentvolumeclaims", "shop", "last", claimFinalizer) // so that one was looked at
	if !c.There("persistentvolumeclaims", "shop", "web-own") {
		t.Fatal("a claim is gone that a pod uses")
	}
	c.Delete("pods", "shop", "web", metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	c.AwaitGone("persistentvolumeclaims", "shop", "web-own")
	if !c.There("pods", "shop", "web") {
		t.Error("the pod has not waited for its finalizer")
	}
}

// A claim that is bound tells whether any pod uses it.
func TestUnused(t *testing.T) {
	c := newCluster(t)
	run(c, controller.ClaimProtection)
	c.Create("persistentvolumeclaims", "shop", claim("a"))
	protected(c, "persistentvolumeclaims", "shop", "a", claimFinalizer)
	says := func(status api.ConditionStatus, reason, message string) {
		t.Helper()
		c.Await("persistentvolumeclaims", reason+" is told", func() bool {
			all := getClaim(c, "a").Status.Conditions
			return len(all) == 1 && all[0].Type == api.PersistentVolumeClaimUnused && all[0].Status == status &&
				all[0].Reason == reason && all[0].Message == message && !all[0].LastTransitionTime.IsZero()
		})
	}
	unused := func() { says(api.ConditionTrue, "NoPodsUsingPVC", "No pods are currently referencing this PVC") }
	used := func() { says(api.ConditionFalse, "PodUsingPVC", "A pod is currently referencing this PVC") }
	c.Patch("persistentvolumeclaims/status", "shop", "a", `{"status":{"phase":"Bound"}}`)
	unused()
	c.Create("pods", "shop", controllertest.Pod("web", "", using("a")))
	used()
	c.Patch("pods/status", "shop", "web", `{"status":{"phase":"Succeeded"}}`)
	unused()
}

func TestVolumes(t *testing.T) {
	c := newCluster(t)
	run(c, controller.VolumeProtection)
	mode := api.PersistentVolumeFilesystem
	c.Create("persistentvolumes", "", &api.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "v"}, Spec: api.PersistentVolumeSpec{
		Capacity: api.ResourceList{api.ResourceStorage: resource.MustParse("1Gi")}, AccessModes: []api.PersistentVolumeAccessMode{api.ReadWriteOnce},
		VolumeMode: &mode, PersistentVolumeReclaimPolicy: api.PersistentVolumeReclaimRetain,
		PersistentVolumeSource: api.PersistentVolumeSource{HostPath: &api.HostPathVolumeSource{Path: "/v", Type: new(api.HostPathType)}},
	}})
	protected(c, "persistentvolumes", "", "v", volumeFinalizer)
	c.Patch("persistentvolumes/status", "", "v", `{"status":{"phase":"Bound"}}`)
	c.Delete("persistentvolumes", "", "v")
	if !c.There("persistentvolumes", "", "v") {
		t.Fatal("a volume is gone that is bound")
	}
	c.Patch("persistentvolumes/status", "", "v", `{"status":{"phase":"Released"}}`)
	c.AwaitGone("persistentvolumes", "", "v")
}

func TestClasses(t *testing.T) {
	c := newCluster(t)
	run(c, controller.ClassProtection)
	const named = "volumeattributesclasses.storage.k8s.io"
	class := func(name string) {
		c.Create(named, "", &storage.VolumeAttributesClass{ObjectMeta: metav1.ObjectMeta{Name: name}, DriverName: "d", Parameters: map[string]string{"a": "b"}})
		protected(c, named, "", name, classFinalizer)
	}
	class("gold")
	class("silver")
	gold := "gold"
	c.Create("persistentvolumeclaims", "shop", claim("a", func(p *api.PersistentVolumeClaim) { p.Spec.VolumeAttributesClassName = &gold }))
	c.Delete(named, "", "gold")
	c.Delete(named, "", "silver")
	c.AwaitGone(named, "", "silver")
	if !c.There(named, "", "gold") {
		t.Fatal("a class is gone that a claim names")
	}
	c.Delete("persistentvolumeclaims", "shop", "a")
	c.AwaitGone(named, "", "gold")
}

func TestFinalizersAreUpstreams(t *testing.T) {
	if claimFinalizer != volumeutil.PVCProtectionFinalizer || volumeFinalizer != volumeutil.PVProtectionFinalizer || classFinalizer != volumeutil.VACProtectionFinalizer {
		t.Error("a finalizer is not called as upstream's")
	}
}
