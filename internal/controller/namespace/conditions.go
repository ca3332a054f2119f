package namespace

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	api "k8s.io/kubernetes/pkg/apis/core"
)

// findings are what was found as a namespace was to be emptied.
type findings struct {
	discovery error   // what kept other servers' resources from being known
	parsing   error   // what could not be understood of them
	content   []error // what kept objects from being deleted
	// left and finalizers count the objects that remain, by their resource and by what
	// keeps them.
	left       map[schema.GroupResource]int
	finalizers map[string]int
}

// count adds what remains of a resource.
func (f *findings) count(gr schema.GroupResource, n int, finalizers map[string]int) {
	if n == 0 {
		return
	}
	if f.left == nil {
		f.left, f.finalizers = map[schema.GroupResource]int{}, map[string]int{}
	}
	f.left[gr] += n
	for name, in := range finalizers {
		f.finalizers[name] += in
	}
}

// condition is one that there is: how it reads while all is well, and how if not,
// which the message says; it is empty while all is well.
type condition struct {
	name             corev1.NamespaceConditionType
	fine, fineReason string
	bad, reason      string
}

// conditions returns all of them in upstream's order, in its words.
func (f *findings) conditions() []condition {
	return []condition{{
		name: corev1.NamespaceDeletionDiscoveryFailure,
		fine: "All resources successfully discovered", fineReason: "ResourcesDiscovered",
		bad: undiscovered(f.discovery), reason: "DiscoveryFailed",
	}, {
		name: corev1.NamespaceDeletionGVParsingFailure,
		fine: "All legacy kube types successfully parsed", fineReason: "ParsedGroupVersions",
		bad: message(f.parsing), reason: "GroupVersionParsingFailed",
	}, {
		name: corev1.NamespaceDeletionContentFailure,
		fine: "All content successfully deleted, may be waiting on finalization", fineReason: "ContentDeleted",
		bad: undeleted(f.content), reason: "ContentDeletionFailed",
	}, {
		name: corev1.NamespaceContentRemaining,
		fine: "All content successfully removed", fineReason: "ContentRemoved",
		bad: list("Some resources are remaining: ", f.left, func(gr schema.GroupResource, n int) string {
			return fmt.Sprintf("%s.%s has %d resource instances", gr.Resource, gr.Group, n)
		}),
		reason: "SomeResourcesRemain",
	}, {
		name: corev1.NamespaceFinalizersRemaining,
		fine: "All content-preserving finalizers finished", fineReason: "ContentHasNoFinalizers",
		bad: list("Some content in the namespace has finalizers remaining: ", f.finalizers, func(name string, n int) string {
			return fmt.Sprintf("%s in %d resource instances", name, n)
		}),
		reason: "SomeFinalizersRemain",
	}}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func undiscovered(err error) string {
	var failed *discovery.ErrGroupDiscoveryFailed
	if errors.As(err, &failed) {
		return fmt.Sprintf("Discovery failed for some groups, %d failing: %v", len(failed.Groups), err)
	}
	return message(err)
}

func undeleted(errs []error) string {
	if len(errs) == 0 {
		return ""
	}
	var all []string
	for _, err := range errs {
		all = append(all, err.Error())
	}
	slices.Sort(all)
	return fmt.Sprintf("Failed to delete all resource types, %d remaining: %v", len(errs), strings.Join(all, ", "))
}

// list tells of counted things in the order of what is told of them.
func list[K comparable](begin string, counted map[K]int, each func(K, int) string) string {
	if len(counted) == 0 {
		return ""
	}
	var all []string
	for k, n := range counted {
		all = append(all, each(k, n))
	}
	slices.Sort(all)
	return begin + strings.Join(all, ", ")
}

// update makes the conditions of a status say what was found, and returns whether
// they said otherwise.
func (f *findings) update(status *api.NamespaceStatus, now time.Time) (changed bool) {
	for _, c := range f.conditions() {
		is := api.NamespaceCondition{
			Type: api.NamespaceConditionType(c.name), Status: api.ConditionFalse,
			LastTransitionTime: metav1.NewTime(now), Reason: c.fineReason, Message: c.fine,
		}
		if c.bad != "" {
			is.Status, is.Reason, is.Message = api.ConditionTrue, c.reason, c.bad
		}
		at := slices.IndexFunc(status.Conditions, func(was api.NamespaceCondition) bool { return was.Type == is.Type })
		if at < 0 {
			status.Conditions = append(status.Conditions, is)
			changed = true
			continue
		}
		was := &status.Conditions[at]
		if was.Status == is.Status {
			is.LastTransitionTime = was.LastTransitionTime
		}
		changed = changed || was.Status != is.Status || was.Reason != is.Reason || was.Message != is.Message
		*was = is
	}
	return changed
}
