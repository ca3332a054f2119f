package stories

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/knarr-io/knarr/twin/story"
)

const rbacGroup = "rbac.authorization.k8s.io"

// as sends a request in the name of a user, by impersonation, so that a story may have
// as many as it likes.
func as(user string, groups ...string) story.Option {
	return func(r *http.Request) {
		r.Header.Set("Impersonate-User", user)
		r.Header["Impersonate-Group"] = slices.Clone(groups)
	}
}

// policy is what a story grants. Names of cluster scope begin with that of its namespace.
type policy struct {
	*story.Session
	settled int
}

func (p *policy) path(namespaced bool, resource string) string {
	if namespaced {
		return "/apis/" + rbacGroup + "/v1/namespaces/" + p.Namespace + "/" + resource
	}
	return "/apis/" + rbacGroup + "/v1/" + resource
}

// rule is one of a role, written as "get,list pods,pods/log [in apps] [named a,b]", or
// "get /path,/other".
func rule(s string) object {
	words := strings.Fields(s)
	verbs, what := strings.Split(words[0], ","), strings.Split(words[1], ",")
	if strings.HasPrefix(what[0], "/") {
		return object{"verbs": verbs, "nonResourceURLs": what}
	}
	r := object{"verbs": verbs, "apiGroups": []string{""}, "resources": what}
	for i := 2; i+1 < len(words); i += 2 {
		switch words[i] {
		case "in":
			r["apiGroups"] = strings.Split(words[i+1], ",")
		case "named":
			r["resourceNames"] = strings.Split(words[i+1], ",")
		}
	}
	return r
}

func rules(list ...string) []object {
	all := []object{}
	for _, s := range list {
		all = append(all, rule(s))
	}
	return all
}

func role(kind, name string, list ...string) object {
	return object{"apiVersion": rbacGroup + "/v1", "kind": kind, "metadata": object{"name": name}, "rules": rules(list...)}
}

// bound is a binding of a role, "Role/name" or "ClusterRole/name", to a subject, "User/name",
// "Group/name" or "ServiceAccount/name".
func bound(kind, name, to string, subjects ...string) object {
	roleKind, roleName, _ := strings.Cut(to, "/")
	all := []object{}
	for _, s := range subjects {
		subjectKind, subject, _ := strings.Cut(s, "/")
		one := object{"kind": subjectKind, "name": subject}
		if subjectKind != "ServiceAccount" {
			one["apiGroup"] = rbacGroup
		}
		all = append(all, one)
	}
	return object{
		"apiVersion": rbacGroup + "/v1", "kind": kind, "metadata": object{"name": name},
		"roleRef": object{"apiGroup": rbacGroup, "kind": roleKind, "name": roleName}, "subjects": all,
	}
}

func (p *policy) role(name string, list ...string) {
	p.Post(p.path(true, "roles"), role("Role", name, list...))
}

func (p *policy) clusterRole(name string, list ...string) string {
	name = p.Namespace + "-" + name
	p.Post(p.path(false, "clusterroles"), role("ClusterRole", name, list...))
	return "ClusterRole/" + name
}

func (p *policy) bind(name, to string, subjects ...string) {
	p.Post(p.path(true, "rolebindings"), bound("RoleBinding", name, to, subjects...))
}

func (p *policy) bindAll(name, to string, subjects ...string) {
	p.Post(p.path(false, "clusterrolebindings"), bound("ClusterRoleBinding", p.Namespace+"-"+name, to, subjects...))
}

// settle waits until the server decides by all that was written before: kube-apiserver's
// authorizer hears of it a moment later, of each kind in order.
func (p *policy) settle() {
	p.settled++
	mark := fmt.Sprint("mark-", p.settled)
	p.Quietly(func() {
		p.role(mark, mark+" marks")
		p.bind(mark, "Role/"+mark, "User/"+p.Namespace+"-role-"+mark)
		p.bindAll(mark, p.clusterRole(mark, mark+" marks"), "User/"+p.Namespace+"-cluster-"+mark)
		for _, who := range []string{"role", "cluster"} {
			p.Repeat(func() story.Answer {
				return p.Post("/apis/authorization.k8s.io/v1/subjectaccessreviews", object{"spec": object{
					"user":               p.Namespace + "-" + who + "-" + mark,
					"resourceAttributes": object{"verb": mark, "resource": "marks", "namespace": p.Namespace},
				}})
			}, func(a story.Answer) bool { return strings.Contains(string(a.Body), `"allowed":true`) })
		}
	})
}

