package bootstrap

import (
	"context"
	"sync"
	"testing"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/client-go/util/retry"
	clocktesting "k8s.io/utils/clock/testing"
)

// flows are the objects of priority and fairness of a server that keeps them.
type flows struct {
	t       *testing.T
	schemas objects[*flowcontrolv1.FlowSchema]
	levels  objects[*flowcontrolv1.PriorityLevelConfiguration]
	clock   *clocktesting.FakeClock
}

func keepFlows(t *testing.T) *flows {
	t.Helper()
	s := newServer(t, nil)
	s.start(t)
	clock := clocktesting.NewFakeClock(time.Now())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { KeepFlowControl(ctx, s.verbs, s.catalogue, clock) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	schemas, _ := served[*flowcontrolv1.FlowSchema](s.run, flowcontrolv1.SchemeGroupVersion.WithResource("flowschemas"))
	levels, _ := served[*flowcontrolv1.PriorityLevelConfiguration](s.run, flowcontrolv1.SchemeGroupVersion.WithResource("prioritylevelconfigurations"))
	return &flows{t, schemas, levels, clock}
}

func (f *flows) schema(name string) *flowcontrolv1.FlowSchema {
	f.t.Helper()
	s, err := f.schemas.Get(f.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *flows) must(_ any, err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *flows) update(name string, change func(*flowcontrolv1.FlowSchema)) {
	f.t.Helper()
	f.must(nil, retry.RetryOnConflict(retry.DefaultRetry, func() error {
		s := f.schema(name)
		change(s)
		_, err := f.schemas.Update(f.t.Context(), s, metav1.UpdateOptions{})
		return err
	}))
}

// putRight waits until a schema is as it was made; the
// keeper may have been at work less than a minute before.
func (f *flows) putRight(want *flowcontrolv1.FlowSchema) {
	f.t.Helper()
	eventually(f.t, want.Name+" as it was", func() bool {
		if f.clock.HasWaiters() {
			f.clock.Step(ensureInterval)
		}
		s, err := f.schemas.Get(f.t.Context(), want.Name, metav1.GetOptions{})
		return err == nil && s.Spec.MatchingPrecedence == want.Spec.MatchingPrecedence && s.Annotations[flowcontrolv1.AutoUpdateAnnotationKey] == "true"
	})
}

// The mandatory objects are put right whatever is done to them (their specs
// cannot be changed), the others as long as their annotation allows it. What is
// missing is made again.
func TestFlowControlKept(t *testing.T) {
	f := keepFlows(t)
	mandatory, suggested := bootstrap.MandatoryFlowSchemaCatchAll, bootstrap.SuggestedFlowSchemaServiceAccounts
	level := bootstrap.SuggestedPriorityLevelConfigurationWorkloadLow.Name

	f.update(mandatory.Name, func(s *flowcontrolv1.FlowSchema) {
		s.Annotations = map[string]string{flowcontrolv1.AutoUpdateAnnotationKey: "false"}
	})
	f.putRight(mandatory)
	f.update(suggested.Name, func(s *flowcontrolv1.FlowSchema) { s.Spec.MatchingPrecedence = 77 })
	f.putRight(suggested)
	for _, name := range []string{mandatory.Name, suggested.Name} {
		f.must(nil, f.schemas.Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
	f.putRight(mandatory)
	f.putRight(suggested)
	f.must(nil, f.levels.Delete(t.Context(), level, metav1.DeleteOptions{}))
	eventually(t, "the level's return", func() bool {
		if f.clock.HasWaiters() {
			f.clock.Step(ensureInterval)
		}
		return f.levels.stored(level) != nil
	})

	// What users have taken over is theirs.
	f.update(suggested.Name, func(s *flowcontrolv1.FlowSchema) {
		s.Spec.MatchingPrecedence = 77
		s.Annotations = map[string]string{flowcontrolv1.AutoUpdateAnnotationKey: "false"}
	})
	// What an older release has made is removed: that is work done after all
	// that came before.
	old := suggested.DeepCopy()
	old.Name, old.Annotations = "of-old", map[string]string{flowcontrolv1.AutoUpdateAnnotationKey: "true"}
	f.must(f.schemas.Create(t.Context(), old, metav1.CreateOptions{}))
	eventually(t, "its removal", func() bool {
		if f.clock.HasWaiters() {
			f.clock.Step(ensureInterval)
		}
		return f.schemas.stored("of-old") == nil
	})
	if got := f.schema(suggested.Name).Spec.MatchingPrecedence; got != 77 {
		t.Errorf("what a user has set to 77 is %d", got)
	}
}
