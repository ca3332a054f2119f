package bootstrap

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	scheduling "k8s.io/kubernetes/pkg/apis/scheduling/v1"
)

// systemNamespaces makes the namespaces that a cluster begins with.
func (r *run) systemNamespaces() error {
	namespaces, ok := served[*corev1.Namespace](r, corev1.SchemeGroupVersion.WithResource("namespaces"))
	if !ok {
		return nil
	}
	for _, name := range []string{metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease, metav1.NamespaceDefault} {
		ensure(r, namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	return nil
}

// priorityClasses makes the priorities of critical pods.
func (r *run) priorityClasses() error {
	classes, ok := served[*schedulingv1.PriorityClass](r, schedulingv1.SchemeGroupVersion.WithResource("priorityclasses"))
	if !ok {
		return nil
	}
	for _, class := range scheduling.SystemPriorityClasses() {
		ensure(r, classes, class)
	}
	return nil
}

func (r *run) systemConfigMaps() (objects[*corev1.ConfigMap], bool) {
	configMaps, ok := served[*corev1.ConfigMap](r, corev1.SchemeGroupVersion.WithResource("configmaps"))
	return configMaps.in(metav1.NamespaceSystem), ok
}

// legacyTokenTracking says since when the use of old service account tokens is
// tracked, in the way KEP-2799 wants it.
func (r *run) legacyTokenTracking() error {
	for _, s := range r.tracking() {
		r.do(s.what, s.write)
	}
	return nil
}

// tracking is what says it. As upstream does, it is made anew at most every half an
// hour: among several servers there may be some that remove it.
func (r *run) tracking() []standing {
	const name, key = "kube-apiserver-legacy-service-account-token-tracking", "since"
	configMaps, ok := r.systemConfigMaps()
	if !ok {
		return nil
	}
	return []standing{{what: "config map " + name, keys: []string{configMaps.key(name)}, rarely: 30 * time.Minute, write: func(ctx context.Context) error {
		today := time.Now().UTC().Format(time.DateOnly)
		existing, err := configMaps.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return configMaps.Ensure(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: name},
				Data:       map[string]string{key: today},
			})
		}
		if err != nil {
			return err
		}
		if _, err := time.Parse(time.DateOnly, existing.Data[key]); err == nil {
			return nil
		}
		existing.Data = withEntry(existing.Data, key, today)
		_, err = configMaps.Update(ctx, existing, metav1.UpdateOptions{})
		return err
	}}}
}

// withEntry returns m, which may be nil, with an entry set.
func withEntry(m map[string]string, key, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}
