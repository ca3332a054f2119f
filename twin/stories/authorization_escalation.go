package stories

import (
	"github.com/knarr-io/knarr/twin/story"
)

// escalations tells of those who may write roles and bindings, and what they may not put
// into them.
func escalations() []story.Story {
	all := []story.Story{}
	// The granter may write all of RBAC in the namespace, and read pods.
	one := func(name string, more []string, tell func(*policy, story.Option)) {
		all = append(all, granting("authorization/escalation/"+name, func(p *policy) {
			p.bindAll("granter", p.clusterRole("granter", append([]string{
				"create,get,list,update,patch,delete roles,rolebindings,clusterroles,clusterrolebindings in " + rbacGroup, "get,list pods",
			}, more...)...), "User/"+p.Namespace+"-granter")
			p.role("small", "get pods")
			p.role("large", "get,list pods", "* secrets", "update deployments in apps named a")
			p.bindAll("known", p.clusterRole("large", "get nodes", "get /metrics"), "User/none")
		}, func(p *policy) { tell(p, as(p.Namespace+"-granter")) }))
	}
	one("roles", nil, func(p *policy, who story.Option) {
		roles := p.path(true, "roles")
		p.Post(roles, role("Role", "held", "get pods"), who)
		p.Post(roles, role("Role", "not-held", "get,list,watch pods", "* secrets", "get configmaps named a"), who)
		p.Post(roles, object{"metadata": object{"generateName": "g-"}, "rules": rules("delete pods")}, who)
		p.Post(roles, role("Role", "Not a name", "delete pods"), who)
		p.Post(roles, object{"metadata": object{"name": "invalid"}, "rules": []object{{"verbs": []string{"delete"}}}}, who)
		p.Post(roles+"?dryRun=All", role("Role", "dry", "delete pods"), who)
		p.Put(roles+"/held", role("Role", "held", "get,list pods"), who)
		p.Put(roles+"/held", role("Role", "held", "get,delete pods"), who)
		p.Put(roles+"/created", role("Role", "created", "get pods"), who)
		p.Put(roles+"/created-too", role("Role", "created-too", "delete pods"), who)
		p.Patch(roles+"/held", story.MergePatch, object{"rules": rules("get secrets")}, who)
		p.Patch(roles+"/held", story.JSONPatch, []object{{"op": "add", "path": "/rules/-", "value": rule("get nodes")}}, who)
		p.Patch(roles+"/applied?fieldManager=m", applyPatch, role("Role", "applied", "get pods"), who)
		p.Patch(roles+"/applied?fieldManager=m", applyPatch, role("Role", "applied", "get,watch pods"), who)
		p.Patch(roles+"/applied-too?fieldManager=m", applyPatch, role("Role", "applied-too", "get,watch pods"), who)
		// What is there stays there: only who changes rules must have them.
		p.Patch(roles+"/large", story.MergePatch, object{"metadata": object{"finalizers": []string{"a.example.com/b"}}}, who)
		p.Patch(roles+"/large", story.MergePatch, object{"metadata": object{"finalizers": nil}}, who)
		p.Patch(roles+"/large", story.MergePatch, object{"metadata": object{"labels": object{"a": "b"}}}, who)
		p.Patch(roles+"/none", story.MergePatch, object{"rules": rules("delete pods")}, who)
		p.Delete(roles+"/large", nil, who)
	})
	one("cluster-roles", nil, func(p *policy, who story.Option) {
		roles, name := p.path(false, "clusterroles"), func(s string) string { return p.Namespace + "-" + s }
		p.Post(roles, role("ClusterRole", name("held"), "get pods"), who)
		p.Post(roles, role("ClusterRole", name("not-held"), "get nodes", "get,post /metrics,/x"), who)
		aggregating := role("ClusterRole", name("aggregating"))
		aggregating["aggregationRule"] = object{"clusterRoleSelectors": []object{{"matchLabels": object{"a": "b"}}}}
		p.Post(roles, aggregating, who)
		p.Post(roles, aggregating)
		p.Patch(roles+"/"+name("aggregating"), story.MergePatch, object{"aggregationRule": nil}, who)
		p.Patch(roles+"/"+name("aggregating"), story.MergePatch, object{"metadata": object{"annotations": object{"a": "b"}}}, who)
		p.Put(roles+"/"+name("created"), role("ClusterRole", name("created"), "* * in *"), who)
		p.Post(roles, role("ClusterRole", name("star"), "* * in *"), who)
	})
	one("bindings", nil, func(p *policy, who story.Option) {
		bindings := p.path(true, "rolebindings")
		p.Post(bindings, bound("RoleBinding", "small", "Role/small", "User/jane"), who)
		p.Post(bindings, bound("RoleBinding", "large", "Role/large", "User/jane"), who)
		p.Post(bindings, bound("RoleBinding", "none", "Role/none", "User/jane"), who)
		p.Post(bindings, bound("RoleBinding", "none", "ClusterRole/"+p.Namespace+"-none", "User/jane"), who)
		p.Post(bindings, bound("RoleBinding", "cluster", "ClusterRole/"+p.Namespace+"-large", "User/jane"), who)
		p.Post(bindings, bound("RoleBinding", "wrong", "Magic/large", "User/jane"), who)
		p.Post(bindings, bound("RoleBinding", "large", "Role/large", "User/jane"))
		p.Patch(bindings+"/large", story.MergePatch, object{"subjects": nil}, who)
		p.Patch(bindings+"/large", story.MergePatch, object{"metadata": object{"ownerReferences": nil, "finalizers": []string{"a.example.com/b"}}}, who)
		p.Patch(bindings+"/small", story.MergePatch, object{"subjects": nil}, who)
		p.Put(bindings+"/created", bound("RoleBinding", "created", "Role/large", "User/jane"), who)
		p.Put(bindings+"/created", bound("RoleBinding", "created", "Role/small", "User/jane"), who)
		p.Patch(bindings+"/applied?fieldManager=m", applyPatch, bound("RoleBinding", "applied", "Role/large", "User/jane"), who)
		p.Patch(bindings+"/applied?fieldManager=m", applyPatch, bound("RoleBinding", "applied", "Role/small", "User/jane"), who)
		all := p.path(false, "clusterrolebindings")
		p.Post(all, bound("ClusterRoleBinding", p.Namespace+"-large", "ClusterRole/"+p.Namespace+"-large", "User/jane"), who)
		p.Post(all, bound("ClusterRoleBinding", p.Namespace+"-none", "ClusterRole/"+p.Namespace+"-none", "User/jane"), who)
		p.Post(all, bound("ClusterRoleBinding", p.Namespace+"-role", "Role/large", "User/jane"), who)
		p.Post(all, bound("ClusterRoleBinding", p.Namespace+"-masters", "ClusterRole/cluster-admin", "User/jane"), who)
	})
	one("bind", []string{"bind roles in " + rbacGroup + " named large,none"}, func(p *policy, who story.Option) {
		bindings := p.path(true, "rolebindings")
		p.Post(bindings, bound("RoleBinding", "large", "Role/large", "User/jane"), who)
		p.Post(bindings, bound("RoleBinding", "none", "Role/none", "User/jane"), who)
		p.Post(bindings, bound("RoleBinding", "cluster", "ClusterRole/"+p.Namespace+"-large", "User/jane"), who)
		p.Patch(bindings+"/large", story.MergePatch, object{"subjects": nil}, who)
		p.Post(p.path(true, "roles"), role("Role", "not-held", "delete pods"), who)
	})
	one("escalate", []string{"escalate roles in " + rbacGroup}, func(p *policy, who story.Option) {
		roles := p.path(true, "roles")
		p.Post(roles, role("Role", "not-held", "delete pods"), who)
		p.Put(roles+"/not-held", role("Role", "not-held", "delete pods,secrets"), who)
		p.Patch(roles+"/large", story.MergePatch, object{"rules": rules("* * in *")}, who)
		p.Post(p.path(false, "clusterroles"), role("ClusterRole", p.Namespace+"-not-held", "delete pods"), who)
		p.Post(p.path(true, "rolebindings"), bound("RoleBinding", "large", "Role/large", "User/jane"), who)
	})
	return all
}

