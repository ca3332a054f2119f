package stories

import (
	"strings"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

// applyPatch is the media type of server-side apply.
const applyPatch = "application/apply-patch+yaml"

// applies tells of server-side apply and of who owns what.
func applies() []story.Story {
	return []story.Story{
		{Name: "write/apply", Tell: applyConfigMap},
		{Name: "write/apply-refused", Tell: applyRefused},
		{Name: "write/apply-lists", Tell: applyLists},
		{Name: "write/apply-status", Tell: applyStatus},
		{Name: "write/apply-scale", Tell: applyScale},
		{Name: "write/apply-after-client-side", Tell: applyAfterClientSide},
		{Name: "write/owners", Tell: owners},
	}
}

func applyConfigMap(s *story.Session) {
	path := configMaps(s) + "/a"
	s.Patch(path+"?fieldManager=one", applyPatch, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n  l: w\n")
	s.Patch(path+"?fieldManager=one", applyPatch, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n  l: w\n") // no change
	s.Patch(path+"?fieldManager=two", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap","data":{"k":"other","l":"other"}}`)
	s.Patch(path+"?fieldManager=two", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap","data":{"k":"other"}}`)
	s.Patch(path+"?fieldManager=two&force=true", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap","data":{"k":"other"}}`)
	s.Patch(path+"?fieldManager=two&force=false", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap","data":{"l":"w","m":"x"}}`)
	s.Patch(path+"?fieldManager=one", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap"}`)
	s.Patch(path+"?fieldManager=three", story.MergePatch, `{"data":{"m":"y"}}`)
	s.Patch(path+"?fieldManager=two", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap","data":{"l":"w","m":"x"}}`)
	s.Patch(path+"?fieldManager=two&force=true&dryRun=All", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap","data":{"l":"w","m":"x"}}`)
	s.Put(path+"?fieldManager=three", configMap("a", object{"l": "w"}))
	s.Get(path)
	s.Patch(configMaps(s)+"/dry?fieldManager=one&dryRun=All", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"labels":{"a":"b"}}}`)
	s.Get(configMaps(s) + "/dry")
	s.Patch("/api/v1/namespaces/none/configmaps/a?fieldManager=one", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap"}`)
	s.Patch("/apis/scheduling.k8s.io/v1/priorityclasses/applied?fieldManager=one", applyPatch,
		`{"apiVersion":"scheduling.k8s.io/v1","kind":"PriorityClass","metadata":{"name":"applied"},"value":7}`)
	s.Delete("/apis/scheduling.k8s.io/v1/priorityclasses/applied", nil)
}

func applyRefused(s *story.Session) {
	path := configMaps(s) + "/a"
	s.Post(configMaps(s), configMap("a", nil))
	for _, patch := range []string{
		"", "7", "[]", "null", "{", "a: [", "{}", `{"apiVersion":"v1"}`, `{"apiVersion":"v2","kind":"ConfigMap"}`,
		`{"apiVersion":"v1","kind":"Secret"}`, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"other"}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"other"}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"managedFields":[]}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"managedFields":[{}]}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"resourceVersion":"1"}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"uid":"other"}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","dta":{}}`, `{"apiVersion":"v1","kind":"ConfigMap","data":{"k":7}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","data":7}`, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"finalizers":["bad name"]}}`,
		"apiVersion: v1\nkind: ConfigMap\ndata:\n  k: a\n  k: b\n",
	} {
		s.Patch(path+"?fieldManager=one", applyPatch, patch)
		s.Patch(path+"?fieldManager=one&force=true", applyPatch, patch)
	}
	twice := "apiVersion: v1\nkind: ConfigMap\ndata:\n  k: a\n  k: b\n"
	for _, mode := range []string{"Ignore", "Warn", "Strict", "Other"} {
		s.Patch(path+"?force=true&fieldManager=two&fieldValidation="+mode, applyPatch, twice)
	}
	ok := `{"apiVersion":"v1","kind":"ConfigMap"}`
	s.Patch(path, applyPatch, ok)
	s.Patch(path+"?fieldManager="+strings.Repeat("x", 129), applyPatch, ok)
	s.Patch(path+"?fieldManager=one&force=maybe", applyPatch, ok)
	s.Patch(configMaps(s)+"/b?fieldManager=one", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"uid":"00000000-0000-4000-8000-000000000000"}}`)
	s.Patch(configMaps(s)+"/b?fieldManager=one", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"resourceVersion":"1"}}`)
	s.Patch(configMaps(s)+"/b?fieldManager=one", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"","generateName":"b-"}}`)
	s.Patch(configMaps(s)+"/Bad_?fieldManager=one", applyPatch, ok)
	s.Patch(configMaps(s)+"?fieldManager=one", applyPatch, ok)
	s.Patch(path+"?fieldManager=one", "application/apply-patch+cbor", ok)
	s.Patch(path+"?fieldManager=one", "application/apply-patch+json", ok)
	s.Patch(path+"?fieldManager=one", applyPatch+"; charset=utf-8", ok)
	s.Patch("/apis/apps/v1/namespaces/"+s.Namespace+"/deployments/none/status?fieldManager=one", applyPatch, `{"apiVersion":"apps/v1","kind":"Deployment"}`)
	s.Patch("/apis/apps/v1/namespaces/"+s.Namespace+"/deployments/none/scale?fieldManager=one", applyPatch, `{"apiVersion":"autoscaling/v1","kind":"Scale"}`)
}

func applyLists(s *story.Session) {
	path := "/api/v1/namespaces/" + s.Namespace + "/services/s"
	service := func(ports string) string {
		return `{"apiVersion":"v1","kind":"Service","spec":{"selector":{"a":"b"},"ports":` + ports + `}}`
	}
	s.Patch(path+"?fieldManager=one", applyPatch, service(`[{"name":"a","port":80}]`))
	s.Patch(path+"?fieldManager=two", applyPatch, service(`[{"name":"b","port":81,"protocol":"TCP"}]`))
	s.Patch(path+"?fieldManager=two", applyPatch, service(`[{"name":"c","port":80,"protocol":"TCP"}]`))
	s.Patch(path+"?fieldManager=two", applyPatch, service(`[{"name":"b","port":81},{"name":"c","port":81}]`))
	s.Patch(path+"?fieldManager=one", applyPatch, service(`[]`))
	pod := `{"apiVersion":"v1","kind":"Pod","metadata":{"finalizers":["example.com/a"]},"spec":{"containers":[{"name":"c","image":"i","env":[{"name":"A","value":"1"},{"name":"B","value":"2"}]}]}}`
	s.Patch(pods(s)+"/p?fieldManager=one", applyPatch, pod)
	s.Patch(pods(s)+"/p?fieldManager=two", applyPatch, strings.ReplaceAll(pod, "example.com/a", "example.com/b"))
	s.Patch(pods(s)+"/p?fieldManager=one", applyPatch, strings.ReplaceAll(pod, `["example.com/a"]`, "[]"))
	s.Patch(pods(s)+"/p?fieldManager=two&force=true", applyPatch, strings.ReplaceAll(pod, `"i"`, `"j"`))
	s.Patch(pods(s)+"/p?fieldManager=two&force=true", applyPatch, strings.ReplaceAll(pod, `["example.com/a"]`, "[]"))
}

func applyStatus(s *story.Session) {
	path := "/apis/apps/v1/namespaces/" + s.Namespace + "/deployments"
	r := sample.Resource{Group: "apps", Version: "v1", Name: "deployments"}
	s.Post(path, sample.Must("minimal", r, s.Namespace))
	status := `{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":9},"status":{"replicas":3,"conditions":[{"type":"A","status":"True"}]}}`
	s.Patch(path+"/sample/status?fieldManager=controller", applyPatch, status)
	s.Patch(path+"/sample/status?fieldManager=controller", applyPatch, strings.ReplaceAll(status, `"A"`, `"B"`))
	s.Patch(path+"/sample/status?fieldManager=other", applyPatch, strings.ReplaceAll(status, ":3", ":4"))
	s.Patch(path+"/sample/status?fieldManager=other&force=true", applyPatch, strings.ReplaceAll(status, ":3", ":4"))
	s.Patch(path+"/sample?fieldManager=controller", applyPatch, `{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":2},"status":{"replicas":8}}`)
	s.Patch(path+"/sample/status?fieldManager=patcher", story.MergePatch, `{"status":{"replicas":7},"metadata":{"managedFields":[{}]}}`)
	s.Get(path + "/sample")
}

