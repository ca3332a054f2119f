package knarr

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	upstream "k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/knarr-io/knarr/internal/admission"
	"github.com/knarr-io/knarr/internal/controller/definitions"
	"github.com/knarr-io/knarr/internal/kind"
)

// admissionSettings are the options about admission.
func (o *Options) admissionSettings() admission.Settings {
	return admission.Settings{
		Enable: o.EnableAdmissionPlugins, Disable: o.DisableAdmissionPlugins, Control: o.AdmissionControl,
		ConfigFile:      o.AdmissionControlConfigFile,
		NotReadySeconds: o.DefaultNotReadyTolerationSeconds, UnreachableSeconds: o.DefaultUnreachableTolerationSeconds,
	}
}

// newAdmission returns the admission of writes until background ends.
func (s *Server) newAdmission(background context.Context, keeper *definitions.Keeper) (*admission.Chain, error) {
	client, err := kubernetes.NewForConfig(s.loopback.Config())
	if err != nil {
		return nil, err
	}
	dynamicClient, err := dynamic.NewForConfig(s.loopback.Config())
	if err != nil {
		return nil, err
	}
	return admission.New(s.options.admissionSettings(), &admission.Environment{
		State: s.state, Catalogue: keeper.Catalogue, Informers: s.informers, Client: client, Dynamic: dynamicClient,
		Authorizer: s.authorizer,
		OwnStatus: func(v *kind.Version, live, obj runtime.Object) runtime.Object {
			return keeper.Ownership(v, v.Subresource("status")).Update(live, obj, "kube-apiserver")
		},
		Types:    keeper.Types,
		Services: s.aggregation.resolver,
		Dial:     s.aggregation.connector.Dial,
		Stopped:  background.Done(),
		First:    []upstream.Interface{keeper.Guard()},
	})
}

// AdmissionPlugins returns the names of all admission plugins, sorted, and of
// those that run by default, in the order in which they run.
func AdmissionPlugins() (known, byDefault []string) { return admission.Names() }
