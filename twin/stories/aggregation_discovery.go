package stories

import (
	"cmp"
	"slices"
	"strings"

	"github.com/knarr-io/knarr/twin/story"
)

// remoteDiscovery tells how clients learn what another server serves.
func remoteDiscovery() []story.Story {
	both := []string{"v1beta1", "v1alpha1"} // in the order of discovery
	group := func(r remote, versions ...string) {
		r.Await("/apis/"+wardle, first(versions[0]))
		r.Await("/apis", says(wardle+"/"+versions[0]))
		r.Only("groups", wardle)
		r.Await("/apis", current(versions...), story.Accept(aggregated))
		r.Only("items", wardle)
		r.Get("/apis/" + wardle)
	}
	known := func(r remote, versions ...string) {
		r.Quietly(func() { r.Await("/apis", current(versions...), story.Accept(aggregated)) })
	}
	prefer := func(r remote, version string, priority int) {
		name := version + "." + wardle
		r.Patch(apiServices+"/"+name, story.MergePatch, object{"spec": object{"versionPriority": priority}})
	}
	return []story.Story{
		{Name: "aggregation/discovery/documents", Tell: withRemote(both, func(r remote) {
			known(r, both...)
			group(r, "v1beta1", "v1alpha1")
			for _, path := range []string{wardlePath, "/apis/" + wardle + "/v1beta1", wardlePath + "/", "/apis/" + wardle + "/", "/apis/" + wardle + "/v7", wardlePath + "?timeout=32s"} {
				r.Get(path)
			}
			for _, accept := range []string{"application/yaml", protobuf, aggregated, "text/html", "*/*"} {
				r.Get(wardlePath, story.Accept(accept))
				r.Get("/apis/"+wardle, story.Accept(accept))
			}
			for _, method := range []string{"POST", "PUT", "DELETE", "HEAD", "OPTIONS"} {
				r.Do(method, wardlePath, nil)
				r.Do(method, "/apis/"+wardle, nil)
			}
		})},
		{Name: "aggregation/discovery/protobuf", Tell: withRemote(both, func(r remote) {
			known(r, both...)
			r.Get("/apis", story.Accept(aggregatedProto))
			r.Get("/apis", story.Accept(protobuf))
		})},
		{Name: "aggregation/discovery/priorities", Tell: withRemote(both, func(r remote) {
			known(r, both...)
			group(r, "v1beta1", "v1alpha1") // the priorities are the same: that which is more stable
			prefer(r, "v1alpha1", 20)
			group(r, "v1alpha1", "v1beta1")
			prefer(r, "v1beta1", 30)
			group(r, "v1beta1", "v1alpha1")
			// The group's place among others is that of its highest minimum.
			r.Get("/apis")
			r.Patch(apiServices+"/v1beta1."+wardle, story.MergePatch, object{"spec": object{"groupPriorityMinimum": 20000}})
			r.Await("/apis", second("groups"))
			r.Await("/apis", second("items"), story.Accept(aggregated))
		})},
		{Name: "aggregation/discovery/one-less", Tell: withRemote(both, func(r remote) {
			known(r, both...)
			r.Delete(apiServices+"/v1beta1."+wardle, nil)
			r.Await("/apis/"+wardle+"/v1beta1", story.NotFound)
			r.Await("/apis/"+wardle, silent(`"v1beta1"`))
			r.Await("/apis", silent(wardle+"/v1beta1"))
			r.Only("groups", wardle)
			r.Await("/apis", current("v1alpha1"), story.Accept(aggregated))
			r.Only("items", wardle)
			r.Delete(apiServices+"/v1alpha1."+wardle, nil)
			r.Await("/apis/"+wardle, story.NotFound)
			r.Await("/apis", silent(wardle))
			r.Await("/apis", silent(wardle), story.Accept(aggregated))
		})},
		// Some versions of a group are defined here, and others served elsewhere.
		{Name: "aggregation/discovery/mixed", Tell: withRemote([]string{"v1alpha1"}, func(r remote) {
			pearls := newCustom(r.Session, `{group: `+wardle+`, names: {plural: pearls, singular: pearl, kind: Pearl, listKind: PearlList}, versions: [{name: v1, properties: {size: {type: integer}}}]}`)
			pearls.define()
			defer pearls.remove()
			group(r, "v1", "v1alpha1")
			r.Get("/apis/" + wardle + "/v1")
			r.Get("/apis/" + wardle + "/v1/pearls")
			r.Get(r.flunders())
			r.Post("/apis/"+wardle+"/v1/namespaces/"+r.Namespace+"/pearls", pearls.object("v1", "p", `{size: 1}`))
		})},
		// A version that is served elsewhere and defined here, too.
		{Name: "aggregation/discovery/contended", Tell: withRemote([]string{"v1alpha1"}, func(r remote) {
			pearls := newCustom(r.Session, `{group: `+wardle+`, names: {plural: pearls, singular: pearl, kind: Pearl, listKind: PearlList}, versions: [{name: v1alpha1, properties: {size: {type: integer}}}]}`)
			r.Quietly(func() {
				r.Post(definitions, pearls.definition)
				r.Await(pearls.uri(), condition("Established", "True"))
			})
			defer pearls.remove()
			r.Settle(apiServices + "/v1alpha1." + wardle)
			r.Get(apiServices + "/v1alpha1." + wardle)
			r.Get(wardlePath)
			r.Get(wardlePath + "/pearls")
			r.Get(r.flunders())
		})},
		{Name: "aggregation/discovery/unavailable", Tell: withRemote(both, func(r remote) {
			known(r, both...)
			r.Patch(apiServices+"/v1alpha1."+wardle, story.MergePatch, object{"spec": object{"service": object{"name": "none"}}})
			r.Await(apiServices+"/v1alpha1."+wardle, because("ServiceNotFound"))
			r.Await(wardlePath, unavailable)
			r.Get("/apis/" + wardle)
			r.Get("/apis")
			r.Only("groups", wardle)
			r.Await("/apis", stale("v1alpha1"), story.Accept(aggregated))
			r.Only("items", wardle)
		})},
	}
}

