package stories

import (
	"fmt"
	"strings"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

func writes() []story.Story {
	return []story.Story{
		{Name: "write/create", Tell: func(s *story.Session) {
			s.Post(configMaps(s), sample.With(configMap("", nil), "made-", "metadata", "generateName"))
			s.Post(configMaps(s), sample.With(configMap("both", nil), "made-", "metadata", "generateName"))
			s.Post(configMaps(s), sample.With(configMap("", nil), "Bad_", "metadata", "generateName"))
			s.Post(configMaps(s), configMap("", nil))
			s.Post(configMaps(s), sample.With(configMap("a", nil), "other", "metadata", "namespace"))
			s.Post(configMaps(s), sample.With(configMap("a", nil), "12", "metadata", "resourceVersion"))
			s.Post(configMaps(s), sample.With(configMap("b", nil), "00000000-0000-4000-8000-000000000000", "metadata", "uid"))
			s.Post(configMaps(s), sample.With(configMap("c", nil), "2020-01-01T00:00:00Z", "metadata", "creationTimestamp"))
			s.Post(configMaps(s), sample.With(configMap("d", nil), "2020-01-01T00:00:00Z", "metadata", "deletionTimestamp"))
			s.Post(configMaps(s), sample.With(configMap("e", nil), 7, "metadata", "generation"))
			s.Post(configMaps(s), sample.With(configMap("f", nil), "/self", "metadata", "selfLink"))
			s.Post("/api/v1/namespaces/none/configmaps", configMap("a", nil))
			s.Post(configMaps(s)+"/a", configMap("a", nil))
			s.Post(configMaps(s), "")
			s.Post(configMaps(s), nil)
		}},
		{Name: "write/field-manager", Tell: func(s *story.Session) {
			s.Post(configMaps(s)+"?fieldManager=somebody", configMap("a", nil))
			s.Patch(configMaps(s)+"/a?fieldManager=other", story.MergePatch, object{"data": object{"k": "v"}})
			s.Put(configMaps(s)+"/a?fieldManager=third", configMap("a", object{"l": "v"}))
			s.Post(configMaps(s)+"?fieldManager="+strings.Repeat("x", 129), configMap("b", nil))
			s.Post(configMaps(s)+"?fieldManager=%07", configMap("b", nil))
			s.Put(configMaps(s)+"/a", sample.With(configMap("a", nil), []object{}, "metadata", "managedFields"))
			s.Put(configMaps(s)+"/a", sample.With(configMap("a", nil), []object{{}}, "metadata", "managedFields"))
			s.Patch(configMaps(s)+"/a", story.JSONPatch, `[{"op":"replace","path":"/metadata/managedFields","value":[{}]}]`)
			s.Put(configMaps(s)+"/a", sample.With(configMap("a", nil), []object{{"manager": "x", "operation": "Bad"}}, "metadata", "managedFields"))
			s.Post(configMaps(s), configMap("c", nil), story.Header("User-Agent", ""))
			s.Post(configMaps(s), configMap("d", nil), story.Header("User-Agent", "tool/v1 (linux) more"))
		}},
		{Name: "write/field-validation", Tell: func(s *story.Session) {
			body := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","nmae":"x"},"dta":{},"data":{"k":"1","k":"2"}}`
			yaml := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  nmae: x\ndta: {}\ndata:\n  k: a\n  k: b\n"
			s.Post(configMaps(s), configMap("z", nil))
			for _, mode := range []string{"", "?fieldValidation=Ignore", "?fieldValidation=Warn", "?fieldValidation=Strict", "?fieldValidation=Other"} {
				s.Post(configMaps(s)+mode, body)
				s.Delete(configMaps(s)+"/a", nil)
				s.Post(configMaps(s)+mode, yaml, story.ContentType("application/yaml"))
				s.Delete(configMaps(s)+"/a", nil)
				s.Put(configMaps(s)+"/z"+mode, strings.ReplaceAll(body, `"a"`, `"z"`))
				s.Patch(configMaps(s)+"/z"+mode, story.MergePatch, `{"dta":{},"metadata":{"nmae":"x"}}`)
				s.Patch(configMaps(s)+"/z"+mode, story.StrategicPatch, `{"dta":{},"metadata":{"nmae":"x"}}`)
				s.Patch(configMaps(s)+"/z"+mode, story.JSONPatch, `[{"op":"add","path":"/dta","value":{}},{"op":"add","pth":"/x","path":"/data/n","value":"v"}]`)
				s.Post(pods(s)+mode, `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i","imge":"j"}],"xyz":1}}`)
				s.Delete(pods(s)+"/p", nil)
			}
		}},
		{Name: "write/update", Tell: func(s *story.Session) {
			made := s.Post(configMaps(s), configMap("a", nil))
			object := made.Object()
			s.Put(configMaps(s)+"/none", configMap("none", nil))
			s.Put(configMaps(s)+"/a", configMap("", nil))
			s.Put(configMaps(s)+"/a", sample.With(object, "00000000-0000-4000-8000-000000000000", "metadata", "uid"))
			s.Put(configMaps(s)+"/a", sample.With(object, "1", "metadata", "resourceVersion"))
			s.Put(configMaps(s)+"/a", sample.With(object, "x", "metadata", "resourceVersion"))
			s.Put(configMaps(s)+"/a", sample.With(object, "other", "metadata", "namespace"))
			s.Put(configMaps(s)+"/a", object) // as it is
			s.Put(configMaps(s)+"/a", sample.With(object, true, "immutable"))
			s.Put(configMaps(s)+"/a", sample.With(configMap("a", nil), "changed", "data", "key"))
			s.Put(configMaps(s), configMap("a", nil))
			s.Put("/api/v1/nodes/created-by-put", map[string]any{"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": "created-by-put"}})
			lease := map[string]any{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": map[string]any{"name": "l"}}
			s.Put("/apis/coordination.k8s.io/v1/namespaces/"+s.Namespace+"/leases/l", lease) // created by an update
			s.Put("/apis/coordination.k8s.io/v1/namespaces/"+s.Namespace+"/leases/l?dryRun=All", lease)
		}},
		{Name: "write/generation", Tell: func(s *story.Session) {
			path := "/apis/apps/v1/namespaces/" + s.Namespace + "/deployments"
			r := sample.Resource{Group: "apps", Version: "v1", Name: "deployments"}
			s.Post(path, sample.Must("minimal", r, s.Namespace))
			s.Patch(path+"/sample", story.MergePatch, object{"metadata": object{"labels": object{"a": "b"}}})
			s.Patch(path+"/sample", story.MergePatch, object{"spec": object{"replicas": 5}})
			s.Patch(path+"/sample/status", story.MergePatch, object{"status": object{"replicas": 5}, "spec": object{"replicas": 9}})
			s.Patch(path+"/sample", story.MergePatch, object{"status": object{"replicas": 7}})
			s.Patch(path+"/sample", story.MergePatch, object{"spec": object{"selector": object{"matchLabels": object{"app": "x"}}}})
		}},
		{Name: "write/patch", Tell: patches},
		{Name: "write/dry-run", Tell: func(s *story.Session) {
			for _, query := range []string{"?dryRun=All", "?dryRun=", "?dryRun=Other", "?dryRun=All&dryRun=All", "?dryRun=all"} {
				s.Post(configMaps(s)+query, configMap("a", nil))
				s.Get(configMaps(s) + "/a")
				s.Put(configMaps(s)+"/a"+query, configMap("a", nil))
				s.Patch(configMaps(s)+"/a"+query, story.MergePatch, object{"data": object{"k": "v"}})
				s.Delete(configMaps(s)+"/a"+query, nil)
				s.Delete(configMaps(s)+query, nil)
			}
			s.Post("/api/v1/namespaces/"+s.Namespace+"/services?dryRun=All", object{"metadata": object{"name": "s"},
				"spec": object{"type": "NodePort", "ports": []object{{"port": 80}}}})
			s.Post(configMaps(s)+"?dryRun=All", sample.With(configMap("", nil), "made-", "metadata", "generateName"))
		}},
	}
}

func patches(s *story.Session) {
	s.Post(pods(s), pod("a", object{"app": "web"}))
	s.Post(configMaps(s), configMap("c", nil))
	path := pods(s) + "/a"
	for _, patch := range []string{
		`[]`, `{}`, `null`, ``, `[{"op":"replace","path":"/spec/containers/0/image","value":"x"}]`,
		`[{"op":"add","path":"/metadata/annotations","value":{"a":"b"}}]`, `[{"op":"add","path":"/metadata/annotations/c~1d","value":"e"}]`,
		`[{"op":"copy","from":"/metadata/labels/app","path":"/metadata/labels/copy"}]`,
		`[{"op":"move","from":"/metadata/labels/copy","path":"/metadata/labels/moved"}]`,
		`[{"op":"test","path":"/metadata/labels/app","value":"other"}]`, `[{"op":"remove","path":"/spec/none"}]`,
		`[{"op":"other","path":"/x"}]`, `[{"path":"/x"}]`, `[{"op":"add","path":"x","value":1}]`,
		`[{"op":"replace","path":"/kind","value":"Other"}]`, `[{"op":"replace","path":"/metadata/name","value":"other"}]`,
		`[{"op":"replace","path":"/metadata/namespace","value":"other"}]`, `[{"op":"replace","path":"/spec/containers","value":7}]`,
		`[{"op":"replace","path":"/metadata/resourceVersion","value":"1"}]`,
		"[" + strings.TrimSuffix(strings.Repeat(`{"op":"test","path":"/kind","value":"Pod"},`, 10001), ",") + "]",
	} {
		s.Patch(path, story.JSONPatch, patch)
	}
	for _, patch := range []string{
		`{}`, `[]`, `null`, `7`, ``, `{"metadata":{"labels":{"m":"1"}}}`, `{"metadata":{"labels":{"m":null}}}`, `{"metadata":null}`,
		`{"spec":{"containers":[{"name":"other","image":"y"}]}}`, `{"spec":{"activeDeadlineSeconds":30}}`, `{"spec":{"activeDeadlineSeconds":"x"}}`,
		`{"metadata":{"resourceVersion":"1"}}`, `{"metadata":{"uid":"other"}}`, `{"metadata":{"name":"other"}}`, `{"apiVersion":"v2"}`, `{"kind":"Other"}`,
		`{"status":{"phase":"Running"}}`, `{"spec":null}`,
	} {
		s.Patch(path, story.MergePatch, patch)
	}
	for _, patch := range []string{
		`{}`, `[]`, `null`, ``, `{"spec":{"containers":[{"name":"web","image":"example.com/web:2"}]}}`,
		`{"spec":{"containers":[{"name":"new","image":"y"}]}}`, `{"spec":{"containers":[{"image":"y"}]}}`,
		`{"spec":{"containers":[{"$patch":"delete","name":"web"}]}}`, `{"metadata":{"labels":{"$patch":"replace","only":"this"}}}`,
		`{"metadata":{"finalizers":["example.com/a"]}}`, `{"metadata":{"finalizers":["example.com/b"]}}`,
		`{"metadata":{"$deleteFromPrimitiveList/finalizers":["example.com/a","example.com/b"]}}`,
		`{"spec":{"tolerations":[{"key":"k","operator":"Exists"}]}}`, `{"spec":{"$setElementOrder/containers":[{"name":"web"}]}}`,
		`{"spec":{"$retainKeys":["containers"]}}`, `{"$patch":"other"}`, `{"metadata":{"labels":7}}`,
	} {
		s.Patch(path, story.StrategicPatch, patch)
	}
	s.Patch(configMaps(s)+"/c", story.MergePatch, `{"data":{"key":7}}`)
	s.Patch(configMaps(s)+"/c", story.MergePatch, `{"data":{"key":null}}`)
	s.Patch(configMaps(s)+"/none", story.MergePatch, `{}`)
	s.Patch(configMaps(s)+"/none", story.JSONPatch, `[]`)
	s.Patch(configMaps(s), story.MergePatch, `{}`)
	for _, query := range []string{"force=true", "fieldManager=x", "force=maybe"} {
		s.Patch(configMaps(s)+"/c?"+query, story.MergePatch, fmt.Sprintf(`{"data":{"q":%q}}`, query))
	}
}
