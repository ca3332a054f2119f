package stories

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/knarr-io/knarr/twin/story"
)

// An admitter is asked about writes by the server that a story is told to. What it
// answers depends on the path that it is asked at. It keeps what it was sent.
type admitter struct {
	server *httptest.Server
	s      *story.Session

	mu   sync.Mutex
	sent []json.RawMessage
}

func newAdmitter(s *story.Session) *admitter {
	a := &admitter{s: s}
	a.server = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	a.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.server.StartTLS()
	s.Addresses = append(s.Addresses, a.server.Listener.Addr().String())
	return a
}

// admitterAnswers are the responses, in JSON, by the last part of the path.
var admitterAnswers = map[string]string{
	"allow":    `{"allowed":true}`,
	"label":    `{"allowed":true,"patchType":"JSONPatch","patch":"W3sib3AiOiJhZGQiLCJwYXRoIjoiL21ldGFkYXRhL2xhYmVscyIsInZhbHVlIjp7ImxhYmVsbGVkIjoieWVzIn19XQ=="}`,     // [{"op":"add","path":"/metadata/labels","value":{"labelled":"yes"}}]
	"count":    `{"allowed":true,"patchType":"JSONPatch","patch":"W3sib3AiOiJhZGQiLCJwYXRoIjoiL21ldGFkYXRhL2Fubm90YXRpb25zIiwidmFsdWUiOnsiY291bnRlZCI6InllcyJ9fV0="}`, // the same of annotations
	"broken":   `{"allowed":true,"patchType":"JSONPatch","patch":"W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL25vbmUifV0="}`,                                                     // removes what is not there
	"bad":      `{"allowed":true,"patchType":"JSONPatch","patch":"bm9uZQ=="}`,                                                                                         // no patch
	"deny":     `{"allowed":false}`,
	"denied":   `{"allowed":false,"status":{"message":"not here","code":418,"reason":"Teapot"},"warnings":["mind the gap"]}`,
	"warn":     `{"allowed":true,"warnings":["first","second"],"auditAnnotations":{"a":"b"}}`,
	"unsure":   `{"allowed":false,"status":{"code":200}}`,
	"nothing":  ``,
	"untyped":  `{"allowed":true,"patch":"W10="}`,
	"external": `{"allowed":true,"patchType":"MergePatch","patch":"e30="}`,
}

func (a *admitter) serve(out http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.sent = append(a.sent, body)
	a.mu.Unlock()
	var asked struct {
		APIVersion string `json:"apiVersion"`
		Request    struct {
			UID string `json:"uid"`
		} `json:"request"`
	}
	_ = json.Unmarshal(body, &asked)
	kind := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	switch kind {
	case "slow":
		select {
		case <-time.After(3 * time.Second):
		case <-r.Context().Done():
		}
		kind = "allow"
	case "error":
		http.Error(out, "broken", http.StatusInternalServerError)
		return
	case "html":
		_, _ = io.WriteString(out, "<html>")
		return
	}
	response := object{}
	if text := admitterAnswers[kind]; text != "" {
		_ = json.Unmarshal([]byte(text), &response)
		response["uid"] = asked.Request.UID
	}
	whole := object{"apiVersion": asked.APIVersion, "kind": "AdmissionReview"}
	if len(response) > 0 {
		whole["response"] = response
	}
	out.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(out).Encode(whole)
}

// was notes, in the story, what it was sent since it was asked last.
func (a *admitter) was() {
	a.mu.Lock()
	defer a.mu.Unlock()
	body, _ := json.Marshal(a.sent)
	a.sent = nil
	a.s.Exchanges = append(a.s.Exchanges, &story.Exchange{
		Request: "the webhook was sent", Status: http.StatusOK,
		Header: http.Header{"Content-Type": {"application/json"}}, Bodies: [][]byte{body},
	})
}

// register makes a configuration of webhooks, each given in YAML: of the writes in
// the story's namespace unless it says otherwise, without side effects, asked at the
// path ANSWER. It returns what takes it away.
func (a *admitter) register(resource string, hooks ...string) (remove func()) {
	name := a.s.Namespace + "-" + resource
	var all []object
	for i, text := range hooks {
		hook := object{
			"name": string(rune('a'+i)) + ".example.com", "sideEffects": "None", "admissionReviewVersions": []string{"v1"},
			"namespaceSelector": object{"matchLabels": object{"kubernetes.io/metadata.name": a.s.Namespace}},
		}
		answer := "allow"
		for key, value := range fromYAML(text) {
			if key == "answer" {
				answer = value.(string)
				continue
			}
			hook[key] = value
		}
		if hook["clientConfig"] == nil {
			hook["clientConfig"] = object{"url": a.server.URL + "/" + answer, "caBundle": bundle(a.server.Certificate())}
		}
		all = append(all, hook)
	}
	kind := map[string]string{"mutatingwebhookconfigurations": "MutatingWebhookConfiguration", "validatingwebhookconfigurations": "ValidatingWebhookConfiguration"}[resource]
	uri := "/apis/admissionregistration.k8s.io/v1/" + resource
	kept := len(a.s.Exchanges)
	made := a.s.Post(uri, object{"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": object{"name": name}, "webhooks": all})
	if made.Status == http.StatusCreated {
		a.s.Exchanges = a.s.Exchanges[:kept] // its port is not the other's
	}
	time.Sleep(5 * informed)
	return func() {
		a.s.Quietly(func() { a.s.Delete(uri+"/"+name, nil) })
		time.Sleep(5 * informed)
	}
}

