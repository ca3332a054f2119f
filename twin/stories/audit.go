package stories

import (
	"net/http"
	"strings"
	"time"

	"github.com/knarr-io/knarr/twin/story"
)

// AuditPolicy is the policy of servers that stories of Audit are told to: another level,
// and other omissions, for each resource that they use.
const AuditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: None
  resources: [{group: "", resources: [serviceaccounts]}]
- level: None
  userGroups: [readers]
  resources: [{group: batch}]
- level: Metadata
  resources: [{group: "", resources: [secrets, serviceaccounts/token]}, {group: rbac.authorization.k8s.io}]
- level: Request
  omitStages: [RequestReceived]
  resources: [{group: "", resources: [pods, pods/status, pods/eviction, pods/binding]}]
- level: RequestResponse
  omitManagedFields: true
  resources: [{group: apps}, {group: autoscaling}, {group: apiextensions.k8s.io}]
- level: RequestResponse
  omitStages: [ResponseStarted]
  resources: [{group: "", resources: [services]}]
- level: RequestResponse
- level: Metadata
  nonResourceURLs: [/version, "/api*", "/healthz*"]
`

// Audit tells what is recorded of requests. The servers must have AuditPolicy.
func Audit() []story.Story {
	recorded := func(name string, tell func(*story.Session)) story.Story {
		return story.Story{Name: "audit/" + name, Tell: func(s *story.Session) {
			s.Recorded(func() { tell(s) })
		}}
	}
	return []story.Story{
		recorded("none", func(s *story.Session) {
			s.Get("/api/v1/namespaces/" + s.Namespace + "/serviceaccounts")
			s.Get("/apis/batch/v1/namespaces/"+s.Namespace+"/jobs", story.Token("outsider-token"))
		}),
		recorded("policies", policyAudit),
		recorded("metadata", func(s *story.Session) {
			lives(s, "/api/v1/namespaces/"+s.Namespace+"/secrets", object{
				"apiVersion": "v1", "kind": "Secret", "metadata": object{"name": "a"}, "stringData": object{"password": "hunter2"},
			})
		}),
		recorded("request", func(s *story.Session) {
			lives(s, pods(s), pod("a", nil))
			s.Post(pods(s), pod("b", nil))
			s.Patch(pods(s)+"/b/status", story.MergePatch, object{"status": object{"reason": "x"}})
			s.Post(pods(s)+"/b/binding", object{"apiVersion": "v1", "kind": "Binding", "metadata": object{"name": "b"}, "target": object{"kind": "Node", "name": "n"}})
			s.Post(pods(s)+"/b/eviction", object{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": object{"name": "b"}})
		}),
		recorded("answers", func(s *story.Session) { lives(s, configMaps(s), configMap("a", nil)) }),
		recorded("omissions", func(s *story.Session) {
			at := "/apis/apps/v1/namespaces/" + s.Namespace + "/deployments"
			lives(s, at, deployment("a"))
			s.Post(at, deployment("b"))
			s.Get(at + "/b/scale")
			s.Patch(at+"/b/scale", story.MergePatch, object{"spec": object{"replicas": 3}})
			s.Watch(at + "?watch=true&timeoutSeconds=1&resourceVersion=0").Rest(5 * time.Second)
			services := "/api/v1/namespaces/" + s.Namespace + "/services"
			s.Watch(services + "?watch=true&timeoutSeconds=1").Rest(5 * time.Second)
		}),
		{Name: "audit/custom", Tell: withCustom(plain, func(c custom) {
			c.Recorded(func() {
				c.create("a", `{spec: {size: 1}}`)
				c.create("a", `{}`)
				c.Get(c.in("v1") + "/a")
				c.Get(c.in("v1"))
				c.Get(c.in("v1"), story.Accept("application/json;as=Table;g=meta.k8s.io;v=v1"))
				c.Get(c.in("v1"), story.Accept("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"))
				c.replace("a", `{spec: {size: 3}}`, `{spec: {size: x}}`)
				c.merge("a", `{spec: {size: 4}}`)
				c.apply("m", "a", `{spec: {color: red}}`)
				c.Delete(c.in("v1")+"/a", nil)
				c.Delete(c.in("v1"), nil)
				c.Get(c.in("v0"))
				c.Get(c.in("v1") + "s")
			})
		})},
		recorded("time", func(s *story.Session) {
			s.Get(configMaps(s) + "?resourceVersion=999999999")
			s.Get(configMaps(s) + "?watch=true&resourceVersion=1&timeoutSeconds=1")
		}),
		recorded("media", func(s *story.Session) {
			s.Post(configMaps(s), configMap("a", nil))
			for _, accept := range []string{
				"application/vnd.kubernetes.protobuf", "application/yaml", "text/plain",
				"application/json;as=Table;g=meta.k8s.io;v=v1", "application/json;as=Table;g=meta.k8s.io;v=v1beta1",
				"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
			} {
				s.Get(configMaps(s), story.Accept(accept))
				s.Get(configMaps(s)+"/a", story.Accept(accept))
				s.Get(configMaps(s)+"/none", story.Accept(accept))
			}
			s.Post(configMaps(s), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n", story.ContentType("application/yaml"))
			s.Patch(configMaps(s)+"/c?fieldManager=m", applyPatch, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")
		}),
		recorded("refusals", func(s *story.Session) {
			s.Post(configMaps(s), "{")
			s.Post(configMaps(s), object{"apiVersion": "v2", "kind": "ConfigMap", "metadata": object{"name": "a"}})
			s.Post(configMaps(s), object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": "A_"}})
			s.Post(configMaps(s)+"?dryRun=Some", configMap("a", nil))
			s.Post(configMaps(s)+"?dryRun=All", configMap("a", nil))
			s.Put(configMaps(s)+"/none", object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": "none", "resourceVersion": "1", "uid": "x"}})
			s.Patch(configMaps(s)+"/none", story.MergePatch, "{")
			s.Patch(configMaps(s)+"/none", applyPatch, ": x")
			s.Patch(configMaps(s)+"/none", "text/plain", "x")
			s.Delete(configMaps(s)+"/none", "{")
			s.Delete(configMaps(s)+"/none", object{"apiVersion": "v1", "kind": "DeleteOptions", "dryRun": []any{"Some"}})
			s.Delete(configMaps(s)+"/none", object{"apiVersion": "v1", "kind": "DeleteOptions", "ignoreStoreReadErrorWithClusterBreakingPotential": true})
			s.Get(configMaps(s) + "?limit=x")
			s.Get(configMaps(s) + "?timeout=soon")
			s.Get("/api/v1/namespaces/" + s.Namespace + "/nothings")
			s.Get("/apis/none.example.com/v1/things")
			s.Do(http.MethodPost, configMaps(s)+"/a/b/c", object{})
		}),
		recorded("outsiders", func(s *story.Session) {
			for _, who := range []story.Option{story.Anonymous, story.Token("nobody"), story.Token("outsider-token")} {
				s.Get(configMaps(s), who)
				s.Post(configMaps(s), configMap("a", nil), who)
				s.Get("/version", who)
				s.Get("/apis/apps/v1", who)
				s.Get("/metrics", who)
				s.Get(configMaps(s)+"?timeout=soon", who)
			}
			as := func(r *http.Request) {
				r.Header.Set("Impersonate-User", "jane")
				r.Header.Set("Impersonate-Group", "dev")
				r.Header.Set("Impersonate-Extra-Scopes", "a")
			}
			s.Get(configMaps(s), as)
			s.Get(configMaps(s), as, story.Token("outsider-token"))
			s.Get(configMaps(s), story.Header("User-Agent", strings.Repeat("x", 2000)))
			s.Get(configMaps(s), story.Header("X-Forwarded-For", "10.1.1.1, 10.2.2.2"), story.Header("X-Real-Ip", "10.3.3.3"))
		}),
		recorded("others", func(s *story.Session) {
			s.Get("/healthz")
			s.Get("/api")
			s.Get("/apis/apps")
			s.Get("/openid/v1/jwks")
			s.Get("/api/v1/namespaces/" + s.Namespace + "/endpoints") // deprecated
			s.Post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", object{
				"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
				"spec": object{"resourceAttributes": object{"verb": "get", "resource": "pods"}},
			})
			s.Delete(configMaps(s), nil)
			s.Do(http.MethodHead, configMaps(s), nil)
			s.Do(http.MethodOptions, configMaps(s), nil)
		}),
	}
}

func deployment(name string) object {
	labels := object{"app": name}
	return object{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": name}, "spec": object{
		"selector": object{"matchLabels": labels},
		"template": object{"metadata": object{"labels": labels}, "spec": object{"containers": []any{object{"name": "c", "image": "i"}}}},
	}}
}

// lives tells of the life of one object at a place.
func lives(s *story.Session, at string, obj object) {
	name := obj["metadata"].(object)["name"].(string)
	made := s.Post(at, obj)
	s.Post(at, obj)
	s.Get(at + "/" + name)
	s.Get(at)
	s.Put(at+"/"+name, made.Object())
	s.Put(at+"/"+name, obj)
	s.Patch(at+"/"+name, story.MergePatch, object{"metadata": object{"annotations": object{"a": "b"}}})
	s.Patch(at+"/"+name, story.JSONPatch, []any{object{"op": "add", "path": "/metadata/labels", "value": object{"a": "b"}}})
	s.Patch(at+"/"+name, story.StrategicPatch, object{"metadata": object{"labels": object{"c": "d"}}})
	s.Delete(at+"/"+name, object{"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0})
	s.Delete(at+"/"+name, nil)
	s.Delete(at, nil)
}
