package rbac

import (
	"cmp"
	"context"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install" // for the types to be in the scheme

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// The resources that make a policy, as numbers, and where upstream keeps them.
const (
	roles = iota
	roleBindings
	clusterRoles
	clusterRoleBindings
	resources
)

var prefixes = [resources]string{"/registry/roles", "/registry/rolebindings", "/registry/clusterroles", "/registry/clusterrolebindings"}

// place is where an object is; namespace is empty for those of cluster scope.
type place struct{ namespace, name string }

// subject is whom a binding in a namespace (none if of cluster scope) gives to.
type subject struct {
	namespace, name string
	group           bool
}

// policy is the roles and bindings, decoded. It is written by catchUp alone.
type policy struct {
	roles        map[place]*rbacv1.Role
	clusterRoles map[place]*rbacv1.ClusterRole
	bound        bindings[*rbacv1.RoleBinding]
	boundAll     bindings[*rbacv1.ClusterRoleBinding]
	decoder      runtime.Decoder
}

func newPolicy() policy {
	return policy{
		roles:        map[place]*rbacv1.Role{},
		clusterRoles: map[place]*rbacv1.ClusterRole{},
		bound:        newBindings[*rbacv1.RoleBinding](),
		boundAll:     newBindings[*rbacv1.ClusterRoleBinding](),
		decoder:      legacyscheme.Codecs.UniversalDecoder(rbacv1.SchemeGroupVersion),
	}
}

// catchUp makes p what is true now.
func (p *policy) catchUp(tail *state.Tail) {
	tail.CatchUp(func(resource int, all state.Snapshot) {
		p.clear(resource)
		all.Each(state.Range{}, func(o *object.Object) bool {
			p.set(resource, o)
			return true
		})
	}, func(resource int, e *state.Event) {
		if e.Deleted {
			p.remove(resource, place{e.Object.Namespace, e.Object.Name})
		} else {
			p.set(resource, e.Object)
		}
	})
}

func (p *policy) clear(resource int) {
	switch resource {
	case roles:
		clear(p.roles)
	case clusterRoles:
		clear(p.clusterRoles)
	case roleBindings:
		p.bound = newBindings[*rbacv1.RoleBinding]()
	case clusterRoleBindings:
		p.boundAll = newBindings[*rbacv1.ClusterRoleBinding]()
	}
}

func (p *policy) remove(resource int, at place) {
	switch resource {
	case roles:
		delete(p.roles, at)
	case clusterRoles:
		delete(p.clusterRoles, at)
	case roleBindings:
		p.bound.remove(at)
	case clusterRoleBindings:
		p.boundAll.remove(at)
	}
}

// set takes what was stored. What cannot be read grants nothing.
func (p *policy) set(resource int, o *object.Object) {
	at := place{o.Namespace, o.Name}
	p.remove(resource, at)
	obj, err := runtime.Object(nil), o.Err
	if err == nil {
		obj, err = runtime.Decode(p.decoder, o.Value)
	}
	if err != nil {
		klog.ErrorS(err, "RBAC goes without what cannot be read", "key", prefixes[resource]+"/"+at.namespace+"/"+at.name)
		return
	}
	switch obj := obj.(type) {
	case *rbacv1.Role:
		obj.ManagedFields = nil
		p.roles[at] = obj
	case *rbacv1.ClusterRole:
		obj.ManagedFields = nil
		p.clusterRoles[at] = obj
	case *rbacv1.RoleBinding:
		obj.ManagedFields = nil
		p.bound.set(at, obj, obj.Subjects)
	case *rbacv1.ClusterRoleBinding:
		obj.ManagedFields = nil
		p.boundAll.set(at, obj, obj.Subjects)
	}
}

// GetRole, and the three after it, are what upstream's rules read.
func (p *policy) GetRole(_ context.Context, namespace, name string) (*rbacv1.Role, error) {
	if role := p.roles[place{namespace, name}]; role != nil {
		return role, nil
	}
	return nil, missing("role", name)
}

func (p *policy) GetClusterRole(_ context.Context, name string) (*rbacv1.ClusterRole, error) {
	if role := p.clusterRoles[place{name: name}]; role != nil {
		return role, nil
	}
	return nil, missing("clusterrole", name)
}

func (p *policy) ListRoleBindings(ctx context.Context, namespace string) ([]*rbacv1.RoleBinding, error) {
	return p.bound.of(ctx, namespace), nil
}

func (p *policy) ListClusterRoleBindings(ctx context.Context) ([]*rbacv1.ClusterRoleBinding, error) {
	return p.boundAll.of(ctx, ""), nil
}

// missing is what upstream's listers say.
func missing(resource, name string) error {
	return apierrors.NewNotFound(schema.GroupResource{Group: rbacv1.GroupName, Resource: resource}, name)
}

// storedPolicy is a policy in the words of upstream's storage, which checks of
// writes read: what is missing is called a resource of the request's.
type storedPolicy struct{ *policy }

func (p storedPolicy) GetRole(ctx context.Context, namespace, name string) (*rbacv1.Role, error) {
	if namespace == "" {
		return nil, apierrors.NewBadRequest("Namespace parameter required.")
	}
	role, err := p.policy.GetRole(ctx, namespace, name)
	if err != nil {
		return nil, missingFor(ctx, "roles", name)
	}
	return role, nil
}

func (p storedPolicy) GetClusterRole(ctx context.Context, name string) (*rbacv1.ClusterRole, error) {
	role, err := p.policy.GetClusterRole(ctx, name)
	if err != nil {
		return nil, missingFor(ctx, "clusterroles", name)
	}
	return role, nil
}

func missingFor(ctx context.Context, resource, name string) error {
	if info, ok := request.RequestInfoFrom(ctx); ok {
		return apierrors.NewNotFound(schema.GroupResource{Group: info.APIGroup, Resource: info.Resource}, name)
	}
	return missing(resource, name)
}

// bindings are those of one kind, found by whom they give to.
type bindings[P any] struct {
	to       map[subject][]entry[P] // sorted by name
	subjects map[place][]subject
}

type entry[P any] struct {
	name    string
	binding P
}

func newBindings[P any]() bindings[P] {
	return bindings[P]{map[subject][]entry[P]{}, map[place][]subject{}}
}

func byName[P any](e entry[P], name string) int { return cmp.Compare(e.name, name) }

// set adds the binding at a place where there is none.
func (b *bindings[P]) set(at place, binding P, given []rbacv1.Subject) {
	var all []subject
	for i := range given {
		s, ok := subjectOf(at.namespace, &given[i])
		if !ok || slices.Contains(all, s) {
			continue
		}
		all = append(all, s)
		i, _ := slices.BinarySearchFunc(b.to[s], at.name, byName[P])
		b.to[s] = slices.Insert(b.to[s], i, entry[P]{at.name, binding})
	}
	b.subjects[at] = all
}

func (b *bindings[P]) remove(at place) {
	for _, s := range b.subjects[at] {
		i, found := slices.BinarySearchFunc(b.to[s], at.name, byName[P])
		if found {
			b.to[s] = slices.Delete(b.to[s], i, i+1)
		}
		if len(b.to[s]) == 0 {
			delete(b.to, s)
		}
	}
	delete(b.subjects, at)
}

// subjectOf is how upstream's rules compare a binding's subject with a user; false
// if it is nobody. A service account is known by its user name.
func subjectOf(namespace string, s *rbacv1.Subject) (subject, bool) {
	switch s.Kind {
	case rbacv1.UserKind:
		return subject{namespace: namespace, name: s.Name}, true
	case rbacv1.GroupKind:
		return subject{namespace: namespace, name: s.Name, group: true}, true
	case rbacv1.ServiceAccountKind:
		in := cmp.Or(s.Namespace, namespace)
		return subject{namespace: namespace, name: serviceaccount.MakeUsername(in, s.Name)}, in != ""
	}
	return subject{}, false
}

// of returns the bindings in a namespace that give something to the user who
// asks, by name.
func (b *bindings[P]) of(ctx context.Context, namespace string) []P {
	who, ok := ctx.Value(asks{}).(user.Info)
	if !ok {
		return nil
	}
	var found []entry[P]
	lists := 0
	add := func(s subject) {
		if list := b.to[s]; len(list) > 0 {
			lists++
			found = append(found, list...)
		}
	}
	add(subject{namespace: namespace, name: who.GetName()})
	for _, group := range who.GetGroups() {
		add(subject{namespace: namespace, name: group, group: true})
	}
	if lists > 1 {
		slices.SortStableFunc(found, func(a, b entry[P]) int { return cmp.Compare(a.name, b.name) })
		found = slices.CompactFunc(found, func(a, b entry[P]) bool { return a.name == b.name })
	}
	all := make([]P, len(found))
	for i := range found {
		all[i] = found[i].binding
	}
	return all
}