// parameters tells of policies whose parameters who writes them may not read.
func parameters() []story.Story {
	const group = "/apis/admissionregistration.k8s.io/v1/"
	named := func(p *policy, kind string, spec object) object {
		return object{"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": object{"name": p.Namespace}, "spec": spec}
	}
	all := []story.Story{}
	for _, readable := range []string{"", "get,list configmaps", "get,list secrets"} {
		name := "none"
		if readable != "" {
			name = rule(readable)["resources"].([]string)[0]
		}
		all = append(all, granting("authorization/parameters/"+name, func(p *policy) {
			list := []string{"* validatingadmissionpolicies,validatingadmissionpolicybindings,mutatingadmissionpolicies,mutatingadmissionpolicybindings in admissionregistration.k8s.io"}
			if readable != "" {
				list = append(list, readable)
			}
			p.bindAll("b", p.clusterRole("r", list...), "User/"+p.Namespace+"-writer")
		}, func(p *policy) {
			who := as(p.Namespace + "-writer")
			validating := func(kind string) object {
				spec := object{
					"matchConstraints": object{"resourceRules": []object{{"apiGroups": []string{"none.example.com"}, "apiVersions": []string{"*"}, "operations": []string{"CREATE"}, "resources": []string{"none"}}}},
					"validations":      []object{{"expression": "true"}},
				}
				if kind != "" {
					spec["paramKind"] = object{"apiVersion": "v1", "kind": kind}
				}
				return named(p, "ValidatingAdmissionPolicy", spec)
			}
			binding := named(p, "ValidatingAdmissionPolicyBinding", object{
				"policyName": p.Namespace, "validationActions": []string{"Deny"},
				"paramRef": object{"name": "x", "namespace": "default", "parameterNotFoundAction": "Allow"},
			})
			p.Post(group+"validatingadmissionpolicybindings", binding, who)
			p.Post(group+"validatingadmissionpolicies", validating("Nothing"), who)
			p.Post(group+"validatingadmissionpolicies", validating("ConfigMap"), who)
			p.Put(group+"validatingadmissionpolicies/"+p.Namespace, validating(""), who)
			p.Put(group+"validatingadmissionpolicies/"+p.Namespace, validating("ConfigMap"), who)
			p.Put(group+"validatingadmissionpolicies/"+p.Namespace, validating("ConfigMap"))
			p.Post(group+"validatingadmissionpolicybindings", binding, who)
			p.Delete(group+"validatingadmissionpolicybindings/"+p.Namespace, nil)
			p.Delete(group+"validatingadmissionpolicies/"+p.Namespace, nil)
		}))
	}
	return all
}