// first wants a document of the group to prefer a version.
func first(version string) func(story.Answer) bool {
	return func(a story.Answer) bool { return a.Text("preferredVersion", "version") == version }
}

// second wants the group to be the second in a document, after that of APIServices.
func second(list string) func(story.Answer) bool {
	return func(a story.Answer) bool {
		groups, _ := a.Object()[list].([]any)
		if len(groups) < 2 {
			return false
		}
		group := groups[1].(object)
		metadata, _ := group["metadata"].(object)
		return group["name"] == wardle || metadata["name"] == wardle
	}
}

// A discovered is a version of the group in an aggregated document of discovery.
type discovered struct{ version, freshness any }

// discoveredIn are the versions of the group in an aggregated document, in its order.
func discoveredIn(a story.Answer) []discovered {
	var all []discovered
	items, _ := a.Object()["items"].([]any)
	for _, item := range items {
		if metadata, _ := item.(object)["metadata"].(object); metadata["name"] != wardle {
			continue
		}
		versions, _ := item.(object)["versions"].([]any)
		for _, v := range versions {
			all = append(all, discovered{v.(object)["version"], v.(object)["freshness"]})
		}
	}
	return all
}

// current wants an aggregated document of discovery to have these versions of the group in
// this order, and to know what is in them.
func current(versions ...string) func(story.Answer) bool {
	return func(a story.Answer) bool {
		return slices.EqualFunc(discoveredIn(a), versions, func(d discovered, v string) bool { return d == discovered{v, "Current"} })
	}
}

// stale wants an aggregated document to know that it does not know what is in a version now.
func stale(version string) func(story.Answer) bool {
	return func(a story.Answer) bool { return slices.Contains(discoveredIn(a), discovered{version, "Stale"}) }
}

