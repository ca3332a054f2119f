// Package bootstraptokens removes bootstrap tokens when they have expired, as
// kube-controller-manager's token-cleaner-controller does.
//
// It must not know who accepts a token.
package bootstraptokens

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

const (
	tokenType  = "bootstrap.kubernetes.io/token"
	expiration = "expiration"
)

var secrets = corev1.SchemeGroupVersion.WithResource("secrets")

// Controller removes the tokens of one server.
type Controller struct {
	client  controller.Client
	state   *state.State
	secrets *kind.Resource
	clock   clock.Clock
}

// New returns a controller that writes through verbs; nil if Secrets are not served.
func New(verbs *verb.Verbs, catalogue *kind.Catalogue, clock clock.Clock) *Controller {
	r := catalogue.Resource(secrets.GroupResource())
	if r == nil {
		return nil
	}
	return &Controller{
		client: controller.Client{Verbs: verbs, Catalogue: catalogue, User: controller.ServiceAccount("token-cleaner"), Manager: "kube-controller-manager"},
		state:  verbs.State, secrets: r, clock: clock,
	}
}

// Run removes tokens when it is time, until ctx ends, and returns when nothing of it
// runs any more. It may be run again.
func (c *Controller) Run(ctx context.Context) {
	schedule := controller.NewSchedule[string](c.clock)
	see := func(e *state.Event) {
		if e.Deleted || e.Object.Namespace != metav1.NamespaceSystem {
			return
		}
		if a, err := e.Object.Attributes(c.secrets.Selector()); err == nil && a.Fields.Get("type") == tokenType {
			schedule.Add(e.Object.Name)
		}
	}
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(func() { c.state.Follow(ctx, c.secrets.Storage.Prefix, state.AsNew(see), see) })
	schedule.Work(ctx, func(ctx context.Context, name string) error {
		left, err := c.sync(ctx, name)
		if left > 0 {
			schedule.AddAfter(name, left)
		}
		return err
	}, func(name string, err error) {
		klog.ErrorS(err, "A bootstrap token that has expired could not be removed", "secret", klog.KRef(metav1.NamespaceSystem, name))
	})
}

// sync removes a token that has expired, or returns how long it is until then; 0 for
// ever.
func (c *Controller) sync(ctx context.Context, name string) (left time.Duration, err error) {
	o := c.state.Get(c.secrets.Storage.Key(metav1.NamespaceSystem, name))
	if o == nil {
		return 0, nil
	}
	s, err := controller.Read[*api.Secret](c.secrets, o)
	if err != nil {
		return 0, err
	}
	text := string(s.Data[expiration])
	if text == "" {
		return 0, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err == nil && at.After(c.clock.Now()) {
		return at.Sub(c.clock.Now()), nil
	}
	// What cannot be read counts as expired, as when the token is used.
	klog.V(3).InfoS("A bootstrap token has expired and is removed", "secret", klog.KObj(s))
	err = c.client.Delete(ctx, secrets, s.Namespace, s.Name, s.UID)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return 0, nil
	}
	return 0, err
}
