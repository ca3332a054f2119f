package custom

import (
	"context"
	"sync"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/registry/customresource/tableconvertor"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
)

// table prints the columns of a version, and those of its Scales. Paths are
// parsed on first use; after one that is wrong there are no more columns.
type table struct{ objects, scales func() rest.TableConvertor }

func newTable(v *apiextensionsv1.CustomResourceDefinitionVersion) *table {
	lazily := func(columns []apiextensionsv1.CustomResourceColumnDefinition) func() rest.TableConvertor {
		return sync.OnceValue(func() rest.TableConvertor {
			t, _ := tableconvertor.New(columns)
			return t
		})
	}
	age := apiextensionsv1.CustomResourceColumnDefinition{
		Name: "Age", Type: "date", Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"], JSONPath: ".metadata.creationTimestamp",
	}
	objects := v.AdditionalPrinterColumns
	if len(objects) == 0 {
		objects = []apiextensionsv1.CustomResourceColumnDefinition{age}
	}
	scales := []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Desired", Type: "integer", Description: "Number of desired replicas", JSONPath: ".spec.replicas"},
		{Name: "Available", Type: "integer", Description: "Number of actual replicas", JSONPath: ".status.replicas"},
		age,
	}
	return &table{lazily(objects), lazily(scales)}
}

func (t *table) ConvertToTable(ctx context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	if _, ok := obj.(*autoscalingv1.Scale); ok {
		return t.scales().ConvertToTable(ctx, obj, options)
	}
	return t.objects().ConvertToTable(ctx, obj, options)
}
