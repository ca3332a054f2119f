package verb_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/verb"
)

// cluster is a server without its HTTP side.
type cluster struct {
	t         *testing.T
	verbs     *verb.Verbs
	catalogue *kind.Catalogue
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	st := statetest.Start(t)
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{t, &verb.Verbs{State: st, Ownership: new(ownership.Managers).For}, catalogue}
}

// write is one request: a path below the namespace, such as deployments/d/scale.
type write struct {
	verb string // create, update, or a patch's media type
	path string
	body string
	by   string // the field manager; if it ends with a slash, the user agent
	opts func(*metav1.PatchOptions)
}

const (
	apply     = string(types.ApplyYAMLPatchType)
	merge     = string(types.MergePatchType)
	strategic = string(types.StrategicMergePatchType)
	jsonPatch = string(types.JSONPatchType)
)

func force(o *metav1.PatchOptions)  { yes := true; o.Force = &yes }
func dryRun(o *metav1.PatchOptions) { o.DryRun = []string{metav1.DryRunAll} }

var groups = map[string]schema.GroupVersion{"configmaps": {Version: "v1"}, "pods": {Version: "v1"}, "deployments": {Group: "apps", Version: "v1"}}

func (c *cluster) do(w write) (*verb.Result, error) {
	c.t.Helper()
	parts := strings.Split(w.path+"//", "/")
	version := c.catalogue.Lookup(groups[parts[0]].WithResource(parts[0]))
	t := verb.Target{Version: version, Namespace: "default", Name: parts[1], Subresource: version.Subresource(parts[2])}
	o := metav1.PatchOptions{FieldManager: w.by}
	if agent, ok := strings.CutSuffix(w.by, "/"); ok {
		t.Agent, o.FieldManager = agent+"/v1 (linux)", ""
	}
	if w.opts != nil {
		w.opts(&o)
	}
	ctx := t.Context(c.t.Context(), "patch", &user.DefaultInfo{Name: "tester"})
	if w.verb != "create" && w.verb != "update" {
		return c.verbs.Patch(ctx, t, types.PatchType(w.verb), []byte(w.body), &o)
	}
	info, _ := runtime.SerializerInfoForMediaType(version.Resource.Serializer.SupportedMediaTypes(), runtime.ContentTypeJSON)
	obj, err := t.Decode(ctx, []byte(w.body), info, "")
	if err != nil {
		c.t.Fatal(err)
	}
	if w.verb == "create" {
		return c.verbs.Create(ctx, t, obj, &metav1.CreateOptions{DryRun: o.DryRun, FieldManager: o.FieldManager})
	}
	return c.verbs.Update(ctx, t, obj, &metav1.UpdateOptions{DryRun: o.DryRun, FieldManager: o.FieldManager})
}

func (c *cluster) must(w write) *object.Object {
	c.t.Helper()
	result, err := c.do(w)
	if err != nil {
		c.t.Fatalf("%s %s by %s: %v", w.verb, w.path, w.by, err)
	}
	return result.Object
}

// decoded is the hub object in o.
func (c *cluster) decoded(path string, o *object.Object) metav1.Object {
	c.t.Helper()
	name, _, _ := strings.Cut(path, "/")
	obj, err := c.catalogue.Lookup(groups[name].WithResource(name)).Resource.Decode(o)
	if err != nil {
		c.t.Fatal(err)
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// owned tells who owns what in o, a line for each owner.
func (c *cluster) owned(path string, o *object.Object) []string {
	c.t.Helper()
	var lines []string
	for _, e := range c.decoded(path, o).GetManagedFields() {
		// Upstream's translation of a Scale's owners loses the time of new ones.
		timeless := e.Time == nil && e.Subresource == "scale"
		if !timeless && (e.Time == nil || time.Since(e.Time.Time) > time.Minute) || e.FieldsType != "FieldsV1" {
			c.t.Errorf("time and type of %v", e)
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", e.Manager, e.Operation, e.APIVersion, e.FieldsV1.String(), e.Subresource)))
	}
	return lines
}

const (
	mapA       = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"v"}}`
	mapApplied = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":%s}`
	deployment = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},` +
		`"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`
)

