package stories

import (
	"github.com/knarr-io/knarr/twin/story"
)

// accessReviews tells what may be done by those who are asked about, in all four forms.
func accessReviews() []story.Story {
	const group = "/apis/authorization.k8s.io/v1/"
	questions := func(namespace string) []object {
		in := func(more ...any) object {
			a := object{"namespace": namespace, "verb": "get", "resource": "pods"}
			for i := 0; i < len(more); i += 2 {
				a[more[i].(string)] = more[i+1]
			}
			return object{"resourceAttributes": a}
		}
		return []object{
			in(), in("verb", "list"), in("verb", "dance"), in("verb", "*"), in("subresource", "log"), in("name", "a"), in("resource", "secrets"),
			in("group", "apps", "resource", "deployments"), in("group", "*", "resource", "*"), in("namespace", "default"), in("namespace", ""),
			in("resource", ""), in("version", "v1"),
			in("verb", "list", "fieldSelector", object{"rawSelector": "spec.nodeName=a"}),
			in("verb", "list", "fieldSelector", object{"rawSelector": "a b"}),
			in("verb", "list", "fieldSelector", object{"requirements": []object{{"key": "spec.nodeName", "operator": "In", "values": []string{"a"}}}}),
			in("verb", "list", "fieldSelector", object{"requirements": []object{{"key": "spec.nodeName", "operator": "Exists"}}}),
			in("verb", "list", "fieldSelector", object{"requirements": []object{{"key": "x", "operator": "Like", "values": []string{"a"}}}}),
			in("verb", "list", "fieldSelector", object{"rawSelector": "a=b", "requirements": []object{{"key": "x", "operator": "In", "values": []string{"a"}}}}),
			in("verb", "list", "labelSelector", object{"rawSelector": "a in (b,c)"}),
			in("verb", "list", "labelSelector", object{"requirements": []object{{"key": "a", "operator": "NotIn", "values": []string{"b"}}}}),
			in("verb", "list", "labelSelector", object{"requirements": []object{{"key": "a", "operator": "NotIn"}}}),
			{"nonResourceAttributes": object{"path": "/api", "verb": "get"}}, // upstream takes any of several bindings, by chance: this is in one
			{"nonResourceAttributes": object{"path": "/metrics", "verb": "get"}},
			{"nonResourceAttributes": object{"path": "/none", "verb": "post"}},
			{"nonResourceAttributes": object{"path": "/x", "verb": "get"}, "resourceAttributes": object{"verb": "get"}},
			{},
		}
	}
	with := func(spec object, more ...any) object {
		for i := 0; i < len(more); i += 2 {
			spec[more[i].(string)] = more[i+1]
		}
		return object{"spec": spec}
	}
	grant := func(p *policy) {
		p.role("r", "get,list,dance pods", "get pods/log")
		p.bind("b", "Role/r", "User/jane", "Group/dev", "ServiceAccount/robot")
		p.bindAll("b", p.clusterRole("m", "get /metrics"), "User/"+p.Namespace)
	}
	return []story.Story{
		granting("authorization/reviews/subject", grant, func(p *policy) {
			for _, q := range questions(p.Namespace) {
				p.Post(group+"subjectaccessreviews", with(q, "user", "jane"))
			}
			for _, who := range [][]any{
				{"user", "bob"}, {"user", "bob", "groups", []string{"dev"}}, {"groups", []string{"dev"}}, {}, {"groups", []string{"system:masters"}},
				{"user", "system:serviceaccount:" + p.Namespace + ":robot"}, {"user", "jane", "uid", "7", "extra", object{"Scopes": []string{"a"}}},
				{"user", "system:node:n1", "groups", []string{"system:nodes"}},
			} {
				p.Post(group+"subjectaccessreviews", with(questions(p.Namespace)[0], who...))
			}
			p.Post(group+"subjectaccessreviews", with(questions(p.Namespace)[0], "user", "jane"), as("jane")) // may not ask
		}),
		granting("authorization/reviews/local", grant, func(p *policy) {
			path := group + "namespaces/" + p.Namespace + "/localsubjectaccessreviews"
			for _, q := range questions(p.Namespace) {
				p.Post(path, with(q, "user", "jane"))
			}
			for _, q := range questions(p.Namespace)[:3] {
				review := with(q, "user", "jane")
				review["metadata"] = object{"namespace": p.Namespace}
				p.Post(path, review)
			}
		}),
		granting("authorization/reviews/self", grant, func(p *policy) {
			for _, who := range []story.Option{as("jane"), as("bob", "dev"), as("bob"), as("system:anonymous"), as(p.Namespace)} {
				for _, q := range questions(p.Namespace) {
					p.Post(group+"selfsubjectaccessreviews", with(q), who)
				}
			}
		}),
		granting("authorization/reviews/rules", grant, func(p *policy) {
			rules := func(namespace string, options ...story.Option) {
				p.Post(group+"selfsubjectrulesreviews", object{"spec": object{"namespace": namespace}}, options...)
			}
			rules(p.Namespace)
			rules("")
			// Upstream tells the rules of several bindings in an order by chance: these have one.
			rules(p.Namespace, as("system:anonymous"))
		}),
	}
}
