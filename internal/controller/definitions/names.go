package definitions

import (
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/sets"
)

// names are those of a definition.
type names = apiextensionsv1.CustomResourceDefinitionNames

// claims are the names that definitions of one group have: whose they are does
// not matter, since nobody is in its own way with a name that it keeps.
type claims struct{ resources, kinds sets.Set[string] }

func newClaims() claims { return claims{sets.New[string](), sets.New[string]()} }

// add claims names that were accepted.
func (c claims) add(accepted *names) {
	c.resources.Insert(accepted.Plural, accepted.Singular)
	c.resources.Insert(accepted.ShortNames...)
	c.kinds.Insert(accepted.Kind, accepted.ListKind)
}

// setNames accepts the names that a definition asks for, as far as they are
// free, and says what is not. Those that it had before stay in place of one
// that is taken.
func setNames(crd *apiextensionsv1.CustomResourceDefinition, taken claims) {
	wanted, had := &crd.Spec.Names, crd.Status.AcceptedNames
	if equality.Semantic.DeepEqual(*wanted, had) {
		return
	}
	accepted := had
	verdict := condition{
		Type: apiextensionsv1.NamesAccepted, Status: apiextensionsv1.ConditionTrue, Reason: "NoConflicts", Message: "no conflicts found",
	}
	refuse := func(reason string, err error) {
		verdict.Status, verdict.Reason, verdict.Message = apiextensionsv1.ConditionFalse, reason, err.Error()
	}
	accept := func(name *string, wanted, reason string, taken sets.Set[string]) {
		if wanted != *name && taken.Has(wanted) {
			refuse(reason, inUse(wanted))
			return
		}
		*name = wanted
	}
	// The last of several conflicts is the one that is told.
	accept(&accepted.Plural, wanted.Plural, "PluralConflict", taken.resources)
	accept(&accepted.Singular, wanted.Singular, "SingularConflict", taken.resources)
	if !reflect.DeepEqual(wanted.ShortNames, had.ShortNames) {
		var conflicts []error
		for _, short := range wanted.ShortNames {
			if !slices.Contains(had.ShortNames, short) && taken.resources.Has(short) {
				conflicts = append(conflicts, inUse(short))
			}
		}
		if err := utilerrors.NewAggregate(conflicts); err != nil {
			refuse("ShortNamesConflict", err)
		} else {
			accepted.ShortNames = wanted.ShortNames
		}
	}
	accept(&accepted.Kind, wanted.Kind, "KindConflict", taken.kinds)
	accept(&accepted.ListKind, wanted.ListKind, "ListKindConflict", taken.kinds)
	accepted.Categories = wanted.Categories

	before := apihelpers.FindCRDCondition(crd, apiextensionsv1.NamesAccepted)
	if reflect.DeepEqual(had, accepted) && apihelpers.IsCRDConditionEquivalent(&verdict, before) {
		return
	}
	crd.Status.AcceptedNames = accepted
	apihelpers.SetCRDCondition(crd, verdict)
	if apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established) {
		return
	}
	established := condition{Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionFalse, Reason: "NotAccepted", Message: "not all names are accepted"}
	if verdict.Status == apiextensionsv1.ConditionTrue {
		established.Reason, established.Message = "Installing", "the initial names have been accepted"
	} else if old := apihelpers.FindCRDCondition(crd, apiextensionsv1.Established); old != nil {
		established = *old
	}
	apihelpers.SetCRDCondition(crd, established)
}

func inUse(name string) error { return fmt.Errorf("%q is already in use", name) }
