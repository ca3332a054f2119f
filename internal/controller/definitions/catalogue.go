package definitions

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/admission"

	"github.com/knarr-io/knarr/internal/kind"
)

// served is what is served at one time. It is immutable.
type served struct {
	catalogue *kind.Catalogue
	// terminating are the resources whose definitions are to go.
	terminating map[schema.GroupResource]bool
}

// group is the definitions of one group.
type group struct {
	definitions map[string]*definition
	// served is what they add to the catalogue; nil if it must be made anew.
	served *kind.Group
}

// record has d in place of what was known of a definition. k.mu is held.
func (k *Keeper) record(name string, d *definition) {
	g := k.groups[d.group]
	if g == nil {
		g = &group{definitions: map[string]*definition{}}
		k.groups[d.group] = g
	}
	before := k.byName[name]
	k.byName[name], g.definitions[name] = d, d
	if before == nil || before.gone != d.gone {
		g.served = nil
		k.retire(before)
	}
	if before == nil || before.terminating != d.terminating || before.ending != d.ending {
		g.served = nil
		k.stale = true
	}
}

// forget drops a definition that is gone. k.mu is held.
func (k *Keeper) forget(name string, d *definition) {
	delete(k.byName, name)
	g := k.groups[d.group]
	delete(g.definitions, name)
	g.served = nil
	k.stale = true
	k.retire(d)
	if len(g.definitions) == 0 {
		delete(k.groups, d.group)
	}
}

// retire has the kinds of a definition end with the next catalogue.
func (k *Keeper) retire(d *definition) {
	k.stale = true
	if d != nil && d.gone != nil {
		k.retired = append(k.retired, d)
	}
}

// publish makes the catalogue anew if something has changed, and ends what is
// no longer served. k.mu is held.
func (k *Keeper) publish() {
	if !k.stale {
		return
	}
	next := &served{terminating: map[schema.GroupResource]bool{}}
	for _, d := range k.byName {
		if d.terminating {
			next.terminating[schema.GroupResource{Group: d.group, Resource: d.accepted.Plural}] = true
		}
	}
	next.catalogue = kind.NewCatalogue(k.merged())
	k.current.Store(next)
	k.stale = false
	for _, d := range k.retired {
		close(d.gone)
		for _, made := range d.kinds {
			k.owned.drop(made.Resource)
		}
	}
	k.retired = nil
}

// merged returns the native groups, each with what is defined in it, and after
// them those that are defined alone: the order that the priorities of their
// APIServices give them.
func (k *Keeper) merged() []*kind.Group {
	var groups []*kind.Group
	for _, g := range k.native.Groups {
		if added := k.groups[g.Name]; added != nil {
			g = join(g, added.serve(g))
		}
		groups = append(groups, g)
	}
	for _, name := range slices.Sorted(maps.Keys(k.groups)) {
		if k.native.Group(name) != nil {
			continue
		}
		if g := k.groups[name].serve(&kind.Group{Name: name}); len(g.Versions) > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

// serve returns what the definitions of the group add to native, whose versions
// stay as they are.
func (g *group) serve(native *kind.Group) *kind.Group {
	if g.served != nil {
		return g.served
	}
	g.served = &kind.Group{Name: native.Name, Ending: map[string]bool{}}
	versions := map[string]bool{}
	for _, d := range g.definitions {
		if d.ending {
			g.served.Ending[d.accepted.Plural] = true
		}
		for _, made := range d.kinds {
			if v := made.Versions[0].Name; !native.Serves(v) {
				versions[v] = true
				g.served.Resources = append(g.served.Resources, made.Resource)
			}
		}
	}
	g.served.Versions = slices.SortedFunc(maps.Keys(versions), newestFirst)
	slices.SortFunc(g.served.Resources, byName)
	return g.served
}

// join returns a native group with what was added to it: versions of higher
// priority than its own.
func join(native, added *kind.Group) *kind.Group {
	if len(added.Versions) == 0 {
		return native
	}
	both := &kind.Group{
		Name:      native.Name,
		Versions:  slices.Concat(added.Versions, native.Versions),
		Resources: slices.Concat(native.Resources, added.Resources),
		Ending:    added.Ending,
	}
	slices.SortStableFunc(both.Resources, byName)
	return both
}

func newestFirst(a, b string) int { return version.CompareKubeAwareVersionStrings(b, a) }

func byName(a, b *kind.Resource) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), newestFirst(a.Versions[0].Name, b.Versions[0].Name))
}

// Guard is the admission that keeps objects from being made whose definition is
// to go. It comes before all other.
func (k *Keeper) Guard() admission.MutationInterface { return guard{k} }

type guard struct{ keeper *Keeper }

func (guard) Handles(op admission.Operation) bool { return op == admission.Create }

func (g guard) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	resource := a.GetResource().GroupResource()
	if a.GetSubresource() != "" || !g.keeper.current.Load().terminating[resource] {
		return nil
	}
	return apierrors.NewForbidden(resource, a.GetName(), errors.New("create not allowed while custom resource definition is terminating"))
}
