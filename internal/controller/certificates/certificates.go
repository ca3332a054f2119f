// Package certificates does what kube-controller-manager does with requests for
// certificates: it approves those of kubelets for themselves, signs what is
// approved, removes what is old, and publishes what this server's own certificate is
// verified with. The rules and the certificates themselves are upstream's.
//
// It must not know where an authority's key is kept.
package certificates

import (
	"context"
	"errors"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/apis/certificates"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

// slowRetry is how long something that failed again and again waits: upstream's
// longest pause.
const slowRetry = 1000 * time.Second

var requests = certificatesv1.SchemeGroupVersion.WithResource("certificatesigningrequests")

// Options say what the controllers work with.
type Options struct {
	// Signers are the authorities by the names of those who sign: some of
	// kubernetes.io's. Duration is how long a certificate lasts at most.
	Signers  map[string]Authority
	Duration time.Duration
	// Authorizer decides whose requests are approved.
	Authorizer authorizer.UnconditionalAuthorizer
	// TrustBundle is what this server's certificate is verified with, PEM.
	TrustBundle []byte
	Clock       clock.Clock
}

// Controller looks at the objects of a resource whenever they change.
type Controller struct {
	name     string
	client   controller.Client
	version  *kind.Version
	clock    clock.Clock
	schedule *controller.Schedule[types.NamespacedName]
	// unasked has it look once though there may be no object.
	unasked bool
	// sync looks at the object of a key; nil if it is gone.
	sync func(ctx context.Context, o *object.Object) error
}

// New returns the controllers whose kinds are served. They write through verbs.
func New(verbs *verb.Verbs, catalogue *kind.Catalogue, o Options) []*Controller {
	var all []*Controller
	add := func(name, account string, versions []schema.GroupVersionResource, by func(*Controller) func(context.Context, *object.Object) error) {
		for _, gvr := range versions {
			if v := catalogue.Lookup(gvr); v != nil {
				c := &Controller{
					name: name, version: v, clock: o.Clock, schedule: controller.NewSchedule[types.NamespacedName](o.Clock),
					client: controller.Client{
						Verbs: verbs, Catalogue: catalogue, User: controller.ServiceAccount(account), Manager: "kube-controller-manager",
					},
				}
				c.sync = by(c)
				all = append(all, c)
				return
			}
		}
	}
	csr := []schema.GroupVersionResource{requests}
	add(controller.CertificateApproving, "certificate-controller", csr, func(c *Controller) func(context.Context, *object.Object) error {
		return c.pending((&approving{c, o.Authorizer}).approve)
	})
	add(controller.CertificateSigning, "certificate-controller", csr, func(c *Controller) func(context.Context, *object.Object) error {
		return c.pending((&signing{c, o.Signers, o.Duration}).sign)
	})
	add(controller.CertificateCleaner, "certificate-controller", csr, (*Controller).cleanRequests)
	add(controller.PodCertificateCleaner, "podcertificaterequestcleaner", versions("podcertificaterequests", "v1", "v1beta1"), (*Controller).cleanPodRequests)
	if len(o.TrustBundle) > 0 {
		add(controller.TrustBundlePublisher, "kube-apiserver-serving-clustertrustbundle-publisher", versions("clustertrustbundles", "v1", "v1beta1", "v1alpha1"),
			func(c *Controller) func(context.Context, *object.Object) error {
				return newPublisher(c, o.TrustBundle).publish
			})
	}
	return all
}

// versions returns a resource in versions, the one to be used first.
func versions(resource string, names ...string) []schema.GroupVersionResource {
	var all []schema.GroupVersionResource
	for _, name := range names {
		all = append(all, schema.GroupVersionResource{Group: certificates.GroupName, Version: name, Resource: resource})
	}
	return all
}

// Name is the controller's.
func (c *Controller) Name() string { return c.name }

// Run looks at objects until ctx ends. It may be called again then.
func (c *Controller) Run(ctx context.Context) {
	storage := c.version.Resource.Storage
	see := func(e *state.Event) {
		c.schedule.Add(types.NamespacedName{Namespace: e.Object.Namespace, Name: e.Object.Name})
	}
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(func() {
		c.client.Verbs.State.Follow(ctx, storage.Prefix, func(all state.Snapshot) {
			if c.unasked {
				c.schedule.Add(types.NamespacedName{})
			}
			state.AsNew(see)(all)
		}, see)
	})
	c.schedule.Work(ctx, func(ctx context.Context, key types.NamespacedName) error {
		err := c.sync(ctx, c.client.Verbs.State.Get(storage.Key(key.Namespace, key.Name)))
		if err != nil && ctx.Err() == nil {
			klog.V(2).InfoS("A controller of certificates tries again", "err", err, "controller", c.name, "object", key)
		}
		return err
	}, func(key types.NamespacedName, err error) {
		if usual := (*notApproved)(nil); !errors.As(err, &usual) {
			klog.ErrorS(err, "A controller of certificates does not get on", "controller", c.name, "object", key)
		}
		c.schedule.AddAfter(key, slowRetry)
	})
}

// gvr is the resource in the version that is written.
func (c *Controller) gvr() schema.GroupVersionResource {
	return c.version.GVK().GroupVersion().WithResource(c.version.Resource.Name)
}

// pending returns a sync that hands do each request that has no certificate yet.
func (c *Controller) pending(do func(context.Context, *certificates.CertificateSigningRequest) error) func(context.Context, *object.Object) error {
	return func(ctx context.Context, o *object.Object) error {
		if o == nil {
			return nil
		}
		csr, err := controller.Read[*certificates.CertificateSigningRequest](c.version.Resource, o)
		if err != nil || len(csr.Status.Certificate) > 0 {
			return err
		}
		return do(ctx, csr)
	}
}

// has reports whether a request has a condition, whatever its status.
func has(csr *certificates.CertificateSigningRequest, condition certificates.RequestConditionType) bool {
	for _, c := range csr.Status.Conditions {
		if c.Type == condition {
			return true
		}
	}
	return false
}

// usages is what a certificate is asked to be good for.
func usages(csr *certificates.CertificateSigningRequest) []certificatesv1.KeyUsage {
	var all []certificatesv1.KeyUsage
	for _, u := range csr.Spec.Usages {
		all = append(all, certificatesv1.KeyUsage(u))
	}
	return all
}
