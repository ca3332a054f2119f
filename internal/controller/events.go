package controller

import (
	"context"
	"encoding/json"
	"os"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record/util"
	"k8s.io/klog/v2"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/utils/clock"
)

// seriesTime is how long after the last event of a kind a further one belongs
// to the same series.
const seriesTime = 6 * time.Minute

// Recorder tells of what a controller found, in events of events.k8s.io/v1 as
// upstream's are: the same again is counted in the event that there is. It
// belongs to one goroutine.
type Recorder struct {
	client     Client
	controller string
	instance   string
	clock      clock.Clock
	series     map[eventKind]*series
}

// eventKind is what events of one series have in common.
type eventKind struct {
	regarding      api.ObjectReference
	reason, action string
}

type series struct {
	namespace, name string
	count           int32
	last            time.Time
}

// NewRecorder returns a recorder of events of the controller of that name,
// written by client.
func NewRecorder(client Client, controller string, clock clock.Clock) *Recorder {
	instance := controller
	if hostname, err := os.Hostname(); err == nil {
		instance += "-" + hostname
	}
	return &Recorder{client: client, controller: controller, instance: instance, clock: clock, series: map[eventKind]*series{}}
}

// Warn tells that something is wrong with an object. What keeps the event from
// being written is logged: it is no reason to stop.
func (r *Recorder) Warn(ctx context.Context, regarding api.ObjectReference, reason, action, note string) {
	klog.InfoS(note, "controller", r.controller, "reason", reason, "kind", regarding.Kind, "object", klog.KRef(regarding.Namespace, regarding.Name))
	now := r.clock.Now()
	for k, s := range r.series {
		if now.Sub(s.last) > seriesTime {
			delete(r.series, k)
		}
	}
	kind := eventKind{regarding, reason, action}
	if s := r.series[kind]; s != nil && r.count(ctx, s, now) {
		return
	}
	namespace := regarding.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	event := &api.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: namespace, Name: util.GenerateEventName(regarding.Name, now.UnixNano())},
		InvolvedObject:      regarding,
		EventTime:           metav1.NewMicroTime(now),
		Type:                api.EventTypeWarning,
		Reason:              reason,
		Action:              action,
		Message:             note,
		ReportingController: r.controller,
		ReportingInstance:   r.instance,
	}
	name := event.Name
	if err := r.client.Create(ctx, eventsv1.SchemeGroupVersion.WithResource("events"), namespace, event); err != nil {
		klog.ErrorS(err, "An event could not be written", "controller", r.controller, "reason", reason)
		return
	}
	r.series[kind] = &series{namespace, name, 1, now}
}

// count writes that what a series tells of has happened again; false if the
// event is gone.
func (r *Recorder) count(ctx context.Context, s *series, now time.Time) bool {
	patch, err := json.Marshal(map[string]any{"series": eventsv1.EventSeries{Count: s.count + 1, LastObservedTime: metav1.NewMicroTime(now)}})
	if err == nil {
		err = r.client.Patch(ctx, eventsv1.SchemeGroupVersion.WithResource("events"), s.namespace, s.name, patch)
	}
	switch {
	case apierrors.IsNotFound(err):
		return false
	case err != nil:
		klog.ErrorS(err, "An event could not be counted", "controller", r.controller, "event", s.name)
	}
	s.count, s.last = s.count+1, now
	return true
}
