package endpoint_test

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func list(items ...any) []any { return items }

func TestGenerateName(t *testing.T) {
	s := newServer(t)
	s.do("POST "+configMaps, configMap(`"name":"c-fixed","generateName":"c-"`)).is(201, "metadata.name", "c-fixed", "metadata.generateName", "c-")
	name := s.do("POST "+configMaps, configMap(`"generateName":"c-"`)).is(201).str("metadata.name")
	if !regexp.MustCompile(`^c-[bcdfghjklmnpqrstvwxz2456789]{5}$`).MatchString(name) {
		t.Errorf("the name is %q", name)
	}
	// A long one is cut, so that the name is at most 63 characters.
	name = s.do("POST "+configMaps, configMap(`"generateName":"`+strings.Repeat("a", 70)+`"`)).is(201).str("metadata.name")
	if len(name) != 63 {
		t.Errorf("the name has %d characters: %s", len(name), name)
	}
	s.do("POST "+configMaps, configMap(`"generateName":"Not-A-Prefix-"`)).is(422, "reason", "Invalid")
	s.do("POST "+configMaps, configMap("")).is(422, "reason", "Invalid",
		"message", `ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required`)
}

func TestMetadataIsTheServers(t *testing.T) {
	s := newServer(t)
	made := s.do("POST "+configMaps, configMap(`"name":"c","uid":"mine","selfLink":"/mine","generation":7,"creationTimestamp":"2001-01-01T00:00:00Z",
		"deletionTimestamp":"2001-01-01T00:00:00Z","deletionGracePeriodSeconds":3,"finalizers":["a.example/b"]`)).is(201,
		"metadata.selfLink", nil, "metadata.generation", 7.0, "metadata.deletionTimestamp", nil, "metadata.deletionGracePeriodSeconds", nil,
		"metadata.finalizers", list("a.example/b"))
	if uid := made.str("metadata.uid"); len(uid) != 36 {
		t.Errorf("the uid is %q", uid)
	}
	if at := made.str("metadata.creationTimestamp"); strings.HasPrefix(at, "2001") {
		t.Errorf("made at %s", at)
	}
	uid, at := made.str("metadata.uid"), made.str("metadata.creationTimestamp")
	s.do("PUT "+configMaps+"/c", configMap(`"name":"c","generation":9,"creationTimestamp":"2001-01-01T00:00:00Z","deletionTimestamp":"2001-01-01T00:00:00Z"`)).is(422,
		"message", "ConfigMap \"c\" is invalid: metadata.deletionTimestamp: Invalid value: \"2001-01-01T00:00:00Z\": field is immutable")
	s.do("PUT "+configMaps+"/c", configMap(`"name":"c","generation":9,"creationTimestamp":"2001-01-01T00:00:00Z"`)).is(200,
		"metadata.uid", uid, "metadata.creationTimestamp", at, "metadata.generation", 7.0)
	s.do("POST "+configMaps, configMap(`"name":"d","resourceVersion":"5"`)).is(500, "message", "resourceVersion should not be set on objects to be created")
	s.do("POST "+configMaps, configMap(`"name":"e","finalizers":["nodomain"]`)).is(422)
	s.do("POST "+configMaps, configMap(`"name":"d","namespace":"other"`)).is(400,
		"message", "the namespace of the provided object does not match the namespace sent on the request")
}

func TestPreconditions(t *testing.T) {
	s := newServer(t)
	made := s.do("POST "+configMaps, configMap(`"name":"c"`)).is(201)
	uid, rev := made.str("metadata.uid"), made.str("metadata.resourceVersion")
	s.do("PUT "+configMaps+"/c", configMap(`"name":"c","uid":"other"`)).is(409, "reason", "Conflict",
		"message", `Operation cannot be fulfilled on configmaps "c": StorageError: invalid object, Code: 4, Key: /registry/configmaps/default/c, `+
			`ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: other, UID in object meta: `+uid)
	s.do("PATCH "+configMaps+"/c", `{"metadata":{"resourceVersion":"1"}}`).is(409,
		"message", `Operation cannot be fulfilled on configmaps "c": the object has been modified; please apply your changes to the latest version and try again`)
	s.do("PUT "+configMaps+"/c", configMap(`"name":"c","resourceVersion":"one"`)).is(500)
	s.do("DELETE "+configMaps+"/c", `{"preconditions":{"uid":"other"}}`).is(409,
		"message", fmt.Sprintf(`Operation cannot be fulfilled on ConfigMap "c": the UID in the precondition (other) does not match the UID in record (%s). `+
			`The object might have been deleted and then recreated`, uid))
	s.do("DELETE "+configMaps+"/c", `{"preconditions":{"resourceVersion":"1"}}`).is(409,
		"message", fmt.Sprintf(`Operation cannot be fulfilled on ConfigMap "c": the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (%s). `+
			`The object might have been modified`, rev))
	s.do("DELETE "+configMaps+"/c", fmt.Sprintf(`{"preconditions":{"uid":%q,"resourceVersion":%q}}`, uid, rev)).is(200,
		"status", "Success", "details.name", "c", "details.kind", "configmaps", "details.uid", uid)
}

