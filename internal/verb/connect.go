package verb

import (
	"context"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// Connecter returns what connects clients to what is behind the target, such as
// a process of a pod; nil if nothing does.
func (v *Verbs) Connecter(t Target) rest.Connecter {
	return v.Connecters[ActionKey{t.GroupResource(), t.subresource()}]
}

// Stream returns what reads from behind the target, such as a pod's log; nil if
// nothing does.
func (v *Verbs) Stream(t Target) rest.GetterWithOptions {
	return v.Streams[ActionKey{t.GroupResource(), t.subresource()}]
}

// Connect returns what serves a connection to the target, if admission, which
// sees the connection's options, lets it be. What serves it tells answer what
// goes wrong.
func (v *Verbs) Connect(ctx context.Context, t Target, opts runtime.Object, answer rest.Responder) (http.Handler, error) {
	ctx = request.WithNamespace(ctx, t.Namespace)
	a := t.attributes(ctx, opts, nil, admission.Connect, nil, false)
	if err := v.admit(ctx, t, a); err != nil {
		return nil, err
	}
	if v.validates(a) {
		// The options are not copied: nobody else sees them.
		if err := v.admission().(admission.ValidationInterface).Validate(ctx, a, t.interfaces()); err != nil {
			return nil, err
		}
	}
	return v.Connecter(t).Connect(ctx, t.Name, opts, answer)
}

// Open starts to read from behind the target.
func (v *Verbs) Open(ctx context.Context, t Target, opts runtime.Object) (runtime.Object, error) {
	return v.Stream(t).Get(request.WithNamespace(ctx, t.Namespace), t.Name, opts)
}
