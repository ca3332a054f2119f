package everynamespace

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
)

// defaultAccount is the ServiceAccount of pods that name none.
func defaultAccount(catalogue *kind.Catalogue) *content {
	return &content{
		version: catalogue.Lookup(corev1.SchemeGroupVersion.WithResource("serviceaccounts")),
		name:    "default",
		as:      controller.ServiceAccount("service-account-controller"),
		new:     func() runtime.Object { return &api.ServiceAccount{} },
		mend:    func(runtime.Object) bool { return false }, // whatever it has is its users'
	}
}

const (
	descriptionKey = "kubernetes.io/description"
	description    = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. " +
		"No other usage is guaranteed across distributions of Kubernetes clusters."
)

// rootCA is the ConfigMap with what clients verify the server with.
func rootCA(catalogue *kind.Catalogue, pem []byte) *content {
	data := map[string]string{"ca.crt": string(pem)}
	return &content{
		version: catalogue.Lookup(corev1.SchemeGroupVersion.WithResource("configmaps")),
		name:    "kube-root-ca.crt",
		as:      controller.ServiceAccount("root-ca-cert-publisher"),
		new: func() runtime.Object {
			c := &api.ConfigMap{Data: maps.Clone(data)}
			c.Annotations = map[string]string{descriptionKey: description}
			return c
		},
		mend: func(obj runtime.Object) bool {
			c, ok := obj.(*api.ConfigMap)
			if !ok || maps.Equal(c.Data, data) && c.Annotations[descriptionKey] != "" {
				return false
			}
			c.Data = maps.Clone(data)
			if c.Annotations == nil {
				c.Annotations = map[string]string{}
			}
			c.Annotations[descriptionKey] = description
			return true
		},
	}
}
