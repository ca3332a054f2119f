package stories

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/knarr-io/knarr/twin/story"
)

// Authorizers are those beside RBAC and Node that both servers are configured with: a
// policy of ABAC, and a webhook, which is a server within this program that both ask.
type Authorizers struct {
	webhook *httptest.Server
	config  string
	// Flags are what the servers are to be started with.
	Flags []string
}

// StartAuthorizers starts the webhook and writes the configuration of it and the others
// below a directory.
func StartAuthorizers(dir string) (*Authorizers, error) {
	a := &Authorizers{webhook: httptest.NewTLSServer(http.HandlerFunc(decide)), config: filepath.Join(dir, "authorization.yaml")}
	policy := filepath.Join(dir, "policy.jsonl")
	a.Flags = []string{"--authorization-config=" + a.config, "--authorization-policy-file=" + policy}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.webhook.Certificate().Raw})
	for name, url := range map[string]string{"alive": a.webhook.URL, "dead": "https://127.0.0.1:1"} {
		config := object{
			"apiVersion": "v1", "kind": "Config", "current-context": "w",
			"clusters": []object{{"name": "w", "cluster": object{"server": url, "certificate-authority-data": authority}}},
			"contexts": []object{{"name": "w", "context": object{"cluster": "w", "user": "w"}}},
			"users":    []object{{"name": "w", "user": object{}}},
		}
		content, err := json.Marshal(config)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+".kubeconfig"), content, 0o600)
		}
		if err != nil {
			a.Close()
			return nil, err
		}
	}
	var lines strings.Builder
	for _, spec := range []object{
		{"user": "abac-reader", "namespace": "*", "resource": "*", "apiGroup": "*", "readonly": true},
		{"user": "abac-writer", "namespace": "*", "resource": "configmaps", "apiGroup": ""},
		{"group": "abac-group", "namespace": "default", "resource": "*", "apiGroup": "*"},
		{"group": "abac-group", "nonResourcePath": "/none*"},
	} {
		line, err := json.Marshal(object{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": spec})
		if err != nil {
			a.Close()
			return nil, err
		}
		fmt.Fprintf(&lines, "%s\n", line)
	}
	err := os.WriteFile(policy, []byte(lines.String()), 0o600)
	if err == nil {
		err = a.configure("hook-")
	}
	if err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// configure writes the configuration: users whose names have this prefix are the
// webhook's.
func (a *Authorizers) configure(prefix string) error {
	hook := func(name, kubeconfig, policy string, conditions ...string) object {
		matches := []object{}
		for _, c := range conditions {
			matches = append(matches, object{"expression": c})
		}
		return object{"type": "Webhook", "name": name, "webhook": object{
			"authorizedTTL": "1s", "unauthorizedTTL": "1s", "cacheAuthorizedRequests": false, "cacheUnauthorizedRequests": false,
			"timeout": "3s", "subjectAccessReviewVersion": "v1", "matchConditionSubjectAccessReviewVersion": "v1", "failurePolicy": policy,
			"connectionInfo":  object{"type": "KubeConfigFile", "kubeConfigFile": filepath.Join(filepath.Dir(a.config), kubeconfig+".kubeconfig")},
			"matchConditions": matches,
		}}
	}
	content, err := json.Marshal(object{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration",
		"authorizers": []object{
			hook("outside", "alive", "NoOpinion", "request.user.startsWith('"+prefix+"')"),
			hook("some", "alive", "Deny", "request.user.startsWith('some-')", "has(request.resourceAttributes)", "request.resourceAttributes.verb != 'get'",
				"!has(request.resourceAttributes.labelSelector) || request.resourceAttributes.labelSelector.requirements.size() == 0"),
			hook("dead", "dead", "Deny", "request.user == 'dead-closed'"),
			hook("dying", "dead", "NoOpinion", "request.user == 'dead-open'"),
			{"type": "Node", "name": "node"}, {"type": "RBAC", "name": "rbac"}, {"type": "ABAC", "name": "abac"},
		},
	})
	if err != nil {
		return err
	}
	// Both servers watch the file, and both are told the story that changes it.
	next, err := os.CreateTemp(filepath.Dir(a.config), "next-")
	if err != nil {
		return err
	}
	_, err = next.Write(content)
	if err = errors.Join(err, next.Close()); err != nil {
		return err
	}
	return os.Rename(next.Name(), a.config)
}

// Close ends the webhook.
func (a *Authorizers) Close() {
	a.webhook.CloseClientConnections()
	a.webhook.Close()
}

// decide answers by the end of the user's name.
func decide(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var asked struct{ Spec json.RawMessage }
	var spec struct{ User string }
	if err == nil {
		if err = json.Unmarshal(body, &asked); err == nil {
			err = json.Unmarshal(asked.Spec, &spec)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	status := object{}
	_, answer, _ := strings.Cut(spec.User, "-")
	switch answer {
	case "allow":
		status = object{"allowed": true, "reason": "because"}
	case "deny":
		status = object{"allowed": false, "denied": true, "reason": "never"}
	case "none":
		status = object{"allowed": false, "reason": "not known here"}
	case "both":
		status = object{"allowed": true, "denied": true}
	case "error":
		status = object{"allowed": false, "evaluationError": "something is wrong"}
	case "echo": // what it was asked
		status = object{"allowed": false, "denied": true, "reason": string(asked.Spec)}
	case "forbidden":
		http.Error(w, "not you", http.StatusForbidden)
		return
	case "nonsense":
		fmt.Fprint(w, "nonsense")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object{"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "status": status})
}

// Stories tell what the configured authorizers decide.
func (a *Authorizers) Stories() []story.Story {
	all := []story.Story{}
	for _, user := range []string{
		"hook-allow", "hook-deny", "hook-none", "hook-both", "hook-error", "hook-echo", "hook-forbidden", "hook-nonsense",
		"some-allow", "some-deny", "some-echo", "dead-closed", "dead-open", "abac-reader", "abac-writer", "abac-nobody",
	} {
		all = append(all, story.Story{Name: "authorizers/" + user, Tell: func(s *story.Session) {
			p := &policy{Session: s}
			p.Post(configMaps(s), configMap("a", nil))
			everything(p, as(user))
			review := func(spec object) { p.Post("/apis/authorization.k8s.io/v1/subjectaccessreviews", object{"spec": spec}) }
			review(object{"user": user, "groups": []string{"g", "h"}, "uid": "7", "extra": object{"scopes": []string{"a"}}, "nonResourceAttributes": object{"path": "/x", "verb": "post"}})
			review(object{"user": user, "resourceAttributes": object{
				"verb": "list", "resource": "pods", "namespace": s.Namespace, "labelSelector": object{"rawSelector": "a in (b)"}, "fieldSelector": object{"rawSelector": "spec.nodeName=a"},
			}})
			p.Post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", object{"spec": object{"namespace": s.Namespace}}, as(user))
			p.Only("status", "evaluationError")
		}})
	}
	all = append(all, story.Story{Name: "authorizers/abac-group", Tell: func(s *story.Session) {
		everything(&policy{Session: s}, as("jane", "abac-group"))
	}}, story.Story{Name: "authorizers/nodes", Tell: func(s *story.Session) {
		everything(&policy{Session: s}, as("system:node:n1", "system:nodes"))
	}}, story.Story{Name: "authorizers/reload", Tell: func(s *story.Session) {
		get := func(user string, code int) {
			s.Await(configMaps(s), func(a story.Answer) bool { return a.Status == code }, as(user))
		}
		if err := a.configure("late-"); err != nil { // the last story: it stays so
			panic(err)
		}
		get("late-allow", http.StatusOK)
		get("hook-allow", http.StatusForbidden)
	}})
	return all
}
