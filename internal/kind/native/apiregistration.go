package native

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metatable "k8s.io/apimachinery/pkg/api/meta/table"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration"
	aggregatorscheme "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	"k8s.io/kube-aggregator/pkg/registry/apiservice"
)

// aggregation is the family of APIServices.
var aggregation = family{
	scheme:     aggregatorscheme.Scheme,
	codecs:     aggregatorscheme.Codecs,
	parameters: metav1.ParameterCodec,
	mediaType:  runtime.ContentTypeJSON,
	groupInKey: true,
}

func (b *builder) apiregistration() *group {
	return &group{name: apiregistration.GroupName, family: &aggregation, rows: []row{
		{
			name: "apiservices", hub: of[apiregistration.APIService, apiregistration.APIServiceList](), categories: words("api-extensions"),
			versions: words("v1"), stored: schema.GroupVersion{Group: apiregistration.GroupName, Version: "v1"},
			strategy: apiservice.NewStrategy(aggregation.scheme).(strategy), status: apiservice.NewStatusStrategy(aggregation.scheme), statusPlain: true,
			attributes: apiservice.GetAttrs, table: apiServiceTable{},
		},
	}}
}

// apiServiceTable makes the printed columns of APIServices, which upstream
// keeps in its store.
type apiServiceTable struct{}

func (apiServiceTable) ConvertToTable(_ context.Context, obj, _ runtime.Object) (*metav1.Table, error) {
	about := metav1.ObjectMeta{}.SwaggerDoc()
	table := &metav1.Table{ColumnDefinitions: []metav1.TableColumnDefinition{
		{Name: "Name", Type: "string", Format: "name", Description: about["name"]},
		{Name: "Service", Type: "string", Description: "The reference to the service that hosts this API endpoint."},
		{Name: "Available", Type: "string", Description: "Whether this service is available."},
		{Name: "Age", Type: "string", Description: about["creationTimestamp"]},
	}}
	if list, err := meta.ListAccessor(obj); err == nil {
		table.ResourceVersion = list.GetResourceVersion()
		table.Continue = list.GetContinue()
		table.RemainingItemCount = list.GetRemainingItemCount()
	} else if one, err := meta.CommonAccessor(obj); err == nil {
		table.ResourceVersion = one.GetResourceVersion()
	}
	var err error
	table.Rows, err = metatable.MetaToTableRow(obj, func(obj runtime.Object, _ metav1.Object, name, age string) ([]any, error) {
		svc, ok := obj.(*apiregistration.APIService)
		if !ok {
			return nil, fmt.Errorf("%T is no APIService", obj)
		}
		server := "Local"
		if svc.Spec.Service != nil {
			server = svc.Spec.Service.Namespace + "/" + svc.Spec.Service.Name
		}
		return []any{name, server, available(svc), age}, nil
	})
	return table, err
}

// available is the APIService's Available condition, with the reason if it is
// not true.
func available(svc *apiregistration.APIService) string {
	for _, c := range svc.Status.Conditions {
		if c.Type != apiregistration.Available {
			continue
		}
		if c.Status != apiregistration.ConditionTrue && c.Reason != "" {
			return fmt.Sprintf("%s (%s)", c.Status, c.Reason)
		}
		return string(c.Status)
	}
	return string(apiregistration.ConditionUnknown)
}