func applyScale(s *story.Session) {
	for _, kind := range []struct{ path, resource, gv, kind string }{
		{"/apis/apps/v1", "deployments", "apps/v1", "Deployment"},
		{"/api/v1", "replicationcontrollers", "v1", "ReplicationController"},
	} {
		group, _, _ := strings.Cut(kind.gv, "/")
		if group == "v1" {
			group = ""
		}
		path := kind.path + "/namespaces/" + s.Namespace + "/" + kind.resource
		s.Post(path+"?fieldManager=maker", sample.Must("minimal", sample.Resource{Group: group, Version: "v1", Name: kind.resource}, s.Namespace))
		own := func(n string) string {
			return `{"apiVersion":"` + kind.gv + `","kind":"` + kind.kind + `","spec":{"replicas":` + n + `}}`
		}
		scale := func(n string) string {
			return `{"apiVersion":"autoscaling/v1","kind":"Scale","spec":{"replicas":` + n + `}}`
		}
		s.Patch(path+"/sample?fieldManager=applier", applyPatch, own("2"))
		s.Patch(path+"/sample?fieldManager=applier&force=true", applyPatch, own("2"))
		s.Patch(path+"/sample/scale?fieldManager=scaler", applyPatch, scale("3"))
		s.Patch(path+"/sample/scale?fieldManager=scaler&force=true", applyPatch, scale("3"))
		s.Get(path + "/sample")
		s.Patch(path+"/sample?fieldManager=applier", applyPatch, own("2"))
		s.Patch(path+"/sample/scale?fieldManager=patcher", story.MergePatch, `{"spec":{"replicas":4}}`)
		s.Get(path + "/sample")
		s.Put(path+"/sample/scale?fieldManager=putter", `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"sample"},"spec":{"replicas":5}}`)
		s.Get(path + "/sample")
		s.Patch(path+"/sample/scale?fieldManager=scaler", applyPatch, own("3"))
		s.Patch(path+"/sample/scale?fieldManager=scaler", applyPatch, `{"apiVersion":"autoscaling/v1","kind":"Scale","spec":{"replicas":5},"status":{"replicas":1}}`)
		s.Get(path + "/sample")
	}
}

