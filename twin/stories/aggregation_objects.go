package stories

import (
	"fmt"
	"time"

	"github.com/knarr-io/knarr/twin/story"
)

// remoteObjects tell of what is written to another server.
func remoteObjects() []story.Story {
	versions := []string{"v1alpha1", "v1beta1"}
	return []story.Story{
		{Name: "aggregation/objects/life", Tell: withRemote(versions, func(r remote) {
			at := r.flunders()
			r.Post(at, r.flunder("a", `{spec: {reference: other}, metadata: {labels: {parity: even}}}`))
			r.Post(at, r.flunder("a", `{}`))
			r.Post(at+"?dryRun=All", r.flunder("b", `{}`))
			r.Post(at, object{"apiVersion": wardle + "/v1alpha1", "kind": "Flunder", "metadata": object{"generateName": "made-"}})
			r.Get(at + "/a")
			r.Get("/apis/" + wardle + "/v1beta1/namespaces/" + r.Namespace + "/flunders/a")
			stored := r.Get(at + "/a").Object()
			stored["spec"] = object{"reference": "another", "referenceType": "Fischer"}
			r.Put(at+"/a", stored)
			r.Put(at+"/a", stored) // the revision is an old one by now
			r.Put(at+"/none", r.flunder("none", `{}`))
			for _, kind := range []string{story.MergePatch, story.StrategicPatch} {
				r.Patch(at+"/a?fieldManager=patches", kind, object{"metadata": object{"labels": object{"patched": "yes"}}})
			}
			r.Patch(at+"/a", story.JSONPatch, `[{"op":"add","path":"/metadata/annotations","value":{"a":"b"}},{"op":"test","path":"/spec/reference","value":"another"}]`)
			r.Patch(at+"/a", story.JSONPatch, `[{"op":"test","path":"/spec/reference","value":"x"}]`)
			r.Patch(at+"/applied?fieldManager=one", applyPatch, r.flunder("applied", `{spec: {reference: first}}`))
			r.Patch(at+"/applied?fieldManager=two", applyPatch, r.flunder("applied", `{spec: {reference: second}}`))
			r.Patch(at+"/applied?fieldManager=two&force=true", applyPatch, r.flunder("applied", `{spec: {reference: second}}`))
			r.Patch(at+"/none", story.MergePatch, object{})
			r.Delete(at+"/a", object{"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": object{"uid": "other"}})
			r.Delete(at+"/a?dryRun=All", nil)
			r.Delete(at+"/a", nil)
			r.Delete(at+"/a", nil)
			r.Delete(at+"?labelSelector=x=y", nil)
			r.Delete(at, nil)
			r.Get(at)
		})},
		{Name: "aggregation/objects/refused", Tell: withRemote(versions, func(r remote) {
			at := r.flunders()
			r.Post(at, `{`)
			r.Post(at, `not: [yaml`, story.ContentType("application/yaml"))
			r.Post(at, r.flunder("A_B", `{}`))
			r.Post(at, r.flunder("a", `{spec: {reference: a, referenceType: Other}}`))
			r.Post(at, r.flunder("a", `{spec: {referenceType: Fischer}}`))
			r.Post(at, r.flunder("a", `{apiVersion: apps/v1}`))
			r.Post(at, r.flunder("a", `{kind: Fischer}`))
			r.Post(at, r.flunder("a", `{metadata: {namespace: default}}`))
			for _, how := range []string{"Strict", "Warn", "Ignore", "Other"} {
				r.Post(at+"?dryRun=All&fieldValidation="+how, r.flunder("a", `{spec: {other: 1}, more: {}}`))
			}
			r.Post(at, r.flunder("a", `{}`), story.ContentType("text/plain"))
			r.Post(at, r.flunder("a", `{}`), story.Accept("text/html"))
			r.Post(at+"/a", r.flunder("a", `{}`))
			r.Post(at+"?dryRun=Some", r.flunder("a", `{}`))
			r.Patch(at+"/a", "application/other", `{}`)
			r.Patch(at+"/a", applyPatch, r.flunder("a", `{}`)) // no field manager
			for _, method := range []string{"HEAD", "OPTIONS", "TRACE", "PUT", "PATCH"} {
				r.Do(method, at, nil)
			}
			r.Put(at+"/a/status", r.flunder("a", `{}`))
			r.Get(at + "/a/scale")
			r.Get(at + "/a")
			r.Get(wardlePath + "/others")
			r.Get("/apis/" + wardle + "/v1beta1/fischers") // only the other version has them
		})},
		{Name: "aggregation/objects/admission", Tell: withRemote(versions, func(r remote) {
			fischer := object{"apiVersion": wardle + "/v1alpha1", "kind": "Fischer", "metadata": object{"name": "f-" + r.Namespace}, "disallowedFlunders": []string{"banned"}}
			r.Post(wardlePath+"/fischers", fischer)
			r.Get(wardlePath + "/fischers")
			r.Repeat(func() story.Answer { return r.Post(r.flunders()+"?dryRun=All", r.flunder("banned", `{}`)) }, func(a story.Answer) bool { return a.Status == 403 })
			r.Post(r.flunders(), r.flunder("other", `{}`))
			r.Delete(wardlePath+"/fischers/f-"+r.Namespace, nil)
			r.Repeat(func() story.Answer { return r.Post(r.flunders()+"?dryRun=All", r.flunder("banned", `{}`)) }, func(a story.Answer) bool { return a.Status == 201 })
			r.Post(wardlePath+"/namespaces/none/flunders", r.flunder("a", `{}`))
		})},
		{Name: "aggregation/objects/bodies", Tell: withRemote(versions, func(r remote) {
			at := r.flunders()
			r.Post(at, "apiVersion: "+wardle+"/v1alpha1\nkind: Flunder\nmetadata: {name: yaml}\n", story.ContentType("application/yaml"), story.Accept("application/yaml"))
			for _, accept := range []string{"application/json", "application/yaml", protobuf, "application/cbor", "*/*", "text/html",
				"application/json" + asTable, "application/json" + asPartial, protobuf + asPartial, "application/json;as=Other;v=v1;g=meta.k8s.io"} {
				r.Get(at+"/yaml", story.Accept(accept))
			}
			r.Get(at+"/yaml", story.Header("Accept-Encoding", "gzip"))
			r.Get(at + "/yaml?pretty=true")
			r.Get(at+"/yaml", story.Header("User-Agent", "curl/8.0"))
			r.Get(at+"/yaml", story.Header("If-None-Match", `"x"`))
			large := r.flunder("large", `{}`)
			large["metadata"].(object)["annotations"] = object{"large": string(make([]byte, 4<<20))}
			r.Post(at, large)
		})},
	}
}

