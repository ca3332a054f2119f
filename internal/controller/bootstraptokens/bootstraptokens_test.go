package bootstraptokens

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	api "k8s.io/kubernetes/pkg/apis/core"
	testclock "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/controller/controllertest"
	"github.com/knarr-io/knarr/internal/state/statetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestExpiredTokensGo(t *testing.T) {
	c := controllertest.New(t, statetest.Start(t), "NamespaceLifecycle")
	c.Namespace("kube-system")
	c.Namespace("shop")
	now := time.Now()
	clock := testclock.NewFakeClock(now)
	in := func(d time.Duration) string { return now.Add(d).UTC().Format(time.RFC3339) }
	token := func(namespace, name, expires string, kind api.SecretType) {
		s := &api.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: kind, Data: map[string][]byte{"token-id": []byte("abcdef")}}
		if expires != "" {
			s.Data[expiration] = []byte(expires)
		}
		c.Create("secrets", namespace, s)
	}
	token("kube-system", "before", in(-time.Minute), tokenType)
	token("kube-system", "never", "", tokenType)
	token("kube-system", "another", in(-time.Minute), api.SecretTypeOpaque)
	token("shop", "elsewhere", in(-time.Minute), tokenType)
	token("kube-system", "later", in(time.Hour), tokenType)
	c.Run(func(ctx context.Context) { New(c.Verbs, c.Catalogue, clock).Run(ctx) })
	c.AwaitGone("secrets", "kube-system", "before")
	token("kube-system", "odd", "soon", tokenType)
	c.AwaitGone("secrets", "kube-system", "odd")
	for !clock.HasWaiters() {
		time.Sleep(time.Millisecond)
	}
	if !c.There("secrets", "kube-system", "later") {
		t.Fatal("a token has gone before its time")
	}
	clock.Step(time.Hour + time.Second)
	c.AwaitGone("secrets", "kube-system", "later")
	for _, name := range []string{"never", "another"} {
		if !c.There("secrets", "kube-system", name) {
			t.Errorf("%s has gone", name)
		}
	}
	if !c.There("secrets", "shop", "elsewhere") {
		t.Error("a Secret of another namespace has gone")
	}
}
