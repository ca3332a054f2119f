package knarr_test

import (
	"context"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/knarrtest"
)

// onConfigMaps is what policies of these tests look at.
func onConfigMaps() *admissionregistrationv1.MatchResources {
	return &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
		RuleWithOperations: admissionregistrationv1.RuleWithOperations{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.OperationAll},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
		},
	}}}
}

// A policy, its binding and what they refer to decide about the very next request,
// and no longer on the next after they are gone.
func TestPoliciesHoldAtOnce(t *testing.T) {
	server := knarrtest.StartWith(t, knarr.Options{Controllers: []string{}})
	client := newClient(t, server)
	ctx := t.Context()
	maps, api := client.CoreV1().ConfigMaps("default"), client.AdmissionregistrationV1()
	deny := admissionregistrationv1.DenyAction
	create := func() error {
		_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "a-"}}, metav1.CreateOptions{})
		return err
	}
	for i := range 3 {
		if err := create(); err != nil {
			t.Fatalf("%d: without policies: %v", i, err)
		}
		written(t)(api.ValidatingAdmissionPolicies().Create(ctx, &admissionregistrationv1.ValidatingAdmissionPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: "p"},
			Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
				MatchConstraints: onConfigMaps(),
				ParamKind:        &admissionregistrationv1.ParamKind{APIVersion: "v1", Kind: "Secret"},
				Validations:      []admissionregistrationv1.Validation{{Expression: "'allow' in params.data"}},
			},
		}, metav1.CreateOptions{}))
		written(t)(api.ValidatingAdmissionPolicyBindings().Create(ctx, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "b"},
			Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
				PolicyName: "p", ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
				ParamRef: &admissionregistrationv1.ParamRef{Name: "s", ParameterNotFoundAction: &deny},
			},
		}, metav1.CreateOptions{}))
		if err := create(); !apierrors.IsInvalid(err) {
			t.Errorf("%d: without parameters: %v", i, err)
		}
		secrets := client.CoreV1().Secrets("default")
		secret, err := secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, StringData: map[string]string{"refuse": "x"}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := create(); !apierrors.IsInvalid(err) {
			t.Errorf("%d: with parameters that refuse: %v", i, err)
		}
		secret.StringData = map[string]string{"allow": "x"}
		written(t)(secrets.Update(ctx, secret, metav1.UpdateOptions{}))
		if err := create(); err != nil {
			t.Errorf("%d: with parameters that allow: %v", i, err)
		}
		if err := secrets.Delete(ctx, "s", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := create(); !apierrors.IsInvalid(err) {
			t.Errorf("%d: without parameters again: %v", i, err)
		}
		if err := api.ValidatingAdmissionPolicyBindings().Delete(ctx, "b", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := create(); err != nil {
			t.Errorf("%d: without a binding: %v", i, err)
		}
		if err := api.ValidatingAdmissionPolicies().Delete(ctx, "p", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// A policy changes what is written, and its type is checked without another
// process.
func TestPoliciesChangeAndAreChecked(t *testing.T) {
	server := knarrtest.StartWith(t, knarr.Options{})
	client := newClient(t, server)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	api := client.AdmissionregistrationV1()
	written(t)(api.MutatingAdmissionPolicies().Create(ctx, &admissionregistrationv1.MutatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "m"},
		Spec: admissionregistrationv1.MutatingAdmissionPolicySpec{
			MatchConstraints: onConfigMaps(), ReinvocationPolicy: admissionregistrationv1.NeverReinvocationPolicy,
			Mutations: []admissionregistrationv1.Mutation{{
				PatchType:          admissionregistrationv1.PatchTypeApplyConfiguration,
				ApplyConfiguration: &admissionregistrationv1.ApplyConfiguration{Expression: "Object{data: {'added': object.metadata.name}}"},
			}},
		},
	}, metav1.CreateOptions{}))
	written(t)(api.MutatingAdmissionPolicyBindings().Create(ctx, &admissionregistrationv1.MutatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "m"}, Spec: admissionregistrationv1.MutatingAdmissionPolicyBindingSpec{PolicyName: "m"},
	}, metav1.CreateOptions{}))
	made, err := client.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: map[string]string{"own": "x"}}, metav1.CreateOptions{})
	if err != nil || made.Data["added"] != "a" || made.Data["own"] != "x" {
		t.Errorf("what is written is %v, %v", made.Data, err)
	}

	watch, err := api.ValidatingAdmissionPolicies().Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	written(t)(api.ValidatingAdmissionPolicies().Create(ctx, &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "v"},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: onConfigMaps(), Validations: []admissionregistrationv1.Validation{{Expression: "object.spec.replicas > 3"}},
		},
	}, metav1.CreateOptions{}))
	for event := range watch.ResultChan() {
		p, ok := event.Object.(*admissionregistrationv1.ValidatingAdmissionPolicy)
		if !ok {
			t.Fatalf("%v", event.Object)
		}
		if p.Status.ObservedGeneration == 1 {
			if p.Status.TypeChecking == nil || len(p.Status.TypeChecking.ExpressionWarnings) != 1 {
				t.Errorf("the status is %v", p.Status)
			}
			return
		}
	}
	t.Error("the policy was not checked")
}

// written ends the test if something could not be made.
func written(t *testing.T) func(made any, err error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}
