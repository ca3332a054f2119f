package admission

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	webhookinit "k8s.io/apiserver/pkg/admission/plugin/webhook/initializer"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/informers/admissionregistration"
	"k8s.io/client-go/informers/internalinterfaces"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// webhooks is one of upstream's plugins that ask webhooks. It is made when there
// is the first configuration, and knows of every configuration that was written
// before.
type webhooks struct {
	prefix string // of the configurations
	state  *state.State
	// always is set if there may be webhooks without configurations.
	always bool
	make   func(informers.SharedInformerFactory) (admission.Interface, error)
	prompt *prompt
	mu     sync.Mutex // is held while it is made
	made   atomic.Pointer[admission.Interface]
}

// mutatingWebhooks and validatingWebhooks are the two.
type (
	mutatingWebhooks   struct{ *webhooks }
	validatingWebhooks struct{ *webhooks }
)

var (
	_ admission.MutationInterface   = mutatingWebhooks{}
	_ admission.ValidationInterface = validatingWebhooks{}
)

// newWebhooks returns the plugin p, which follows the configurations that are
// called so.
func (b builder) newWebhooks(p plugin, configurations string) (*webhooks, error) {
	config, err := b.configs.ConfigFor(p.name)
	if err != nil {
		return nil, err
	}
	w := &webhooks{
		prefix: b.prefix(schema.GroupResource{Group: "admissionregistration.k8s.io", Resource: configurations}),
		state:  b.State,
		always: config != nil,
		prompt: &prompt{SharedInformerFactory: b.Informers, known: map[string]cached{}},
	}
	w.make = func(f informers.SharedInformerFactory) (admission.Interface, error) {
		e := *b.Environment
		e.Informers = f
		return builder{Environment: &e, configs: b.configs, initializers: e.initializers()}.upstream(p)
	}
	if w.always { // what is wrong with what it was told is wrong at once
		_, err = w.current()
	}
	return w, err
}

// Handles says what upstream's handle: everything.
func (w *webhooks) Handles(admission.Operation) bool { return true }

// concerns reports whether there is any webhook.
func (w *webhooks) concerns(admission.Attributes) bool {
	return w.always || w.prefix != "" && w.state.Snapshot(w.prefix).Len("") > 0
}

// current returns the plugin, which knows of all configurations.
func (w *webhooks) current() (admission.Interface, error) {
	made := w.made.Load()
	if made == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if made = w.made.Load(); made == nil {
			p, err := w.make(w.prompt)
			if err != nil {
				return nil, apierrors.NewInternalError(err)
			}
			made = &p
			w.made.Store(made)
		}
	}
	w.prompt.tell(w.state.Snapshot(w.prefix))
	return *made, nil
}

func (w mutatingWebhooks) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	p, err := w.current()
	if err != nil {
		return err
	}
	return p.(admission.MutationInterface).Admit(ctx, a, o)
}

func (w validatingWebhooks) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	p, err := w.current()
	if err != nil {
		return err
	}
	return p.(admission.ValidationInterface).Validate(ctx, a, o)
}

// prompt is a factory of informers whose handlers of configurations are told of
// what has changed when somebody is about to need it, and not a moment later.
type prompt struct {
	informers.SharedInformerFactory

	mu       sync.Mutex // guards what follows, and is held while handlers are told
	seen     []uint64   // the revisions of all configurations, in their order
	known    map[string]cached
	informer cache.SharedIndexInformer
	handlers []cache.ResourceEventHandler
}

// cached is a configuration that handlers were told of.
type cached struct {
	rev uint64
	obj any
}

var _ internalinterfaces.SharedInformerFactory = &prompt{}

// Admissionregistration is client-go's, with these informers.
func (p *prompt) Admissionregistration() admissionregistration.Interface {
	return admissionregistration.New(p, metav1.NamespaceAll, nil)
}

// InformerFor returns the informer of the kind of obj.
func (p *prompt) InformerFor(obj runtime.Object, f internalinterfaces.NewInformerFunc) cache.SharedIndexInformer {
	return promptInformer{p.SharedInformerFactory.InformerFor(obj, f), p}
}

type promptInformer struct {
	cache.SharedIndexInformer
	prompt *prompt
}

// AddEventHandler has a handler told of configurations from now on.
func (i promptInformer) AddEventHandler(h cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	i.prompt.mu.Lock()
	defer i.prompt.mu.Unlock()
	i.prompt.informer = i.SharedIndexInformer
	i.prompt.handlers = append(i.prompt.handlers, h)
	return told{i}, nil
}

// told is the registration of a handler that has always been told of everything.
type told struct{ cache.SharedIndexInformer }

// tell tells the handlers of how configurations are different from when they were
// told last.
func (p *prompt) tell(now state.Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, same := 0, true
	now.Each(state.Range{}, func(o *object.Object) bool {
		same = n < len(p.seen) && p.seen[n] == o.Rev
		n++
		return same
	})
	if same && n == len(p.seen) || p.informer == nil {
		return
	}
	var seen []uint64
	gone := p.known
	p.known = map[string]cached{}
	now.Each(state.Range{}, func(o *object.Object) bool {
		seen = append(seen, o.Rev)
		before, was := gone[o.Name]
		delete(gone, o.Name)
		if was && before.rev == o.Rev {
			p.known[o.Name] = before
			return true
		}
		obj, ok, err := p.informer.GetIndexer().GetByKey(o.Name)
		if !ok || err != nil {
			if was {
				p.each(func(h cache.ResourceEventHandler) { h.OnDelete(before.obj) })
			}
			return true
		}
		p.known[o.Name] = cached{o.Rev, obj}
		p.each(func(h cache.ResourceEventHandler) {
			if was {
				h.OnUpdate(before.obj, obj)
			} else {
				h.OnAdd(obj, false)
			}
		})
		return true
	})
	for _, was := range gone {
		p.each(func(h cache.ResourceEventHandler) { h.OnDelete(was.obj) })
	}
	p.seen = slices.Clip(seen)
}

func (p *prompt) each(tell func(cache.ResourceEventHandler)) {
	for _, h := range p.handlers {
		tell(h)
	}
}

// asking tells plugins how webhooks are reached.
func (e *Environment) asking() admission.PluginInitializer {
	return webhookinit.NewPluginInitializer(func(by webhook.AuthenticationInfoResolver) webhook.AuthenticationInfoResolver {
		dialed := func(c *rest.Config, err error) (*rest.Config, error) {
			if err == nil {
				c.Dial = e.Dial
			}
			return c, err
		}
		return &webhook.AuthenticationInfoResolverDelegator{
			ClientConfigForFunc: func(hostPort string) (*rest.Config, error) { return dialed(by.ClientConfigFor(hostPort)) },
			ClientConfigForServiceFunc: func(name, namespace string, port int) (*rest.Config, error) {
				return dialed(by.ClientConfigForService(name, namespace, port))
			},
		}
	}, e.Services)
}

// Dial connects to another server.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)
