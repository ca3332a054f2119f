package knarr_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/util/apihelpers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/knarr-io/knarr"
)

// crowded makes a level of one seat, for which nobody waits.
func crowded(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	zero, one := int32(0), int32(1)
	level := &flowcontrolv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "crowded"},
		Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: flowcontrolv1.PriorityLevelEnablementLimited,
			Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
				NominalConcurrencyShares: &one, BorrowingLimitPercent: &zero,
				LimitResponse: flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject},
			},
		},
	}
	if _, err := client.FlowcontrolV1().PriorityLevelConfigurations().Create(t.Context(), level, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// crowd makes the schema of the requests of a user, which have that level.
func crowd(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	schema := &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: "crowd"},
		Spec: flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "crowded"},
			MatchingPrecedence:         10,
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects: []flowcontrolv1.Subject{{Kind: flowcontrolv1.SubjectKindUser, User: &flowcontrolv1.UserSubject{Name: "crowd"}}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
					Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}, ClusterScope: true, Namespaces: []string{"*"},
				}},
			}},
		},
	}
	if _, err := client.FlowcontrolV1().FlowSchemas().Create(t.Context(), schema, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// says waits until the schema says whether its level dangles.
func says(t *testing.T, client kubernetes.Interface, status flowcontrolv1.ConditionStatus, message string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		schema, err := client.FlowcontrolV1().FlowSchemas().Get(t.Context(), "crowd", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		c := apihelpers.GetFlowSchemaConditionByType(schema, flowcontrolv1.FlowSchemaConditionDangling)
		if c != nil && c.Status == status && c.Message == message {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the condition is %+v, want %s: %s", c, status, message)
		}
	}
}

// review asks what the crowd may do; body is sent as it comes.
func review(t *testing.T, c *http.Client, server string, body io.Reader) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server+"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Impersonate-User", "crowd")
	answer, err := c.Do(r)
	if err != nil {
		t.Error(err)
		return nil
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	return answer
}

// Requests of a level that has no seat left are refused, and everyone is told by
// which schema and level he was served or not.
func TestFairness(t *testing.T) {
	s := start(t, knarr.Options{MaxRequestsInflight: 1, MaxMutatingRequestsInflight: 1})
	client, err := kubernetes.NewForConfig(s.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	crowd(t, client)
	says(t, client, "True", `This FlowSchema references the PriorityLevelConfiguration object named "crowded" but there is no such object`)
	crowded(t, client)
	says(t, client, "False", `This FlowSchema references the PriorityLevelConfiguration object named "crowded" and it exists`)
	schema, err := client.FlowcontrolV1().FlowSchemas().Get(t.Context(), "crowd", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range schema.ManagedFields {
		if m.Subresource == "status" && (m.Manager != "api-priority-and-fairness-config-consumer-v1" || m.Operation != metav1.ManagedFieldsOperationApply) {
			t.Errorf("the status belongs to %s by %s", m.Manager, m.Operation)
		}
	}

	c, err := rest.HTTPClientFor(s.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	const question = `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"nonResourceAttributes":{"verb":"get","path":"/"}}}`
	var write *io.PipeWriter
	var first chan *http.Response
	sit := func() {
		var slow *io.PipeReader
		slow, write = io.Pipe()
		first = make(chan *http.Response, 1)
		go func() { first <- review(t, c, s.URL(), slow) }()
		_, _ = io.WriteString(write, question[:20]) // fails if it is refused
	}
	sit()
	var refused *http.Response
	for refused == nil || refused.StatusCode == http.StatusCreated { // it may have been read before the first had its seat
		select {
		case <-first: // was refused, as one of these had the seat
			sit()
		default:
		}
		if refused = review(t, c, s.URL(), strings.NewReader(question)); refused == nil {
			return
		}
	}
	if refused.StatusCode != http.StatusTooManyRequests || refused.Header.Get("Retry-After") == "" {
		t.Errorf("the second gets %d, %v", refused.StatusCode, refused.Header)
	}
	if got := refused.Header.Get("X-Kubernetes-PF-FlowSchema-UID"); got != string(schema.UID) {
		t.Errorf("it was refused by the schema %q, want %q", got, schema.UID)
	}
	if _, err := client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("others are refused too: %v", err)
	}
	if _, err := io.WriteString(write, question[20:]); err != nil {
		t.Error(err)
	}
	write.Close()
	if answer := <-first; answer == nil || answer.StatusCode != http.StatusCreated {
		t.Errorf("the first gets %v", answer)
	}
}

// Without priority and fairness, nobody is told of it.
func TestWithoutFairness(t *testing.T) {
	no := false
	s := start(t, knarr.Options{EnablePriorityAndFairness: &no})
	c, err := rest.HTTPClientFor(s.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Get(s.URL() + "/api/v1/namespaces/default")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if got := answer.Header.Get("X-Kubernetes-PF-FlowSchema-UID"); got != "" {
		t.Errorf("served by the schema %q", got)
	}
	client, err := kubernetes.NewForConfig(s.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	schema, err := client.FlowcontrolV1().FlowSchemas().Get(t.Context(), "catch-all", metav1.GetOptions{})
	if err != nil || len(schema.Status.Conditions) != 0 {
		t.Errorf("the status is %+v, %v", schema.Status, err)
	}
}
