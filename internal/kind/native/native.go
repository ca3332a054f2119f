// Package native is the catalogue of native kinds: tables, one row for each
// resource, and what makes a kind.Catalogue of them. The rules that rows name
// (defaults, validation, strategies, conversion, columns) are upstream's.
//
// It must not know about HTTP or where objects are kept, nor do the work of
// any verb.
package native

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/deprecation"
	"k8s.io/apiserver/pkg/registry/rest"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/compatibility"
	"k8s.io/component-base/featuregate"
	baseversion "k8s.io/component-base/version"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/printers"
	printersinternal "k8s.io/kubernetes/pkg/printers/internalversion"
	printerstorage "k8s.io/kubernetes/pkg/printers/storage"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/resolver"
	"k8s.io/kubernetes/pkg/registry/rbac/validation"

	"github.com/knarr-io/knarr/internal/kind"
)

// Options says what is served and gives rules what they ask of their server.
// The zero value is kube-apiserver's default.
type Options struct {
	// RuntimeConfig switches versions and resources on and off, as the flag
	// --runtime-config does: api/all, api/ga, api/beta, api/alpha,
	// <group>/<version>, <group>/<version>/<resource>, each true or false.
	RuntimeConfig map[string]string
	// EventTTL is how long events are kept; 0 means an hour.
	EventTTL time.Duration
	// IPFamily is that of the first service range; empty means IPv4.
	IPFamily corev1.IPFamily
	// Authorizer answers the questions that some rules ask about the user
	// beyond the request itself. Without one they are answered with yes.
	Authorizer authorizer.UnconditionalAuthorizer
	// RoleRules are the rules of RBAC, which nobody may give more of than he has.
	// Without them, or without an Authorizer, everybody may.
	RoleRules validation.AuthorizationRuleResolver
	// Resources and Policies find what policies refer to, to ask if a user may read
	// it. Nil finds nothing.
	Resources resolver.ResourceResolver
	Policies  Policies
	// Namespaces finds the namespace of an object whose rules depend on it.
	// Without one such objects (claims with admin access) are refused.
	Namespaces NamespaceGetter
}

// Catalogue returns the native kinds that o switches on. An error says what in
// RuntimeConfig is not right.
func Catalogue(o Options) (*kind.Catalogue, error) {
	on, err := served(o.RuntimeConfig)
	if err != nil {
		return nil, err
	}
	b := newBuilder(o, on)
	var groups []*kind.Group
	for _, g := range b.groups() {
		built, err := b.group(g)
		if err != nil {
			return nil, err
		}
		if len(built.Resources) > 0 {
			groups = append(groups, built)
		}
	}
	cohabit(groups)
	slices.SortFunc(groups, func(a, b *kind.Group) int {
		return cmp.Or(cmp.Compare(groupPriority(b.Name), groupPriority(a.Name)), strings.Compare(a.Name, b.Name))
	})
	return kind.NewCatalogue(groups), nil
}

// cohabit has resources know the versions of others that show the same objects.
func cohabit(groups []*kind.Group) {
	byPrefix := map[string][]*kind.Resource{}
	for _, g := range groups {
		for _, r := range g.Resources {
			if r.Storage == nil {
				continue
			}
			for _, other := range byPrefix[r.Storage.Prefix] {
				r.Cohabiting = append(r.Cohabiting, other.Versions...)
				other.Cohabiting = append(other.Cohabiting, r.Versions...)
			}
			byPrefix[r.Storage.Prefix] = append(byPrefix[r.Storage.Prefix], r)
		}
	}
}

// builder holds what the rows of one catalogue share.
type builder struct {
	options   Options
	on        serving
	features  featuregate.FeatureGate
	printers  rest.TableConvertor
	encodings *serverstorage.DefaultResourceEncodingConfig
	release   *version.Version
}