func applyAfterClientSide(s *story.Session) {
	path := configMaps(s)
	last := `{"apiVersion":"v1","data":{"k":"v"},"kind":"ConfigMap","metadata":{"annotations":{},"name":"a"}}`
	s.Post(path+"?fieldManager=kubectl-client-side-apply", sample.With(configMap("a", object{"k": "v"}),
		object{"kubectl.kubernetes.io/last-applied-configuration": last + "\n"}, "metadata", "annotations"))
	s.Patch(path+"/a?fieldManager=kubectl", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"w"}}`)
	s.Patch(path+"/a?fieldManager=kubectl", story.MergePatch, `{"metadata":{"managedFields":[{}]}}`) // forget all owners
	s.Patch(path+"/a?fieldManager=late", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap","data":{"k":"x"}}`)
	s.Patch(path+"/a?fieldManager=late&force=true", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap","data":{"k":"x"}}`)
}

func owners(s *story.Session) {
	path := configMaps(s)
	s.Post(path+"?fieldManager=maker", configMap("a", object{"k": "v"}))
	for _, n := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"} { // at most ten are told apart
		s.Patch(path+"/a?fieldManager=m"+n, story.MergePatch, `{"data":{"n`+n+`":"v"}}`)
	}
	s.Patch(path+"/a?fieldManager=m3", story.MergePatch, `{"data":{"n3":null}}`)
	s.Put(path+"/a?fieldManager=putter", configMap("a", object{"k": "v"}))
	s.Put(path+"/a?fieldManager=putter", configMap("a", object{"k": "v"}))
	s.Patch(path+"/a?fieldManager=forged", story.JSONPatch,
		`[{"op":"replace","path":"/metadata/managedFields","value":[{"manager":"x","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:k":{}}}}]}]`)
	s.Patch(path+"/a?fieldManager=forged", story.JSONPatch, `[{"op":"replace","path":"/metadata/managedFields","value":[{"manager":"x","operation":"Other"}]}]`)
	hpa := "/namespaces/" + s.Namespace + "/horizontalpodautoscalers"
	s.Post("/apis/autoscaling/v1"+hpa+"?fieldManager=v1", `{"metadata":{"name":"h"},"spec":{"maxReplicas":3,"targetCPUUtilizationPercentage":50,"scaleTargetRef":{"kind":"Deployment","name":"d"}}}`)
	s.Patch("/apis/autoscaling/v2"+hpa+"/h?fieldManager=v2", story.MergePatch, `{"spec":{"maxReplicas":4}}`)
	s.Patch("/apis/autoscaling/v2"+hpa+"/h?fieldManager=v2", story.MergePatch, `{"spec":{"metrics":[]}}`)
	s.Patch("/apis/autoscaling/v2"+hpa+"/h?fieldManager=v1", applyPatch, `{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","spec":{"maxReplicas":5}}`)
	events := "/namespaces/" + s.Namespace + "/events"
	s.Post("/api/v1"+events+"?fieldManager=core", `{"metadata":{"name":"e"},"involvedObject":{"namespace":"`+s.Namespace+`"},"type":"Normal","reason":"r","message":"m"}`)
	s.Patch("/apis/events.k8s.io/v1"+events+"/e?fieldManager=new", story.MergePatch, `{"metadata":{"labels":{"a":"b"}}}`)
	s.Patch("/api/v1"+events+"/e?fieldManager=core", story.MergePatch, `{"metadata":{"labels":{"a":"c"}}}`)
	s.Get("/api/v1" + events + "/e")
}
