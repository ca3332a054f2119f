package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// The library starts and stops knarr as it does kube-apiserver and etcd, and nothing of it
// stays.
func TestLibrary(t *testing.T) {
	if testing.Short() {
		t.Skip("builds knarr")
	}
	dir, temporary := t.TempDir(), t.TempDir()
	program, assets := filepath.Join(dir, "knarr"), filepath.Join(dir, "assets")
	for _, arguments := range [][]string{{"go", "build", "-o", program, "./cmd/knarr"}, {program, "envtest", assets}} {
		cmd := exec.CommandContext(t.Context(), arguments[0], arguments[1:]...)
		cmd.Dir = filepath.Join("..", "..")
		if output, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", arguments, err, output)
		}
	}
	t.Setenv("KUBEBUILDER_ASSETS", assets)
	t.Setenv("TMPDIR", temporary)

	environment := &envtest.Environment{CRDs: []*apiextensionsv1.CustomResourceDefinition{{
		ObjectMeta: metav1.ObjectMeta{Name: "boats.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com", Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "boats", Kind: "Boat"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object"}},
			}},
		},
	}}}
	m := measure(assets)
	config, err := environment.Start()
	if err != nil {
		t.Fatal(err)
	}
	stop := func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	}
	defer func() { stop() }()
	admin, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bare"}}); err != nil {
		t.Fatal(err)
	}
	// As with kube-apiserver alone, a namespace has nothing that nobody has made.
	for _, list := range []client.ObjectList{&corev1.ConfigMapList{}, &corev1.ServiceAccountList{}, &corev1.SecretList{}} {
		if err := admin.List(t.Context(), list, client.InNamespace("bare")); err != nil {
			t.Fatal(err)
		}
		switch all := list.(type) {
		case *corev1.ConfigMapList:
			empty(t, all.Items)
		case *corev1.ServiceAccountList:
			empty(t, all.Items)
		case *corev1.SecretList:
			empty(t, all.Items)
		}
	}
	user, err := environment.AddUser(envtest.User{Name: "jane", Groups: []string{"dev"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jane, err := client.New(user.Config(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := jane.List(t.Context(), &corev1.SecretList{}); !apierrors.IsForbidden(err) {
		t.Errorf("jane, who may do nothing: %v", err)
	}
	output, _, err := environment.ControlPlane.KubeCtl().Run("api-resources", "--api-group=example.com", "-o", "name")
	if err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(output); err != nil || strings.TrimSpace(string(said)) != "boats.example.com" {
		t.Errorf("kubectl: %s, %v", said, err)
	}
	if len(m.servers()) != 2 {
		t.Errorf("%d processes run", len(m.servers()))
	}
	stop()
	stop = func() {}
	if _, _, left := m.stop(); left {
		t.Error("a process has outlived the environment")
	}
	if entries, err := os.ReadDir(temporary); err != nil || len(entries) > 0 {
		t.Errorf("there is left %v, %v", entries, err)
	}
	if err := admin.List(context.Background(), &corev1.NamespaceList{}); err == nil {
		t.Error("it still serves")
	}
}

func empty[T any](t *testing.T, items []T) {
	t.Helper()
	if len(items) > 0 {
		t.Errorf("there is %v", items)
	}
}