// What may be updated without a resourceVersion, and made by an update, is told
// by its kind.
func TestUpdateOfWhatIsNotThere(t *testing.T) {
	s := newServer(t)
	const leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
	lease := `{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"l"},"spec":{"leaseDurationSeconds":%d}}`
	s.do("PUT "+leases+"/l", fmt.Sprintf(lease, 1)).is(201)
	s.do("PUT "+leases+"/l", fmt.Sprintf(lease, 2)).is(422,
		"message", `leases.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update`)
	s.do("PUT "+configMaps+"/c", configMap(`"name":"c"`)).is(404, "message", `configmaps "c" not found`)
	s.do("POST "+configMaps, configMap(`"name":"c"`)).is(201)
	s.do("PUT "+configMaps+"/c", configMap(`"name":"c"`)).is(200)
	s.do("PUT "+configMaps+"/c", configMap(`"name":"d"`)).is(400,
		"message", "the name of the object (d) does not match the name on the URL (c)")
	// A patch makes nothing, an apply does.
	s.do("PATCH "+configMaps+"/x", `{}`).is(404)
	s.do("PATCH "+configMaps+"/x?fieldManager=me", configMap(`"name":"x"`), "Content-Type: application/apply-patch+yaml").is(201)
	s.do("PATCH "+configMaps+"/y?fieldManager=me", configMap(`"name":"y","uid":"other"`), "Content-Type: application/apply-patch+yaml").is(409)
}

func TestFinalizers(t *testing.T) {
	s := newServer(t)
	s.do("POST "+configMaps, configMap(`"name":"c","finalizers":["a.example/b","c.example/d"]`)).is(201)
	deleted := s.do("DELETE "+configMaps+"/c", "").is(200, "kind", "ConfigMap", "metadata.deletionGracePeriodSeconds", 0.0)
	at := deleted.str("metadata.deletionTimestamp")
	if at == "" {
		t.Error("there is no deletionTimestamp")
	}
	s.do("DELETE "+configMaps+"/c", "").is(200, "metadata.deletionTimestamp", at)
	s.do("POST "+configMaps, configMap(`"name":"c"`)).is(409, "message", `object is being deleted: configmaps "c" already exists`)
	s.do("PATCH "+configMaps+"/c", `{"metadata":{"finalizers":["a.example/b","c.example/d","e.example/f"]}}`).is(422)
	s.do("PATCH "+configMaps+"/c", `{"metadata":{"finalizers":["c.example/d"]}}`).is(200)
	s.do("GET "+configMaps+"/c", "").is(200, "metadata.finalizers", list("c.example/d"))
	s.do("PATCH "+configMaps+"/c", `{"metadata":{"finalizers":null}}`).is(200, "metadata.finalizers", nil)
	s.do("GET "+configMaps+"/c", "").is(404)
}

func TestPropagation(t *testing.T) {
	s := newServer(t)
	for _, test := range []struct {
		finalizers, options string
		want                []any
		code                int
	}{
		{``, `{"propagationPolicy":"Orphan"}`, list("orphan"), 200},
		{``, `{"propagationPolicy":"Foreground"}`, list("foregroundDeletion"), 200},
		{``, `{"propagationPolicy":"Background"}`, nil, 200},
		{``, `{"orphanDependents":true}`, list("orphan"), 200},
		{`"orphan"`, `{}`, list("orphan"), 200},
		{`"orphan"`, `{"propagationPolicy":"Foreground"}`, list("foregroundDeletion"), 200},
		{`"orphan"`, `{"propagationPolicy":"Background"}`, nil, 200},
		{`"foregroundDeletion","a.example/b"`, `{"orphanDependents":false}`, list("a.example/b"), 202},
		{``, `{"orphanDependents":false}`, nil, 200},
	} {
		s.do("POST "+configMaps, configMap(`"name":"c","finalizers":[`+test.finalizers+`]`)).is(201)
		s.do("DELETE "+configMaps+"/c", test.options).is(test.code)
		left := s.do("GET "+configMaps+"/c", "")
		if test.want == nil {
			left.is(404)
			continue
		}
		left.is(200, "metadata.finalizers", test.want)
		s.do("PATCH "+configMaps+"/c", `{"metadata":{"finalizers":null}}`).is(200)
	}
	s.do("DELETE "+configMaps+"/c", `{"propagationPolicy":"Orphan","orphanDependents":true}`).is(422)
	s.do("DELETE "+configMaps+"/c?propagationPolicy=Sideways", "").is(422,
		"message", `DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Sideways": supported values: "Foreground", "Background", "Orphan", "nil"`)
	// Events own nothing: nothing is ever put on them.
	const events = "/api/v1/namespaces/default/events"
	s.do("POST "+events, `{"metadata":{"name":"e"},"involvedObject":{"namespace":"default"}}`).is(201)
	s.do("DELETE "+events+"/e?propagationPolicy=Foreground", "").is(200)
	s.do("GET "+events+"/e", "").is(404)
}

const pods = "/api/v1/namespaces/default/pods"

func pod(name string) string {
	return `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"` + name + `"},"spec":{"nodeName":"n","containers":[{"name":"c","image":"i"}]}}`
}

