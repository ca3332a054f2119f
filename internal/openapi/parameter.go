package openapi

import (
	"reflect"
	"slices"
	"strings"

	"github.com/emicklei/go-restful/v3"
)

// pretty is the parameter that all but connections have.
func pretty() *restful.Parameter {
	return restful.QueryParameter("pretty", "If 'true', then the output is pretty printed. Defaults to 'false' unless the user-agent indicates a browser or command-line HTTP tool (curl and wget).")
}

// pathParameters returns those that a path of the endpoint has.
func (e *endpoint) pathParameters(path string) []*restful.Parameter {
	var list []*restful.Parameter
	add := func(in, name, description string) {
		if strings.Contains(path, in) {
			list = append(list, restful.PathParameter(name, description))
		}
	}
	add("{namespace}", "namespace", "object name and auth scope, such as for teams and projects")
	add("{name}", "name", "name of the "+e.gvk.Kind)
	add("{path:*}", "path", "path to the resource")
	return list
}

// parametersOf returns the fields of an options struct, or of a pointer to one,
// as parameters of a query.
func parametersOf(options any, except ...string) []*restful.Parameter {
	descriptions := map[string]string{}
	if documented, ok := options.(interface{ SwaggerDoc() map[string]string }); ok {
		descriptions = documented.SwaggerDoc()
	}
	var list []*restful.Parameter
	for _, field := range reflect.VisibleFields(indirect(reflect.TypeOf(options))) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		dataType := dataType(field.Type)
		if len(field.Index) > 1 || name == "" || dataType == "" || slices.Contains(except, name) {
			continue
		}
		list = append(list, restful.QueryParameter(name, descriptions[name]).DataType(dataType))
	}
	return list
}

func indirect(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// dataType returns what a field is called in a document, or "" for structs,
// which documents leave out (a time, too, although it may be in a query). Nor
// do they tell that a list is given by repeating the parameter.
func dataType(t reflect.Type) string {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	switch t = indirect(t); t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint32, reflect.Uint64:
		return "integer"
	case reflect.Float32, reflect.Float64:
		return "number"
	}
	return ""
}