// claims tells who may say which devices a claim has: its status is guarded part by part.
func claims() []story.Story {
	all := []story.Story{}
	for _, list := range [][]string{
		{"status"},
		{"binding", "update,patch resourceclaims/binding in resource.k8s.io"},
		{"driver", "arbitrary-node:update,arbitrary-node:patch resourceclaims/driver in resource.k8s.io named d.example.com"},
		{"both", "update,patch resourceclaims/binding in resource.k8s.io", "associated-node:update,arbitrary-node:update,arbitrary-node:patch resourceclaims/driver in resource.k8s.io"},
	} {
		all = append(all, granting("authorization/claims/"+list[0], func(p *policy) {
			p.bindAll("b", p.clusterRole("r", append([]string{"get resourceclaims in resource.k8s.io", "update,patch resourceclaims/status in resource.k8s.io"}, list[1:]...)...), "User/"+p.Namespace)
		}, func(p *policy) {
			path, who := "/apis/resource.k8s.io/v1/namespaces/"+p.Namespace+"/resourceclaims", as(p.Namespace)
			claim := object{
				"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": object{"name": "c"},
				"spec": object{"devices": object{"requests": []object{{"name": "r", "exactly": object{"deviceClassName": "x"}}}}},
			}
			p.Post(path, claim)
			allocated := object{
				"allocation":  object{"devices": object{"results": []object{{"request": "r", "driver": "d.example.com", "pool": "p", "device": "x"}}}},
				"reservedFor": []object{{"resource": "pods", "name": "p", "uid": "1"}},
			}
			claim["status"] = allocated
			p.Put(path+"/c/status", claim, who)
			p.Patch(path+"/c/status", story.MergePatch, object{"status": allocated}, who)
			p.Put(path+"/c/status", claim)
			for _, driver := range []string{"d.example.com", "other.example.com"} {
				devices := object{"status": object{"devices": []object{{"driver": driver, "pool": "p", "device": "x", "data": object{"a": "b"}}}}}
				p.Patch(path+"/c/status", story.MergePatch, devices, who)
			}
			p.Patch(path+"/c/status", story.MergePatch, object{"status": object{"reservedFor": nil}}, who)
			p.Delete(path+"/c", nil)
		}))
	}
	return all
}