// remoteReads tell of what is read from another server.
func remoteReads() []story.Story {
	return []story.Story{
		{Name: "aggregation/reads", Tell: withRemote([]string{"v1alpha1", "v1beta1"}, func(r remote) {
			at := r.flunders()
			for i := range 5 {
				r.Post(at, r.flunder(fmt.Sprint("item-", i), fmt.Sprintf(`{metadata: {labels: {number: "%d"}}}`, i)))
			}
			for _, query := range []string{
				"", "?limit=0", "?labelSelector=number=3", "?labelSelector=number+in+(1,2)", "?labelSelector=a%20b", "?fieldSelector=metadata.name=item-2",
				"?fieldSelector=spec.other=x", "?resourceVersion=0", "?resourceVersion=x", "?limit=x", "?unknown=x", "?labelSelector=number=1&labelSelector=number=2",
				"?z=1&a=2&labelSelector=number=4", "?labelSelector=number%3D4", "?labelSelector=%zz", "?a;b", "?limit=2&continue=x",
			} {
				r.Get(at + query)
			}
			page := r.Get(at + "?limit=2")
			page = r.Get(at + "?limit=2&continue=" + page.Text("metadata", "continue"))
			r.Get(at + "?limit=2&continue=" + page.Text("metadata", "continue"))
			for _, accept := range []string{"application/yaml", protobuf, "application/json" + asTable, "application/json" + asPartials, protobuf + asPartials} {
				r.Get(at, story.Accept(accept))
				r.Get("/apis/"+wardle+"/v1beta1/namespaces/"+r.Namespace+"/flunders", story.Accept(accept))
			}
			r.Get(wardlePath + "/flunders?fieldSelector=metadata.namespace=" + r.Namespace)
			r.Get(at + "/")
			r.Get(at + "//item-1")
			r.Get(at + "/item-1/")
			r.Get(at + "/item%2D1")
			r.Get(at + "/../flunders")
			r.Get(wardlePath + "/%2e%2e/v1beta1")
			r.Get("/apis/" + wardle + "//v1alpha1")
			r.Get(wardlePath + "x")
		})},
	}
}

