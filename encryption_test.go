package knarr_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/knarr-io/knarr"
)

// encryptionConfig is a file that has secrets encrypted, for which there are
// keys of these letters, the first to write with.
func encryptionConfig(t *testing.T, resources, letters string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "encryption.yaml")
	content := "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [" + resources + "]\n  providers:\n"
	if letters != "" {
		content += "  - aescbc:\n      keys:\n"
	}
	for _, letter := range letters {
		// 32 bytes, all of them the same.
		content += "      - {name: " + string(letter) + ", secret: " + strings.Repeat(map[rune]string{'a': "YWFh", 'b': "YmJi"}[letter], 10) +
			map[rune]string{'a': "YWE=", 'b': "YmI="}[letter] + "}\n"
	}
	writeFile(t, path, content+"  - identity: {}\n")
	return path
}

// onDisk reports whether any file of a directory has a text in it.
func onDisk(t *testing.T, dir, text string) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || bytes.Contains(b, []byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func newSecret(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"k": []byte("hunter2-" + name)}}
}

// replaced writes an object again as it is, and reports whether that was a change.
func replaced(t *testing.T, client kubernetes.Interface, name string) bool {
	t.Helper()
	secrets := client.CoreV1().Secrets("default")
	s, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	after, err := secrets.Update(t.Context(), s, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return after.ResourceVersion != s.ResourceVersion
}

// Keys are rotated as in kube-apiserver: add the new one, write everything again
// as it is, take the old one away.
func TestEncryption(t *testing.T) {
	options := knarr.Options{DataDir: t.TempDir()}
	begin := func(resources, letters string) (*knarr.Server, kubernetes.Interface) {
		options.EncryptionProviderConfig = ""
		if resources != "" {
			options.EncryptionProviderConfig = encryptionConfig(t, resources, letters)
		}
		server := start(t, options)
		return server, clientOf(t, server.ClientConfig())
	}
	server, client := begin("", "")
	if _, err := client.CoreV1().Secrets("default").Create(t.Context(), newSecret("plain"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	stop(t, server)

	server, client = begin("secrets", "a")
	if _, err := client.CoreV1().Secrets("default").Create(t.Context(), newSecret("first"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Secrets("default").Create(t.Context(), newSecret("stays"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if replaced(t, client, "first") {
		t.Error("what is kept as it is to be was written again")
	}
	if !replaced(t, client, "plain") || replaced(t, client, "plain") {
		t.Error("what was plain is not written once more")
	}
	stop(t, server)
	if onDisk(t, options.DataDir, "hunter2-first") || !onDisk(t, options.DataDir, "k8s:enc:aescbc:v1:a:") {
		t.Error("a secret is on disk as it is")
	}

	server, client = begin("'*.*'", "ba") // the server's own objects, too
	for _, name := range []string{"plain", "first"} {
		if !replaced(t, client, name) || replaced(t, client, name) {
			t.Errorf("%s, of the old key, is not written once more", name)
		}
	}
	stop(t, server)

	server, client = begin("secrets", "b") // it starts, although it cannot read some of those
	defer stop(t, server)
	secrets := client.CoreV1().Secrets("default")
	for _, name := range []string{"plain", "first"} {
		if s, err := secrets.Get(t.Context(), name, metav1.GetOptions{}); err != nil || string(s.Data["k"]) != "hunter2-"+name {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	_, err := secrets.Get(t.Context(), "stays", metav1.GetOptions{})
	if !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), "data from the storage is not transformable revision=0: no matching key was found for the provided AES transformer") {
		t.Errorf("of a key that is gone: %v", err)
	}
	if _, err = secrets.List(t.Context(), metav1.ListOptions{}); apierrors.ReasonForError(err) != metav1.StatusReasonStoreReadError {
		t.Errorf("listed: %v", err)
	}
	unsafe := metav1.DeleteOptions{IgnoreStoreReadErrorWithClusterBreakingPotential: ptr.To(true)}
	if err := secrets.Delete(t.Context(), "stays", unsafe); err != nil {
		t.Errorf("it cannot be deleted: %v", err)
	}
	if list, err := secrets.List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 2 {
		t.Errorf("listed without it: %v, %v", list, err)
	}
}

func TestEncryptionRefused(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "encryption.yaml")
	writeFile(t, broken, "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n- resources: [secrets]\n  providers: [{aesgcm: {keys: [{name: a, secret: hunter2}]}}]\n")
	for want, options := range map[string]knarr.Options{
		"only if there is one":      {EncryptionProviderConfigAutomaticReload: true},
		"encryption configuration:": {EncryptionProviderConfig: broken},
		"no such file":              {EncryptionProviderConfig: broken + ".none"},
		"loading the audit policy":  {Audit: &knarr.Audit{PolicyFile: broken}},
	} {
		server, err := knarr.Start(t.Context(), options)
		if err == nil {
			stop(t, server)
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v; want one line with %q", err, want)
		}
	}
}
