package stories

import (
	"strings"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

func refusals() []story.Story {
	return []story.Story{
		{Name: "refuse/not-found", Tell: func(s *story.Session) {
			for _, path := range []string{
				"/none", "/api/v1/none", "/api/v1/none/x", "/api/v1/namespaces/none", "/api/v1/namespaces/default/none",
				"/api/v1/namespaces/default/none/x", "/api/v1/namespaces/default/pods/none", "/api/v1/namespaces/default/pods/none/status",
				"/api/v1/namespaces/default/pods/none/other", "/api/v1/namespaces/default/pods/none/status/more", "/apis/none/v1/x",
				"/apis/apps/v1/none", "/apis/apps/v2/deployments", "/apis/apps/v1/namespaces/default/deployments/none", "/api/v3/pods",
				"/api/v1/nodes/none", "/apis/apps/v1/namespaces/default/deployments/none/scale", "/healthz/none", "/apis/apps/v1/pods",
				"/api/v1/namespaces/default/configmaps/none/status", "//api/v1/pods", "/api//v1", "/api/v1/", "/api/v1/pods/",
				"/api/v1/../v1/namespaces/default", "/api/v1/namespaces/default/configmaps/a%2Fb", "/api/v1/namespaces//podtemplates", "/openapi/v4",
				"/api/v1/pods/none", "/apis/apps/v1/deployments/none", "/api/v1/namespaces/default/nodes", "/api/v1/namespaces/default/services/kubernetes:https",
			} {
				s.Get(path)
			}
		}},
		{Name: "refuse/methods", Tell: func(s *story.Session) {
			for _, path := range []string{
				configMaps(s), configMaps(s) + "/none", "/api/v1/podtemplates", "/api/v1/namespaces", "/api/v1/componentstatuses/x",
				"/api/v1/namespaces/default/bindings", "/apis/authentication.k8s.io/v1/tokenreviews", pods(s) + "/none/status", "/healthz",
			} {
				for _, method := range []string{"HEAD", "OPTIONS", "TRACE", "POST", "PUT", "PATCH", "DELETE", "GET", "BREW"} {
					s.Do(method, path, nil)
				}
			}
		}},
		{Name: "refuse/malformed", Tell: func(s *story.Session) {
			s.Post(configMaps(s), configMap("a", nil))
			for _, body := range []string{
				``, `{`, `[]`, `null`, `7`, `"text"`, `{}`, `{"kind":"ConfigMap"}`, `{"apiVersion":"v1"}`, `{"apiVersion":"v1","kind":"Pod"}`,
				`{"apiVersion":"v2","kind":"ConfigMap"}`, `{"apiVersion":"apps/v1","kind":"Deployment"}`, `{"apiVersion":"a/b/c","kind":"ConfigMap"}`,
				`{"apiVersion":"none.example.com/v1","kind":"Widget"}`, `{"metadata":{"name":7}}`, `{"metadata":[]}`, `{"metadata":{"labels":{"a":1}}}`,
				`{"data":{"k":{}}}`, `{"data":[]}`, `{"binaryData":{"k":"not base64!"}}`, `{"metadata":{"creationTimestamp":"yesterday"}}`,
				`{"metadata":{"name":"a"}} trailing`, `{"metadata":{"name":"a"}}{"metadata":{"name":"b"}}`, "\xff\xfe", `{"data":{"k":"\ud800"}}`,
				`{"kind":"ConfigMapList","apiVersion":"v1","items":[]}`, `{"kind":"DeleteOptions","apiVersion":"v1"}`, strings.Repeat("[", 20000),
			} {
				s.Post(configMaps(s), body)
				s.Put(configMaps(s)+"/a", body)
			}
		}},
		{Name: "refuse/metadata", Tell: func(s *story.Session) {
			for _, name := range []string{"UPPER", "a_b", "a..b", "-a", "a/b", "a%b", ".", "..", strings.Repeat("x", 254), strings.Repeat("x", 64), "ü", "a b"} {
				s.Post(configMaps(s), configMap(name, nil))
				s.Post(pods(s), pod(name, nil))
				s.Post("/api/v1/namespaces/"+s.Namespace+"/services", object{"metadata": object{"name": name}, "spec": object{"ports": []object{{"port": 1}}}})
				s.Post("/api/v1/namespaces", object{"metadata": object{"name": name}})
			}
			// One at a time: upstream goes through maps in an order that depends on chance.
			for _, pair := range [][2]string{{"bad key", "x"}, {"ok", "bad value!"}, {"-", ""}, {strings.Repeat("x", 64), ""}, {"a/b/c", ""}} {
				bad := object{pair[0]: pair[1]}
				s.Post(configMaps(s), configMap("a", bad))
				s.Post(configMaps(s), sample.With(configMap("a", nil), bad, "metadata", "annotations"))
			}
			s.Post(configMaps(s), sample.With(configMap("a", nil), object{"big": strings.Repeat("x", 256*1024)}, "metadata", "annotations"))
			s.Post(configMaps(s), sample.With(configMap("a", nil), []string{"unqualified", "example.com/ok", "bad name/x"}, "metadata", "finalizers"))
			s.Post(configMaps(s), sample.With(configMap("a", nil), []object{{}, {"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "u"}}, "metadata", "ownerReferences"))
			controllers := []object{
				{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1", "controller": true},
				{"apiVersion": "v1", "kind": "Pod", "name": "b", "uid": "2", "controller": true},
			}
			s.Post(configMaps(s), sample.With(configMap("a", nil), controllers, "metadata", "ownerReferences"))
			s.Post(configMaps(s), sample.With(configMap("a", nil), []object{controllers[0], controllers[0]}, "metadata", "ownerReferences"))
		}},
		{Name: "refuse/invalid", Tell: invalid},
	}
}

// invalid breaks objects of the commonest kinds in one way or several.
func invalid(s *story.Session) {
	own := "/api/v1/namespaces/" + s.Namespace
	apps := "/apis/apps/v1/namespaces/" + s.Namespace
	batch := "/apis/batch/v1/namespaces/" + s.Namespace
	meta := object{"name": "x"}
	for _, spec := range []object{
		{}, {"containers": []object{}}, {"containers": []object{{}}}, {"containers": []object{{"name": "a"}}},
		{"containers": []object{{"name": "a", "image": "i"}, {"name": "a", "image": "i"}}},
		{"containers": []object{{"name": "A_", "image": "i", "imagePullPolicy": "Sometimes"}}, "restartPolicy": "Maybe", "dnsPolicy": "None"},
		{"containers": []object{{"name": "a", "image": "i", "ports": []object{{"containerPort": 70000, "protocol": "XTP"}}, "env": []object{{"name": ""}}}}},
		{"containers": []object{{"name": "a", "image": "i", "volumeMounts": []object{{"name": "none", "mountPath": ""}}}}},
		{"containers": []object{{"name": "a", "image": "i", "resources": object{"requests": object{"cpu": "2"}, "limits": object{"cpu": "1"}}}}},
		{"containers": []object{{"name": "a", "image": "i", "resources": object{"requests": object{"cpu": "lots"}}}}},
		{"containers": []object{{"name": "a", "image": "i", "livenessProbe": object{"httpGet": object{"port": "UPPER"}, "exec": object{"command": []string{"x"}}}}}},
		{"containers": []object{{"name": "a", "image": "i"}}, "volumes": []object{{"name": "v"}, {"name": "v", "emptyDir": object{}, "hostPath": object{"path": ""}}}},
		{"containers": []object{{"name": "a", "image": "i"}}, "nodeName": "Bad Node", "terminationGracePeriodSeconds": -1, "activeDeadlineSeconds": 0},
	} {
		s.Post(own+"/pods", object{"metadata": meta, "spec": spec})
	}
	for _, spec := range []object{
		{}, {"ports": []object{{"port": 0}}}, {"type": "Other", "ports": []object{{"port": 1}}}, {"ports": []object{{"port": 1}, {"port": 2}}},
		{"type": "ExternalName"}, {"clusterIP": "1.2.3.4", "ports": []object{{"port": 1}}}, {"clusterIP": "nonsense", "ports": []object{{"port": 1}}},
		{"type": "NodePort", "ports": []object{{"port": 1, "nodePort": 80}}}, {"clusterIP": "None", "type": "NodePort", "ports": []object{{"port": 1}}},
		{"ports": []object{{"port": 1, "targetPort": "Bad_"}}, "sessionAffinity": "x", "externalIPs": []string{"127.0.0.1"}},
	} {
		s.Post(own+"/services", object{"metadata": meta, "spec": spec})
	}
	s.Post(own+"/services", object{"metadata": object{"name": "first"}, "spec": object{"clusterIP": "10.0.0.200", "ports": []object{{"port": 1}}}})
	s.Post(own+"/services", object{"metadata": object{"name": "second"}, "spec": object{"clusterIP": "10.0.0.200", "ports": []object{{"port": 1}}}})
	template := object{"metadata": object{"labels": object{"a": "b"}}, "spec": object{"containers": []object{{"name": "a", "image": "i"}}}}
	for _, spec := range []object{
		{}, {"template": template}, {"selector": object{}, "template": template}, {"selector": object{"matchLabels": object{"c": "d"}}, "template": template},
		{"selector": object{"matchLabels": object{"a": "b"}}, "template": template, "replicas": -1},
		{"selector": object{"matchExpressions": []object{{"key": "a", "operator": "Other"}}}, "template": template},
		{"selector": object{"matchLabels": object{"a": "b"}}, "template": template, "strategy": object{"type": "Recreate", "rollingUpdate": object{}}},
	} {
		for _, kind := range []string{"deployments", "statefulsets", "daemonsets", "replicasets"} {
			s.Post(apps+"/"+kind, object{"metadata": meta, "spec": spec})
		}
	}
	s.Post(batch+"/jobs", object{"metadata": meta, "spec": object{"template": template, "parallelism": -1}})
	s.Post(batch+"/cronjobs", object{"metadata": meta, "spec": object{"schedule": "often"}})
	s.Post(own+"/secrets", object{"metadata": meta, "type": "kubernetes.io/tls", "data": object{"tls.crt": ""}})
	s.Post(own+"/secrets", object{"metadata": meta, "data": object{"bad key": ""}})
	s.Post(own+"/persistentvolumeclaims", object{"metadata": meta, "spec": object{}})
	s.Post(own+"/resourcequotas", object{"metadata": meta, "spec": object{"hard": object{"pods": "-1"}}})
	s.Post("/apis/networking.k8s.io/v1/namespaces/"+s.Namespace+"/ingresses", object{"metadata": meta, "spec": object{}})
	s.Post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", object{"metadata": meta, "roleRef": object{"kind": "Group"}})
	s.Post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", object{"metadata": meta, "spec": object{}})
	s.Post("/apis/scheduling.k8s.io/v1/priorityclasses", object{"metadata": object{"name": "system-mine"}, "value": 2000000001})
	s.Post("/apis/storage.k8s.io/v1/storageclasses", object{"metadata": object{"name": "nothing"}})
}
