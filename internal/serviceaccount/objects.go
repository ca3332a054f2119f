package serviceaccount

import (
	"context"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	typedv1core "k8s.io/client-go/kubernetes/typed/core/v1"
	token "k8s.io/kubernetes/pkg/serviceaccount"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/verb"
)

// The resources of what a token is for or bound to.
var (
	serviceAccounts    = corev1.SchemeGroupVersion.WithResource("serviceaccounts")
	pods               = corev1.SchemeGroupVersion.WithResource("pods")
	secrets            = corev1.SchemeGroupVersion.WithResource("secrets")
	nodes              = corev1.SchemeGroupVersion.WithResource("nodes")
	validatingWebhooks = admissionregistrationv1.SchemeGroupVersion.WithResource("validatingwebhookconfigurations")
	mutatingWebhooks   = admissionregistrationv1.SchemeGroupVersion.WithResource("mutatingwebhookconfigurations")
)

// Objects are those that tokens are for or bound to, as they are now: what has
// been deleted is gone at once. It is what upstream's authenticator asks
// (ServiceAccountTokenGetter, SecretsGetter). It is safe for concurrent use.
type Objects struct {
	verbs     *verb.Verbs
	catalogue func() *kind.Catalogue
}

var (
	_ token.ServiceAccountTokenGetter = &Objects{}
	_ typedv1core.SecretsGetter       = &Objects{}
)

// NewObjects returns the objects that verbs read. catalogue tells what is
// served now; it is called for every object.
func NewObjects(verbs *verb.Verbs, catalogue func() *kind.Catalogue) *Objects {
	return &Objects{verbs, catalogue}
}

func (o *Objects) GetServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	return versioned[*corev1.ServiceAccount](ctx, o, serviceAccounts, namespace, name)
}

func (o *Objects) GetPod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	return versioned[*corev1.Pod](ctx, o, pods, namespace, name)
}

func (o *Objects) GetSecret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	return versioned[*corev1.Secret](ctx, o, secrets, namespace, name)
}

func (o *Objects) GetNode(ctx context.Context, name string) (*corev1.Node, error) {
	return versioned[*corev1.Node](ctx, o, nodes, "", name)
}

func (o *Objects) GetValidatingWebhookConfiguration(ctx context.Context, name string) (*admissionregistrationv1.ValidatingWebhookConfiguration, error) {
	return versioned[*admissionregistrationv1.ValidatingWebhookConfiguration](ctx, o, validatingWebhooks, "", name)
}

func (o *Objects) GetMutatingWebhookConfiguration(ctx context.Context, name string) (*admissionregistrationv1.MutatingWebhookConfiguration, error) {
	return versioned[*admissionregistrationv1.MutatingWebhookConfiguration](ctx, o, mutatingWebhooks, "", name)
}

// Secrets returns what notes in a namespace's Secrets that the token in one
// was used.
func (o *Objects) Secrets(namespace string) typedv1core.SecretInterface {
	return &secretPatcher{objects: o, namespace: namespace}
}

// versioned returns an object as clients of gvr's version see it.
func versioned[P runtime.Object](ctx context.Context, o *Objects, gvr schema.GroupVersionResource, namespace, name string) (found P, err error) {
	obj, version, err := o.get(ctx, gvr, namespace, name)
	if err != nil {
		return found, err
	}
	if obj, err = version.FromHub(obj); err != nil {
		return found, err
	}
	return as[P](obj)
}

// hub returns an object as rules see it.
func hub[P runtime.Object](ctx context.Context, o *Objects, gvr schema.GroupVersionResource, namespace, name string) (found P, err error) {
	obj, _, err := o.get(ctx, gvr, namespace, name)
	if err != nil {
		return found, err
	}
	return as[P](obj)
}

func as[P runtime.Object](obj runtime.Object) (P, error) {
	p, ok := obj.(P)
	if !ok {
		return p, fmt.Errorf("%T is no %T", obj, p)
	}
	return p, nil
}

// get reads a hub object. Errors are those of the API.
func (o *Objects) get(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string) (runtime.Object, *kind.Version, error) {
	version := o.catalogue().Lookup(gvr)
	if version == nil {
		return nil, nil, apierrors.NewNotFound(gvr.GroupResource(), name)
	}
	target := verb.Target{Version: version, Namespace: namespace, Name: name}
	stored, err := o.verbs.Get(ctx, target, &metav1.GetOptions{})
	if err != nil {
		return nil, nil, err
	}
	obj, err := version.Resource.Decode(stored)
	if n, ok := ctx.Value(noteKey{}).(*notes); ok && err == nil {
		n.add(o, target, stored, obj)
	}
	return obj, version, err
}

// secretPatcher is as much of a client for Secrets as upstream's authenticator
// of old tokens uses: it patches them.
type secretPatcher struct {
	typedv1core.SecretInterface // nil: nothing else of it is called
	objects                     *Objects
	namespace                   string
}

// Patch patches a Secret as the API server itself.
func (p *secretPatcher) Patch(ctx context.Context, name string, patchType types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (*corev1.Secret, error) {
	version := p.objects.catalogue().Lookup(secrets)
	if version == nil || len(subresources) > 0 {
		return nil, apierrors.NewNotFound(secrets.GroupResource(), name)
	}
	if opts.FieldManager == "" {
		opts.FieldManager = "kube-apiserver"
	}
	target := verb.Target{Version: version, Namespace: p.namespace, Name: name}
	apiserver := &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.AllAuthenticated, user.SystemPrivilegedGroup}}
	if _, err := p.objects.verbs.Patch(target.Context(ctx, "patch", apiserver), target, patchType, data, &opts); err != nil {
		return nil, err
	}
	return p.objects.GetSecret(ctx, p.namespace, name)
}
