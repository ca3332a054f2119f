package stories

import (
	"maps"
	"slices"
	"strings"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

// connecting are the subresources that open a connection or read from one.
var connecting = []string{"attach", "exec", "log", "portforward", "proxy"}

// Subresources tells, for every subresource that answers by itself, what each verb does
// where nothing is and where something is.
func Subresources(resources []sample.Resource) []story.Story {
	var all []story.Story
	for _, r := range resources {
		for _, sub := range slices.Sorted(maps.Keys(r.Subresources)) {
			if slices.Contains(connecting, sub) {
				continue
			}
			all = append(all, story.Story{
				Name:     "subresource/" + r.GroupVersion() + "/" + r.Name + "/" + sub,
				Tell:     func(s *story.Session) { subresource(s, r, sub) },
				AnyOrder: true,
			})
		}
	}
	return all
}

func subresource(s *story.Session, r sample.Resource, sub string) {
	base := sample.Must("minimal", r, s.Namespace)
	collection := r.Path(s.Namespace)
	own := collection + "/" + sample.NameOf(base)
	if controlled[r.Name] {
		s.AfterWrite = func() { s.Settle(own) }
	}
	for _, uri := range []string{collection + "/none/" + sub, own + "/" + sub} {
		if strings.HasPrefix(uri, own) {
			s.Post(collection, base)
		}
		current := s.Get(uri)
		s.Get(uri, story.Accept("application/json"+asTable))
		s.Get(uri, story.Accept(protobuf))
		s.Get(uri + "?watch=true&timeoutSeconds=1")
		s.Put(uri+"?dryRun=All", current.Body)
		s.Put(uri, sample.With(current.Object(), "put", "metadata", "annotations", "by"))
		s.Put(uri, sample.With(current.Object(), "1", "metadata", "resourceVersion"))
		s.Put(uri, `{}`)
		s.Put(uri, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}`)
		s.Put(uri, `{"kind":`)
		s.Post(uri, `{}`)
		s.Post(uri+"?dryRun=All", current.Body)
		s.Patch(uri, story.MergePatch, `{"metadata":{"annotations":{"by":"merge"}}}`)
		s.Patch(uri, story.StrategicPatch, `{"metadata":{"annotations":{"by":"strategic"}}}`)
		s.Patch(uri, story.JSONPatch, `[{"op":"add","path":"/metadata/labels","value":{"by":"json","twin":"story"}}]`)
		s.Patch(uri+"?dryRun=All", story.MergePatch, `{"metadata":{"finalizers":["example.com/x"]}}`)
		s.Patch(uri, story.MergePatch, `{"metadata":{"name":"other"}}`)
		s.Patch(uri+"?fieldManager=m", applyPatch, object{"apiVersion": r.GroupVersion(), "kind": base["kind"]})
		s.Patch(uri+"?fieldManager=m", applyPatch, `{"apiVersion":"autoscaling/v1","kind":"Scale","spec":{"replicas":3}}`)
		s.Delete(uri, nil)
		s.Do("HEAD", uri, nil)
	}
	s.Get(own)
	s.Delete(own+"?gracePeriodSeconds=0", nil)
	s.Patch(own, story.MergePatch, object{"metadata": object{"finalizers": nil}})
}

// actions tells of the subresources that do something.
func actions() []story.Story {
	return []story.Story{
		{Name: "action/binding", Tell: binding},
		{Name: "action/eviction", Tell: eviction},
		{Name: "action/eviction-budgets", Tell: evictionBudgets},
		{Name: "action/ephemeral-containers", Tell: ephemeralContainers},
		{Name: "action/resize", Tell: resize},
		{Name: "action/token", Tell: token},
		{Name: "action/approval", Tell: approval},
		{Name: "action/finalize", Tell: finalize},
		{Name: "action/scale", Tell: scale},
	}
}

func binding(s *story.Session) {
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		s.Post(pods(s), pod(name, nil))
	}
	s.Post(pods(s), sample.With(pod("gated", nil), []object{{"name": "example.com/gate"}}, "spec", "schedulingGates"))
	bind := func(name string, body object, query string) {
		s.Post(pods(s)+"/"+name+"/binding"+query, body)
	}
	to := func(name, node string) object {
		return object{"apiVersion": "v1", "kind": "Binding", "metadata": object{"name": name}, "target": object{"kind": "Node", "name": node}}
	}
	bind("a", to("a", "node-1"), "?dryRun=All")
	bind("a", to("a", ""), "")
	bind("a", sample.With(to("a", "node-1"), "Pod", "target", "kind"), "")
	bind("a", sample.With(to("a", "node-1"), "", "target", "kind"), "")
	bind("a", to("b", "node-1"), "")
	bind("a", to("", "node-1"), "")
	bind("a", sample.With(to("a", "node-1"), "other", "metadata", "namespace"), "")
	bind("a", sample.With(to("a", "node-1"), "00000000-0000-4000-8000-000000000000", "metadata", "uid"), "")
	bind("a", sample.With(to("a", "node-1"), "1", "metadata", "resourceVersion"), "")
	bind("b", sample.With(to("b", "node-1"), object{"note": "kept"}, "metadata", "annotations"), "")
	bind("c", sample.With(to("c", "node-1"), object{"topology.kubernetes.io/zone": "z", "other": "o"}, "metadata", "labels"), "")
	bind("d", to("d", "Bad Node"), "?fieldValidation=Strict")
	bind("d", sample.With(to("d", "node-1"), 1, "unknown"), "?fieldValidation=Strict")
	bind("d", sample.With(to("d", "node-1"), 1, "unknown"), "?fieldValidation=Warn&pretty=true")
	bind("d", object{}, "")
	bind("d", object{"apiVersion": "v1", "kind": "Pod"}, "")
	bind("gated", to("gated", "node-1"), "")
	bind("none", to("none", "node-1"), "")
	s.Delete(pods(s)+"/b", nil) // waits for its node
	bind("b", to("b", "node-1"), "")
	bindings := "/api/v1/namespaces/" + s.Namespace + "/bindings"
	s.Post(bindings, to("e", "node-2"))
	s.Post(bindings, to("e", "node-2"))
	s.Post(bindings, to("none", "node-2"))
	s.Post(bindings, to("", "node-2"))
	s.Post(bindings+"?dryRun=Some", to("e", "node-2"))
	s.Get(bindings)
	s.Get(pods(s))
}

func evict(name string, options object) object {
	body := object{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": object{"name": name}}
	if options != nil {
		body["deleteOptions"] = options
	}
	return body
}

func eviction(s *story.Session) {
	for _, name := range []string{"a", "b", "c", "d"} {
		s.Post(pods(s), pod(name, nil))
	}
	onNode := sample.With(pod("on-node", nil), "node-1", "spec", "nodeName")
	s.Post(pods(s), onNode)
	post := func(name string, body any) { s.Post(pods(s)+"/"+name+"/eviction", body) }
	post("none", evict("none", nil))
	post("a", evict("b", nil))
	post("a", evict("", nil))
	post("a", sample.With(evict("a", nil), "other", "metadata", "namespace"))
	post("a", sample.With(evict("a", nil), "policy/v1beta1", "apiVersion"))
	post("a", sample.With(evict("a", nil), "v1", "apiVersion"))
	post("b", object{})
	post("b", `{`)
	post("b", evict("b", object{"dryRun": []string{"All"}}))
	post("b", evict("b", object{"dryRun": []string{"Some"}}))
	post("b", evict("b", object{"propagationPolicy": "Never"}))
	post("b", evict("b", object{"gracePeriodSeconds": -1}))
	post("b", evict("b", object{"preconditions": object{"uid": "other"}}))
	post("b", evict("b", object{"preconditions": object{"resourceVersion": "1"}}))
	s.Post(pods(s)+"/b/eviction?dryRun=All", evict("b", nil))
	s.Post(pods(s)+"/b/eviction?dryRun=Some", evict("b", nil))
	s.Post(pods(s)+"/b/eviction?fieldValidation=Strict", sample.With(evict("b", nil), 1, "unknown"))
	s.Post(pods(s)+"/b/eviction", evict("b", nil), story.Accept("application/yaml"))
	s.Post(pods(s)+"/c/eviction", evict("c", object{"gracePeriodSeconds": 0}), story.Accept(protobuf))
	post("on-node", evict("on-node", object{"gracePeriodSeconds": 5}))
	post("on-node", evict("on-node", nil))
	s.Get(pods(s))
}

func evictionBudgets(s *story.Session) {
	budgets := "/apis/policy/v1/namespaces/" + s.Namespace + "/poddisruptionbudgets"
	budget := func(name string, selector object, more object) {
		s.Post(budgets, object{"metadata": object{"name": name}, "spec": merged(object{"minAvailable": 1, "selector": selector}, more)})
	}
	status := func(name string, fields object) {
		s.Patch(budgets+"/"+name+"/status", story.MergePatch, object{"status": fields})
	}
	post := func(name string, options object) { s.Post(pods(s)+"/"+name+"/eviction", evict(name, options)) }
	ready := object{"status": object{"phase": "Running", "conditions": []object{{"type": "Ready", "status": "True"}}}}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		s.Post(pods(s), pod(name, object{"app": "guarded", "name": name}))
		if name != "f" {
			s.Patch(pods(s)+"/"+name+"/status", story.MergePatch, ready)
		}
	}
	budget("all", object{"matchLabels": object{"app": "guarded"}}, nil)
	post("a", nil) // nobody has counted yet
	status("all", object{"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 5})
	post("a", nil)
	s.Post(pods(s)+"/a/eviction?dryRun=All", evict("a", nil))
	post("f", nil) // pending
	status("all", object{"observedGeneration": 1, "disruptionsAllowed": 2, "currentHealthy": 5, "desiredHealthy": 1, "expectedPods": 5})
	s.Post(pods(s)+"/a/eviction?dryRun=All", evict("a", nil))
	post("a", object{"preconditions": object{"uid": "other"}})
	s.Get(budgets + "/all")
	post("a", nil)
	post("b", object{"gracePeriodSeconds": 0})
	post("c", nil)
	s.Patch(budgets+"/all", story.MergePatch, object{"spec": object{"minAvailable": 2}}) // not counted again yet
	post("c", nil)
	budget("other", object{"matchLabels": object{"name": "d"}}, nil)
	post("d", nil)
	s.Delete(budgets+"/other", nil)
	// An unready pod, under either policy.
	s.Patch(pods(s)+"/e/status", story.MergePatch, object{"status": object{"conditions": []object{{"type": "Ready", "status": "False"}}}})
	status("all", object{"observedGeneration": 2, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 2})
	post("e", nil)
	status("all", object{"observedGeneration": 2, "disruptionsAllowed": 0, "currentHealthy": 2, "desiredHealthy": 2})
	s.Post(pods(s)+"/e/eviction?dryRun=All", evict("e", nil))
	s.Patch(budgets+"/all", story.MergePatch, object{"spec": object{"unhealthyPodEvictionPolicy": "AlwaysAllow"}})
	status("all", object{"observedGeneration": 3, "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 2})
	post("e", nil)
	s.Patch(pods(s)+"/d/status", story.MergePatch, object{"status": object{"phase": "Succeeded"}})
	post("d", nil) // has ended
	s.Get(budgets)
	s.Get(pods(s))
}

func ephemeralContainers(s *story.Session) {
	s.Post(pods(s), pod("a", nil))
	uri := pods(s) + "/a/ephemeralcontainers"
	add := func(containers ...object) object { return object{"spec": object{"ephemeralContainers": containers}} }
	s.Get(uri)
	s.Patch(uri, story.StrategicPatch, add(object{"name": "debug", "image": "i"}))
	s.Patch(uri, story.StrategicPatch, add(object{"name": "more", "image": "i", "targetContainerName": "web"}))
	s.Patch(uri, story.StrategicPatch, add(object{"name": "web", "image": "i"}))
	s.Patch(uri, story.StrategicPatch, add(object{"name": "third", "image": "i", "targetContainerName": "none"}))
	s.Patch(uri, story.StrategicPatch, add(object{"name": "third", "image": "i", "ports": []object{{"containerPort": 1}}}))
	s.Patch(uri, story.StrategicPatch, add(object{"name": "third"}))
	s.Patch(uri, story.StrategicPatch, add(object{"name": "debug", "image": "other"}))
	s.Patch(uri, story.MergePatch, add())
	s.Patch(uri, story.MergePatch, object{"spec": object{"containers": []object{{"name": "web", "image": "other"}}}, "metadata": object{"labels": object{"a": "b"}}})
	current := s.Get(pods(s) + "/a").Object()
	s.Put(uri, sample.With(current, []object{}, "spec", "ephemeralContainers"))
	s.Put(uri, current)
	s.Patch(uri+"?dryRun=All", story.StrategicPatch, add(object{"name": "dry", "image": "i"}))
	s.Patch(uri+"?fieldManager=m", applyPatch, object{"apiVersion": "v1", "kind": "Pod", "spec": object{"ephemeralContainers": []object{{"name": "applied", "image": "i"}}}})
	s.Patch(pods(s)+"/a", story.StrategicPatch, add(object{"name": "direct", "image": "i"}))
	s.Get(pods(s) + "/a")
}

func resize(s *story.Session) {
	container := object{"name": "web", "image": "i", "resources": object{"requests": object{"cpu": "100m", "memory": "64Mi"}, "limits": object{"cpu": "200m", "memory": "64Mi"}},
		"resizePolicy": []object{{"resourceName": "memory", "restartPolicy": "RestartContainer"}}}
	s.Post(pods(s), sample.With(pod("a", nil), []object{container}, "spec", "containers"))
	uri := pods(s) + "/a/resize"
	to := func(resources object) object {
		return object{"spec": object{"containers": []object{{"name": "web", "resources": resources}}}}
	}
	s.Get(uri)
	s.Patch(uri, story.StrategicPatch, to(object{"requests": object{"cpu": "150m"}}))
	s.Patch(uri, story.StrategicPatch, to(object{"requests": object{"cpu": "300m"}}))
	s.Patch(uri, story.StrategicPatch, to(object{"limits": object{"memory": "32Mi"}, "requests": object{"memory": "32Mi"}}))
	s.Patch(uri, story.StrategicPatch, to(object{"requests": object{"ephemeral-storage": "1Gi"}}))
	s.Patch(uri, story.MergePatch, object{"spec": object{"containers": []object{{"name": "web", "image": "other"}}}})
	s.Patch(uri, story.MergePatch, object{"spec": object{"containers": []object{{"name": "web", "image": "i"}}}}) // none at all
	s.Patch(uri, story.MergePatch, object{"metadata": object{"labels": object{"a": "b"}}})
	s.Patch(uri+"?dryRun=All", story.StrategicPatch, to(object{"requests": object{"cpu": "120m"}}))
	s.Patch(uri+"?fieldManager=m", applyPatch, merged(object{"apiVersion": "v1", "kind": "Pod"}, to(object{"requests": object{"cpu": "110m"}})))
	s.Patch(pods(s)+"/a", story.StrategicPatch, to(object{"requests": object{"cpu": "130m"}}))
	s.Patch(pods(s)+"/a/status", story.MergePatch, object{"status": object{"phase": "Running", "resize": "InProgress", "qosClass": "Burstable"}})
	s.Patch(uri, story.StrategicPatch, to(object{"requests": object{"cpu": "140m"}}))
	s.Put(uri, s.Get(pods(s)+"/a").Object())
	s.Patch(pods(s)+"/a/status", story.MergePatch, object{"status": object{"phase": "Failed"}})
	s.Patch(uri, story.StrategicPatch, to(object{"requests": object{"cpu": "145m"}}))
	s.Patch(pods(s)+"/none/resize", story.StrategicPatch, to(object{}))
	s.Get(pods(s) + "/a")
}

func token(s *story.Session) {
	accounts := "/api/v1/namespaces/" + s.Namespace + "/serviceaccounts"
	s.Post(accounts, object{"metadata": object{"name": "a"}})
	p := s.Post(pods(s), sample.With(pod("p", nil), "a", "spec", "serviceAccountName"))
	s.Post(pods(s), pod("other", nil))
	secret := s.Post("/api/v1/namespaces/"+s.Namespace+"/secrets", object{"metadata": object{"name": "s"}})
	uri := accounts + "/a/token"
	ask := func(spec object) story.Answer {
		return s.Post(uri, object{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
	}
	bound := func(kind, name string, uid any) object {
		return object{"boundObjectRef": object{"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}}
	}
	s.Post(uri, object{})
	ask(nil)
	ask(object{"audiences": []string{"one", "two"}, "expirationSeconds": 700})
	ask(object{"audiences": []string{""}})
	ask(object{"expirationSeconds": 599})
	ask(object{"expirationSeconds": -1})
	ask(object{"expirationSeconds": 4294967297})
	ask(bound("Pod", "p", p.Text("metadata", "uid")))
	ask(bound("Pod", "p", nil))
	ask(bound("Pod", "p", "00000000-0000-4000-8000-000000000000"))
	ask(bound("Pod", "other", nil))
	ask(bound("Pod", "none", nil))
	ask(bound("Secret", "s", secret.Text("metadata", "uid")))
	ask(bound("Secret", "none", nil))
	ask(bound("Node", "none", nil))
	ask(bound("ConfigMap", "none", nil))
	ask(bound("", "none", nil))
	s.Post(uri+"?dryRun=All", object{})
	s.Post(uri+"?dryRun=Some", object{})
	s.Post(uri+"?fieldValidation=Strict", object{"spec": object{"unknown": 1}})
	s.Post(uri, object{"metadata": object{"name": "b"}})
	s.Post(uri, object{"metadata": object{"namespace": "b"}})
	s.Post(uri, object{"apiVersion": "v1", "kind": "Pod"})
	s.Post(uri, `{`)
	s.Post(uri, object{}, story.Accept("application/yaml"))
	s.Post(uri, object{}, story.Accept("application/json"+asTable))
	s.Post(accounts+"/none/token", object{})
	s.Get(uri)
	s.Get("/version", story.Token(ask(nil).Text("status", "token")))
	s.Get("/openid/v1/jwks", story.Anonymous)
	s.Get("/.well-known/openid-configuration", story.Anonymous)
	s.Get("/.well-known/openid-configuration")
	s.Get("/openid/v1/jwks?pretty=true").Object()
}

func approval(s *story.Session) {
	r := sample.Resource{Group: "certificates.k8s.io", Version: "v1", Name: "certificatesigningrequests"}
	name := s.Namespace
	s.Post(r.Path(""), sample.Named(sample.Must("minimal", r, s.Namespace), name))
	uri := r.Path("") + "/" + name
	say := func(conditions ...object) object { return object{"status": object{"conditions": conditions}} }
	approved := object{"type": "Approved", "status": "True", "reason": "r", "message": "m"}
	denied := object{"type": "Denied", "status": "True", "reason": "r", "message": "m"}
	s.Get(uri + "/approval")
	s.Patch(uri, story.MergePatch, say(approved)) // not here
	s.Patch(uri+"/status", story.MergePatch, say(approved))
	s.Patch(uri+"/approval", story.MergePatch, say(sample.With(approved, "False", "status")))
	s.Patch(uri+"/approval", story.MergePatch, say(object{"type": "Approved"}))
	s.Patch(uri+"/approval?dryRun=All", story.MergePatch, say(approved))
	s.Patch(uri+"/approval", story.MergePatch, say(approved, denied))
	s.Patch(uri+"/approval", story.MergePatch, say(approved))
	s.Patch(uri+"/approval", story.MergePatch, say(denied))
	s.Patch(uri+"/approval", story.MergePatch, say())
	s.Patch(uri+"/approval", story.MergePatch, object{"status": object{"certificate": "YQ=="}})
	s.Patch(uri+"/status", story.MergePatch, object{"status": object{"certificate": "YQ=="}})
	s.Patch(uri+"/status", story.MergePatch, say(approved, object{"type": "Failed", "status": "True"}))
	s.Patch(uri+"/status", story.MergePatch, say(approved, object{"type": "Failed", "status": "True"}, object{"type": "Failed", "status": "True"}))
	s.Patch(uri+"/approval", story.MergePatch, object{"metadata": object{"labels": object{"a": "b"}}, "spec": object{"signerName": "example.com/other"}})
	s.Put(uri+"/approval", s.Get(uri).Object())
	s.Patch(uri+"/approval?fieldManager=m", applyPatch, merged(object{"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}, say(approved)))
	s.Delete(uri, nil)
}

func finalize(s *story.Session) {
	name := s.Namespace + "-finalized"
	uri := "/api/v1/namespaces/" + name
	made := s.Post("/api/v1/namespaces", object{"metadata": object{"name": name}}).Object()
	s.Get(uri + "/finalize")
	s.Put(uri+"/finalize", object{"metadata": object{"name": name}, "spec": object{"finalizers": []string{"kubernetes", "example.com/hold"}}})
	s.Put(uri+"/finalize", object{"metadata": object{"name": name}, "spec": object{"finalizers": []string{"bad finalizer"}}})
	s.Put(uri+"/finalize", object{"metadata": object{"name": "other"}, "spec": object{}})
	s.Put(uri+"/finalize", sample.With(made, "1", "metadata", "resourceVersion"))
	s.Put(uri, sample.With(made, []string{}, "spec", "finalizers")) // not here
	s.Put(uri+"/status", object{"metadata": object{"name": name}, "status": object{"phase": "Terminating"}})
	s.Patch(uri+"/status", story.MergePatch, object{"status": object{"conditions": []object{{"type": "A", "status": "True"}}}})
	s.Patch(uri+"/finalize", story.MergePatch, object{})
	s.Delete(uri, nil)
	s.Delete(uri, nil)
	s.Post(uri+"/configmaps", configMap("late", nil))
	s.Put(uri+"/finalize?dryRun=All", object{"metadata": object{"name": name}, "spec": object{}})
	s.Put(uri+"/finalize", object{"metadata": object{"name": name}, "spec": object{"finalizers": []string{"example.com/hold"}}})
	s.Put(uri+"/finalize", object{"metadata": object{"name": name}, "spec": object{}})
	s.Get(uri)
	s.Put(uri+"/finalize", object{"metadata": object{"name": name}, "spec": object{}})
}

func scale(s *story.Session) {
	for _, r := range []sample.Resource{
		{Group: "apps", Version: "v1", Name: "deployments", Namespaced: true}, {Group: "apps", Version: "v1", Name: "replicasets", Namespaced: true},
		{Group: "apps", Version: "v1", Name: "statefulsets", Namespaced: true}, {Version: "v1", Name: "replicationcontrollers", Namespaced: true},
	} {
		collection := r.Path(s.Namespace)
		made := s.Post(collection, sample.Must("minimal", r, s.Namespace)).Object()
		uri := collection + "/sample/scale"
		current := s.Get(uri).Object()
		for _, accept := range []string{"application/yaml", protobuf, "application/json" + asTable, "application/json" + asPartial} {
			s.Get(uri, story.Accept(accept))
		}
		s.Put(uri, sample.With(current, 2, "spec", "replicas"))
		s.Put(uri, sample.With(current, 3, "spec", "replicas")) // conflict
		s.Put(uri+"?dryRun=All", sample.With(sample.With(current, "", "metadata", "resourceVersion"), 4, "spec", "replicas"))
		s.Put(uri, sample.With(sample.With(current, "", "metadata", "resourceVersion"), -4, "spec", "replicas"))
		s.Put(uri, sample.With(sample.With(current, "00000000-0000-4000-8000-000000000000", "metadata", "uid"), 4, "spec", "replicas"))
		s.Put(uri, sample.With(sample.With(current, "", "metadata", "resourceVersion"), "other", "metadata", "namespace"))
		s.Put(uri, made)
		s.Put(uri+"?fieldValidation=Strict", `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"sample"},"spec":{"replicas":3,"replicas":4,"x":1}}`)
		s.Put(uri, "metadata:\n  name: sample\nspec:\n  replicas: 6\n", story.ContentType("application/yaml"), story.Accept("application/yaml"))
		s.Patch(uri, story.MergePatch, `{"spec":{"replicas":7}}`)
		s.Patch(uri, story.MergePatch, `{"spec":{"replicas":7}}`) // changes nothing
		s.Patch(uri, story.StrategicPatch, `{"spec":{"replicas":8}}`)
		s.Patch(uri, story.JSONPatch, `[{"op":"replace","path":"/spec/replicas","value":9}]`)
		s.Patch(uri, story.MergePatch, `{"metadata":{"labels":{"a":"b"}},"status":{"replicas":5}}`)
		s.Patch(uri, story.MergePatch, `{"spec":{"replicas":null}}`)
		s.Patch(uri, story.MergePatch, `{"spec":{"replicas":"x"}}`)
		s.Patch(uri+"?dryRun=All", story.MergePatch, `{"spec":{"replicas":1}}`)
		s.Get(collection + "/sample")
		s.Delete(uri, nil)
		s.Post(uri, current)
		s.Get(collection + "/none/scale")
	}
}
