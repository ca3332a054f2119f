// Package tokensecrets keeps the Secrets that hold tokens of service accounts, as
// kube-controller-manager's serviceaccount-token-controller and
// legacy-serviceaccount-token-cleaner-controller do: the first fills in the token,
// and removes those of accounts that are gone; the second removes those that were
// made by themselves once, and that nobody has used for a year.
//
// It must not know the key that tokens are signed with.
package tokensecrets

import (
	"bytes"
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/klog/v2"
	api "k8s.io/kubernetes/pkg/apis/core"
	token "k8s.io/kubernetes/pkg/serviceaccount"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

// manager owns what is written.
const manager = "kube-controller-manager"

var (
	secrets  = corev1.SchemeGroupVersion.WithResource("secrets")
	accounts = corev1.SchemeGroupVersion.WithResource("serviceaccounts")
)

// world is the objects that the controllers look at.
type world struct {
	client          controller.Client
	state           *state.State
	secret, account *kind.Version
}

// newWorld returns those of verbs; false if one of their kinds is not served.
func newWorld(verbs *verb.Verbs, catalogue *kind.Catalogue, by user.Info) (world, bool) {
	w := world{
		client: controller.Client{Verbs: verbs, Catalogue: catalogue, User: by, Manager: manager},
		state:  verbs.State, secret: catalogue.Lookup(secrets), account: catalogue.Lookup(accounts),
	}
	return w, w.secret != nil && w.account != nil
}

// holdsToken reports whether a Secret is of the type that holds a token, which is
// known without reading it.
func (w *world) holdsToken(o *object.Object) bool {
	a, err := o.Attributes(w.secret.Resource.Selector())
	return err == nil && a.Fields.Get("type") == string(corev1.SecretTypeServiceAccountToken)
}

// tokens calls visit for the Secrets with tokens of a namespace, or of all, until it
// returns false.
func (w *world) tokens(namespace string, visit func(*object.Object) bool) {
	w.state.Snapshot(w.secret.Resource.Storage.Prefix).Each(state.Range{Namespace: namespace}, func(o *object.Object) bool {
		return !w.holdsToken(o) || visit(o)
	})
}

// readSecret returns a Secret; nil if there is none or, if a uid is given, another.
func (w *world) readSecret(namespace, name string, uid types.UID) (*api.Secret, error) {
	o := w.state.Get(w.secret.Resource.Storage.Key(namespace, name))
	if o == nil {
		return nil, nil
	}
	s, err := controller.Read[*api.Secret](w.secret.Resource, o)
	if err != nil || uid != "" && s.UID != uid {
		return nil, err
	}
	return s, nil
}

// readAccount returns a ServiceAccount; nil if there is none or, if a uid is given,
// another.
func (w *world) readAccount(namespace, name string, uid types.UID) (*api.ServiceAccount, error) {
	if name == "" {
		return nil, nil
	}
	o := w.state.Get(w.account.Resource.Storage.Key(namespace, name))
	if o == nil {
		return nil, nil
	}
	a, err := controller.Read[*api.ServiceAccount](w.account.Resource, o)
	if err != nil || uid != "" && a.UID != uid {
		return nil, err
	}
	return a, nil
}

// accountOf returns the name and uid of the account that a Secret is for.
func accountOf(s *api.Secret) (name string, uid types.UID) {
	return s.Annotations[corev1.ServiceAccountNameKey], types.UID(s.Annotations[corev1.ServiceAccountUIDKey])
}

// Options say what tokens are made of.
type Options struct {
	// Generator returns what makes tokens now.
	Generator func() token.TokenGenerator
	// RootCA is what clients verify the server with, PEM.
	RootCA []byte
	Clock  clock.Clock
}

// Controller fills in tokens, and removes those of accounts that are gone.
type Controller struct {
	Options
	world
}

// New returns a controller that writes through verbs; nil if Secrets or
// ServiceAccounts are not served.
func New(verbs *verb.Verbs, catalogue *kind.Catalogue, o Options) *Controller {
	// Upstream's has no credentials of its own, either.
	w, ok := newWorld(verbs, catalogue, &user.DefaultInfo{Name: user.KubeControllerManager, Groups: []string{user.AllAuthenticated}})
	if !ok {
		return nil
	}
	return &Controller{o, w}
}

// task is something to be looked at: a Secret; with gone set, the reference to one
// that is no longer there; without a Secret, the tokens of an account that is gone.
type task struct {
	namespace, secret string
	gone              bool
	account           string
	uid               types.UID // of the account, may be empty
}

// Run keeps tokens until ctx ends, and returns when nothing of it runs any more. It
// may be run again.
func (c *Controller) Run(ctx context.Context) {
	schedule := controller.NewSchedule[task](c.Clock)
	seeSecret := func(e *state.Event) {
		switch { // the type of a Secret never changes
		case !c.holdsToken(e.Object):
		case e.Deleted:
			schedule.Add(c.referenceTo(e.Prev))
		default:
			schedule.Add(task{namespace: e.Object.Namespace, secret: e.Object.Name})
		}
	}
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(func() { c.state.Follow(ctx, c.secret.Resource.Storage.Prefix, state.AsNew(seeSecret), seeSecret) })
	following.Go(func() {
		c.state.Follow(ctx, c.account.Resource.Storage.Prefix, func(state.Snapshot) {
			// Accounts may have gone unseen.
			state.AsNew(seeSecret)(c.state.Snapshot(c.secret.Resource.Storage.Prefix))
		}, func(e *state.Event) {
			if !e.Deleted {
				return
			}
			if a, err := controller.Read[*api.ServiceAccount](c.account.Resource, e.Prev); err == nil {
				schedule.Add(task{namespace: a.Namespace, account: a.Name, uid: a.UID})
			}
		})
	})
	schedule.Work(ctx, c.do, func(t task, err error) {
		klog.ErrorS(err, "The token of a service account could not be kept", "secret", klog.KRef(t.namespace, t.secret), "serviceAccount", klog.KRef(t.namespace, t.account))
	})
}

// referenceTo is the task after a Secret has gone.
func (c *Controller) referenceTo(o *object.Object) task {
	t := task{namespace: o.Namespace, secret: o.Name, gone: true}
	if s, err := controller.Read[*api.Secret](c.secret.Resource, o); err == nil {
		t.account, t.uid = accountOf(s)
	}
	return t
}

func (c *Controller) do(ctx context.Context, t task) error {
	switch {
	case t.gone:
		return c.dropReference(ctx, t)
	case t.secret == "":
		return c.removeAll(ctx, t)
	}
	s, err := c.readSecret(t.namespace, t.secret, "")
	if s == nil || err != nil || s.Type != api.SecretTypeServiceAccountToken {
		return err
	}
	name, uid := accountOf(s)
	if name == "" {
		return nil
	}
	account, err := c.readAccount(s.Namespace, name, uid)
	switch {
	case err != nil:
		return err
	case account == nil:
		return c.remove(ctx, s)
	}
	return c.fill(ctx, account, s)
}

// remove deletes a Secret, if it is still that one.
func (c *Controller) remove(ctx context.Context, s *api.Secret) error {
	err := c.client.Delete(ctx, secrets, s.Namespace, s.Name, s.UID)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// removeAll deletes the tokens of an account that is gone.
func (c *Controller) removeAll(ctx context.Context, t task) (failed error) {
	if a, err := c.readAccount(t.namespace, t.account, t.uid); a != nil || err != nil {
		return err
	}
	c.tokens(t.namespace, func(o *object.Object) bool {
		s, err := controller.Read[*api.Secret](c.secret.Resource, o)
		if err == nil {
			if name, uid := accountOf(s); name == t.account && (uid == "" || uid == t.uid) {
				err = c.remove(ctx, s)
			}
		}
		if err != nil {
			failed = err
		}
		return true
	})
	return failed
}

// fill completes what is missing in a Secret of an account that there is.
func (c *Controller) fill(ctx context.Context, account *api.ServiceAccount, s *api.Secret) error {
	needsCA := len(c.RootCA) > 0 && !bytes.Equal(s.Data[corev1.ServiceAccountRootCAKey], c.RootCA)
	needsNamespace := len(s.Data[corev1.ServiceAccountNamespaceKey]) == 0
	needsToken := len(s.Data[corev1.ServiceAccountTokenKey]) == 0
	if !needsCA && !needsNamespace && !needsToken {
		return nil
	}
	if s.Data == nil {
		s.Data = map[string][]byte{}
	}
	if needsCA {
		s.Data[corev1.ServiceAccountRootCAKey] = c.RootCA
	}
	if needsNamespace {
		s.Data[corev1.ServiceAccountNamespaceKey] = []byte(s.Namespace)
	}
	if needsToken {
		made, err := c.generate(ctx, account, s)
		if err != nil {
			return err
		}
		s.Data[corev1.ServiceAccountTokenKey] = []byte(made)
	}
	s.Annotations[corev1.ServiceAccountNameKey] = account.Name
	s.Annotations[corev1.ServiceAccountUIDKey] = string(account.UID)
	err := c.client.Update(ctx, secrets, "", s)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // the event of what came in between is on its way
	}
	return err
}

// generate makes the token that a Secret is to hold.
func (c *Controller) generate(ctx context.Context, account *api.ServiceAccount, s *api.Secret) (string, error) {
	a, err := c.account.FromHub(account.DeepCopy())
	if err != nil {
		return "", err
	}
	in, err := c.secret.FromHub(s.DeepCopy())
	if err != nil {
		return "", err
	}
	claims, private := token.LegacyClaims(*a.(*corev1.ServiceAccount), *in.(*corev1.Secret))
	return c.Generator().GenerateToken(ctx, claims, private)
}

// dropReference takes a Secret that is gone off the list that its account has.
func (c *Controller) dropReference(ctx context.Context, t task) error {
	if s, err := c.readSecret(t.namespace, t.secret, ""); s != nil || err != nil {
		return err // there is one of that name again
	}
	for {
		a, err := c.readAccount(t.namespace, t.account, t.uid)
		if a == nil || err != nil {
			return err
		}
		var others []api.ObjectReference
		for _, r := range a.Secrets {
			if r.Name != t.secret {
				others = append(others, r)
			}
		}
		if len(others) == len(a.Secrets) {
			return nil
		}
		a.Secrets = others
		err = c.client.Update(ctx, accounts, "", a)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if !apierrors.IsConflict(err) {
			return err
		}
	}
}
