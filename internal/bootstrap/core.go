package bootstrap

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"
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
	const name, key = "kube-apiserver-legacy-service-account-token-tracking", "since"
	configMaps, ok := r.systemConfigMaps()
	if !ok {
		return nil
	}
	r.do("config map "+name, func(ctx context.Context) error {
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
	})
	return nil
}

// clientAuthorities tells extension API servers whom this server trusts to
// sign clients' certificates. Those of other servers stay until they expire.
func (r *run) clientAuthorities() error {
	const name, key = "extension-apiserver-authentication", "client-ca-file"
	configMaps, ok := r.systemConfigMaps()
	if !ok || len(r.options.ClientCA) == 0 {
		return nil
	}
	r.do("config map "+name, func(ctx context.Context) error {
		existing, err := configMaps.Get(ctx, name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if err != nil {
			existing = nil
		}
		var before string
		if existing != nil {
			before = existing.Data[key]
		}
		bundle, err := mergeBundles([]byte(before), r.options.ClientCA)
		switch {
		case err != nil:
			return err
		case existing == nil:
			return configMaps.Ensure(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: name},
				Data:       map[string]string{key: bundle},
			})
		case bundle == before:
			return nil
		}
		existing.Data = withEntry(existing.Data, key, bundle)
		_, err = configMaps.Update(ctx, existing, metav1.UpdateOptions{})
		return err
	})
	return nil
}

// mergeBundles returns the certificates of all bundles, PEM, each once and
// without those that have expired. Empty bundles hold none.
func mergeBundles(bundles ...[]byte) (string, error) {
	const slack = 5 * time.Minute // upstream's, for clocks that differ
	var merged []*x509.Certificate
	for _, bundle := range bundles {
		if len(bundle) == 0 {
			continue
		}
		certificates, err := cert.ParseCertsPEM(bundle)
		if err != nil {
			return "", err
		}
		for _, c := range certificates {
			if c.NotAfter.After(time.Now().Add(-slack)) && !slices.ContainsFunc(merged, c.Equal) {
				merged = append(merged, c)
			}
		}
	}
	var b bytes.Buffer
	for _, c := range merged {
		if err := pem.Encode(&b, &pem.Block{Type: cert.CertificateBlockType, Bytes: c.Raw}); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// withEntry returns m, which may be nil, with an entry set.
func withEntry(m map[string]string, key, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}
