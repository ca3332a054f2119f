package admission

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/resourcequota"
	quotaapi "k8s.io/apiserver/pkg/admission/plugin/resourcequota/apis/resourcequota"
	"k8s.io/apiserver/pkg/admission/plugin/resourcequota/apis/resourcequota/validation"
	quota "k8s.io/apiserver/pkg/quota/v1"
	"k8s.io/apiserver/pkg/quota/v1/generic"
	corelisters "k8s.io/client-go/listers/core/v1"
	api "k8s.io/kubernetes/pkg/apis/core"
	quotainstall "k8s.io/kubernetes/pkg/quota/v1/install"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/store"
)

// OwnStatus returns obj, a hub object whose status the server has changed from
// that of live, with the owners of its fields.
type OwnStatus func(v *kind.Version, live, obj runtime.Object) runtime.Object

// quotas is upstream's plugin ResourceQuota, but for how it counts: what a write
// uses is committed together with the write, so that no quota is ever exceeded,
// and none counts what was not written after all. Writes that use anything of a
// quota follow one another in each namespace.
type quotas struct {
	*admission.Handler
	env      *Environment
	config   *quotaapi.Configuration
	ignored  map[schema.GroupResource]struct{}
	registry quota.Registry
	lister   corelisters.ResourceQuotaLister
	prefix   string

	mu    sync.Mutex // guards turns
	turns map[string]*turn
}

// turn is whose turn it is in a namespace: who can send.
type turn struct {
	held    chan struct{}
	waiting int // also who holds it; guarded by quotas.mu
}

var _ admission.ValidationInterface = &quotas{}

// quotaTimeout is how long a write waits for its turn, as upstream's.
const quotaTimeout = 10 * time.Second

func newQuotas(e *Environment, config io.Reader) (*quotas, error) {
	c, err := resourcequota.LoadConfiguration(config)
	if err != nil {
		return nil, err
	}
	if errs := validation.ValidateConfiguration(c); len(errs) != 0 {
		return nil, errs.ToAggregate()
	}
	configuration, err := quotainstall.NewQuotaConfigurationForAdmission(e.Informers, nil)
	if err != nil {
		return nil, err
	}
	return &quotas{
		Handler: admission.NewHandler(admission.Create, admission.Update),
		env:     e,
		config:  c,
		ignored: configuration.IgnoredResources(), registry: generic.NewRegistry(configuration.Evaluators()),
		lister: e.Informers.Core().V1().ResourceQuotas().Lister(),
		prefix: e.prefix(quotaResource.GroupResource()),
		turns:  map[string]*turn{},
	}, nil
}

var quotaResource = corev1.SchemeGroupVersion.WithResource("resourcequotas")

// concerns reports whether there may be a quota for a write.
func (q *quotas) concerns(a admission.Attributes) bool {
	namespace := a.GetNamespace()
	if namespace == "" || a.GetOperation() == admission.Create && a.GetKind().GroupKind() == namespaceKind {
		return false
	}
	return len(q.config.LimitedResources) > 0 || q.prefix != "" && q.env.State.Snapshot(q.prefix).Len(namespace) > 0
}

// Validate refuses what exceeds a quota, and has what the rest uses committed
// with it.
func (q *quotas) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if !q.concerns(a) {
		return nil
	}
	gr := a.GetResource().GroupResource()
	if _, ok := q.ignored[gr]; ok {
		return nil
	}
	evaluator := q.registry.Get(gr)
	if evaluator == nil {
		evaluator = generic.NewObjectCountEvaluator(gr, nil, "")
	}
	if !evaluator.Handles(a) {
		return nil
	}
	release, err := q.take(ctx, a.GetNamespace())
	if err != nil {
		return err
	}
	changes, err := q.charge(a, evaluator)
	if err != nil || len(changes) == 0 {
		release()
		return err
	}
	b := BesideOf(ctx)
	if b == nil {
		release()
		return apierrors.NewInternalError(errors.New("nobody commits what this uses of a quota"))
	}
	b.changes = append(b.changes, changes...)
	b.release = append(b.release, release)
	return nil
}

// charge returns the changes of the namespace's quotas that a write brings, or
// an error if it may not be.
func (q *quotas) charge(a admission.Attributes, evaluator quota.Evaluator) ([]store.Change, error) {
	listed, err := q.lister.ResourceQuotas(a.GetNamespace()).List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("error resolving quota: %w", err)
	}
	if len(listed) == 0 && len(q.config.LimitedResources) == 0 {
		return nil, nil
	}
	before := make([]corev1.ResourceQuota, len(listed))
	for i := range listed {
		before[i] = *listed[i] // to be read: who changes one copies it
	}
	after, err := resourcequota.CheckRequest(before, a, evaluator, q.config.LimitedResources)
	if err != nil || a.IsDryRun() {
		return nil, err
	}
	var changes []store.Change
	for i := range after {
		if quota.Equals(before[i].Status.Used, after[i].Status.Used) {
			continue
		}
		change, err := q.change(&before[i], &after[i])
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// change is that of a quota's status.
func (q *quotas) change(before, after *corev1.ResourceQuota) (store.Change, error) {
	v := q.env.Catalogue().Lookup(quotaResource)
	if v == nil {
		return store.Change{}, fmt.Errorf("%s are not served", quotaResource)
	}
	rev, err := strconv.ParseUint(before.ResourceVersion, 10, 64)
	if err != nil {
		return store.Change{}, err
	}
	live, err := v.Resource.Convertor.ConvertToVersion(before.DeepCopy(), api.SchemeGroupVersion)
	if err != nil {
		return store.Change{}, err
	}
	obj, err := v.Resource.Convertor.ConvertToVersion(after.DeepCopy(), api.SchemeGroupVersion)
	if err != nil {
		return store.Change{}, err
	}
	owned, ok := q.env.OwnStatus(v, live, obj).(*api.ResourceQuota)
	if !ok {
		return store.Change{}, fmt.Errorf("%T is no quota", obj)
	}
	owned.ResourceVersion = ""
	value, err := v.Resource.Storage.Codec.Encode(owned)
	if err != nil {
		return store.Change{}, err
	}
	return store.Change{Key: v.Resource.Storage.Key(owned.Namespace, owned.Name), Value: value, If: rev}, nil
}

// QuotaTurn waits until no write changes the quotas of a namespace, and returns
// what lets them go on.
func (c *Chain) QuotaTurn(ctx context.Context, namespace string) (release func(), err error) {
	for _, m := range c.others.validating {
		if q, ok := m.Interface.(*quotas); ok {
			return q.take(ctx, namespace)
		}
	}
	return func() {}, nil
}

// take waits for the turn in a namespace, and returns what ends it.
func (q *quotas) take(ctx context.Context, namespace string) (release func(), err error) {
	q.mu.Lock()
	t := q.turns[namespace]
	if t == nil {
		t = &turn{held: make(chan struct{}, 1)}
		q.turns[namespace] = t
	}
	t.waiting++
	q.mu.Unlock()
	leave := func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if t.waiting--; t.waiting == 0 {
			delete(q.turns, namespace)
		}
	}
	select {
	case t.held <- struct{}{}: // nobody has it: the common case needs no timer
	default:
		timeout := time.NewTimer(quotaTimeout)
		defer timeout.Stop()
		select {
		case t.held <- struct{}{}:
		case <-timeout.C:
			leave()
			return nil, apierrors.NewInternalError(errors.New("resource quota evaluation timed out"))
		case <-ctx.Done():
			leave()
			return nil, context.Cause(ctx)
		}
	}
	return func() { <-t.held; leave() }, nil
}
