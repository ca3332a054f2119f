package bootstrap

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/knarr-io/knarr/internal/kind/native"
)

// managedLabel marks APIServices that a server keeps: "onstart" at its start
// only, "true" always.
const managedLabel = "kube-aggregator.kubernetes.io/automanaged"

// apiServices makes an APIService for every version that this server serves
// itself, and removes those it made for versions it no longer serves. Others
// it leaves alone, those of custom resources too, which are not kept here.
func (r *run) apiServices() error {
	services, ok := served[*apiregistrationv1.APIService](r, apiregistrationv1.SchemeGroupVersion.WithResource("apiservices"))
	if !ok {
		return nil
	}
	wanted := r.localAPIServices()
	present, err := services.All()
	if err != nil {
		return err
	}
	for _, have := range present {
		want := wanted[have.Name]
		delete(wanted, have.Name)
		switch {
		case !isManaged(have):
		case want == nil && have.Labels[managedLabel] == "true":
		case want == nil:
			r.do(services.called(have), func(ctx context.Context) error { return deleteAPIService(ctx, services, have) })
		case !equality.Semantic.DeepEqual(have.Spec, want.Spec):
			r.do(services.called(have), func(ctx context.Context) error { return updateAPIService(ctx, services, have, want) })
		}
	}
	for _, want := range wanted {
		ensure(r, services, want)
	}
	return nil
}

// localAPIServices returns the APIServices that are to be, by name. There is
// none for the group that has the APIServices themselves.
func (r *run) localAPIServices() map[string]*apiregistrationv1.APIService {
	priorities := native.Priorities()
	wanted := map[string]*apiregistrationv1.APIService{}
	for _, g := range r.catalogue.Groups {
		for _, version := range g.Versions {
			priority, ok := priorities[schema.GroupVersion{Group: g.Name, Version: version}]
			if !ok {
				continue
			}
			name := version + "." + g.Name
			wanted[name] = &apiregistrationv1.APIService{
				ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{managedLabel: "onstart"}},
				Spec: apiregistrationv1.APIServiceSpec{
					Group: g.Name, Version: version,
					GroupPriorityMinimum: priority.Group, VersionPriority: priority.Version,
				},
			}
		}
	}
	return wanted
}

func isManaged(s *apiregistrationv1.APIService) bool {
	value := s.Labels[managedLabel]
	return value == "onstart" || value == "true"
}

type apiServices = objects[*apiregistrationv1.APIService]

func updateAPIService(ctx context.Context, services apiServices, have, want *apiregistrationv1.APIService) error {
	have.Spec = want.Spec
	_, err := services.Update(ctx, have, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) { // another server is at it
		return nil
	}
	return err
}

func deleteAPIService(ctx context.Context, services apiServices, have *apiregistrationv1.APIService) error {
	uid := have.UID
	err := services.Delete(ctx, have.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