const (
	mutating   = "mutatingwebhookconfigurations"
	validating = "validatingwebhookconfigurations"
	onMaps     = `rules: [{operations: ["*"], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}]`
)

// withWebhooks tells a story while there are webhooks, and what they were sent.
func withWebhooks(resource string, hooks []string, tell func(*story.Session, *admitter)) func(*story.Session) {
	return func(s *story.Session) {
		a := newAdmitter(s)
		defer func() {
			a.server.CloseClientConnections()
			a.server.Close()
		}()
		defer a.register(resource, hooks...)()
		tell(s, a)
		a.was()
	}
}

// lifeOfMap is every write of a ConfigMap.
func lifeOfMap(s *story.Session, _ *admitter) {
	s.Post(configMaps(s), configMap("a", nil))
	s.Post(configMaps(s)+"?dryRun=All", configMap("dry", nil))
	s.Post(configMaps(s), object{"metadata": object{"generateName": "made-"}})
	s.Put(configMaps(s)+"/a", configMap("a", object{"l": "v"}))
	s.Patch(configMaps(s)+"/a?fieldManager=m", story.MergePatch, object{"data": object{"k": "v"}})
	s.Patch(configMaps(s)+"/applied?fieldManager=m", "application/apply-patch+yaml", configMap("applied", nil))
	s.Get(configMaps(s) + "/a")
	s.Delete(configMaps(s)+"/a", nil)
	s.Delete(configMaps(s), nil)
}

