package native

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/events"
	_ "k8s.io/kubernetes/pkg/apis/events/install"
	"k8s.io/kubernetes/pkg/registry/core/event"
)

// events are those of the core group under another name: same hub type, rules
// and keys.
func (b *builder) events() *group {
	return &group{name: events.GroupName, rows: []row{
		{
			name: "events", hub: of[api.Event, api.EventList](), short: words("ev"),
			namespaced: true, versions: words("v1"),
			strategy: event.Strategy, attributes: event.GetAttrs, ttl: b.eventTTL(), stored: b.eventsStored(),
		},
	}}
}

// eventsStored is the storage form of events, of either group: core's, unless
// nothing of the core group is served.
func (b *builder) eventsStored() schema.GroupVersion {
	if b.on[&kubernetes].AnyResourceForGroupEnabled(api.GroupName) {
		return schema.GroupVersion{Version: "v1"}
	}
	return schema.GroupVersion{Group: events.GroupName, Version: "v1"}
}
