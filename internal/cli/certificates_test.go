package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"

	"github.com/knarr-io/knarr"
)

// newRequest makes a key and a CertificateSigningRequest for it, name.key and
// name.yaml.
func newRequest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: newrequest name signer usages user group...")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	ts.Check(err)
	request, err := cert.MakeCSR(key, &pkix.Name{CommonName: args[3], Organization: args[4:]}, nil, nil)
	ts.Check(err)
	object, err := json.Marshal(map[string]any{
		"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": map[string]any{"name": args[0]},
		"spec": map[string]any{"signerName": args[1], "usages": strings.Split(args[2], ","), "request": request},
	})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), keyPEM, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".yaml"), object, 0o600))
}

// decode writes what a file, or stdout, has in it as base64 to another.
func decode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: decode from to")
	}
	content, err := base64.StdEncoding.DecodeString(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), content, 0o600))
}

func TestSigningFlags(t *testing.T) {
	got, err := parse("--cluster-signing-cert-file=c", "--cluster-signing-key-file=k", "--cluster-signing-duration=1h",
		"--cluster-signing-kube-apiserver-client-cert-file=ac", "--cluster-signing-kube-apiserver-client-key-file=ak",
		"--cluster-signing-kubelet-client-cert-file=cc", "--cluster-signing-kubelet-client-key-file=ck",
		"--cluster-signing-kubelet-serving-cert-file=sc", "--cluster-signing-kubelet-serving-key-file=sk",
		"--cluster-signing-legacy-unknown-cert-file=lc", "--cluster-signing-legacy-unknown-key-file=lk")
	if err != nil {
		t.Fatal(err)
	}
	files := func(cert, key string) knarr.SigningFiles { return knarr.SigningFiles{CertFile: cert, KeyFile: key} }
	want := knarr.ClusterSigning{
		SigningFiles: files("c", "k"), KubeAPIServerClient: files("ac", "ak"), KubeletClient: files("cc", "ck"),
		KubeletServing: files("sc", "sk"), LegacyUnknown: files("lc", "lk"), Duration: time.Hour,
	}
	if diff := cmp.Diff(want, got.ClusterSigning); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
