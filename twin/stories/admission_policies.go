package stories

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/knarr-io/knarr/twin/story"
)

// inForce is how long kube-apiserver may take until it decides by a policy: it looks
// for new ones every second.
const inForce = 1500 * time.Millisecond

// A written is a policy, in YAML: its spec, with that of its binding beside it as
// "binding" or those as "bindings". It applies to ConfigMaps in the story's namespace
// unless it says otherwise.
type written string

const policyGroup = "/apis/admissionregistration.k8s.io/v1/"

// write makes a policy and its bindings.
func (w written) write(s *story.Session, kind, name string) {
	spec := fromYAML(strings.ReplaceAll(string(w), "$NAMESPACE", s.Namespace))
	if spec["matchConstraints"] == nil {
		spec["matchConstraints"] = fromYAML(`{resourceRules: [{operations: ["*"], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}]}`)
	}
	bindings, _ := spec["bindings"].([]any)
	if bindings == nil {
		one, _ := spec["binding"].(object)
		if one == nil {
			one = object{}
		}
		bindings = []any{one}
	}
	delete(spec, "binding")
	delete(spec, "bindings")
	uri := policyGroup + "validatingadmissionpolicies"
	if kind == mutatingPolicy {
		uri = policyGroup + "mutatingadmissionpolicies"
		if spec["reinvocationPolicy"] == nil {
			spec["reinvocationPolicy"] = "Never"
		}
	}
	api := "admissionregistration.k8s.io/v1"
	s.Post(uri, object{"apiVersion": api, "kind": kind, "metadata": object{"name": name}, "spec": spec})
	for i, given := range bindings {
		binding := given.(object)
		binding["policyName"] = name
		if kind == validatingPolicy && binding["validationActions"] == nil {
			binding["validationActions"] = []string{"Deny"}
		}
		within := object{"namespaceSelector": object{"matchLabels": object{"kubernetes.io/metadata.name": s.Namespace}}}
		if binding["matchResources"] == nil {
			binding["matchResources"] = within
		}
		s.Post(strings.TrimSuffix(uri, "ies")+"ybindings", object{
			"apiVersion": api, "kind": kind + "Binding", "metadata": object{"name": fmt.Sprintf("%s-%d", name, i)}, "spec": binding,
		})
	}
}

const (
	validatingPolicy = "ValidatingAdmissionPolicy"
	mutatingPolicy   = "MutatingAdmissionPolicy"
)

// withPolicies tells a story while there are policies. Of several, in whatever order,
// one may refuse something: kube-apiserver's order is by chance.
func withPolicies(kind string, all []written, tell func(*story.Session)) func(*story.Session) {
	return func(s *story.Session) {
		name := func(i int) string { return s.Namespace + "-" + string(rune('a'+i)) }
		for i, w := range all {
			w.write(s, kind, name(i))
		}
		time.Sleep(inForce)
		tell(s)
		s.Quietly(func() {
			for i := range all {
				for _, uri := range []string{"validatingadmissionpolicies/", "mutatingadmissionpolicies/"} {
					s.Delete(policyGroup+uri+name(i), nil)
				}
				for _, uri := range []string{"validatingadmissionpolicybindings/", "mutatingadmissionpolicybindings/"} {
					for n := range 3 {
						s.Delete(fmt.Sprintf("%s%s%s-%d", policyGroup, uri, name(i), n), nil)
					}
				}
			}
		})
	}
}

// posting posts ConfigMaps, each in YAML.
func posting(maps ...string) func(*story.Session) {
	return func(s *story.Session) {
		for _, text := range maps {
			s.Post(configMaps(s), fromYAML(text))
		}
	}
}

// everyWrite is every write of a ConfigMap.
func everyWrite(s *story.Session) { lifeOfMap(s, nil) }

// rejecting is a policy of one rule.
func rejecting(expression string, more ...string) written {
	return written(fmt.Sprintf(`{validations: [{expression: %q}], %s}`, expression, strings.Join(more, ", ")))
}

func policyAdmission() []story.Story {
	return append(validatingPolicies(), mutatingPolicies()...)
}

