package native

import (
	"k8s.io/kubernetes/pkg/apis/apiserverinternal"
	_ "k8s.io/kubernetes/pkg/apis/apiserverinternal/install"
	"k8s.io/kubernetes/pkg/registry/apiserverinternal/storageversion"
)

func (b *builder) apiserverinternal() *group {
	return &group{name: apiserverinternal.GroupName, rows: []row{
		{
			name: "storageversions", hub: of[apiserverinternal.StorageVersion, apiserverinternal.StorageVersionList](),
			versions: words("v1alpha1"),
			strategy: storageversion.Strategy, status: storageversion.StatusStrategy,
		},
	}}
}
