package knarr_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/knarrtest"
)

func newClient(t *testing.T, server *knarr.Server) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(server.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// The parts of the control plane are asked where kube-apiserver asks them; what
// stands for etcd is the store.
func TestComponentStatuses(t *testing.T) {
	client := newClient(t, knarrtest.Start(t))
	statuses := client.CoreV1().ComponentStatuses()
	store, err := statuses.Get(t.Context(), "etcd-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (corev1.ComponentCondition{Type: corev1.ComponentHealthy, Status: corev1.ConditionTrue, Message: "ok"}); !slices.Equal(store.Conditions, []corev1.ComponentCondition{want}) {
		t.Errorf("the store is %v", store.Conditions)
	}
	// Nothing listens there in a test.
	scheduler, err := statuses.Get(t.Context(), "scheduler", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if c := scheduler.Conditions[0]; c.Status != corev1.ConditionFalse || !strings.Contains(c.Message, `"https://127.0.0.1:10259/healthz"`) {
		t.Errorf("the scheduler is %v", c)
	}
	if _, err := statuses.Get(t.Context(), "none", metav1.GetOptions{}); err == nil || err.Error() != `componentstatus "none" not found` {
		t.Error(err)
	}
	names := func(opts metav1.ListOptions) (names []string) {
		t.Helper()
		all, err := statuses.List(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		if all.ResourceVersion != "" {
			t.Errorf("the list has resourceVersion %s", all.ResourceVersion)
		}
		for _, s := range all.Items {
			names = append(names, s.Name)
		}
		slices.Sort(names)
		return names
	}
	if got := names(metav1.ListOptions{}); !slices.Equal(got, []string{"controller-manager", "etcd-0", "scheduler"}) {
		t.Errorf("there are %v", got)
	}
	if got := names(metav1.ListOptions{FieldSelector: "metadata.name=etcd-0"}); !slices.Equal(got, []string{"etcd-0"}) {
		t.Errorf("by name there are %v", got)
	}
	if got := names(metav1.ListOptions{LabelSelector: "a=b"}); len(got) != 0 {
		t.Errorf("by label there are %v", got)
	}
	if _, err := statuses.Watch(t.Context(), metav1.ListOptions{}); !apierrors.IsMethodNotSupported(err) {
		t.Errorf("watching is %v", err)
	}

	request := func(accept, path string) (string, string) {
		t.Helper()
		warnings := ""
		result := client.CoreV1().RESTClient().Get().RequestURI(path).SetHeader("Accept", accept).Do(t.Context())
		for _, w := range result.Warnings() {
			warnings += w.Text
		}
		body, err := result.Raw()
		if err != nil {
			t.Fatal(err)
		}
		return string(body), warnings
	}
	table, warnings := request("application/json;as=Table;v=v1;g=meta.k8s.io", "/api/v1/componentstatuses/etcd-0")
	if !strings.Contains(table, `"cells":["etcd-0","Healthy","ok",""]`) || warnings != "v1 ComponentStatus is deprecated in v1.19+" {
		t.Errorf("the table is %s, with %s", table, warnings)
	}
	partial, _ := request("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "/api/v1/componentstatuses?fieldSelector=metadata.name=etcd-0")
	if want := `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{},"items":[{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"etcd-0"}}]}`; strings.TrimSpace(partial) != want {
		t.Errorf("the metadata is %s", partial)
	}
}

// A claim may ask for admin access only in a namespace that says so.
func TestAdminAccessNeedsItsNamespace(t *testing.T) {
	client := newClient(t, knarrtest.Start(t))
	yes := true
	claim := &resourcev1.ResourceClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "c"},
		Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{
			{Name: "r", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "d", AdminAccess: &yes}},
		}}},
	}
	_, err := client.ResourceV1().ResourceClaims("default").Create(t.Context(), claim, metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "resource.kubernetes.io/admin-access: true") {
		t.Errorf("without the label: %v", err)
	}
	admin := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "admin", Labels: map[string]string{resourcev1.DRAAdminNamespaceLabelKey: "true"}}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), admin, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.ResourceV1().ResourceClaims("admin").Create(t.Context(), claim, metav1.CreateOptions{}); err != nil {
		t.Errorf("with the label: %v", err)
	}
}

// Events are the same by both groups, and are gone after their time, even if
// the server was not there to see it.
func TestEvents(t *testing.T) {
	options := knarr.Options{DataDir: t.TempDir(), EventTTL: time.Second}
	server := start(t, options)
	client := newClient(t, server)
	now := metav1.NowMicro()
	byEvents := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e"}, EventTime: now, ReportingController: "a.example/c", ReportingInstance: "c-0",
		Action: "Do", Reason: "Done", Type: corev1.EventTypeNormal, Regarding: corev1.ObjectReference{Namespace: "default", Kind: "Pod", Name: "p"},
	}
	if _, err := client.EventsV1().Events("default").Create(t.Context(), byEvents, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	byCore, err := client.CoreV1().Events("default").Get(t.Context(), "e", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if byCore.InvolvedObject.Name != "p" || byCore.ReportingController != "a.example/c" {
		t.Errorf("core's is %v", byCore)
	}
	// The new group asks for more than core does.
	lax := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "lax"}, InvolvedObject: corev1.ObjectReference{Namespace: "default"}}
	if _, err := client.CoreV1().Events("default").Create(t.Context(), lax, metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
	byEvents.Name, byEvents.Action = "strict", ""
	if _, err := client.EventsV1().Events("default").Create(t.Context(), byEvents, metav1.CreateOptions{}); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "action: Required value") {
		t.Errorf("without an action: %v", err)
	}
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}
	if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), kept, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	stop(t, server)
	server = start(t, options)
	defer stop(t, server)
	client = newClient(t, server)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		left, err := client.EventsV1().Events("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(left.Items) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := client.CoreV1().ConfigMaps("default").Get(ctx, "kept", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

// A flow schema that a user makes is told whether its priority level exists.
func TestFlowSchemaDangles(t *testing.T) {
	client := newClient(t, knarrtest.Start(t))
	schemas := client.FlowcontrolV1().FlowSchemas()
	mine, err := schemas.Get(t.Context(), "service-accounts", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mine.ObjectMeta = metav1.ObjectMeta{Name: "mine"}
	mine.Status.Conditions = nil
	mine.Spec.PriorityLevelConfiguration.Name = "none"
	if _, err := schemas.Create(t.Context(), mine, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		got, err := schemas.Get(ctx, "mine", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if c := got.Status.Conditions; len(c) == 1 && c[0].Reason == "NotFound" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