// Pods on a node are given time: it may be made shorter, never longer.
func TestGracefulDeletion(t *testing.T) {
	s := newServer(t)
	s.do("POST "+pods, pod("p")).is(201, "spec.terminationGracePeriodSeconds", 30.0)
	s.do("DELETE "+pods+"/p", "").is(200, "kind", "Pod", "metadata.deletionGracePeriodSeconds", 30.0, "metadata.generation", 2.0)
	s.do("DELETE "+pods+"/p?gracePeriodSeconds=40", "").is(200, "metadata.deletionGracePeriodSeconds", 30.0)
	s.do("DELETE "+pods+"/p?gracePeriodSeconds=10", "").is(200, "metadata.deletionGracePeriodSeconds", 10.0, "metadata.generation", 2.0)
	s.do("DELETE "+pods+"/p", "").is(200, "metadata.deletionGracePeriodSeconds", 10.0)
	s.do("DELETE "+pods+"/p?gracePeriodSeconds=-5", "").is(200, "metadata.deletionGracePeriodSeconds", 1.0)
	s.do("GET "+pods+"/p", "").is(200)
	s.do("DELETE "+pods+"/p?gracePeriodSeconds=0&dryRun=All", "").is(200, "metadata.deletionGracePeriodSeconds", 0.0)
	s.do("GET "+pods+"/p", "").is(200, "metadata.deletionGracePeriodSeconds", 1.0)
	s.do("DELETE "+pods+"/p", `{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0}`).is(200, "metadata.deletionGracePeriodSeconds", 0.0)
	s.do("GET "+pods+"/p", "").is(404)
	// One that waits for a finalizer stays, with no time left.
	s.do("POST "+pods, strings.Replace(pod("q"), `"name":"q"`, `"name":"q","finalizers":["a.example/b"]`, 1)).is(201)
	s.do("DELETE "+pods+"/q?gracePeriodSeconds=0", "").is(200)
	s.do("PATCH "+pods+"/q", `{"metadata":{"finalizers":null}}`).is(200)
	s.do("GET "+pods+"/q", "").is(404)
}

func TestDeleteCollection(t *testing.T) {
	s := newServer(t)
	for i := range 6 {
		label := "odd"
		if i%2 == 0 {
			label = "even"
		}
		s.do("POST "+configMaps, configMap(fmt.Sprintf(`"name":"c%d","labels":{"is":%q}`, i, label))).is(201)
	}
	left := func() []string { return s.do("GET "+configMaps, "").is(200).names() }
	deleted := func(query, body string, want ...string) *answer {
		t.Helper()
		a := s.do("DELETE "+configMaps+query, body).is(200, "kind", "ConfigMapList")
		if got := a.names(); !slices.Equal(got, want) {
			t.Errorf("DELETE %s returned %v, want %v", query, got, want)
		}
		return a
	}
	all := []string{"c0", "c1", "c2", "c3", "c4", "c5"}
	deleted("?dryRun=All", "", all...)
	deleted("?labelSelector=is=none", "")
	deleted("", `{"dryRun":["All"]}`, all...)
	if got := left(); !slices.Equal(got, all) {
		t.Fatalf("after dry runs there are %v", got)
	}
	next := deleted("?labelSelector=is=even&limit=1", "", "c0").str("metadata.continue")
	deleted("?labelSelector=is=even&limit=1&continue="+url.QueryEscape(next), "", "c2")
	deleted("?fieldSelector=metadata.name=c4", "", "c4")
	if got := left(); !slices.Equal(got, []string{"c1", "c3", "c5"}) {
		t.Errorf("there are %v", got)
	}
	s.do("DELETE "+configMaps+"?fieldSelector=data.k=v", "").is(400)
	s.do("DELETE "+configMaps+"?labelSelector=!!", "").is(400)
	s.do("DELETE "+configMaps, `{"gracePeriodSeconds":0,"propagationPolicy":"Foreground"}`).is(200)
	s.do("GET "+configMaps+"/c5", "").is(200, "metadata.finalizers", list("foregroundDeletion"))
	// A precondition is that of each object: the first that it does not hold
	// for ends it.
	s.do("DELETE "+configMaps, `{"preconditions":{"uid":"other"}}`).is(409)
}

// An apply to a part of an object does not make it, but for one kind.
func TestApplyToPartOfNothing(t *testing.T) {
	s := newServer(t)
	const applied, policies = "Content-Type: application/apply-patch+yaml", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
	policy := `{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicy","metadata":{"name":"p"},
		"spec":{"matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["pods"]}]},"validations":[{"expression":"true"}]}}`
	s.do("PUT "+policies+"/p/status", policy).is(404)
	s.do("PATCH "+policies+"/p/status?fieldManager=m", `{"apiVersion":"autoscaling/v1","kind":"Scale"}`, applied).is(400)
	s.do("PATCH "+policies+"/p/status?fieldManager=m", policy, applied).is(201, "metadata.name", "p")
	s.do("GET "+policies+"/p", "").is(200)
	s.do("PATCH "+deployments+"/d/status?fieldManager=m", deployment("d"), applied).is(404)
}
