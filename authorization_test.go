package knarr_test

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/knarrtest"
)

// actingAs returns a client in the name of a user.
func actingAs(t *testing.T, server *knarr.Server, user string, groups ...string) *kubernetes.Clientset {
	t.Helper()
	config := server.ClientConfig()
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func binding(role string, users ...string) *rbacv1.RoleBinding {
	b := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "b-", Namespace: "default"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
	}
	for _, user := range users {
		b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user})
	}
	return b
}

// What was granted holds for the next request, what was revoked for the next no
// more; and the roles that users are given have the rules of their parts.
func TestGrantAndRevoke(t *testing.T) {
	server := knarrtest.Start(t)
	admin, jane := newClient(t, server), actingAs(t, server, "jane")
	awaitRules(t, admin, "view")
	for range 30 {
		made, err := admin.RbacV1().RoleBindings("default").Create(t.Context(), binding("view", "jane"), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jane.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{}); err != nil {
			t.Fatalf("granted: %v", err)
		}
		if err := admin.RbacV1().RoleBindings("default").Delete(t.Context(), made.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := jane.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
			t.Fatalf("revoked: %v", err)
		}
	}
}

// awaitRules waits until an aggregated role lets pods be read, which it has from its
// parts, or theirs.
func awaitRules(t *testing.T, client kubernetes.Interface, role string) {
	t.Helper()
	roles, err := client.RbacV1().ClusterRoles().Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + role})
	if err != nil {
		t.Fatal(err)
	}
	defer roles.Stop()
	for event := range roles.ResultChan() {
		if role, ok := event.Object.(*rbacv1.ClusterRole); ok && event.Type != watch.Deleted && slices.ContainsFunc(role.Rules, func(r rbacv1.PolicyRule) bool {
			return slices.Contains(r.Resources, "pods") && slices.Contains(r.Verbs, "get")
		}) {
			return
		}
	}
	t.Fatalf("%s has not got the rules of its parts", role)
}

// Nobody gives more than he has, however he writes it.
func TestEscalation(t *testing.T) {
	server := knarrtest.Start(t)
	admin, jane := newClient(t, server), actingAs(t, server, "jane")
	awaitRules(t, admin, "admin")
	if _, err := admin.RbacV1().RoleBindings("default").Create(t.Context(), binding("admin", "jane"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	roles := jane.RbacV1().Roles("default")
	rules := func(resource string) []rbacv1.PolicyRule {
		return []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{resource}}}
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Rules: rules("pods")}
	if _, err := roles.Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	role.Rules = rules("nodes")
	patch := func(kind types.PatchType, options metav1.PatchOptions) error {
		const nodes = `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"r"},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["nodes"]}]}`
		_, err := roles.Patch(t.Context(), "r", kind, []byte(nodes), options)
		return err
	}
	force := true
	for how, write := range map[string]func() error{
		"create": func() error {
			_, err := roles.Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Rules: rules("nodes")}, metav1.CreateOptions{})
			return err
		},
		"update":      func() error { _, err := roles.Update(t.Context(), role, metav1.UpdateOptions{}); return err },
		"merge patch": func() error { return patch(types.MergePatchType, metav1.PatchOptions{}) },
		"apply": func() error {
			return patch(types.ApplyPatchType, metav1.PatchOptions{FieldManager: "m", Force: &force})
		},
		"bind": func() error {
			_, err := jane.RbacV1().RoleBindings("default").Create(t.Context(), binding("cluster-admin", "jane"), metav1.CreateOptions{})
			return err
		},
	} {
		if err := write(); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `user "jane" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held`) {
			t.Errorf("%s: %v", how, err)
		}
	}
}

// A node reads the secrets of the pods that are bound to it, from the moment they are.
func TestNodes(t *testing.T) {
	server := knarrtest.Start(t)
	admin, node := newClient(t, server), actingAs(t, server, "system:node:n", "system:nodes")
	if _, err := admin.CoreV1().Secrets("default").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	get := func() error {
		_, err := node.CoreV1().Secrets("default").Get(t.Context(), "s", metav1.GetOptions{})
		return err
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "c", Image: "i"}},
		Volumes:    []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}}},
	}}
	if _, err := admin.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := get(); !apierrors.IsForbidden(err) || !strings.HasSuffix(err.Error(), "no relationship found between node 'n' and this object") {
		t.Errorf("before: %v", err)
	}
	err := admin.CoreV1().Pods("default").Bind(t.Context(), &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Target: corev1.ObjectReference{Kind: "Node", Name: "n"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := get(); err != nil {
		t.Errorf("bound: %v", err)
	}
}

// A webhook decides, and nothing of it is left when the server has stopped.
func TestAuthorizationWebhook(t *testing.T) {
	webhook := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review authorizationv1.SubjectAccessReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
		}
		review.Status.Allowed = review.Spec.User == "jane"
		review.Status.Reason = "who is " + review.Spec.User + "?"
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	}))
	defer webhook.Close()
	config := filepath.Join(t.TempDir(), "webhook.kubeconfig")
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"w": {
			Server: webhook.URL, CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: webhook.Certificate().Raw}),
		}},
		Contexts: map[string]*clientcmdapi.Context{"w": {Cluster: "w"}}, CurrentContext: "w",
	}, config); err != nil {
		t.Fatal(err)
	}
	before := goleak.IgnoreCurrent()
	server := start(t, knarr.Options{AuthorizationModes: []string{"RBAC", "Webhook"}, AuthorizationWebhookConfigFile: config, AuthorizationWebhookVersion: "v1"})
	list := func(user string) error {
		_, err := actingAs(t, server, user).CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
		return err
	}
	if err := list("jane"); err != nil {
		t.Error(err)
	}
	if err := list("bob"); !apierrors.IsForbidden(err) || !strings.HasSuffix(err.Error(), "default: who is bob?") {
		t.Error(err)
	}
	stop(t, server)
	goleak.VerifyNone(t, before)
}

// What is wrong with the options is told before anything is started.
func TestAuthorizationOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("kind: AuthorizationConfiguration\napiVersion: apiserver.config.k8s.io/v1\nauthorizers: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]knarr.Options{
		`authorization-mode "Magic" is not a valid mode`:                               {AuthorizationModes: []string{"Magic"}},
		"authorizers: Required value: at least one authorization mode must be defined": {AuthorizationConfig: file},
	} {
		if _, err := knarr.Start(t.Context(), o); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
