package definitions

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// widgets is a definition whose names are those of widgets and short ones.
func widgets(short ...string) *apiextensionsv1.CustomResourceDefinition {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	crd.Name, crd.Spec.Group = "widgets.example.com", "example.com"
	crd.Spec.Names = names{Plural: "widgets", Singular: "widget", Kind: "Widget", ListKind: "WidgetList", ShortNames: short}
	return crd
}

// told returns a condition as "status reason: message", or "" if there is none.
func told(crd *apiextensionsv1.CustomResourceDefinition, of apiextensionsv1.CustomResourceDefinitionConditionType) string {
	c := apihelpers.FindCRDCondition(crd, of)
	if c == nil {
		return ""
	}
	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

func TestNames(t *testing.T) {
	const (
		fine        = "True NoConflicts: no conflicts found"
		established = "True InitialNamesAccepted: the initial names have been accepted"
		notAccepted = "False NotAccepted: not all names are accepted"
	)
	for _, test := range []struct {
		name              string
		taken             names // by another
		accepted          names // before
		wanted            names
		want              string // accepted
		names, establishd string
	}{
		{"nobody else", names{}, names{}, widgets("w").Spec.Names, "widgets widget Widget WidgetList [w]", fine, established},
		{"others have others", names{Plural: "gadgets", Singular: "gadget", Kind: "Gadget", ListKind: "GadgetList", ShortNames: []string{"g"}},
			names{}, widgets("w").Spec.Names, "widgets widget Widget WidgetList [w]", fine, established},
		{"plural", names{Singular: "widgets"}, names{}, widgets("w").Spec.Names,
			" widget Widget WidgetList [w]", `False PluralConflict: "widgets" is already in use`, notAccepted},
		{"singular", names{ShortNames: []string{"widget"}}, names{}, widgets().Spec.Names,
			"widgets  Widget WidgetList []", `False SingularConflict: "widget" is already in use`, notAccepted},
		{"short", names{Plural: "w"}, names{}, widgets("x", "w").Spec.Names,
			"widgets widget Widget WidgetList []", `False ShortNamesConflict: "w" is already in use`, notAccepted},
		{"two short", names{Plural: "w", Singular: "x"}, names{}, widgets("x", "w").Spec.Names,
			"widgets widget Widget WidgetList []", `False ShortNamesConflict: ["x" is already in use, "w" is already in use]`, notAccepted},
		{"kind", names{ListKind: "Widget"}, names{}, widgets().Spec.Names,
			"widgets widget  WidgetList []", `False KindConflict: "Widget" is already in use`, notAccepted},
		{"list kind", names{Kind: "WidgetList"}, names{}, widgets().Spec.Names,
			"widgets widget Widget  []", `False ListKindConflict: "WidgetList" is already in use`, notAccepted},
		{"the last conflict is told", names{Plural: "widgets", Kind: "Widget"}, names{}, widgets().Spec.Names,
			" widget  WidgetList []", `False KindConflict: "Widget" is already in use`, notAccepted},
		{"one's own are no conflict", names{}, widgets("w").Spec.Names, widgets("w", "v").Spec.Names,
			"widgets widget Widget WidgetList [w v]", fine, established},
		{"a new one that is taken", names{Plural: "v"}, widgets("w").Spec.Names, widgets("v", "w").Spec.Names,
			"widgets widget Widget WidgetList [w]", `False ShortNamesConflict: "v" is already in use`, notAccepted},
		{"a new short name that is one's own plural", names{}, widgets().Spec.Names, widgets("widgets").Spec.Names,
			"widgets widget Widget WidgetList []", `False ShortNamesConflict: "widgets" is already in use`, notAccepted},
	} {
		crd := widgets()
		crd.Spec.Names, crd.Status.AcceptedNames = test.wanted, test.accepted
		taken := newClaims()
		taken.add(&test.taken)
		taken.add(&test.accepted)
		settleStatus(crd, taken, crd)
		a := crd.Status.AcceptedNames
		if got := fmt.Sprintf("%s %s %s %s %v", a.Plural, a.Singular, a.Kind, a.ListKind, a.ShortNames); got != test.want {
			t.Errorf("%s: accepted are %q, want %q", test.name, got, test.want)
		}
		if got := told(crd, apiextensionsv1.NamesAccepted); got != test.names {
			t.Errorf("%s: NamesAccepted is %s, want %s", test.name, got, test.names)
		}
		if got := told(crd, apiextensionsv1.Established); got != test.establishd {
			t.Errorf("%s: Established is %s, want %s", test.name, got, test.establishd)
		}
		before := crd.Status.DeepCopy()
		settleStatus(crd, taken, crd)
		if fmt.Sprint(*before) != fmt.Sprint(crd.Status) {
			t.Errorf("%s: settled again, the status is %v, was %v", test.name, crd.Status, *before)
		}
	}
}

// What is established stays so, whatever names it asks for later.
func TestEstablishedForEver(t *testing.T) {
	crd := widgets()
	settleStatus(crd, newClaims(), crd)
	crd.Spec.Names.Kind, crd.Spec.Names.Categories = "Gadget", []string{"all"}
	taken := newClaims()
	taken.add(&names{Kind: "Gadget"})
	settleStatus(crd, taken, crd)
	if got, want := told(crd, apiextensionsv1.NamesAccepted), `False KindConflict: "Gadget" is already in use`; got != want {
		t.Errorf("NamesAccepted is %s, want %s", got, want)
	}
	if !apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established) {
		t.Error("it is no longer established")
	}
	if a := crd.Status.AcceptedNames; a.Kind != "Widget" || !slices.Equal(a.Categories, []string{"all"}) {
		t.Errorf("accepted are %v", a)
	}
	settleStatus(crd, newClaims(), crd)
	if a := crd.Status.AcceptedNames; a.Kind != "Gadget" || told(crd, apiextensionsv1.NamesAccepted) != "True NoConflicts: no conflicts found" {
		t.Errorf("with nobody in the way accepted are %v, %s", a, told(crd, apiextensionsv1.NamesAccepted))
	}
}

