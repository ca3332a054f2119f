package definitions

import (
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/util/webhook"
)

// condition is shorthand for what upstream's controllers say.
type condition = apiextensionsv1.CustomResourceDefinitionCondition

// settleStatus gives crd the status that upstream's controllers would give it
// where others have claimed the names taken. Whether the schemas are structural
// is looked at in whole, which may be crd itself, if it is not nil.
func settleStatus(crd *apiextensionsv1.CustomResourceDefinition, taken claims, whole *apiextensionsv1.CustomResourceDefinition) {
	setApproval(crd)
	if whole != nil {
		setNonStructural(crd, whole)
	}
	setNames(crd, taken)
	setEstablished(crd)
}

// setEstablished says that a definition is established once its names were
// accepted. It stays so for ever.
func setEstablished(crd *apiextensionsv1.CustomResourceDefinition) {
	if !apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.NamesAccepted) || apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established) {
		return
	}
	c := condition{
		Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue,
		Reason: "InitialNamesAccepted", Message: "the initial names have been accepted",
	}
	if !validAuthorities(crd) {
		c.Status, c.Reason, c.Message = apiextensionsv1.ConditionFalse, "InvalidCABundle", "The conversion webhook CABundle is invalid"
	}
	apihelpers.SetCRDCondition(crd, c)
}

// validAuthorities reports whether those that the conversion's webhook is
// verified by can be read.
func validAuthorities(crd *apiextensionsv1.CustomResourceDefinition) bool {
	c := crd.Spec.Conversion
	if c == nil || c.Webhook == nil || c.Webhook.ClientConfig == nil {
		return true
	}
	return len(webhook.ValidateCABundle(field.NewPath(""), c.Webhook.ClientConfig.CABundle)) == 0
}

// setApproval says of a definition in a group of the Kubernetes community
// whether the community has approved it.
func setApproval(crd *apiextensionsv1.CustomResourceDefinition) {
	if !apihelpers.IsProtectedCommunityGroup(crd.Spec.Group) {
		return
	}
	approval, message := apihelpers.GetAPIApprovalState(crd.Annotations)
	c := condition{Type: apiextensionsv1.KubernetesAPIApprovalPolicyConformant, Status: apiextensionsv1.ConditionFalse, Message: message}
	switch approval {
	case apihelpers.APIApproved:
		c.Status, c.Reason = apiextensionsv1.ConditionTrue, "ApprovedAnnotation"
	case apihelpers.APIApprovalBypassed:
		c.Reason = "UnapprovedAnnotation"
	case apihelpers.APIApprovalMissing:
		c.Reason = "MissingAnnotation"
	case apihelpers.APIApprovalInvalid:
		c.Reason = "InvalidAnnotation"
	default:
		c.Status, c.Reason = apiextensionsv1.ConditionUnknown, "UnknownAnnotation"
	}
	apihelpers.SetCRDCondition(crd, c)
}

// setNonStructural says what is not structural about the schemas of a
// definition: such were possible before apiextensions.k8s.io/v1.
func setNonStructural(crd, whole *apiextensionsv1.CustomResourceDefinition) {
	if c := nonStructural(whole); c != nil {
		apihelpers.SetCRDCondition(crd, *c)
	} else if apihelpers.FindCRDCondition(crd, apiextensionsv1.NonStructuralSchema) != nil {
		apihelpers.RemoveCRDCondition(crd, apiextensionsv1.NonStructuralSchema)
	}
}

func nonStructural(crd *apiextensionsv1.CustomResourceDefinition) *condition {
	c := &condition{Type: apiextensionsv1.NonStructuralSchema, Status: apiextensionsv1.ConditionTrue, Reason: "Violations"}
	var wrong field.ErrorList
	if preserve := crd.Spec.PreserveUnknownFields; preserve {
		wrong = append(wrong, field.Invalid(field.NewPath("spec", "preserveUnknownFields"), preserve, "must be false"))
	}
	for i, v := range crd.Spec.Versions {
		if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			continue
		}
		internal := &apiextensions.CustomResourceValidation{}
		if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(v.Schema, internal, nil); err != nil {
			continue
		}
		structural, err := structuralschema.NewStructural(internal.OpenAPIV3Schema)
		if err != nil {
			c.Status, c.Reason = apiextensionsv1.ConditionUnknown, "StructuralError"
			c.Message = fmt.Sprintf("failed to check validation schema for version %s: %v", v.Name, err)
			return c
		}
		path := field.NewPath("spec", "versions").Index(i).Child("schema", "openAPIV3Schema")
		wrong = append(wrong, structuralschema.ValidateStructural(path, structural)...)
	}
	if len(wrong) == 0 {
		return nil
	}
	c.Message = wrong.ToAggregate().Error()
	return c
}
