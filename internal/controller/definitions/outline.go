package definitions

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/go-json-experiment/json/jsontext"
	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/knarr-io/knarr/internal/object"
)

// Most of a definition is schemas, which nobody needs to know what is served.
// The keeper keeps outlines, without them, and reads what is stored again when
// it must.

// outlined returns a definition without its schemas and what else is large.
func (k *Keeper) outlined(o *object.Object) (*apiextensionsv1.CustomResourceDefinition, error) {
	light := &object.Object{Namespace: o.Namespace, Name: o.Name, Rev: o.Rev, Err: o.Err, Value: o.Value}
	if value, err := outline(o.Value); err == nil { // else decoding tells what is wrong
		light.Value = value
	}
	crd, err := k.read(light)
	if err != nil {
		return nil, err
	}
	for i := range crd.Spec.Versions {
		crd.Spec.Versions[i].Schema = nil
	}
	approval, annotated := crd.Annotations[apiextensionsv1.KubeAPIApprovedAnnotation]
	crd.Annotations, crd.ManagedFields = nil, nil
	if annotated {
		crd.Annotations = map[string]string{apiextensionsv1.KubeAPIApprovedAnnotation: approval}
	}
	return crd, nil
}

// read returns a definition as clients see it.
func (k *Keeper) read(o *object.Object) (*apiextensionsv1.CustomResourceDefinition, error) {
	hub, err := k.definitions.Resource.Decode(o)
	if err != nil {
		return nil, err
	}
	obj, err := k.definitions.FromHub(hub)
	if err != nil {
		return nil, err
	}
	crd, ok := obj.(*apiextensionsv1.CustomResourceDefinition)
	if !ok {
		return nil, fmt.Errorf("%T is no CustomResourceDefinition", obj)
	}
	return crd, nil
}

// whole returns what reads all of a definition from source, with the names that
// were accepted, which need not be stored yet.
func (k *Keeper) whole(source *atomic.Pointer[object.Object], accepted names) func() (*apiextensionsv1.CustomResourceDefinition, error) {
	return func() (*apiextensionsv1.CustomResourceDefinition, error) {
		crd, err := k.read(source.Load())
		if err != nil {
			return nil, err
		}
		crd.Status.AcceptedNames = accepted
		return crd, nil
	}
}

// mayBeNonStructural reports whether the schemas of a definition may be others
// than apiextensions.k8s.io/v1 has ever let in.
func mayBeNonStructural(crd *apiextensionsv1.CustomResourceDefinition) bool {
	return crd.Spec.PreserveUnknownFields || apihelpers.FindCRDCondition(crd, apiextensionsv1.NonStructuralSchema) != nil
}

// outline returns what is stored of a definition without what is left out.
func outline(value []byte) ([]byte, error) {
	lenient := []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
	var out bytes.Buffer
	d, e := jsontext.NewDecoder(bytes.NewBuffer(value), lenient...), jsontext.NewEncoder(&out, lenient...)
	if err := copyWithout(d, e, ""); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// copyWithout copies the value at a path.
func copyWithout(d *jsontext.Decoder, e *jsontext.Encoder, path string) error {
	if !slices.Contains([]string{"", ".metadata", ".spec", ".spec.versions", ".spec.versions[]"}, path) {
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		return e.WriteValue(value)
	}
	begin, err := d.ReadToken()
	if err != nil {
		return err
	}
	kind := begin.Kind()
	if err := e.WriteToken(begin); err != nil || kind != '{' && kind != '[' {
		return err
	}
	for d.PeekKind() != kind+2 { // its end
		inside := path + "[]"
		if kind == '{' {
			name, err := d.ReadToken()
			if err != nil {
				return err
			}
			inside = path + "." + name.String()
			switch inside {
			case ".metadata.managedFields", ".spec.validation", ".spec.versions[].schema":
				if err := d.SkipValue(); err != nil {
					return err
				}
				continue
			}
			if err := e.WriteToken(name); err != nil {
				return err
			}
		}
		if err := copyWithout(d, e, inside); err != nil {
			return err
		}
	}
	end, err := d.ReadToken()
	if err != nil {
		return err
	}
	return e.WriteToken(end)
}
