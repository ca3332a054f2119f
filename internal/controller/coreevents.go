package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/tools/record/util"
	"k8s.io/klog/v2"
	api "k8s.io/kubernetes/pkg/apis/core"
	corev1conversion "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/utils/clock"
)

// CoreRecorder tells of what a controller found in core events, as upstream's
// older controllers do: the same again is counted in the event that there is, the like
// many times becomes one, and what is too much is dropped, by upstream's rules. It
// is safe for concurrent use.
type CoreRecorder struct {
	component  string
	clock      clock.PassiveClock
	correlator *record.EventCorrelator
}

// NewCoreRecorder returns a recorder of events that come from component.
func NewCoreRecorder(component string, clock clock.PassiveClock) *CoreRecorder {
	return &CoreRecorder{component, clock, record.NewEventCorrelator(clock)}
}

// Warn tells, through client, that something is wrong with an object. What keeps the
// event from being written is logged: it is no reason to stop.
func (r *CoreRecorder) Warn(ctx context.Context, client Client, regarding corev1.ObjectReference, reason, message string) {
	now := metav1.NewTime(r.clock.Now())
	namespace := regarding.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	result, err := r.correlator.EventCorrelate(&corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: util.GenerateEventName(regarding.Name, now.UnixNano())},
		InvolvedObject: regarding,
		Reason:         reason, Message: message, Type: corev1.EventTypeWarning,
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
		Source:              corev1.EventSource{Component: r.component},
		ReportingController: r.component,
	})
	if err == nil && !result.Skip {
		err = write(ctx, client, result)
		if err == nil {
			r.correlator.UpdateState(result.Event)
		}
	}
	if err != nil && !apierrors.IsAlreadyExists(err) && ctx.Err() == nil {
		klog.ErrorS(err, "An event could not be written", "controller", r.component, "reason", reason)
	}
}

// write writes an event, or that it has happened again.
func write(ctx context.Context, client Client, result *record.EventCorrelateResult) error {
	events := corev1.SchemeGroupVersion.WithResource("events")
	e := result.Event
	if e.Count > 1 {
		if err := client.Patch(ctx, events, e.Namespace, e.Name, result.Patch); !apierrors.IsNotFound(err) {
			return err
		}
	}
	hub := &api.Event{}
	if err := corev1conversion.Convert_v1_Event_To_core_Event(e.DeepCopy(), hub, nil); err != nil {
		return err
	}
	hub.ResourceVersion = ""
	return client.Create(ctx, events, e.Namespace, hub)
}
