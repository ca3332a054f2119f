package bootstrap

import (
	"context"
	"fmt"
	"slices"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/apiserver/pkg/util/apihelpers"
	flowcontrolclient "k8s.io/client-go/kubernetes/typed/flowcontrol/v1"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/ensurer"

	"github.com/knarr-io/knarr/internal/object"
)

// priorityLevels and flowSchemas make the objects of priority and fairness.
// The mandatory ones are always put right; the others as long as nobody has
// changed them.
func (r *run) priorityLevels() error {
	if levels, ok := served[*flowcontrolv1.PriorityLevelConfiguration](r, flowcontrolv1.SchemeGroupVersion.WithResource("prioritylevelconfigurations")); ok {
		ops := ensurer.NewPriorityLevelConfigurationOps(levelClient{objects: levels}, lister[*flowcontrolv1.PriorityLevelConfiguration]{levels})
		ensureAll(r, levels, ops, bootstrap.MandatoryPriorityLevelConfigurations, bootstrap.SuggestedPriorityLevelConfigurations, nil)
	}
	return nil
}

func (r *run) flowSchemas() error {
	r.ensureFlowSchemas(nil)
	return nil
}

// firstFlowSchemas is flowSchemas at start, when all priority levels they refer
// to are made too: where priority and fairness is on, they are made as it would
// leave them, so that it has nothing to write.
func (r *run) firstFlowSchemas() error {
	if r.options.Fairness {
		r.ensureFlowSchemas(markFound)
	} else {
		r.ensureFlowSchemas(nil)
	}
	return nil
}

func (r *run) ensureFlowSchemas(then func(context.Context, objects[*flowcontrolv1.FlowSchema], string) error) {
	schemas, ok := served[*flowcontrolv1.FlowSchema](r, flowcontrolv1.SchemeGroupVersion.WithResource("flowschemas"))
	if !ok {
		return
	}
	ops := ensurer.NewFlowSchemaOps(schemaClient{objects: schemas}, lister[*flowcontrolv1.FlowSchema]{schemas})
	after := func(ctx context.Context, s *flowcontrolv1.FlowSchema) error { return then(ctx, schemas, s.Name) }
	if then == nil {
		after = nil
	}
	ensureAll(r, schemas, ops, bootstrap.MandatoryFlowSchemas, bootstrap.SuggestedFlowSchemas, after)
}

// ensureAll makes the objects of one kind as upstream's rules want them, does
// then with each, and removes those that older releases made.
func ensureAll[P interface {
	comparable
	versioned
}](r *run, all objects[P], ops ensurer.ObjectOps[P], mandatory, suggested []P, then func(context.Context, P) error) {
	ensure := func(wanted []P, strategy ensurer.EnsureStrategy[P]) {
		for _, want := range wanted {
			r.do(all.called(want), func(ctx context.Context) error {
				if err := ensurer.EnsureConfiguration(ctx, ops, want, strategy); err != nil || then == nil {
					return err
				}
				return then(ctx, want)
			})
		}
	}
	ensure(mandatory, ensurer.NewMandatoryEnsureStrategy[P]())
	ensure(suggested, ensurer.NewSuggestedEnsureStrategy[P]())
	wanted := slices.Concat(mandatory, suggested)
	isWanted := func(o *object.Object) bool {
		return slices.ContainsFunc(wanted, func(want P) bool { return want.GetName() == o.Name })
	}
	all.each(func(o *object.Object) bool {
		if isWanted(o) {
			return true
		}
		r.do("removing what older releases made", func(ctx context.Context) error {
			return ensurer.RemoveUnwantedObjects(ctx, ops, wanted)
		})
		return false
	})
}

// conditionOwner is whom upstream has the conditions of flow schemas belong to.
const conditionOwner = "api-priority-and-fairness-config-consumer-v1"

// markFound says of a flow schema that its priority level exists.
func markFound(ctx context.Context, schemas objects[*flowcontrolv1.FlowSchema], name string) error {
	schema, err := schemas.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	level := schema.Spec.PriorityLevelConfiguration.Name
	want := flowcontrolv1.FlowSchemaCondition{
		Type:               flowcontrolv1.FlowSchemaConditionDangling,
		Status:             flowcontrolv1.ConditionFalse,
		LastTransitionTime: metav1.Now(),
		Reason:             "Found",
		Message:            fmt.Sprintf("This FlowSchema references the PriorityLevelConfiguration object named %q and it exists", level),
	}
	have := apihelpers.GetFlowSchemaConditionByType(schema, want.Type)
	if have != nil && have.Status == want.Status && have.Reason == want.Reason && have.Message == want.Message {
		return nil
	}
	apihelpers.SetFlowSchemaCondition(schema, want)
	_, err = schemas.UpdateStatus(ctx, schema, metav1.UpdateOptions{FieldManager: conditionOwner})
	return err
}

// schemaClient and levelClient are the clients that upstream's code asks for.
// It uses no more of them than what objects has.
type (
	schemaClient struct {
		objects[*flowcontrolv1.FlowSchema]
		unusedFlowSchemas
	}
	unusedFlowSchemas struct {
		flowcontrolclient.FlowSchemaInterface
	}

	levelClient struct {
		objects[*flowcontrolv1.PriorityLevelConfiguration]
		unusedPriorityLevels
	}
	unusedPriorityLevels struct {
		flowcontrolclient.PriorityLevelConfigurationInterface
	}
)

// lister is objects with the signatures of client-go's listers.
type lister[P versioned] struct{ objects objects[P] }

func (l lister[P]) List(selector labels.Selector) ([]P, error) {
	all, err := l.objects.All()
	return slices.DeleteFunc(all, func(p P) bool { return !selector.Matches(labels.Set(p.GetLabels())) }), err
}

func (l lister[P]) Get(name string) (P, error) {
	return l.objects.Get(context.Background(), name, metav1.GetOptions{})
}
