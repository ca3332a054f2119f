package authn

import (
	"fmt"
	"net"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	tokencache "k8s.io/apiserver/pkg/authentication/token/cache"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/webhook"
	"k8s.io/client-go/util/connrotation"
)

// Webhook is a server that is asked about tokens nobody else knows
// (--authentication-token-webhook-*).
type Webhook struct {
	// ConfigFile is a kubeconfig that says where it is; empty for none.
	ConfigFile string
	// Version is that of the TokenReview it is sent; empty means v1beta1.
	Version string
	// CacheTTL is how long its answers hold; 0 means two minutes, negative no
	// time.
	CacheTTL time.Duration
}

// authenticator asks the server. close closes connections to it.
func (w *Webhook) authenticator(audiences authenticator.Audiences, now func() time.Time) (token authenticator.Token, close func(), err error) {
	dialer := connrotation.NewDialer((&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext)
	config, err := webhookutil.LoadKubeconfig(w.ConfigFile, dialer.DialContext)
	if err != nil {
		return nil, nil, fmt.Errorf("authentication webhook %s: %w", w.ConfigFile, err)
	}
	version, ttl := w.Version, w.CacheTTL
	if version == "" {
		version = "v1beta1"
	}
	switch {
	case ttl == 0:
		ttl = 2 * time.Minute
	case ttl < 0:
		ttl = 0
	}
	// As upstream's: half a second before the second of five tries, then half as
	// long again each time.
	retry := wait.Backoff{Duration: 500 * time.Millisecond, Factor: 1.5, Jitter: 0.2, Steps: 5}
	ask, err := webhook.New(config, version, audiences, retry)
	if err != nil {
		return nil, nil, fmt.Errorf("authentication webhook %s: %w", w.ConfigFile, err)
	}
	// Upstream has a second cache, of all tokens, above its first, in which anyone
	// may have any number of refusals kept: they are bounded here.
	known := tokencache.New(ask, false, max(ttl, successTTL), 0)
	return &remembered{Token: known, refused: ttl, noting: nothing, now: now}, dialer.CloseAll, nil
}