func data(s string) string { return fmt.Sprintf(mapApplied, s) }

func TestOwners(t *testing.T) {
	for _, c := range []struct {
		name   string
		writes []write
		want   []string
	}{
		{"the creator's program", []write{{"create", "configmaps", mapA, "kubectl/", nil}},
			[]string{`kubectl Update v1 {"f:data":{".":{},"f:k":{}}}`}},
		{"nobody's name", []write{{"create", "configmaps", mapA, "", nil}},
			[]string{`unknown Update v1 {"f:data":{".":{},"f:k":{}}}`}},
		{"an update", []write{{"create", "configmaps", mapA, "a", nil}, {"update", "configmaps/a", strings.Replace(mapA, `"v"`, `"w"`, 1), "b", nil}},
			[]string{`a Update v1 {"f:data":{}}`, `b Update v1 {"f:data":{"f:k":{}}}`}},
		{"an update of nothing", []write{{"create", "configmaps", mapA, "a", nil}, {"update", "configmaps/a", mapA, "b", nil}},
			[]string{`a Update v1 {"f:data":{".":{},"f:k":{}}}`}},
		{"patches", []write{
			{"create", "configmaps", mapA, "a", nil},
			{merge, "configmaps/a", `{"data":{"m":"1"}}`, "merger", nil},
			{strategic, "configmaps/a", `{"data":{"s":"1"}}`, "strategist/", nil},
			{jsonPatch, "configmaps/a", `[{"op":"add","path":"/data/j","value":"1"}]`, "patcher", nil},
		}, []string{
			`a Update v1 {"f:data":{".":{},"f:k":{}}}`, `merger Update v1 {"f:data":{"f:m":{}}}`,
			`patcher Update v1 {"f:data":{"f:j":{}}}`, `strategist Update v1 {"f:data":{"f:s":{}}}`,
		}},
		{"owners forgotten", []write{
			{"create", "configmaps", mapA, "a", nil}, {merge, "configmaps/a", `{"metadata":{"managedFields":[{}]}}`, "b", nil},
		}, nil},
		{"owners forged", []write{
			{"create", "configmaps", mapA, "a", nil},
			{jsonPatch, "configmaps/a", `[{"op":"replace","path":"/metadata/managedFields","value":[{"manager":"x","operation":"Bad"}]}]`, "b", nil},
		}, []string{`a Update v1 {"f:data":{".":{},"f:k":{}}}`}},
		{"an apply that creates", []write{{apply, "configmaps/a", data(`{"k":"v"}`), "a", nil}},
			[]string{`a Apply v1 {"f:data":{"f:k":{}}}`}},
		{"two that apply", []write{
			{apply, "configmaps/a", data(`{"k":"v"}`), "a", nil}, {apply, "configmaps/a", data(`{"k":"v","l":"v"}`), "b", nil},
			{apply, "configmaps/a", data(`{"k":"w"}`), "c", force},
		}, []string{`b Apply v1 {"f:data":{"f:l":{}}}`, `c Apply v1 {"f:data":{"f:k":{}}}`}},
		{"a status", []write{
			{"create", "deployments", deployment, "a", nil},
			{merge, "deployments/d", `{"metadata":{"managedFields":[{}]}}`, "b", nil},
			{apply, "deployments/d", `{"apiVersion":"apps/v1","kind":"Deployment","spec":{"paused":true},"status":{"replicas":7}}`, "c", nil},
			{apply, "deployments/d/status", `{"apiVersion":"apps/v1","kind":"Deployment","spec":{"paused":false},"status":{"replicas":3}}`, "d", nil},
			{merge, "deployments/d/status", `{"status":{"readyReplicas":2},"metadata":{"managedFields":[{}]}}`, "e", nil},
		}, []string{
			`c Apply apps/v1 {"f:spec":{"f:paused":{}}}`, `d Apply apps/v1 {"f:status":{"f:replicas":{}}} status`,
			`before-first-apply Update apps/v1 ` + wholeDeployment, `e Update apps/v1 {"f:status":{"f:readyReplicas":{}}} status`,
		}},
		{"a scale", []write{
			{apply, "deployments/d", deployment, "a", nil},
			{apply, "deployments/d/scale", `{"apiVersion":"autoscaling/v1","kind":"Scale","spec":{"replicas":3}}`, "b", force},
		}, []string{
			`b Apply apps/v1 {"f:spec":{"f:replicas":{}}} scale`, `a Apply apps/v1 ` + strings.Replace(appliedDeployment, `"f:replicas":{},`, "", 1),
		}},
		{"a scale updated", []write{
			{apply, "deployments/d", deployment, "a", nil},
			{"update", "deployments/d/scale", `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"d"},"spec":{"replicas":4}}`, "b", nil},
		}, []string{
			`a Apply apps/v1 ` + strings.Replace(appliedDeployment, `"f:replicas":{},`, "", 1), `b Update apps/v1 {"f:spec":{"f:replicas":{}}} scale`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster := newCluster(t)
			var last *object.Object
			for _, w := range c.writes {
				last = cluster.must(w)
			}
			if got := cluster.owned(c.writes[0].path, last); !reflect.DeepEqual(got, c.want) {
				t.Errorf("owners are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

const (
	appliedDeployment = `{"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:a":{}}},` +
		`"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{}}}}}}}`
	wholeDeployment = `{"f:spec":{"f:progressDeadlineSeconds":{},"f:replicas":{},"f:revisionHistoryLimit":{},"f:selector":{},` +
		`"f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{},"f:maxUnavailable":{}},"f:type":{}},` +
		`"f:template":{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},` +
		`"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:resources":{},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}},` +
		`"f:dnsPolicy":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}}}`
)

// What a manager no longer applies is removed, unless another owns it.
func TestApplyRemoves(t *testing.T) {
	c := newCluster(t)
	c.must(write{apply, "configmaps/a", data(`{"mine":"1","ours":"1","changed":"1"}`), "a", nil})
	c.must(write{apply, "configmaps/a", data(`{"ours":"1"}`), "b", nil})
	c.must(write{merge, "configmaps/a", `{"data":{"changed":"2"}}`, "c", nil})
	o := c.must(write{apply, "configmaps/a", data(`{}`), "a", nil})
	if got := string(encoded(t, c, "configmaps", o, "data")); got != `{"changed":"2","ours":"1"}` {
		t.Errorf("data = %s", got)
	}
}

// encoded is a member of the object's JSON.
func encoded(t *testing.T, c *cluster, resource string, o *object.Object, member string) json.RawMessage {
	t.Helper()
	b, err := c.catalogue.Lookup(groups[resource].WithResource(resource)).JSON.Encode(o)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		t.Fatal(err)
	}
	return members[member]
}

func TestApplyRefused(t *testing.T) {
	c := newCluster(t)
	c.must(write{"create", "configmaps", mapA, "maker", nil})
	at := c.decoded("configmaps", c.must(write{apply, "configmaps/a", data(`{"l":"1"}`), "owner", nil})).GetManagedFields()
	strict := func(o *metav1.PatchOptions) { o.FieldValidation = metav1.FieldValidationStrict }
	for _, x := range []struct {
		write
		code    int32
		message string
		causes  []metav1.StatusCause
	}{
		{write{apply, "configmaps/a", data(`{"l":"2"}`), "b", nil}, 409,
			`Apply failed with 1 conflict: conflict with "owner": .data.l`,
			[]metav1.StatusCause{{Type: "FieldManagerConflict", Message: `conflict with "owner"`, Field: ".data.l"}}},
		{write{apply, "configmaps/a", data(`{"k":"2","l":"2"}`), "b", nil}, 409,
			"Apply failed with 2 conflicts: conflicts with \"maker\" using v1:\n- .data.k\nconflicts with \"owner\":\n- .data.l", nil},
		{write{apply, "configmaps/a", "7", "b", nil}, 400, "error decoding patch: error unmarshaling JSON: while decoding JSON: ", nil},
		{write{apply, "configmaps/a", "a: [", "b", nil}, 400, "error encoding patch: yaml: line 1: did not find expected node content", nil},
		{write{apply, "configmaps/a", `{"apiVersion":"v1","kind":"Secret"}`, "b", nil}, 400, "invalid object type: /v1, Kind=Secret", nil},
		{write{apply, "configmaps/a", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"managedFields":[]}}`, "b", nil}, 400, "metadata.managedFields must be nil", nil},
		{write{apply, "configmaps/a", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}`, "b", nil}, 400,
			"the name of the object (b) does not match the name on the URL (a)", nil},
		{write{apply, "configmaps/a", "apiVersion: v1\nkind: ConfigMap\ndata:\n  x: a\n  x: b\n", "b", strict}, 400,
			"error strict decoding patch: error converting YAML to JSON: yaml: unmarshal errors:\n  line 5: key \"x\" already set in map", nil},
		{write{apply, "configmaps/a", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"resourceVersion":"1"}}`, "b", nil}, 409, "the object has been modified", nil},
		{write{apply, "configmaps/b", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b","uid":"u"}}`, "b", nil}, 409,
			"uid mismatch: the provided object specified uid u, and no existing object was found", nil},
		{write{apply, "deployments/d/status", `{"apiVersion":"apps/v1","kind":"Deployment"}`, "b", nil}, 404, `deployments.apps "d" not found`, nil},
		{write{apply, "deployments/d/scale", `{"apiVersion":"autoscaling/v1","kind":"Scale"}`, "b", nil}, 404, `deployments.apps "d" not found`, nil},
	} {
		_, err := c.do(x.write)
		status, ok := err.(apierrors.APIStatus)
		if !ok {
			t.Errorf("%s: error = %v", x.body, err)
			continue
		}
		s := status.Status()
		if s.Code != x.code || !strings.Contains(withoutTimes(s.Message, at), x.message) {
			t.Errorf("%s: %d %s\nwant %d %s", x.body, s.Code, s.Message, x.code, x.message)
		}
		if x.causes != nil && !reflect.DeepEqual(s.Details.Causes, x.causes) {
			t.Errorf("%s: causes are %v", x.body, s.Details.Causes)
		}
	}
	if _, err := c.do(write{apply, "configmaps/a", `{"apiVersion":"v1","kind":"ConfigMap","dta":{}}`, "b", nil}); err == nil || !strings.Contains(err.Error(), ".dta: field not declared in schema") {
		t.Errorf("error = %v for an unknown field", err)
	}
}

// withoutTimes takes the times of owners out of a message.
func withoutTimes(message string, entries []metav1.ManagedFieldsEntry) string {
	for _, e := range entries {
		message = strings.ReplaceAll(message, " at "+e.Time.UTC().Format(time.RFC3339), "")
	}
	return message
}

// What changes nothing, not even an owner, is not written, whatever the time.
func TestApplyNothing(t *testing.T) {
	c := newCluster(t)
	c.must(write{apply, "deployments/d", deployment, "a", nil})
	second := c.must(write{apply, "deployments/d", deployment, "b", nil})
	for _, w := range []write{
		{apply, "deployments/d", deployment, "a", nil},
		{apply, "deployments/d", deployment, "b", force},
		{"update", "deployments/d", deployment, "c", nil},
		{merge, "deployments/d", `{"spec":{"replicas":1}}`, "c", nil},
		{apply, "deployments/d", strings.Replace(deployment, `"replicas":1`, `"replicas":7`, 1), "c", func(o *metav1.PatchOptions) { force(o); dryRun(o) }},
	} {
		time.Sleep(1100*time.Millisecond - time.Duration(time.Now().Nanosecond())) // times have seconds
		result := c.must(w)
		if w.opts == nil && result.Rev != second.Rev {
			t.Errorf("%s by %s was written: revision %d after %d", w.verb, w.by, result.Rev, second.Rev)
		}
	}
	if o := c.must(write{merge, "deployments/d", `{}`, "c", nil}); o.Rev != second.Rev {
		t.Errorf("revision %d after %d", o.Rev, second.Rev)
	}
}
