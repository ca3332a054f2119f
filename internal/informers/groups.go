package informers

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers/admissionregistration"
	"k8s.io/client-go/informers/apiserverinternal"
	"k8s.io/client-go/informers/apps"
	"k8s.io/client-go/informers/autoscaling"
	"k8s.io/client-go/informers/batch"
	"k8s.io/client-go/informers/certificates"
	"k8s.io/client-go/informers/coordination"
	"k8s.io/client-go/informers/core"
	"k8s.io/client-go/informers/discovery"
	"k8s.io/client-go/informers/events"
	"k8s.io/client-go/informers/extensions"
	"k8s.io/client-go/informers/flowcontrol"
	"k8s.io/client-go/informers/lifecycle"
	"k8s.io/client-go/informers/networking"
	"k8s.io/client-go/informers/node"
	"k8s.io/client-go/informers/policy"
	"k8s.io/client-go/informers/rbac"
	"k8s.io/client-go/informers/resource"
	"k8s.io/client-go/informers/scheduling"
	"k8s.io/client-go/informers/storage"
	"k8s.io/client-go/informers/storagemigration"
)

// groups are the groups of the API, as client-go names them.
type groups struct{ *Factory }

// Admissionregistration is client-go's.
func (g groups) Admissionregistration() admissionregistration.Interface {
	return admissionregistration.New(g.Factory, metav1.NamespaceAll, nil)
}

// Internal is client-go's.
func (g groups) Internal() apiserverinternal.Interface {
	return apiserverinternal.New(g.Factory, metav1.NamespaceAll, nil)
}

// Apps is client-go's.
func (g groups) Apps() apps.Interface {
	return apps.New(g.Factory, metav1.NamespaceAll, nil)
}

// Autoscaling is client-go's.
func (g groups) Autoscaling() autoscaling.Interface {
	return autoscaling.New(g.Factory, metav1.NamespaceAll, nil)
}

// Batch is client-go's.
func (g groups) Batch() batch.Interface {
	return batch.New(g.Factory, metav1.NamespaceAll, nil)
}

// Certificates is client-go's.
func (g groups) Certificates() certificates.Interface {
	return certificates.New(g.Factory, metav1.NamespaceAll, nil)
}

// Coordination is client-go's.
func (g groups) Coordination() coordination.Interface {
	return coordination.New(g.Factory, metav1.NamespaceAll, nil)
}

// Core is client-go's.
func (g groups) Core() core.Interface {
	return core.New(g.Factory, metav1.NamespaceAll, nil)
}

// Discovery is client-go's.
func (g groups) Discovery() discovery.Interface {
	return discovery.New(g.Factory, metav1.NamespaceAll, nil)
}

// Events is client-go's.
func (g groups) Events() events.Interface {
	return events.New(g.Factory, metav1.NamespaceAll, nil)
}

// Extensions is client-go's.
func (g groups) Extensions() extensions.Interface {
	return extensions.New(g.Factory, metav1.NamespaceAll, nil)
}

// Flowcontrol is client-go's.
func (g groups) Flowcontrol() flowcontrol.Interface {
	return flowcontrol.New(g.Factory, metav1.NamespaceAll, nil)
}

// Lifecycle is client-go's.
func (g groups) Lifecycle() lifecycle.Interface {
	return lifecycle.New(g.Factory, metav1.NamespaceAll, nil)
}

// Networking is client-go's.
func (g groups) Networking() networking.Interface {
	return networking.New(g.Factory, metav1.NamespaceAll, nil)
}

// Node is client-go's.
func (g groups) Node() node.Interface {
	return node.New(g.Factory, metav1.NamespaceAll, nil)
}

// Policy is client-go's.
func (g groups) Policy() policy.Interface {
	return policy.New(g.Factory, metav1.NamespaceAll, nil)
}

// Rbac is client-go's.
func (g groups) Rbac() rbac.Interface {
	return rbac.New(g.Factory, metav1.NamespaceAll, nil)
}

// Resource is client-go's.
func (g groups) Resource() resource.Interface {
	return resource.New(g.Factory, metav1.NamespaceAll, nil)
}

// Scheduling is client-go's.
func (g groups) Scheduling() scheduling.Interface {
	return scheduling.New(g.Factory, metav1.NamespaceAll, nil)
}

// Storage is client-go's.
func (g groups) Storage() storage.Interface {
	return storage.New(g.Factory, metav1.NamespaceAll, nil)
}

// Storagemigration is client-go's.
func (g groups) Storagemigration() storagemigration.Interface {
	return storagemigration.New(g.Factory, metav1.NamespaceAll, nil)
}