func newBuilder(o Options, on serving) *builder {
	if o.EventTTL == 0 {
		o.EventTTL = time.Hour
	}
	if o.Resources == nil {
		o.Resources = noResources{}
	}
	if o.Policies == nil {
		o.Policies = noPolicies{}
	}
	if o.IPFamily == "" {
		o.IPFamily = corev1.IPv4Protocol
	}
	// The release is that of the libraries, however the program was built.
	effective := compatibility.NewEffectiveVersionFromString(baseversion.DefaultKubeBinaryVersion, "", "")
	return &builder{
		options:   o,
		on:        on,
		features:  utilfeature.DefaultFeatureGate,
		printers:  printerstorage.TableConvertor{TableGenerator: printers.NewTableGenerator().With(printersinternal.AddHandlers)},
		encodings: serverstorage.NewDefaultResourceEncodingConfigForEffectiveVersion(legacyscheme.Scheme, effective),
		release:   effective.EmulationVersion(),
	}
}

// groups returns all tables.
func (b *builder) groups() []*group {
	return []*group{
		b.core(),
		b.admissionregistration(), b.apiextensions(), b.apiregistration(), b.apiserverinternal(), b.apps(),
		b.authentication(), b.authorization(), b.autoscaling(), b.batch(), b.certificates(), b.coordination(),
		b.discovery(), b.events(), b.oldExtensions(), b.flowcontrol(), b.lifecycle(), b.networking(), b.node(), b.policy(), b.rbac(),
		b.resources(), b.scheduling(), b.storagemigration(), b.volumes(),
	}
}

// group builds the resources of a table that are on.
func (b *builder) group(g *group) (*kind.Group, error) {
	built := &kind.Group{Name: g.name}
	for i := range g.rows {
		row := &g.rows[i]
		if row.gate != "" && !b.features.Enabled(row.gate) {
			continue
		}
		var versions []string
		for _, v := range row.versions {
			if b.serves(g, row, v) {
				versions = append(versions, v)
				if !built.Serves(v) {
					built.Versions = append(built.Versions, v)
				}
			}
		}
		if len(versions) == 0 {
			continue
		}
		r, err := b.resource(g, row, versions)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", row.name, g.name, err)
		}
		built.Resources = append(built.Resources, r)
	}
	slices.SortFunc(built.Resources, func(a, b *kind.Resource) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(built.Versions, func(a, b string) int {
		return cmp.Compare(versionPriority(g.name, b), versionPriority(g.name, a))
	})
	return built, nil
}

// serves reports whether a version of a resource is on.
func (b *builder) serves(g *group, row *row, v string) bool {
	config, gv := b.on[g.types()], schema.GroupVersion{Group: g.name, Version: v}
	if !row.byName {
		return config.ResourceEnabled(gv.WithResource(row.name)) && b.alive(g, row, v)
	}
	if on, said := config.ExplicitResourceConfigs[gv.WithResource(row.name)]; said {
		return on
	}
	return config.VersionExplicitlyEnabled(gv)
}

// alive reports whether this release still serves a version of a kind: its
// types say in which release they end.
func (b *builder) alive(g *group, row *row, v string) bool {
	obj, err := b.types(g).Scheme.New(schema.GroupVersionKind{Group: g.name, Version: v, Kind: row.hub.kind})
	if err != nil {
		return false
	}
	ends, ok := obj.(interface {
		APILifecycleRemoved() (major, minor int)
	})
	if !ok {
		return true
	}
	major, minor := ends.APILifecycleRemoved()
	return version.MajorMinor(uint(major), uint(minor)).GreaterThan(b.release)
}

// deprecation returns the warning for a version whose types call it deprecated,
// and the release that removes it.
func (b *builder) deprecation(r *kind.Resource, v string) (warning, removed string) {
	gvk := schema.GroupVersionKind{Group: r.Group, Version: v, Kind: r.Kind}
	obj, err := r.Scheme.New(gvk)
	if err != nil || !deprecation.IsDeprecated(obj, int(b.release.Major()), int(b.release.Minor())) {
		return "", ""
	}
	obj.GetObjectKind().SetGroupVersionKind(gvk)
	return deprecation.WarningMessage(obj), deprecation.RemovedRelease(obj)
}