func remoteWatches() []story.Story {
	return []story.Story{
		{Name: "aggregation/watch", Tell: withRemote([]string{"v1alpha1"}, func(r remote) {
			at := r.flunders()
			list := r.Get(at)
			since := list.Text("metadata", "resourceVersion")
			w := r.Watch(at + "?watch=true&resourceVersion=" + since)
			one := r.Watch(at+"?watch=true&resourceVersion="+since+"&labelSelector=parity=even", story.Accept("application/json"+asTable))
			proto := r.Watch(at+"?watch=true&resourceVersion="+since, story.Accept(protobuf+asPartial))
			r.Post(at, r.flunder("a", `{metadata: {labels: {parity: even}}}`))
			r.Post(at, r.flunder("b", `{metadata: {labels: {parity: odd}}}`))
			r.Patch(at+"/a", story.MergePatch, object{"metadata": object{"labels": object{"parity": "odd"}}})
			r.Delete(at+"/b", nil)
			w.Next(4)
			one.Next(2)
			proto.Next(4)
			r.Watch(wardlePath + "/watch/namespaces/" + r.Namespace + "/flunders").Next(1)
			r.Watch(at + "?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan").Until(func(e story.Event) bool { return e.Initial })
			r.Watch(at + "?watch=true&timeoutSeconds=1").Rest(5 * time.Second)
			r.Watch(at + "?watch=true&resourceVersion=x").Next(1)
			r.Watch(at+"?watch=true", story.Accept("text/html")).Next(1)
		})},
		{Name: "aggregation/watch-ends", Tell: withRemote([]string{"v1alpha1"}, func(r remote) {
			at := r.flunders()
			r.Post(at, r.flunder("a", `{}`))
			w := r.Watch(at + "?watch=true")
			w.Next(1)
			// The watch goes on when nobody new is let through, and ends with the server.
			r.Delete(apiServices+"/v1alpha1."+wardle, nil)
			r.Await(at, story.NotFound)
			r.Directly(func() { r.Patch(at+"/a", story.MergePatch, object{"metadata": object{"labels": object{"a": "b"}}}) })
			w.Next(1)
			r.StopAggregated()
			w.Rest(10 * time.Second)
		})},
	}
}

// remoteUsers tell who is let through, and as whom.
func remoteUsers() []story.Story {
	outsider := story.Token("outsider-token")
	return []story.Story{
		{Name: "aggregation/users", Tell: withRemote([]string{"v1alpha1"}, func(r remote) {
			at := r.flunders()
			r.Post(at, r.flunder("a", `{}`))
			for _, who := range []story.Option{story.Anonymous, outsider, story.Token("nobody")} {
				r.Get(at, who)
				r.Get(at+"/a", who)
				r.Get(wardlePath+"/", who)
				r.Post(at, r.flunder("b", `{}`), who)
				r.Delete(at+"/a", nil, who)
				r.Watch(at+"?watch=true", who).Next(1)
				// That a client says who it is counts for nothing.
				r.Get(at, who, story.Header("X-Remote-User", "admin"), story.Header("X-Remote-Group", "system:masters"))
			}
			r.Get(at+"/a", story.Header("X-Remote-User", "nobody"), story.Header("X-Remote-Group", "none"), story.Header("X-Remote-Extra-Scopes", "x"))
		})},
		{Name: "aggregation/users/directly", Tell: withRemote([]string{"v1alpha1"}, func(r remote) {
			at := r.flunders()
			r.Directly(func() {
				r.Get("/healthz")
				r.Get(at)
				r.Post(at, r.flunder("a", `{}`))
				r.Get(at+"/a", story.Header("X-Remote-User", "nobody"))
				r.Get(at, story.Anonymous)
				r.Get(at, story.Token("nobody"))
			})
			r.Get(at + "/a")
		})},
		// Who a token is for, and what its user may do, the aggregated server asks.
		{Name: "aggregation/users/asked", Tell: withRemote([]string{"v1alpha1"}, func(r remote) {
			r.Directly(func() {
				r.Get(r.flunders(), outsider)
				r.Get(wardlePath, outsider)
				r.Post(r.flunders(), r.flunder("a", `{}`), outsider)
			})
		})},
		// They may if a role says so, here and there.
		{Name: "aggregation/users/allowed", Tell: withRemote([]string{"v1alpha1"}, func(r remote) {
			const roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/"
			r.Quietly(func() {
				r.Post(roles+r.Namespace+"/roles", object{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": object{"name": "r"},
					"rules": []object{{"apiGroups": []string{wardle}, "resources": []string{"flunders"}, "verbs": []string{"get", "list", "create"}}}})
				r.Post(roles+r.Namespace+"/rolebindings", object{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": object{"name": "r"},
					"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
					"subjects": []object{{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "readers"}}})
			})
			(&policy{Session: r.Session}).settle()
			r.Get(r.flunders(), outsider)
			r.Post(r.flunders(), r.flunder("a", `{}`), outsider)
			r.Get(r.flunders()+"/a", outsider)
			r.Delete(r.flunders()+"/a", nil, outsider)
			// Who writes a policy may read its parameters there, and no others.
			p := &policy{Session: r.Session}
			r.Quietly(func() {
				p.bindAll("w", p.clusterRole("w", "get flunders in "+wardle, "* validatingadmissionpolicies in admissionregistration.k8s.io"), "User/"+r.Namespace)
			})
			p.settle()
			for _, kind := range []string{"Flunder", "Fischer", "None"} {
				r.Post("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies?dryRun=All", object{
					"metadata": object{"name": r.Namespace},
					"spec": object{
						"paramKind":        object{"apiVersion": wardle + "/v1alpha1", "kind": kind},
						"matchConstraints": object{"resourceRules": []object{{"apiGroups": []string{"none.example.com"}, "apiVersions": []string{"*"}, "operations": []string{"CREATE"}, "resources": []string{"none"}}}},
						"validations":      []object{{"expression": "true"}},
					},
				}, as(r.Namespace))
			}
		})},
	}
}