// granting is a story that begins with a policy.
func granting(name string, grant func(*policy), tell func(*policy)) story.Story {
	return story.Story{Name: name, Tell: func(s *story.Session) {
		p := &policy{Session: s}
		grant(p)
		p.settle()
		tell(p)
	}}
}

// everything is requests of all kinds about what is in the namespace, of which none
// changes anything.
func everything(p *policy, who story.Option) {
	const dry = "?dryRun=All"
	ns := "/api/v1/namespaces/" + p.Namespace
	p.Get(ns+"/pods", who)
	p.Get(ns+"/pods?labelSelector=a%3Db", who)
	p.Get(ns+"/pods/none/status", who)
	p.Get("/api/v1/pods?limit=1&fieldSelector=metadata.namespace%3D"+p.Namespace, who)
	p.Get("/api/v1/nodes/none", who)
	p.Get(ns, who)
	p.Get(configMaps(p.Session)+"/a", who)
	p.Get(configMaps(p.Session)+"/b", who)
	p.Get(ns+"/secrets/s", who)
	p.Post(configMaps(p.Session)+dry, configMap("c", nil), who)
	p.Put(configMaps(p.Session)+"/a"+dry, configMap("a", object{"x": "y"}), who)
	p.Patch(configMaps(p.Session)+"/a"+dry, story.MergePatch, object{"data": object{"k": "w"}}, who)
	p.Delete(configMaps(p.Session)+"/a"+dry, nil, who)
	p.Delete(configMaps(p.Session)+dry, nil, who)
	p.Get("/apis/apps/v1/namespaces/"+p.Namespace+"/deployments/d/scale", who)
	p.Put("/apis/apps/v1/namespaces/"+p.Namespace+"/deployments/none/status"+dry, object{}, who)
	p.Post(ns+"/serviceaccounts/none/token", object{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}, who)
	p.Get("/apis/"+rbacGroup+"/v1/namespaces/"+p.Namespace+"/rolebindings/none", who)
	p.Get("/api/v1/namespaces/default/configmaps/none", who)
	p.Get("/apis/none.example.com/v1/widgets", who)
	p.Get("/version", who)
	p.Get("/none/of/these", who)
	p.Post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", object{"spec": object{"resourceAttributes": object{"verb": "dance", "resource": "pods", "namespace": p.Namespace}}}, who)
}

