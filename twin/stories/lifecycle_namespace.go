package stories

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/knarr-io/knarr/twin/story"
)

// namespaceEnd is a namespace that is deleted with what is in it.
type namespaceEnd struct {
	*story.Session
	name, uri string
	made      story.Answer
}

// beginEnd makes the namespace.
func beginEnd(s *story.Session, spec object) *namespaceEnd {
	name := s.Namespace + "-end"
	e := &namespaceEnd{Session: s, name: name, uri: "/api/v1/namespaces/" + name}
	e.made = s.Post("/api/v1/namespaces", object{"metadata": object{"name": name}, "spec": spec})
	return e
}

// configMap makes one with finalizers in it.
func (e *namespaceEnd) configMap(name string, finalizers ...string) {
	e.Post(e.uri+"/configmaps", object{"metadata": object{"name": name, "finalizers": finalizers}})
}

// end asks for the deletion.
func (e *namespaceEnd) end() { e.Delete(e.uri, nil) }

// says awaits that the namespace says something.
func (e *namespaceEnd) says(text string) {
	e.Await(e.uri, func(a story.Answer) bool { return strings.Contains(string(a.Body), text) })
}

// release takes the finalizers off an object.
func (e *namespaceEnd) release(uri string) {
	e.Patch(e.uri+uri, "application/merge-patch+json", object{"metadata": object{"finalizers": nil}})
}

// gone awaits that the namespace is gone, and tells what watchers have seen.
func (e *namespaceEnd) gone(events int) {
	e.Await(e.uri, story.NotFound)
	w := e.Watch("/api/v1/namespaces?watch=true&fieldSelector=" + url.QueryEscape("metadata.name="+e.name) +
		"&resourceVersion=" + e.made.Text("metadata", "resourceVersion"))
	w.Next(events)
	w.Close()
	e.Get(e.uri + "/configmaps")
}

// endings tells how namespaces go, and what keeps them.
func endings() []story.Story {
	tell := func(name string, tell func(s *story.Session)) story.Story {
		return story.Story{Name: "lifecycle/namespace/" + name, Tell: tell}
	}
	return []story.Story{
		tell("empty", func(s *story.Session) {
			e := beginEnd(s, nil)
			e.end()
			e.gone(3)
		}),
		tell("with content", func(s *story.Session) {
			e := beginEnd(s, nil)
			for i := range 3 {
				e.configMap(fmt.Sprint("c-", i))
			}
			e.Post(e.uri+"/serviceaccounts", object{"metadata": object{"name": "a"}})
			e.Post("/apis/apps/v1/namespaces/"+e.name+"/deployments", object{"metadata": object{"name": "d"}, "spec": object{
				"selector": object{"matchLabels": object{"a": "b"}}, "template": object{
					"metadata": object{"labels": object{"a": "b"}}, "spec": object{"containers": []object{{"name": "c", "image": "i"}}},
				},
			}})
			e.end()
			e.gone(3)
			e.Get("/apis/apps/v1/namespaces/" + e.name + "/deployments")
		}),
		tell("finalizers", func(s *story.Session) {
			e := beginEnd(s, nil)
			e.configMap("a", "example.com/one")
			e.configMap("b", "example.com/one", "example.com/two")
			e.Post(e.uri+"/secrets", object{"metadata": object{"name": "s", "finalizers": []string{"example.com/two"}}})
			e.end()
			e.says("SomeFinalizersRemain")
			e.configMap("late")
			e.end()
			for _, uri := range []string{"/configmaps/a", "/configmaps/b", "/secrets/s"} {
				e.release(uri)
			}
			e.Await(e.uri, story.NotFound)
		}),
		tell("pods first", func(s *story.Session) {
			e := beginEnd(s, nil)
			e.configMap("a")
			e.Post(e.uri+"/serviceaccounts", object{"metadata": object{"name": "default"}})
			e.Quietly(func() { e.Await(e.uri+"/serviceaccounts/default", story.Found) })
			e.Post(e.uri+"/pods", object{"metadata": object{"name": "p"}, "spec": object{
				"nodeName": "nowhere", "terminationGracePeriodSeconds": 12, "automountServiceAccountToken": false,
				"containers": []object{{"name": "c", "image": "i"}},
			}})
			e.end()
			e.says("ContentDeleted")
			e.Get(e.uri + "/configmaps/a")
			e.Get(e.uri + "/pods/p")
			e.says("unexpected items still remain")
			e.Delete(e.uri+"/pods/p?gracePeriodSeconds=0", nil)
			e.Await(e.uri, story.NotFound)
		}),
		tell("another's finalizers", func(s *story.Session) {
			e := beginEnd(s, object{"finalizers": []string{"example.com/z", "example.com/a"}})
			e.end()
			e.Await(e.uri, func(a story.Answer) bool {
				return a.Status != http.StatusOK || strings.Contains(string(a.Body), "ContentDeleted") && !strings.Contains(string(a.Body), `"kubernetes"`)
			})
			e.Put(e.uri+"/finalize", object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": e.name}, "spec": object{"finalizers": []string{}}})
			e.Await(e.uri, story.NotFound)
		}),
		tell("finalizers of its own", func(s *story.Session) {
			e := beginEnd(s, nil)
			e.Patch(e.uri, "application/merge-patch+json", object{"metadata": object{"finalizers": []string{"example.com/mine"}}})
			e.end()
			e.Await(e.uri, func(a story.Answer) bool { return strings.Contains(string(a.Body), `"spec":{},`) })
			e.release("")
			e.Await(e.uri, story.NotFound)
		}),
		tell("refused", func(s *story.Session) {
			e := beginEnd(s, nil)
			const policies, bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
			policy := e.name
			e.Post(policies, object{"metadata": object{"name": policy}, "spec": object{
				"matchConstraints": object{
					"namespaceSelector": object{"matchLabels": object{"kubernetes.io/metadata.name": e.name}},
					"resourceRules":     []object{{"apiGroups": []string{""}, "apiVersions": []string{"v1"}, "operations": []string{"DELETE"}, "resources": []string{"secrets"}}},
				},
				"validations": []object{{"expression": "oldObject.metadata.name == 'x'", "message": "not that one"}},
			}})
			e.Post(bindings, object{"metadata": object{"name": policy}, "spec": object{"policyName": policy, "validationActions": []string{"Deny"}}})
			e.Post(e.uri+"/secrets", object{"metadata": object{"name": "x"}})
			e.Post(e.uri+"/secrets", object{"metadata": object{"name": "y"}})
			e.Repeat(func() story.Answer { return e.Delete(e.uri+"/secrets/y?dryRun=All", nil) }, func(a story.Answer) bool { return a.Status != http.StatusOK })
			e.end()
			e.says("ContentDeletionFailed")
			e.Get(e.uri + "/secrets")
			e.Delete(bindings+"/"+policy, nil)
			e.Delete(policies+"/"+policy, nil)
			e.Await(e.uri, story.NotFound)
		}),
	}
}