func webhookAdmission() []story.Story {
	told := []story.Story{
		{Name: "admission/webhook/subresources", Tell: withWebhooks(validating, []string{
			`{rules: [{operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["*/*"]}], objectSelector: {matchExpressions: [{key: unseen, operator: DoesNotExist}]}}`,
		}, func(s *story.Session, _ *admitter) {
			s.Post(pods(s), pod("a", object{"app": "web"}))
			s.Patch(pods(s)+"/a/status", story.MergePatch, object{"status": object{"phase": "Running"}})
			s.Patch(pods(s)+"/a/ephemeralcontainers", story.StrategicPatch, object{"spec": object{"ephemeralContainers": []object{{"name": "e", "image": "i"}}}})
			s.Patch(pods(s)+"/a/resize", story.StrategicPatch, object{"spec": object{"containers": []object{{"name": "web", "resources": object{"requests": object{"cpu": "1"}}}}}})
			s.Post(pods(s)+"/a/binding", object{"target": object{"kind": "Node", "name": "n"}})
			s.Post(pods(s)+"/a/eviction", object{"metadata": object{"name": "a"}, "deleteOptions": object{"gracePeriodSeconds": 0}})
			s.Post("/api/v1/namespaces/"+s.Namespace+"/serviceaccounts/default/token", object{"spec": object{"audiences": []string{"a"}}})
			deployments := "/apis/apps/v1/namespaces/" + s.Namespace + "/deployments"
			s.Post(deployments, object{"metadata": object{"name": "d"}, "spec": object{
				"selector": object{"matchLabels": object{"a": "b"}},
				"template": object{"metadata": object{"labels": object{"a": "b"}}, "spec": object{"containers": []object{{"name": "c", "image": "i"}}}},
			}})
			s.Patch(deployments+"/d/scale", story.MergePatch, object{"spec": object{"replicas": 3}})
			s.Delete(deployments+"/d", nil)
			s.Post(configMaps(s), configMap("a", object{"unseen": "yes"}))
		})},
		{Name: "admission/webhook/equivalent", Tell: withWebhooks(mutating, []string{
			`{rules: [{operations: ["*"], apiGroups: [autoscaling], apiVersions: [v1], resources: [horizontalpodautoscalers]}], answer: label}`,
			`{rules: [{operations: ["*"], apiGroups: [autoscaling], apiVersions: [v1], resources: [horizontalpodautoscalers]}], matchPolicy: Exact, answer: deny}`,
		}, func(s *story.Session, _ *admitter) {
			scaler := func(name string) object {
				return object{"metadata": object{"name": name}, "spec": object{"maxReplicas": 3, "scaleTargetRef": object{"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}}
			}
			s.Post("/apis/autoscaling/v2/namespaces/"+s.Namespace+"/horizontalpodautoscalers", scaler("a"))
			s.Post("/apis/autoscaling/v1/namespaces/"+s.Namespace+"/horizontalpodautoscalers", scaler("b"))
		})},
		{Name: "admission/webhook/conditions", Tell: withWebhooks(validating, []string{
			`{` + onMaps + `, answer: denied, matchConditions: [{name: named, expression: "object.metadata.name == 'refused'"}]}`,
			`{` + onMaps + `, answer: denied, matchConditions: [{name: fails, expression: "object.data.none == 'x'"}], failurePolicy: Ignore}`,
		}, func(s *story.Session, _ *admitter) {
			s.Post(configMaps(s), configMap("refused", nil))
			s.Post(configMaps(s), configMap("allowed", nil))
		})},
		{Name: "admission/webhook/condition-fails", Tell: withWebhooks(validating, []string{
			`{` + onMaps + `, matchConditions: [{name: fails, expression: "object.data.none == 'x'"}]}`,
		}, func(s *story.Session, _ *admitter) { s.Post(configMaps(s), configMap("a", nil)) })},
		{Name: "admission/webhook/reinvocation", Tell: withWebhooks(mutating, []string{
			`{` + onMaps + `, answer: label, reinvocationPolicy: IfNeeded}`, `{` + onMaps + `, answer: count}`, `{` + onMaps + `}`,
		}, lifeOfMap)},
		{Name: "admission/webhook/pods", Tell: withWebhooks(mutating, []string{
			`{rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}], answer: label}`,
		}, func(s *story.Session, _ *admitter) {
			s.Post(pods(s), pod("a", nil))
			s.Post("/api/v1/namespaces/"+s.Namespace+"/podtemplates", object{"metadata": object{"name": "t"}})
		})},
		{Name: "admission/webhook/v1beta1", Tell: withWebhooks(validating, []string{`{` + onMaps + `, admissionReviewVersions: [v7, v1beta1, v1]}`}, lifeOfMap)},
		{Name: "admission/webhook/dry-run", Tell: withWebhooks(validating, []string{`{` + onMaps + `, sideEffects: NoneOnDryRun}`}, lifeOfMap)},
		{Name: "admission/webhook/unreachable", Tell: withWebhooks(validating, []string{
			`{` + onMaps + `, clientConfig: {service: {namespace: default, name: none}}}`,
		}, func(s *story.Session, _ *admitter) { s.Post(configMaps(s), configMap("a", nil)) })},
		{Name: "admission/webhook/ignored", Tell: withWebhooks(validating, []string{
			`{` + onMaps + `, failurePolicy: Ignore, clientConfig: {service: {namespace: default, name: none}}}`, `{` + onMaps + `, failurePolicy: Ignore, answer: error}`,
		}, func(s *story.Session, _ *admitter) { s.Post(configMaps(s), configMap("a", nil)) })},
		{Name: "admission/webhook/slow", Tell: withWebhooks(validating, []string{`{` + onMaps + `, answer: slow, timeoutSeconds: 1}`},
			func(s *story.Session, _ *admitter) { s.Post(configMaps(s), configMap("a", nil)) })},
		{Name: "admission/webhook/custom", Tell: func(s *story.Session) {
			withCustom(`{versions: [{name: v1, properties: {spec: {type: object, properties: {size: {type: integer, default: 3}}}}}, {name: v2, properties: {spec: {type: object, properties: {size: {type: integer, default: 4}}}}}]}`, func(c custom) {
				group := c.definition["spec"].(object)["group"].(string)
				withWebhooks(mutating, []string{`{rules: [{operations: ["*"], apiGroups: [` + group + `], apiVersions: [v1], resources: ["*/*"]}], answer: label}`}, func(s *story.Session, _ *admitter) {
					c.create("a", `{spec: {size: 5}}`)
					c.create("b", `{spec: {}}`)
					s.Patch(c.in("v2")+"/a", story.MergePatch, object{"spec": object{"size": 7}})
					s.Delete(c.in("v1")+"/a", nil)
				})(s)
			})(s)
		}},
	}
	for _, resource := range []string{mutating, validating} {
		for _, answer := range []string{"allow", "label", "deny", "denied", "warn", "unsure", "nothing", "untyped", "external", "broken", "bad", "error", "html"} {
			tell := func(s *story.Session, _ *admitter) { s.Post(configMaps(s), configMap("a", nil)) }
			if answer == "allow" || answer == "label" || answer == "denied" {
				tell = lifeOfMap
			}
			told = append(told, story.Story{
				Name: "admission/webhook/" + strings.TrimSuffix(resource, "webhookconfigurations") + "-" + answer,
				Tell: withWebhooks(resource, []string{`{` + onMaps + `, answer: ` + answer + `}`}, tell),
			})
		}
	}
	return told
}
