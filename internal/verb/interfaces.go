package verb

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"

	"github.com/knarr-io/knarr/internal/kind"
)

// interfaces are what admission may need to convert and default the target's
// objects, and to find out under which other names they are served.
func (t Target) interfaces() admission.ObjectInterfaces { return objectInterfaces{t.resource()} }

type objectInterfaces struct{ resource *kind.Resource }

var (
	_ admission.ObjectInterfaces       = objectInterfaces{}
	_ runtime.EquivalentResourceMapper = objectInterfaces{}
)

func (o objectInterfaces) GetObjectCreater() runtime.ObjectCreater {
	if c := o.resource.Creater; c != nil {
		return c
	}
	return o.resource.Scheme
}

func (o objectInterfaces) GetObjectTyper() runtime.ObjectTyper { return o.resource.Scheme }

func (o objectInterfaces) GetObjectDefaulter() runtime.ObjectDefaulter {
	if d := o.resource.Defaulter; d != nil {
		return d
	}
	return o.resource.Scheme
}

func (o objectInterfaces) GetObjectConvertor() runtime.ObjectConvertor {
	if o.resource.Custom() {
		return o.resource.Convertor
	}
	return o.resource.Scheme
}

func (o objectInterfaces) GetEquivalentResourceMapper() runtime.EquivalentResourceMapper { return o }

// EquivalentResourcesFor returns all versions in which the same objects, or a
// subresource of them, are served.
func (o objectInterfaces) EquivalentResourcesFor(_ schema.GroupVersionResource, subresource string) []schema.GroupVersionResource {
	var same []schema.GroupVersionResource
	for _, v := range o.all() {
		if subresource == "" || v.Subresource(subresource) != nil {
			same = append(same, v.GVR())
		}
	}
	return same
}

// KindFor returns the kind of what is sent to a resource, which has the same
// objects, or to a subresource.
func (o objectInterfaces) KindFor(gvr schema.GroupVersionResource, subresource string) schema.GroupVersionKind {
	for _, v := range o.all() {
		if v.GVR() != gvr {
			continue
		}
		if subresource == "" {
			return v.GVK()
		}
		if s := v.Subresource(subresource); s != nil {
			return admittedKind(v, s)
		}
	}
	return schema.GroupVersionKind{}
}

func (o objectInterfaces) all() []*kind.Version {
	return append(o.resource.Versions[:len(o.resource.Versions):len(o.resource.Versions)], o.resource.Cohabiting...)
}

// admittedKind is the kind of what is written to a subresource.
func admittedKind(v *kind.Version, s *kind.Subresource) schema.GroupVersionKind {
	if s != nil && s.Kind.Kind != "" && s.Update == nil {
		return s.GVK(v)
	}
	return v.GVK()
}
