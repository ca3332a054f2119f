package discovery

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration"

	"github.com/knarr-io/knarr/internal/kind"
)

// Elsewhere is what other servers serve at one time. It is immutable.
type Elsewhere struct {
	// Versions are in any order, none of them of the core group.
	Versions []ElsewhereVersion
}

// ElsewhereVersion is a version of a group that another server serves, also where
// this one would have it.
type ElsewhereVersion struct {
	Group, Version string
	// GroupPriority and VersionPriority are its place: the higher, the earlier.
	GroupPriority, VersionPriority int32
	// Told is what the other server tells of it. While it is nil, aggregated
	// documents do not have the version.
	Told *apidiscoveryv2.APIVersionDiscovery
}

// The places of the versions of custom resources, and of native ones that have
// none.
const (
	customGroupPriority, customVersionPriority = 1000, 100
	otherGroupPriority, otherVersionPriority   = 1000, 15
)

// registrationPriority is the place of the group of APIServices in aggregated
// documents: before all that they may claim.
const registrationPriority = 20001

// place is that of a version among those that are served, wherever that is.
type place struct {
	group, version                 string
	groupPriority, versionPriority int32
	elsewhere                      *ElsewhereVersion // nil if it is served here
}

// service is the name of the version's APIService.
func (p *place) service() string { return p.version + "." + p.group }

// places returns those of all versions but those of the core group. What is served
// elsewhere takes the place of what is served here.
func (h *Handler) places(c *kind.Catalogue, e *Elsewhere) []place {
	taken := map[schema.GroupVersion]bool{}
	var all []place
	for i := range e.Versions {
		v := &e.Versions[i]
		taken[schema.GroupVersion{Group: v.Group, Version: v.Version}] = true
		all = append(all, place{v.Group, v.Version, v.GroupPriority, v.VersionPriority, v})
	}
	for _, g := range c.Groups {
		for _, name := range g.Versions {
			gv := schema.GroupVersion{Group: g.Name, Version: name}
			if g.Name != "" && !taken[gv] {
				all = append(all, h.placeHere(g, gv))
			}
		}
	}
	return all
}

func (h *Handler) placeHere(g *kind.Group, gv schema.GroupVersion) place {
	p := place{gv.Group, gv.Version, otherGroupPriority, otherVersionPriority, nil}
	if g.CustomVersion(gv.Version) {
		p.groupPriority, p.versionPriority = customGroupPriority, customVersionPriority
	} else if group, version, ok := h.options.Priority(gv); ok {
		p.groupPriority, p.versionPriority = group, version
	}
	return p
}

// listed returns the groups of places, each with its versions, as documents have
// them that are not aggregated: in the order of the first of their APIServices,
// and the group of the APIServices, which has none, before all.
func listed(places []place) [][]place {
	places = slices.Clone(places)
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(
			cmp.Compare(own(b.group), own(a.group)),
			cmp.Compare(b.groupPriority, a.groupPriority),
			strings.Compare(a.service(), b.service()),
		)
	})
	var groups [][]place
	at := map[string]int{}
	for _, p := range places {
		i, ok := at[p.group]
		if !ok {
			i, at[p.group] = len(groups), len(groups)
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], p)
	}
	for _, g := range groups {
		slices.SortFunc(g, byVersion)
	}
	return groups
}

// own is 1 for the group of APIServices and 0 for others.
func own(group string) int {
	if group == apiregistration.GroupName {
		return 1
	}
	return 0
}

func byVersion(a, b place) int {
	return cmp.Or(cmp.Compare(b.versionPriority, a.versionPriority), version.CompareKubeAwareVersionStrings(b.version, a.version))
}

// groupOf is the document of a group whose versions are at places.
func groupOf(places []place) *metav1.APIGroup {
	var versions []string
	for _, p := range places {
		versions = append(versions, p.version)
	}
	return apiGroup(&kind.Group{Name: places[0].group, Versions: versions})
}

// merged are the documents that tell of what is served here and elsewhere.
type merged struct {
	list *metav1.APIGroupList
	// groups are those that have a version which is served elsewhere, by name.
	groups map[string]func() *document
	// aggregated are the parts of an aggregated document, in order.
	aggregated []func() aggregatedGroup
}

// merge makes the documents of here, those of the groups of a catalogue, and of
// what is served elsewhere.
func (h *Handler) merge(c *kind.Catalogue, elsewhere *Elsewhere, here map[string]*groupDocuments) *merged {
	places := h.places(c, elsewhere)
	m := &merged{
		list:   &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}},
		groups: map[string]func() *document{},
	}
	for _, g := range listed(places) {
		group := groupOf(g)
		if slices.ContainsFunc(g, func(p place) bool { return p.elsewhere != nil }) {
			m.groups[group.Name] = sync.OnceValue(func() *document { return h.encoders.document(group) })
		}
		entry := *group
		entry.TypeMeta = metav1.TypeMeta{}
		m.list.Groups = append(m.list.Groups, entry)
	}
	m.aggregated = h.aggregatedParts(c, elsewhere, here)
	return m
}

// aggregatedParts returns the parts of an aggregated document: groups by the
// highest priority that any of their versions claims, then by name. A version
// whose server was not asked yet is not there, unless this server has it.
func (h *Handler) aggregatedParts(c *kind.Catalogue, elsewhere *Elsewhere, here map[string]*groupDocuments) []func() aggregatedGroup {
	told := &Elsewhere{Versions: slices.DeleteFunc(slices.Clone(elsewhere.Versions), func(v ElsewhereVersion) bool { return v.Told == nil })}
	groups := map[string][]place{}
	highest := map[string]int32{}
	var names []string
	for _, p := range h.places(c, told) {
		if own(p.group) == 1 {
			p.groupPriority = registrationPriority
		}
		if groups[p.group] == nil {
			names = append(names, p.group)
		}
		groups[p.group] = append(groups[p.group], p)
		highest[p.group] = max(highest[p.group], p.groupPriority)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(highest[b], highest[a]), strings.Compare(a, b))
	})
	var parts []func() aggregatedGroup
	for _, name := range names {
		versions := groups[name]
		if !slices.ContainsFunc(versions, func(p place) bool { return p.elsewhere != nil }) {
			parts = append(parts, here[name].aggregated)
			continue
		}
		slices.SortFunc(versions, byVersion)
		parts = append(parts, sync.OnceValue(func() aggregatedGroup { return mergeGroup(versions, here[name]) }))
	}
	return parts
}

// mergeGroup returns the part of a group whose versions are at places. here, what
// this server has of it, may be nil.
func mergeGroup(places []place, here *groupDocuments) aggregatedGroup {
	group := apidiscoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: places[0].group}}
	for _, p := range places {
		if p.elsewhere != nil {
			group.Versions = append(group.Versions, *p.elsewhere.Told)
			continue
		}
		for _, v := range here.aggregated().group.Versions {
			if v.Version == p.version {
				group.Versions = append(group.Versions, v)
			}
		}
	}
	return encodeGroup(group)
}

func encodeGroup(group apidiscoveryv2.APIGroupDiscovery) aggregatedGroup {
	content, err := json.Marshal(group)
	if err != nil {
		panic("discovery: internal error: " + err.Error()) // a struct of strings
	}
	return aggregatedGroup{group, content}
}