// remoteOpenAPI tells how what another server serves is described.
func remoteOpenAPI() []story.Story {
	const document = "/openapi/v3/apis/" + wardle + "/v1alpha1"
	return []story.Story{
		{Name: "aggregation/openapi/v3", Tell: withRemote([]string{"v1alpha1", "v1beta1"}, func(r remote) {
			index := r.Await("/openapi/v3", says("apis/"+wardle+"/v1beta1"))
			r.Only("paths", "apis/"+wardle+"/v1alpha1")
			r.Await("/openapi/v3", says(`"apis/`+wardle+`"`))
			r.Only("paths", "apis/"+wardle)
			r.Await(document, story.Found)
			r.Get("/openapi/v3/apis/" + wardle)
			r.Get("/openapi/v3/apis/" + wardle + "/v1beta1")
			r.Get("/openapi/v3/apis/" + wardle + "/v7")
			paths, _ := index.Object()["paths"].(object)
			own, _ := paths["apis/"+wardle+"/v1alpha1"].(object)
			place, _ := own["serverRelativeURL"].(string)
			r.Get(cmp.Or(place, document+"?hash=none"))
			r.Get(document + "?hash=other")
			tag := r.Get(document).Header.Get("Etag")
			r.Get(document, story.Header("If-None-Match", tag))
			for _, accept := range []string{"application/com.github.proto-openapi.spec.v3@v1.0+protobuf", "application/yaml", "text/html", "*/*"} {
				r.Get(document, story.Accept(accept))
			}
			r.Get(document, story.Header("Accept-Encoding", "gzip"))
			r.Delete(apiServices+"/v1beta1."+wardle, nil)
			r.Await("/openapi/v3", silent("apis/"+wardle+"/v1beta1"))
			r.Only("paths", "apis/"+wardle+"/v1beta1")
			r.Await("/openapi/v3/apis/"+wardle+"/v1beta1", story.NotFound)
			r.Get(document)
		})},
		{Name: "aggregation/openapi/v2", Tell: withRemote([]string{"v1alpha1"}, func(r remote) {
			r.Await("/openapi/v2", says(wardlePath+"/fischers"))
			r.Only("paths", wardlePath+"/fischers")
			for _, path := range [][]string{
				{"paths", "/apis/" + wardle + "/"}, {"paths", wardlePath + "/"}, {"paths", wardlePath + "/flunders"},
				{"paths", wardlePath + "/namespaces/{namespace}/flunders"}, {"paths", wardlePath + "/namespaces/{namespace}/flunders/{name}"},
				{"paths", wardlePath + "/watch/flunders"}, {"paths", "/apis/" + wardle + "/v1beta1/"},
				{"definitions", "io.k8s.sample-apiserver.pkg.apis.wardle.v1alpha1.Flunder"},
				{"definitions", "io.k8s.sample-apiserver.pkg.apis.wardle.v1alpha1.FlunderSpec"},
				{"definitions", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}, {"definitions", "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"},
				{"info"}, {"securityDefinitions"},
			} {
				r.Get("/openapi/v2")
				r.Only(path...)
			}
			r.Delete(apiServices+"/v1alpha1."+wardle, nil)
			r.Await("/openapi/v2", silent(wardlePath))
			r.Only("paths", wardlePath+"/fischers")
			r.Get("/openapi/v2")
			r.Only("definitions", "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
		})},
	}
}

// remoteLoops tells of an APIService that names the server that it is stored in.
func remoteLoops() []story.Story {
	return []story.Story{{Name: "aggregation/unavailable/itself", Tell: withService(func(r remote) {
		r.Post(apiServices, r.apiService("v1", object{"group": "loop.example.com", "caBundle": nil, "insecureSkipTLSVerify": true,
			"service": object{"namespace": "default", "name": "kubernetes", "port": 443}}))
		r.Await(apiServices+"/v1.loop.example.com", because("FailedDiscoveryCheck"))
		r.Get("/apis/loop.example.com/v1")
		r.Get("/apis/loop.example.com/v1/anything")
	})}}
}

// remoteKubectl tells what a user does with what another server serves.
func remoteKubectl(command []string) []story.Story {
	manifest := "apiVersion: " + wardle + "/v1alpha1\nkind: Flunder\nmetadata:\n  name: a\n  labels: {app: web}\nspec:\n  reference: other\n"
	return []story.Story{
		{Name: "aggregation/kubectl", Tell: withRemote([]string{"v1alpha1"}, func(r remote) {
			r.Quietly(func() {
				r.Await("/openapi/v2", says(wardlePath+"/fischers"))
				r.Await("/apis", current("v1alpha1"), story.Accept(aggregated))
				r.Await("/openapi/v3/apis/"+wardle+"/v1alpha1", story.Found)
			})
			k := program{r.Session, command}
			k.run("api-resources", "--api-group="+wardle, "-o", "wide")
			k.run("get", "apiservices", "v1alpha1."+wardle)
			k.run("get", "flunders")
			k.feed(manifest, "create", "-f", "-")
			k.feed(manifest, "apply", "-f", "-", "--server-side")
			k.feed(strings.Replace(manifest, "other", "another", 1), "apply", "-f", "-", "--server-side", "--force-conflicts")
			k.feed(strings.Replace(manifest, "other", "another", 1), "diff", "-f", "-")
			k.run("get", "flunders")
			k.run("get", "flunder/a", "-o", "yaml")
			k.run("get", "flunders", "-l", "app=web", "-o", "name")
			k.run("get", "flunders.v1alpha1."+wardle, "-o", "jsonpath={.items[*].spec.reference}")
			k.run("get", "flunders", "-A", "--field-selector=metadata.namespace="+r.Namespace)
			k.run("label", "flunder/a", "x=y")
			k.run("annotate", "flunder/a", "x=y")
			k.run("patch", "flunder/a", "--type=merge", "-p", `{"spec":{"reference":"third"}}`)
			k.run("explain", "flunder.spec")
			k.run("explain", "flunder", "--recursive")
			k.run("auth", "can-i", "create", "flunders")
			k.run("get", "flunders", "-w", "--request-timeout=2s")
			k.run("wait", "flunder/a", "--for=jsonpath={.spec.reference}=third", "--timeout=10s")
			k.feed(strings.Replace(manifest, "spec:", "other: 1\nspec:", 1), "apply", "-f", "-")
			k.run("describe", "flunder/a")
			k.run("delete", "flunder/a")
			k.run("delete", "flunders", "--all")
			k.run("get", "flunders")
			k.run("get", "fischers")
			k.run("get", "none."+wardle)
		})},
		{Name: "aggregation/kubectl/unavailable", Tell: withService(func(r remote) {
			r.Quietly(func() {
				r.Post(apiServices, r.apiService("v1alpha1", object{"service": object{"name": "none"}}))
				r.Await(apiServices+"/v1alpha1."+wardle, because("ServiceNotFound"))
				r.Await(wardlePath, unavailable)
			})
			k := program{r.Session, command}
			k.run("get", "apiservices", "v1alpha1."+wardle)
			k.run("get", "flunders")
			k.run("get", "configmaps")
			k.run("api-resources", "--api-group="+wardle)
			k.run("delete", "apiservice", "v1alpha1."+wardle)
		})},
	}
}
