package knarr_test

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/knarrtest"
)

// limit makes a quota and waits until it holds.
func limit(t *testing.T, client kubernetes.Interface, namespace string, hard corev1.ResourceList) {
	t.Helper()
	quotas := client.CoreV1().ResourceQuotas(namespace)
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
	if _, err := quotas.Create(t.Context(), q, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the quota is counted", func() bool {
		got, err := quotas.Get(t.Context(), "q", metav1.GetOptions{})
		return err == nil && len(got.Status.Used) == len(hard)
	})
}

// used is how much of a resource a quota says is used.
func used(t *testing.T, client kubernetes.Interface, namespace string, of corev1.ResourceName) int64 {
	t.Helper()
	q, err := client.CoreV1().ResourceQuotas(namespace).Get(t.Context(), "q", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	amount := q.Status.Used[of]
	return amount.Value()
}

// However many create at once, beside a controller that counts: what a quota
// allows is made, no more and no less, and nothing is counted that was not made.
func TestQuotaIsExact(t *testing.T) {
	server := knarrtest.Start(t)
	client := newClient(t, server)
	createNamespace(t, client, "limited")
	content(t, client, "limited") // one ConfigMap
	const hard, creators = 40, 16
	limit(t, client, "limited", corev1.ResourceList{"configmaps": resource.MustParse(fmt.Sprint(hard))})
	configMaps := client.CoreV1().ConfigMaps("limited")

	var made, refused atomic.Int64
	var running sync.WaitGroup
	for i := range creators {
		running.Go(func() {
			for j := range 5 {
				// Each name is tried by two: one of them fails, and uses nothing.
				name := fmt.Sprintf("c%d-%d", i/2, j)
				_, err := configMaps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
				switch {
				case err == nil:
					made.Add(1)
				case apierrors.IsForbidden(err):
					refused.Add(1)
				case !apierrors.IsAlreadyExists(err):
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	list, err := configMaps.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n := used(t, client, "limited", "configmaps"); len(list.Items) != hard || n != hard || made.Load() != hard-1 {
		t.Errorf("%d were made, there are %d, %d are used; %d are allowed", made.Load(), len(list.Items), n, hard)
	}
	if refused.Load() == 0 {
		t.Error("nobody was refused")
	}
	for _, c := range list.Items[:10] {
		if err := configMaps.Delete(t.Context(), c.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "what was deleted is not used", func() bool { return used(t, client, "limited", "configmaps") <= hard-9 })
}

// A dry run uses nothing, and is refused where the write would be.
func TestQuotaInADryRun(t *testing.T) {
	server := knarrtest.Start(t)
	client := newClient(t, server)
	limit(t, client, "default", corev1.ResourceList{"secrets": resource.MustParse("1")})
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	secrets := client.CoreV1().Secrets("default")
	for range 2 {
		if _, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, dry); err != nil {
			t.Fatal(err)
		}
	}
	if n := used(t, client, "default", "secrets"); n != 0 {
		t.Errorf("%d are used", n)
	}
	if _, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "t"}}, dry)
	if !apierrors.IsForbidden(err) {
		t.Errorf("the dry run of one too many: %v", err)
	}
}

// What somebody else has said of a quota's limits is put right.
func TestQuotaStatusIsKept(t *testing.T) {
	server := knarrtest.Start(t)
	client := newClient(t, server)
	limit(t, client, "default", corev1.ResourceList{"secrets": resource.MustParse("1")})
	quotas := client.CoreV1().ResourceQuotas("default")
	if _, err := quotas.Patch(t.Context(), "q", types.MergePatchType, []byte(`{"status":{"hard":{"secrets":"7"}}}`), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the status has the limits of the quota", func() bool {
		q, err := quotas.Get(t.Context(), "q", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return q.Status.Hard.Name("secrets", resource.DecimalSI).Value() == 1
	})
}

// Objects of custom resources are counted as others are.
func TestQuotaCountsCustomResources(t *testing.T) {
	server := knarrtest.Start(t)
	c := newCustom(t, server)
	client := newClient(t, server)
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
		"count/widgets.example.com": resource.MustParse("1"),
	}}}
	if _, err := client.CoreV1().ResourceQuotas("default").Create(t.Context(), q, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.define(widgetDefinition)
	eventually(t, "what was defined after the quota is counted", func() bool {
		got, err := client.CoreV1().ResourceQuotas("default").Get(t.Context(), "q", metav1.GetOptions{})
		return err == nil && len(got.Status.Used) == 1
	})
	if _, err := c.widgets().Create(t.Context(), widget("a", `{}`), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.widgets().Create(t.Context(), widget("b", `{}`), metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("one too many: %v", err)
	}
	if err := c.widgets().Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was deleted is not used", func() bool { return used(t, client, "default", "count/widgets.example.com") == 0 })
}

// What the flags ask for runs.
func TestAdmissionPluginsByOption(t *testing.T) {
	seconds := int64(7)
	server := knarrtest.StartWith(t, knarr.Options{
		EnableAdmissionPlugins: []string{"AlwaysPullImages"}, DisableAdmissionPlugins: []string{"Priority"},
		DefaultNotReadyTolerationSeconds: &seconds,
	})
	pod, err := newClient(t, server).CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", ImagePullPolicy: corev1.PullNever}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tolerated := []int64{*pod.Spec.Tolerations[0].TolerationSeconds, *pod.Spec.Tolerations[1].TolerationSeconds}
	if pod.Spec.Containers[0].ImagePullPolicy != corev1.PullAlways || pod.Spec.Priority != nil || tolerated[0] != 7 || tolerated[1] != 300 {
		t.Errorf("the pod is pulled %s, its priority is %v, its tolerations are of %v", pod.Spec.Containers[0].ImagePullPolicy, pod.Spec.Priority, tolerated)
	}
	o := knarr.Options{EnableAdmissionPlugins: []string{"EventRateLimit"}, AdmissionControlConfigFile: filepath.Join(t.TempDir(), "none.yaml")}
	if server, err := knarr.Start(t.Context(), o); err == nil {
		_ = server.Stop(t.Context()) // it should not have begun
		t.Error("started, without its configuration")
	}
}

// A webhook is asked from the first write after its configuration was made to the
// last before it is gone: nobody waits for a cache.
func TestWebhooksHoldAtOnce(t *testing.T) {
	server := knarrtest.Start(t)
	client := newClient(t, server)
	var asked atomic.Int64
	hook := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Result: &metav1.Status{Message: "no", Code: http.StatusForbidden}}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	}))
	defer hook.Close()
	defer hook.CloseClientConnections()
	none := admissionregistrationv1.SideEffectClassNone
	configurations := client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "w"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "w.example.com", SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				URL:      &hook.URL,
				CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hook.Certificate().Raw}),
			},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	}
	create := func(name string) error {
		_, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		return err
	}
	for i := range 20 {
		made, err := configurations.Create(t.Context(), configuration, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := create("refused"); !isForbidden(err) {
			t.Fatalf("with a webhook: %v", err)
		}
		made.Webhooks[0].Rules[0].Resources[0] = "secrets"
		if made, err = configurations.Update(t.Context(), made, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := create(fmt.Sprint("changed", i)); err != nil {
			t.Fatalf("with a webhook of others: %v", err)
		}
		made.Webhooks[0].Rules[0].Resources[0] = "configmaps"
		if _, err = configurations.Update(t.Context(), made, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := create("refused"); !isForbidden(err) {
			t.Fatalf("with the webhook again: %v", err)
		}
		if err := configurations.Delete(t.Context(), "w", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := create(fmt.Sprint("gone", i)); err != nil {
			t.Fatalf("without it: %v", err)
		}
	}
	if asked.Load() != 40 {
		t.Errorf("it was asked %d times", asked.Load())
	}
}

// isForbidden reports whether an answer was 403, whatever its reason.
func isForbidden(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Code == http.StatusForbidden
}