// authorization tells who may do what, by RBAC and the node authorizer.
func authorization() []story.Story {
	furnish := func(p *policy) {
		p.Post(configMaps(p.Session), configMap("a", nil))
		p.Post("/api/v1/namespaces/"+p.Namespace+"/secrets", object{"apiVersion": "v1", "kind": "Secret", "metadata": object{"name": "s"}})
	}
	all := []story.Story{}
	one := func(name string, user story.Option, grant func(*policy)) {
		all = append(all, granting("authorization/rbac/"+name, func(p *policy) { furnish(p); grant(p) }, func(p *policy) { everything(p, user) }))
	}
	// Of those who are bound in the whole cluster each story has its own.
	everywhere := func(name string, grant func(p *policy, user string)) {
		all = append(all, granting("authorization/rbac/"+name, func(p *policy) { furnish(p); grant(p, "User/"+p.Namespace) }, func(p *policy) { everything(p, as(p.Namespace)) }))
	}
	one("nobody", as("nobody"), func(*policy) {})
	one("anonymous", as("system:anonymous"), func(*policy) {})
	one("masters", as("root", "system:masters"), func(*policy) {})
	one("viewer", as("viewer"), func(p *policy) { p.bind("b", "ClusterRole/system:aggregate-to-view", "User/viewer") })
	one("editor", as("editor"), func(p *policy) { p.bind("b", "ClusterRole/system:aggregate-to-edit", "User/editor") })
	one("admin", as("chief"), func(p *policy) { p.bind("b", "ClusterRole/system:aggregate-to-admin", "User/chief") })
	one("cluster-admin-here", as("king"), func(p *policy) { p.bind("b", "ClusterRole/cluster-admin", "User/king") })
	everywhere("cluster-admin", func(p *policy, user string) { p.bindAll("b", "ClusterRole/cluster-admin", user) })
	one("group", as("jane", "dev"), func(p *policy) { p.bind("b", "ClusterRole/system:aggregate-to-view", "Group/dev") })
	one("other-group", as("jane", "ops"), func(p *policy) { p.bind("b", "ClusterRole/system:aggregate-to-view", "Group/dev") })
	one("all-authenticated", as("jane"), func(p *policy) { p.bind("b", "ClusterRole/system:aggregate-to-view", "Group/system:authenticated") })
	all = append(all, granting("authorization/rbac/service-account", func(p *policy) {
		furnish(p)
		p.bind("b", "ClusterRole/system:aggregate-to-view", "ServiceAccount/robot")
	}, func(p *policy) {
		everything(p, as("system:serviceaccount:"+p.Namespace+":robot"))
		everything(p, as("system:serviceaccount:"+p.Namespace+":other"))
	}))
	one("missing-role", as("jane"), func(p *policy) { p.bind("b", "Role/none", "User/jane") })
	one("missing-cluster-role", as("jane"), func(p *policy) { p.bind("b", p.clusterRole("x", "get pods")+"-none", "User/jane") })
	one("names", as("jane"), func(p *policy) {
		p.role("r", "get,update,patch,delete configmaps named a", "list pods named a")
		p.bind("b", "Role/r", "User/jane")
	})
	one("subresources", as("jane"), func(p *policy) {
		p.role("r", "get pods/status", "update */scale,deployments/status in apps", "get */scale in *", "create serviceaccounts/token")
		p.bind("b", "Role/r", "User/jane")
	})
	one("stars", as("jane"), func(p *policy) {
		p.role("r", "* configmaps", "get * in apps,rbac.authorization.k8s.io", "dance pods in *")
		p.bind("b", "Role/r", "User/jane")
	})
	everywhere("paths", func(p *policy, user string) {
		p.bindAll("b", p.clusterRole("r", "get /none/*,/metrics", "* /version"), user)
	})
	everywhere("custom-resources", func(p *policy, user string) {
		p.bindAll("b", p.clusterRole("r", "list widgets in none.example.com"), user)
	})
	all = append(all, story.Story{Name: "authorization/rbac/revoked", Tell: func(s *story.Session) {
		p := &policy{Session: s}
		furnish(p)
		p.role("r", "get configmaps")
		p.bind("b", "Role/r", "User/jane")
		p.settle()
		get := func() { p.Get(configMaps(s)+"/a", as("jane")) }
		get()
		p.Patch(p.path(true, "roles/r"), story.MergePatch, object{"rules": rules("list configmaps")})
		p.settle()
		get()
		p.Patch(p.path(true, "roles/r"), story.MergePatch, object{"rules": rules("get configmaps")})
		p.settle()
		get()
		p.Patch(p.path(true, "rolebindings/b"), story.MergePatch, object{"subjects": []object{{"kind": "User", "apiGroup": rbacGroup, "name": "bob"}}})
		p.settle()
		get()
		p.Get(configMaps(s)+"/a", as("bob"))
		p.Delete(p.path(true, "rolebindings/b"), nil)
		p.settle()
		p.Get(configMaps(s)+"/a", as("bob"))
	}})
	all = append(all, granting("authorization/impersonation", func(p *policy) {
		p.bindAll("b", p.clusterRole("r", "impersonate users named jane", "impersonate groups named dev", "impersonate serviceaccounts",
			"impersonate userextras/scopes in authentication.k8s.io named a", "impersonate uids in authentication.k8s.io named 7"), "User/outsider")
	}, func(p *policy) {
		token := story.Token("outsider-token")
		for _, headers := range [][]string{
			{"User", "jane"},
			{"User", "bob"},
			{"User", "jane", "Group", "dev"},
			{"User", "jane", "Group", "ops"},
			{"User", "system:serviceaccount:" + p.Namespace + ":robot"},
			{"User", "jane", "Uid", "7"},
			{"User", "jane", "Uid", "8"},
			{"User", "jane", "Extra-Scopes", "a"},
			{"User", "jane", "Extra-Scopes", "b"},
			{"User", "system:node:n1"},
		} {
			p.Post("/apis/authentication.k8s.io/v1/selfsubjectreviews", object{}, token, func(r *http.Request) {
				for i := 0; i < len(headers); i += 2 {
					r.Header.Add("Impersonate-"+headers[i], headers[i+1])
				}
			})
		}
	}))
	all = append(all, granting("authorization/update-that-creates", func(p *policy) {
		p.role("r", "update,patch leases in coordination.k8s.io")
		p.bind("b", "Role/r", "User/jane")
		p.role("s", "create,update leases in coordination.k8s.io")
		p.bind("c", "Role/s", "User/bob")
	}, func(p *policy) {
		lease := object{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": object{"name": "l"}}
		path := "/apis/coordination.k8s.io/v1/namespaces/" + p.Namespace + "/leases/l"
		p.Put(path, lease, as("jane"))
		p.Patch(path+"?fieldManager=m", applyPatch, lease, as("jane"))
		p.Put(path, lease, as("bob"))
		p.Put(path, lease, as("jane"))
	}))
	all = append(all, node())
	return slices.Concat(all, escalations(), accessReviews(), parameters(), claims())
}

// node is what the node authorizer allows.
func node() story.Story {
	return story.Story{Name: "authorization/node", Tell: func(s *story.Session) {
		ns := "/api/v1/namespaces/" + s.Namespace
		on := func(name, node string) object {
			p := pod(name, nil)
			spec := p["spec"].(object)
			spec["nodeName"], spec["serviceAccountName"] = node, name
			spec["volumes"] = []object{
				{"name": "s", "secret": object{"secretName": name}},
				{"name": "c", "configMap": object{"name": name}},
				{"name": "p", "persistentVolumeClaim": object{"claimName": name}},
			}
			return p
		}
		for _, name := range []string{"a", "b"} {
			s.Post(ns+"/secrets", object{"apiVersion": "v1", "kind": "Secret", "metadata": object{"name": name}})
			s.Post(configMaps(s), configMap(name, nil))
			s.Post(ns+"/serviceaccounts", object{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": object{"name": name}})
		}
		mine, other := s.Namespace+"-n1", s.Namespace+"-n2"
		s.Post(pods(s), on("a", mine))
		s.Post(pods(s), on("b", other))
		who := as("system:node:"+mine, "system:nodes")
		s.Quietly(func() { s.Await(ns+"/secrets/a", story.Found, who) })
		for _, path := range []string{
			ns + "/secrets/a", ns + "/secrets/b", ns + "/secrets", ns + "/secrets?fieldSelector=metadata.name%3Da", ns + "/secrets?fieldSelector=metadata.name%3Db",
			ns + "/configmaps/a", ns + "/configmaps/b", ns + "/serviceaccounts/a", ns + "/serviceaccounts/b",
			ns + "/persistentvolumeclaims/a", ns + "/persistentvolumeclaims/b", "/api/v1/persistentvolumes/none", "/api/v1/persistentvolumes",
			ns + "/pods/a", ns + "/pods/b", ns + "/pods", "/api/v1/pods?fieldSelector=spec.nodeName%3D" + mine, "/api/v1/pods?fieldSelector=spec.nodeName%3D" + other,
			"/api/v1/nodes/" + mine, "/api/v1/nodes/" + other, "/api/v1/nodes", "/api/v1/services?limit=1&fieldSelector=metadata.name%3Dnone",
			"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/" + mine, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/" + other,
			"/apis/coordination.k8s.io/v1/namespaces/default/leases/" + mine,
			"/apis/storage.k8s.io/v1/csinodes/" + mine, "/apis/storage.k8s.io/v1/csinodes/" + other, "/apis/storage.k8s.io/v1/volumeattachments/none",
			"/apis/resource.k8s.io/v1/resourceslices", "/apis/resource.k8s.io/v1/resourceslices?fieldSelector=spec.nodeName%3D" + mine,
			"/apis/resource.k8s.io/v1/namespaces/" + s.Namespace + "/resourceclaims/none", "/apis/certificates.k8s.io/v1/certificatesigningrequests/none",
			"/apis/apps/v1/namespaces/" + s.Namespace + "/deployments",
		} {
			s.Get(path, who)
		}
		token := object{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": object{"expirationSeconds": 1}}
		s.Post(ns+"/serviceaccounts/a/token", token, who) // allowed, but too short
		s.Post(ns+"/serviceaccounts/b/token", token, who)
		s.Delete(ns+"/pods/b?dryRun=All", nil, who)
		s.Delete(ns+"/secrets/a", nil, who)
		s.Put(ns+"/persistentvolumeclaims/a/status", object{}, who)
		s.Get(ns+"/secrets/a", as("system:node:"+mine)) // not in the group
		s.Get(ns+"/secrets/a", as("system:node:", "system:nodes"))
		s.Post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", object{"spec": object{"namespace": s.Namespace}}, as("system:node:"+mine, "system:nodes", "system:unauthenticated"))
		s.Only("status", "evaluationError")
	}}
}