func validatingPolicies() []story.Story {
	var all []story.Story
	one := func(name string, tell func(*story.Session), policies ...written) {
		all = append(all, story.Story{Name: "admission/policy/validating-" + name, Tell: withPolicies(validatingPolicy, policies, tell)})
	}
	small := `{metadata: {name: small}, data: {size: "3"}}`
	large := `{metadata: {name: large}, data: {size: "30"}}`
	none := `{metadata: {name: none}}`
	one("message", posting(small, large, none), `{validations: [{expression: "int(object.data.size) < 10", message: too large}]}`)
	one("expression", posting(small, large, none), rejecting("int(object.data.size) < 10"))
	one("message-expression", posting(small, large, none),
		`{validations: [{expression: "int(object.data.size) < 10", messageExpression: "'size is ' + object.data.size + ' in ' + request.namespace"}]}`)
	one("message-expression-fails", posting(large, `{metadata: {name: other}, data: {size: "11", other: "  "}}`, `{metadata: {name: lines}, data: {size: "11", other: "a\nb"}}`),
		`{validations: [{expression: "int(object.data.size) < 10", messageExpression: "object.data.other"}, {expression: "int(object.data.size) < 10", messageExpression: "object.data.other", message: m}]}`)
	for _, reason := range []string{"Unauthorized", "Forbidden", "Invalid", "RequestEntityTooLarge"} {
		one("reason-"+strings.ToLower(reason), posting(large), written(`{validations: [{expression: "false", reason: `+reason+`}]}`))
	}
	one("several", posting(small, large, none),
		`{validations: [{expression: "has(object.data)", message: no data}, {expression: "'size' in object.data"}, {expression: "int(object.data.size) < 10", message: large}, {expression: "int(object.data.size) != 30"}]}`)
	one("life", everyWrite, rejecting("request.operation == 'CREATE' || object.metadata.labels == {}"))
	one("update", everyWrite, rejecting("oldObject == null || object.data == oldObject.data"))
	one("delete", everyWrite, rejecting("request.operation != 'DELETE' || oldObject.metadata.name.startsWith('made')"))
	one("warn", posting(small, large), rejecting("int(object.data.size) < 10", `binding: {validationActions: [Warn]}`))
	one("warn-audit", posting(small, large), rejecting("int(object.data.size) < 10", `binding: {validationActions: [Warn, Audit]}`))
	one("deny-audit", posting(small, large), rejecting("int(object.data.size) < 10", `binding: {validationActions: [Audit, Deny]}`))
	one("warn-error", posting(none), rejecting("object.data.size == '1'", `binding: {validationActions: [Warn]}`))
	one("condition", posting(small, large, none),
		`{matchConditions: [{name: sized, expression: "has(object.data)"}, {name: large, expression: "int(object.data.size) > 10"}], validations: [{expression: "false"}]}`)
	one("condition-fails", posting(small, none), `{matchConditions: [{name: sized, expression: "object.data.size == '3'"}], validations: [{expression: "true"}]}`)
	one("condition-fails-ignored", posting(small, none), `{failurePolicy: Ignore, matchConditions: [{name: sized, expression: "object.data.size == '3'"}], validations: [{expression: "false"}]}`)
	one("condition-false-and-fails", posting(none), `{matchConditions: [{name: fails, expression: "object.data.size == '3'"}, {name: "no", expression: "false"}], validations: [{expression: "false"}]}`)
	one("fails", posting(none), rejecting("object.data.size == '3'"))
	one("fails-ignored", posting(none, large), rejecting("object.data.size == '3'", "failurePolicy: Ignore"))
	one("variables", posting(small, large, none),
		`{variables: [{name: size, expression: "int(object.data.size)"}, {name: doubled, expression: "variables.size * 2"}], matchConditions: [{name: sized, expression: "has(object.data)"}], validations: [{expression: "variables.doubled < 10", messageExpression: "'twice is ' + string(variables.doubled)"}]}`)
	one("variable-fails", posting(none), `{variables: [{name: size, expression: "int(object.data.size)"}], validations: [{expression: "variables.size > 2"}]}`)
	one("request", func(s *story.Session) {
		posting(small)(s)
		s.Post(configMaps(s)+"?dryRun=All&fieldManager=m", fromYAML(small))
		s.Post(configMaps(s), fromYAML(small), as("somebody", "system:masters"))
	}, `{validations: [{expression: "false", messageExpression: "request.operation + request.kind.kind + request.resource.resource + request.requestKind.version + request.name + request.namespace + request.userInfo.username + string(request.dryRun) + string(request.userInfo.groups) + request.options.fieldManager"}, {expression: "false", messageExpression: "request.userInfo.username + ' ' + string(request.dryRun)"}]}`)
	one("user", func(s *story.Session) {
		posting(small)(s)
		s.Post(configMaps(s), fromYAML(large), as(s.Namespace+"-somebody", "system:masters"))
		s.Post(configMaps(s)+"?dryRun=All", fromYAML(small))
	}, `{validations: [{expression: "!request.userInfo.username.endsWith('-somebody')", messageExpression: "request.userInfo.username + ' may not, dry: ' + string(request.dryRun)"}, {expression: "!request.dryRun"}]}`)
	one("namespace", posting(small), `{validations: [{expression: "namespaceObject.metadata.name == request.namespace"}, {expression: "namespaceObject.metadata.labels['kubernetes.io/metadata.name'] == ''"}]}`)
	one("authorizer", func(s *story.Session) {
		posting(small)(s)
		s.Post(configMaps(s), fromYAML(large), as("nobody-special", "system:masters"))
	}, `{validations: [{expression: "authorizer.group('').resource('secrets').namespace(request.namespace).check('get').allowed()"}, {expression: "authorizer.path('/healthz').check('get').allowed()"}, {expression: "!authorizer.requestResource.check('create').allowed()"}]}`)
	one("cost", posting(small), rejecting("[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, a + b + c + d + e + f > 0))))))"))
	one("cost-ignored", posting(small), rejecting("[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, a + b + c + d + e + f > 0))))))", "failurePolicy: Ignore"))
	one("two-bindings", posting(small), written(`{validations: [{expression: "false"}], bindings: [{validationActions: [Warn]}, {validationActions: [Warn], matchResources: {namespaceSelector: {matchLabels: {none: none}}}}]}`))
	one("no-binding", posting(small), written(`{validations: [{expression: "false"}], bindings: []}`))
	one("subresources", policySubresources, written(`{matchConstraints: {resourceRules: [{operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["pods/*", "deployments/scale", "serviceaccounts/token"]}]}, binding: {validationActions: [Warn]}, validations: [{expression: "false", messageExpression: "request.subResource + ' ' + request.kind.kind + ' ' + request.operation"}, {expression: "object.kind == 'Pod'"}]}`))
	one("subresources-denied", policySubresources, written(`{matchConstraints: {resourceRules: [{operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["pods/*", "deployments/scale", "serviceaccounts/token"]}]}, validations: [{expression: "false"}]}`))
	one("selectors", func(s *story.Session) {
		s.Post(configMaps(s), configMap("seen", object{"seen": "yes"}))
		s.Post(configMaps(s), configMap("unseen", nil))
		s.Post(configMaps(s), configMap("left", object{"seen": "yes"}))
	}, written(`{matchConstraints: {objectSelector: {matchLabels: {seen: "yes"}}, resourceRules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}], excludeResourceRules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps], resourceNames: [left]}]}, validations: [{expression: "false"}]}`))
	one("binding-resources", func(s *story.Session) {
		everyWrite(s)
		s.Post("/api/v1/namespaces/"+s.Namespace+"/secrets", object{"metadata": object{"name": "s"}})
	}, written(`{matchConstraints: {resourceRules: [{operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["*"]}]}, validations: [{expression: "false"}], binding: {matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: $NAMESPACE}}, resourceRules: [{operations: [UPDATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}, {operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [secrets], resourceNames: [s]}]}}}`))
	one("equivalent", func(s *story.Session) {
		for _, version := range []string{"v1", "v2"} {
			s.Post("/apis/autoscaling/"+version+"/namespaces/"+s.Namespace+"/horizontalpodautoscalers", object{"metadata": object{"name": version}, "spec": object{"maxReplicas": 3, "scaleTargetRef": object{"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}})
		}
	}, written(`{matchConstraints: {resourceRules: [{operations: ["*"], apiGroups: [autoscaling], apiVersions: [v1], resources: [horizontalpodautoscalers]}]}, binding: {validationActions: [Warn]}, validations: [{expression: "false", messageExpression: "object.apiVersion + ' ' + request.requestKind.version"}]}`),
		written(`{matchConstraints: {matchPolicy: Exact, resourceRules: [{operations: ["*"], apiGroups: [autoscaling], apiVersions: [v1], resources: [horizontalpodautoscalers]}]}, validations: [{expression: "false"}]}`))
	one("cluster-scope", func(s *story.Session) {
		uri := "/apis/rbac.authorization.k8s.io/v1/clusterroles"
		s.Post(uri, role("ClusterRole", s.Namespace+"-refused", "get pods"))
		s.Post(uri, role("ClusterRole", s.Namespace+"-allowed", "get pods"))
		s.Delete(uri+"/"+s.Namespace+"-allowed", nil)
		s.Patch("/api/v1/namespaces/"+s.Namespace, story.MergePatch, object{"metadata": object{"labels": object{"a": "b"}}})
	}, written(`{matchConstraints: {resourceRules: [{operations: [CREATE, UPDATE], apiGroups: ["*"], apiVersions: ["*"], resources: [clusterroles, namespaces], scope: Cluster}]}, matchConditions: [{name: own, expression: "request.name.startsWith('$NAMESPACE')"}], validations: [{expression: "!object.metadata.name.endsWith('-refused') && namespaceObject == null && !has(object.metadata.labels.a)"}], binding: {matchResources: {}}}`))
	one("not-itself", func(s *story.Session) {
		rejecting("true").write(s, validatingPolicy, s.Namespace+"-z")
		s.Delete(policyGroup+"validatingadmissionpolicies/"+s.Namespace+"-z", nil)
		s.Delete(policyGroup+"validatingadmissionpolicybindings/"+s.Namespace+"-z-0", nil)
		s.Post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", object{"spec": object{"resourceAttributes": object{"verb": "get", "resource": "pods"}}})
		s.Post("/apis/authentication.k8s.io/v1/selfsubjectreviews", object{})
	}, written(`{matchConstraints: {resourceRules: [{operations: ["*"], apiGroups: [admissionregistration.k8s.io, authorization.k8s.io, authentication.k8s.io], apiVersions: ["*"], resources: ["*"]}]}, validations: [{expression: "false"}], binding: {matchResources: {}}}`))
	one("changed", func(s *story.Session) {
		posting(small)(s)
		uri := policyGroup + "validatingadmissionpolicies/" + s.Namespace + "-a"
		s.Patch(uri, story.MergePatch, object{"spec": object{"validations": []object{{"expression": "object.metadata.name != 'large'", "message": "changed"}}}})
		time.Sleep(inForce)
		posting(small, large)(s)
		s.Delete(policyGroup+"validatingadmissionpolicybindings/"+s.Namespace+"-a-0", nil)
		time.Sleep(inForce)
		posting(large)(s)
	}, rejecting("false"))
	one("bad", func(*story.Session) {}, rejecting("object.x +"), rejecting("params.x == 'y'"), `{validations: []}`, `{validations: [{expression: "1"}]}`,
		`{variables: [{name: a, expression: "variables.b"}], validations: [{expression: "variables.a"}]}`,
		`{paramKind: {apiVersion: v1}, validations: [{expression: "true"}]}`, `{auditAnnotations: [{key: "a b", valueExpression: "1"}]}`,
		`{validations: [{expression: "true", reason: Teapot, message: "a\nb", messageExpression: "1"}], failurePolicy: Maybe}`,
		`{validations: [{expression: "true"}], binding: {validationActions: [Deny, Warn]}}`, `{validations: [{expression: "true"}], binding: {validationActions: [Deny, Deny]}}`,
		`{validations: [{expression: "true"}], binding: {paramRef: {name: a, selector: {}}}}`, `{validations: [{expression: "true"}], binding: {paramRef: {name: a}}}`)
	return append(all, policyParameters()...)
}

// policySubresources are writes of subresources.
func policySubresources(s *story.Session) {
	s.Post(pods(s), pod("a", nil))
	s.Patch(pods(s)+"/a/status", story.MergePatch, object{"status": object{"phase": "Running"}})
	s.Patch(pods(s)+"/a/ephemeralcontainers", story.StrategicPatch, object{"spec": object{"ephemeralContainers": []object{{"name": "e", "image": "i"}}}})
	s.Post(pods(s)+"/a/binding", object{"target": object{"kind": "Node", "name": "n"}})
	s.Post(pods(s)+"/a/eviction", object{"metadata": object{"name": "a"}})
	s.Post("/api/v1/namespaces/"+s.Namespace+"/serviceaccounts/default/token", object{"spec": object{"audiences": []string{"a"}}})
	deployments := "/apis/apps/v1/namespaces/" + s.Namespace + "/deployments"
	s.Post(deployments, object{"metadata": object{"name": "d"}, "spec": object{
		"selector": object{"matchLabels": object{"a": "b"}},
		"template": object{"metadata": object{"labels": object{"a": "b"}}, "spec": object{"containers": []object{{"name": "c", "image": "i"}}}},
	}})
	s.Patch(deployments+"/d/scale", story.MergePatch, object{"spec": object{"replicas": 3}})
}

// policyParameters tells of policies whose rules are about other objects.
func policyParameters() []story.Story {
	var all []story.Story
	secret := `{apiVersion: v1, kind: Secret}`
	one := func(name string, policies ...written) {
		all = append(all, story.Story{Name: "admission/policy/params-" + name, Tell: func(s *story.Session) {
			secrets := "/api/v1/namespaces/" + s.Namespace + "/secrets"
			s.Post(secrets, object{"metadata": object{"name": "a", "labels": object{"limit": "yes"}}, "stringData": object{"max": "10"}})
			s.Post(secrets, object{"metadata": object{"name": "b", "labels": object{"limit": "yes"}}, "stringData": object{"max": "20"}})
			withPolicies(validatingPolicy, policies, func(s *story.Session) {
				posting(`{metadata: {name: small}, data: {size: "3"}}`, `{metadata: {name: medium}, data: {size: "15"}}`, `{metadata: {name: large}, data: {size: "30"}}`)(s)
				s.Delete(secrets+"/a", nil)
				time.Sleep(informed)
				posting(`{metadata: {name: late}, data: {size: "15"}}`)(s)
			})(s)
		}})
	}
	rule := `validations: [{expression: "params == null || params.metadata.name.size() > 5 || int(object.data.size) < 10", messageExpression: "params.kind + params.apiVersion + ' ' + params.metadata.name"}]`
	ref := func(ref string) written {
		return written(`{paramKind: ` + secret + `, ` + rule + `, binding: {paramRef: {` + ref + `}}}`)
	}
	one("name", ref(`name: a, parameterNotFoundAction: Deny`))
	one("name-ignored", ref(`name: a, parameterNotFoundAction: Allow`))
	one("namespace", ref(`name: a, namespace: $NAMESPACE, parameterNotFoundAction: Deny`))
	one("elsewhere", ref(`name: a, namespace: default, parameterNotFoundAction: Deny`))
	one("selector", ref(`selector: {matchLabels: {limit: "yes"}}, parameterNotFoundAction: Deny`))
	one("selector-none", ref(`selector: {matchLabels: {limit: "no"}}, parameterNotFoundAction: Deny`))
	one("selector-none-ignored", ref(`selector: {matchLabels: {limit: "no"}}, parameterNotFoundAction: Allow`))
	one("fails-ignored", written(`{failurePolicy: Ignore, paramKind: `+secret+`, `+rule+`, binding: {paramRef: {name: none, parameterNotFoundAction: Deny}}}`))
	one("no-ref", written(`{paramKind: `+secret+`, validations: [{expression: "params != null"}]}`))
	one("cluster-scope", written(`{paramKind: {apiVersion: v1, kind: Namespace}, validations: [{expression: "params.metadata.name != request.namespace", messageExpression: "params.kind + ' ' + params.metadata.name"}], binding: {paramRef: {name: $NAMESPACE, parameterNotFoundAction: Deny}}}`))
	one("cluster-scope-in-namespace", written(`{paramKind: {apiVersion: v1, kind: Namespace}, validations: [{expression: "true"}], binding: {paramRef: {name: $NAMESPACE, namespace: default, parameterNotFoundAction: Deny}}}`))
	one("unknown-kind", written(`{paramKind: {apiVersion: none.example.com/v1, kind: None}, validations: [{expression: "true"}], binding: {paramRef: {name: a, parameterNotFoundAction: Allow}}}`))
	one("unknown-kind-ignored", written(`{failurePolicy: Ignore, paramKind: {apiVersion: none.example.com/v1, kind: None}, validations: [{expression: "false"}], binding: {paramRef: {name: a, parameterNotFoundAction: Allow}}}`))
	one("definition", written(`{paramKind: {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole}, validations: [{expression: "params.rules.size() == 0", messageExpression: "params.kind + string(params.rules.size() > 0)"}], binding: {paramRef: {name: view, parameterNotFoundAction: Allow}}}`))
	all = append(all,
		story.Story{Name: "admission/policy/params-custom", Tell: withCustom(
			`{versions: [{name: v1, properties: {spec: {type: object, properties: {size: {type: integer, default: 3}}}}}]}`, func(c custom) {
				c.create("limit", `{spec: {}}`)
				time.Sleep(32 * time.Second) // kube-apiserver asks every thirty what there is
				withPolicies(validatingPolicy, []written{written(`{paramKind: {apiVersion: ` + c.group + `/v1, kind: Widget}, validations: [{expression: "int(object.data.size) < params.spec.size", messageExpression: "params.kind + ' ' + string(params.spec.size)"}], binding: {paramRef: {name: limit, parameterNotFoundAction: Deny}}}`)}, func(s *story.Session) {
					posting(`{metadata: {name: small}, data: {size: "2"}}`, `{metadata: {name: large}, data: {size: "15"}}`)(s)
					c.merge("limit", `{spec: {size: 20}}`)
					time.Sleep(informed)
					posting(`{metadata: {name: large}, data: {size: "15"}}`)(s)
				})(c.Session)
			})},
		story.Story{Name: "admission/policy/custom", Tell: withCustom(
			`{versions: [{name: v1, properties: {spec: {type: object, properties: {size: {type: integer, default: 3}}}}, subresources: {status: {}}}, {name: v2, properties: {spec: {type: object, properties: {size: {type: integer, default: 4}}}}}]}`, func(c custom) {
				withPolicies(validatingPolicy, []written{written(`{matchConstraints: {resourceRules: [{operations: ["*"], apiGroups: [` + c.group + `], apiVersions: [v1], resources: ["widgets", "widgets/*"]}]}, validations: [{expression: "object == null || object.spec.size < 5", messageExpression: "object.apiVersion + ' ' + string(object.spec.size)"}, {expression: "request.operation != 'DELETE' || oldObject.spec.size != 4"}]}`)}, func(s *story.Session) {
					c.create("a", `{spec: {}}`)
					c.create("b", `{spec: {size: 6}}`)
					s.Patch(c.in("v2")+"/a", story.MergePatch, object{"spec": object{"size": 7}})
					s.Patch(c.in("v2")+"/a", story.MergePatch, object{"spec": object{"size": 4}})
					s.Patch(c.in("v1")+"/a/status", story.MergePatch, object{"spec": object{"size": 9}})
					s.Delete(c.in("v1")+"/a", nil)
				})(c.Session)
			})})
	return all
}

// policyAudit tells what policies note of requests, for what is recorded.
func policyAudit(s *story.Session) {
	withPolicies(validatingPolicy, []written{
		`{auditAnnotations: [{key: size, valueExpression: "'size ' + object.data.size"}, {key: none, valueExpression: "null"}], binding: {validationActions: [Audit]}, validations: [{expression: "object.data.size != '3'", message: three}]}`,
		`{auditAnnotations: [{key: fails, valueExpression: "object.data.none"}], failurePolicy: Ignore}`,
	}, posting(`{metadata: {name: small}, data: {size: "3"}}`, `{metadata: {name: large}, data: {size: "30"}}`))(s)
	withPolicies(validatingPolicy, []written{
		`{auditAnnotations: [{key: fails, valueExpression: "object.data.none"}], binding: {validationActions: [Audit, Warn]}, validations: [{expression: "false"}]}`,
	}, posting(`{metadata: {name: other}, data: {size: "3"}}`))(s)
}

func mutatingPolicies() []story.Story {
	var all []story.Story
	one := func(name string, tell func(*story.Session), policies ...written) {
		all = append(all, story.Story{Name: "admission/policy/mutating-" + name, Tell: withPolicies(mutatingPolicy, policies, tell)})
	}
	labels := `{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{metadata: Object.metadata{labels: {'applied': object.metadata.name}}}"}}`
	patches := `{patchType: JSONPatch, jsonPatch: {expression: "[JSONPatch{op: 'add', path: '/metadata/annotations', value: {'patched': 'yes'}}]"}}`
	a, b := `{metadata: {name: a}, data: {size: "3"}}`, `{metadata: {name: b, labels: {x: "y"}, annotations: {x: "y"}}}`
	one("apply", posting(a, b), written(`{mutations: [`+labels+`]}`))
	one("patch", posting(a, b), written(`{mutations: [`+patches+`]}`))
	one("both", everyWrite, written(`{mutations: [`+labels+`, `+patches+`]}`))
	one("update", everyWrite, written(`{matchConstraints: {resourceRules: [{operations: [UPDATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}]}, mutations: [`+labels+`]}`))
	one("data", posting(a, b), `{variables: [{name: size, expression: "has(object.data) ? int(object.data.size) : 0"}], mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{data: {'size': string(variables.size + 1)}}"}}]}`)
	one("condition", posting(a, b), written(`{matchConditions: [{name: sized, expression: "has(object.data)"}], mutations: [`+labels+`]}`))
	one("condition-fails", posting(a, b), written(`{matchConditions: [{name: sized, expression: "object.data.size == '3'"}], mutations: [`+labels+`]}`))
	one("condition-fails-ignored", posting(a, b), written(`{failurePolicy: Ignore, matchConditions: [{name: sized, expression: "object.data.size == '3'"}], mutations: [`+labels+`]}`))
	one("fails", posting(a, b), `{mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{data: {'size': object.data.size + '0'}}"}}]}`)
	one("fails-ignored", posting(a, b), `{failurePolicy: Ignore, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{data: {'size': object.data.size + '0'}}"}}]}`)
	one("patch-fails", posting(a, b), `{mutations: [{patchType: JSONPatch, jsonPatch: {expression: "[JSONPatch{op: 'test', path: '/data/size', value: '3'}, JSONPatch{op: 'replace', path: '/data/size', value: '4'}]"}}]}`)
	one("patch-removes", posting(a, b), `{mutations: [{patchType: JSONPatch, jsonPatch: {expression: "has(object.data) ? [JSONPatch{op: 'remove', path: '/data/size'}, JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('a/b~c'), value: 'd'}] : []"}}]}`)
	one("patch-wrong-type", posting(a), `{mutations: [{patchType: JSONPatch, jsonPatch: {expression: "[JSONPatch{op: 'add', path: '/data', value: [1]}]"}}]}`)
	one("apply-unknown-field", posting(a), `{mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{none: 'x'}"}}]}`)
	one("apply-wrong-type", posting(a), `{mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{data: 'x'}"}}]}`)
	one("apply-name", posting(a), `{mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{metadata: Object.metadata{name: 'other'}}"}}]}`)
	one("cost", posting(a), `{mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, a + b + c + d + e + f > 0)))))) ? Object{} : Object{}"}}]}`)
	count := `{patchType: JSONPatch, jsonPatch: {expression: "[JSONPatch{op: 'add', path: '/data', value: {'size': has(object.data) && 'size' in object.data ? object.data.size + '+' : '0'}}]"}}`
	grow := `{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{metadata: Object.metadata{labels: {'sized': object.data.size.replace('+', 'x')}}}"}}`
	// kube-apiserver's order of policies is by chance.
	one("two", posting(a), written(`{mutations: [`+count+`]}`), written(`{mutations: [`+labels+`]}`))
	one("one-after-the-other", posting(a), written(`{mutations: [`+count+`, `+grow+`]}`))
	one("reinvoked", posting(a), written(`{reinvocationPolicy: IfNeeded, mutations: [`+count+`]}`))
	one("reinvoked-both", posting(a), written(`{reinvocationPolicy: IfNeeded, mutations: [`+labels+`, `+count+`]}`))
	one("pods", func(s *story.Session) {
		s.Post(pods(s), pod("a", nil))
		s.Patch(pods(s)+"/a", story.MergePatch, object{"metadata": object{"labels": object{"x": "y"}}})
	}, `{matchConstraints: {resourceRules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}]}, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{spec: Object.spec{initContainers: [Object.spec.initContainers{name: 'mesh', image: 'mesh/proxy:v1', args: ['proxy'], restartPolicy: 'Always'}], containers: [Object.spec.containers{name: 'web', env: [Object.spec.containers.env{name: 'A', value: 'b'}]}]}}"}}]}`)
	one("atomic", func(s *story.Session) { s.Post(pods(s), pod("a", nil)) }, `{matchConstraints: {resourceRules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}]}, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'web', command: ['x']}]}}"}}]}`)
	one("subresources", policySubresources, `{matchConstraints: {resourceRules: [{operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["pods/status", "pods/ephemeralcontainers"]}]}, mutations: [{patchType: JSONPatch, jsonPatch: {expression: "[JSONPatch{op: 'add', path: '/metadata/labels', value: {'seen': request.subResource}}]"}}]}`)
	one("scale", policySubresources, `{matchConstraints: {resourceRules: [{operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["deployments/scale"]}]}, mutations: [{patchType: JSONPatch, jsonPatch: {expression: "[JSONPatch{op: 'replace', path: '/spec/replicas', value: object.spec.replicas + 1}]"}}]}`)
	one("scale-apply", policySubresources, `{matchConstraints: {resourceRules: [{operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["deployments/scale"]}]}, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{spec: Object.spec{replicas: 7}}"}}]}`)
	one("actions", policySubresources, `{failurePolicy: Fail, matchConstraints: {resourceRules: [{operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["pods/eviction", "pods/binding", "serviceaccounts/token"]}]}, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{metadata: Object.metadata{labels: {'a': 'b'}}}"}}]}`)
	one("equivalent", func(s *story.Session) {
		for _, version := range []string{"v1", "v2"} {
			s.Post("/apis/autoscaling/"+version+"/namespaces/"+s.Namespace+"/horizontalpodautoscalers", object{"metadata": object{"name": version}, "spec": object{"maxReplicas": 3, "scaleTargetRef": object{"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}})
		}
	}, `{matchConstraints: {resourceRules: [{operations: ["*"], apiGroups: [autoscaling], apiVersions: [v1], resources: [horizontalpodautoscalers]}]}, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{spec: Object.spec{targetCPUUtilizationPercentage: 55}}"}}]}`)
	one("params", func(s *story.Session) {
		posting(a, b)(s)
	}, `{paramKind: {apiVersion: v1, kind: Namespace}, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{metadata: Object.metadata{labels: {'phase': params.status.phase}}}"}}], binding: {paramRef: {name: $NAMESPACE, parameterNotFoundAction: Deny}}}`)
	one("params-missing", posting(a), written(`{paramKind: {apiVersion: v1, kind: Secret}, mutations: [`+labels+`], binding: {paramRef: {name: none, parameterNotFoundAction: Deny}}}`))
	one("params-missing-ignored", posting(a), written(`{paramKind: {apiVersion: v1, kind: Secret}, mutations: [`+labels+`], binding: {paramRef: {name: none, parameterNotFoundAction: Allow}}}`))
	one("params-unknown", posting(a), written(`{paramKind: {apiVersion: none.example.com/v1, kind: None}, mutations: [`+labels+`], binding: {paramRef: {name: none, parameterNotFoundAction: Allow}}}`))
	one("namespace", posting(a), `{mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{metadata: Object.metadata{labels: {'in': namespaceObject.metadata.name, 'may': string(authorizer.requestResource.check('delete').allowed())}}}"}}]}`)
	one("bad", func(*story.Session) {}, `{mutations: []}`, `{mutations: [{patchType: JSONPatch}]}`, `{mutations: [{patchType: Other, jsonPatch: {expression: "[]"}}]}`,
		`{mutations: [{patchType: JSONPatch, jsonPatch: {expression: "1"}}]}`, `{mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{"}}]}`,
		`{mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "object"}}], reinvocationPolicy: Often}`)
	all = append(all, story.Story{Name: "admission/policy/mutating-custom", Tell: withCustom(
		`{versions: [{name: v1, properties: {spec: {type: object, properties: {size: {type: integer, default: 3}, list: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {type: object, required: [name], properties: {name: {type: string}, value: {type: string}}}}}}}}]}`, func(c custom) {
			time.Sleep(6 * time.Second) // kube-apiserver asks for schemas every five
			withPolicies(mutatingPolicy, []written{written(`{matchConstraints: {resourceRules: [{operations: ["*"], apiGroups: [` + c.group + `], apiVersions: [v1], resources: ["widgets"]}]}, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{spec: Object.spec{list: [Object.spec.list{name: 'added', value: string(object.spec.size)}]}}"}}]}`)}, func(s *story.Session) {
				c.create("a", `{spec: {}}`)
				c.create("b", `{spec: {size: 6, list: [{name: own}]}}`)
				s.Patch(c.in("v1")+"/a", story.MergePatch, object{"spec": object{"size": 7}})
				c.apply("m", "c", `{spec: {list: [{name: own}]}}`)
				s.Delete(c.in("v1")+"/a", nil)
			})(c.Session)
		})},
		story.Story{Name: "admission/policy/mutating-with-webhooks", Tell: withPolicies(mutatingPolicy, []written{
			written(`{reinvocationPolicy: IfNeeded, mutations: [` + count + `]}`),
		}, withWebhooks(mutating, []string{`{` + onMaps + `, answer: count}`}, func(s *story.Session, _ *admitter) {
			s.Do(http.MethodPost, configMaps(s), fromYAML(a))
		}))})
	return all
}
