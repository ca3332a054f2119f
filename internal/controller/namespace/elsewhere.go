package namespace

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration"
)

// lookAgain is how long a namespace waits for objects of other servers, whose changes
// are not seen here: as long as upstream waits for finalizers.
const lookAgain = 8 * time.Second

// elsewhere is what other servers have in namespaces.
type elsewhere struct {
	client    metadata.Interface
	resources []schema.GroupVersionResource
	verbs     map[schema.GroupVersionResource]metav1.Verbs
}

// discover finds the resources that other servers have. What keeps it from knowing
// them keeps the namespace.
func (e *emptying) discover(ctx context.Context) elsewhere {
	if e.Elsewhere == nil {
		return elsewhere{}
	}
	config := e.Elsewhere()
	if config == nil {
		return elsewhere{}
	}
	found, err := e.resources(ctx, config)
	if err != nil {
		e.discovery = err
		e.failures = append(e.failures, err)
	}
	if services := e.Catalogue().Resource(apiregistration.Resource("apiservices")); services != nil {
		// They are what tells that a server can be reached again.
		e.changes = append(e.changes, change{prefix: services.Storage.Prefix, since: e.state.Rev(), wide: true})
	}
	return found
}

// resources asks for what is served, in the name of this controller.
func (e *emptying) resources(ctx context.Context, config *rest.Config) (elsewhere, error) {
	who := e.client.User
	config.Impersonate = rest.ImpersonationConfig{UserName: who.GetName(), Groups: who.GetGroups()}
	found := elsewhere{verbs: map[schema.GroupVersionResource]metav1.Verbs{}}
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return found, err
	}
	if found.client, err = metadata.NewForConfig(config); err != nil {
		return found, err
	}
	all, err := client.ServerPreferredNamespacedResourcesWithContext(ctx)
	here := e.Catalogue()
	for _, l := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"delete"}}, all) {
		gv, parsing := schema.ParseGroupVersion(l.GroupVersion)
		if parsing != nil {
			e.parsing = parsing
			e.failures = append(e.failures, parsing)
			continue
		}
		for _, r := range l.APIResources {
			if gvr := gv.WithResource(r.Name); here.Lookup(gvr) == nil {
				found.resources = append(found.resources, gvr)
				found.verbs[gvr] = r.Verbs
			}
		}
	}
	return found, err
}

// clearElsewhere deletes the objects of a resource of another server, and records
// what remains of them.
func (e *emptying) clearElsewhere(ctx context.Context, other elsewhere, gvr schema.GroupVersionResource) {
	client := other.client.Resource(gvr).Namespace(e.ns.Name)
	supported := func(verb string) bool { return slices.Contains(other.verbs[gvr], verb) }
	background := metav1.DeletePropagationBackground
	options := metav1.DeleteOptions{PropagationPolicy: &background}
	together := supported("deletecollection")
	if together {
		err := client.DeleteCollection(ctx, options, metav1.ListOptions{})
		switch {
		case apierrors.IsMethodNotSupported(err), apierrors.IsNotFound(err):
			together = false
		case err != nil:
			e.fail(err)
			return
		}
	}
	if !supported("list") {
		return
	}
	list := func() (*metav1.PartialObjectMetadataList, bool) {
		all, err := client.List(ctx, metav1.ListOptions{})
		if err != nil && !apierrors.IsMethodNotSupported(err) && !apierrors.IsNotFound(err) {
			e.fail(err)
		}
		return all, err == nil
	}
	if !together {
		all, ok := list()
		if !ok {
			return
		}
		for i := range all.Items {
			err := client.Delete(ctx, all.Items[i].Name, options)
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsMethodNotSupported(err) {
				e.fail(err)
				return
			}
		}
	}
	all, ok := list()
	if !ok || len(all.Items) == 0 {
		return
	}
	finalizers := map[string]int{}
	for i := range all.Items {
		for _, f := range all.Items[i].Finalizers {
			finalizers[f]++
		}
	}
	e.findings.count(gvr.GroupResource(), len(all.Items), finalizers)
	e.waits = true
	e.soon(lookAgain)
	if len(finalizers) == 0 {
		e.fail(fmt.Errorf("unexpected items still remain in namespace: %s for gvr: %v", e.ns.Name, gvr))
	}
}