func TestAuthoritiesOfConversion(t *testing.T) {
	crd := widgets()
	crd.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Webhook: &apiextensionsv1.WebhookConversion{
		ClientConfig: &apiextensionsv1.WebhookClientConfig{CABundle: []byte("nonsense")},
	}}
	settleStatus(crd, newClaims(), crd)
	if got, want := told(crd, apiextensionsv1.Established), "False InvalidCABundle: The conversion webhook CABundle is invalid"; got != want {
		t.Errorf("Established is %s, want %s", got, want)
	}
	crd.Spec.Conversion.Webhook.ClientConfig.CABundle = nil
	settleStatus(crd, newClaims(), crd)
	if !apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established) {
		t.Errorf("put right, Established is %s", told(crd, apiextensionsv1.Established))
	}
}

func TestApproval(t *testing.T) {
	const annotated = ` must have approval annotation "api-approved.kubernetes.io"`
	for _, test := range []struct{ group, annotation, want string }{
		{"example.com", "", ""},
		{"notk8s.io", "", ""},
		{"x.k8s.io", "", "False MissingAnnotation: protected groups" + annotated + ", see https://github.com/kubernetes/enhancements/pull/1111"},
		{"kubernetes.io", "unapproved, for a test", `False UnapprovedAnnotation: not approved: "unapproved, for a test"`},
		{"k8s.io", "https://example.com/1", "True ApprovedAnnotation: approved in https://example.com/1"},
		{"k8s.io", "yes", "False InvalidAnnotation: protected groups" + annotated +
			` with either a URL or a reason starting with "unapproved", see https://github.com/kubernetes/enhancements/pull/1111`},
	} {
		crd := widgets()
		crd.Spec.Group = test.group
		if test.annotation != "" {
			crd.Annotations = map[string]string{apiextensionsv1.KubeAPIApprovedAnnotation: test.annotation}
		}
		settleStatus(crd, newClaims(), crd)
		if got := told(crd, apiextensionsv1.KubernetesAPIApprovalPolicyConformant); got != test.want {
			t.Errorf("%s, %q: %s, want %s", test.group, test.annotation, got, test.want)
		}
	}
}

func TestNonStructural(t *testing.T) {
	object := func(properties map[string]apiextensionsv1.JSONSchemaProps) *apiextensionsv1.CustomResourceValidation {
		return &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", Properties: properties}}
	}
	crd := widgets()
	crd.Spec.Versions = []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Schema: object(nil)}, {Name: "v2"}}
	settleStatus(crd, newClaims(), crd)
	if got := told(crd, apiextensionsv1.NonStructuralSchema); got != "" {
		t.Errorf("a structural one: %s", got)
	}
	crd.Spec.PreserveUnknownFields = true
	crd.Spec.Versions[1].Schema = object(map[string]apiextensionsv1.JSONSchemaProps{"spec": {}})
	settleStatus(crd, newClaims(), crd)
	got := told(crd, apiextensionsv1.NonStructuralSchema)
	for _, want := range []string{
		"True Violations: [", "spec.preserveUnknownFields: Invalid value: true: must be false",
		"spec.versions[1].schema.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it is %s, want %s", got, want)
		}
	}
	crd.Spec.PreserveUnknownFields, crd.Spec.Versions[1].Schema = false, nil
	settleStatus(crd, newClaims(), crd)
	if got := told(crd, apiextensionsv1.NonStructuralSchema); got != "" {
		t.Errorf("put right: %s", got)
	}
}
