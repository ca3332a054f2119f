package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/memory"
)

// locked is a store that cannot read values which say so.
type locked struct{ store.Store }

func (l locked) Start(ctx context.Context, f store.Follower) error {
	return l.Store.Start(ctx, lockedFollower{f})
}

// Commit refuses values that are said to have no key.
func (l locked) Commit(ctx context.Context, changes []store.Change) ([]uint64, error) {
	if strings.Contains(changes[0].Key, "unwritable") && changes[0].Value != nil {
		return nil, &store.Unwritable{Key: changes[0].Key, Err: errors.New("no key")}
	}
	return l.Store.Commit(ctx, changes)
}

type lockedFollower struct{ store.Follower }

func (f lockedFollower) Apply(events []store.Event) {
	for i := range events {
		if string(events[i].Value) == "locked" {
			events[i].Err = errors.New("no key")
		}
	}
	f.Follower.Apply(events)
}

// put stores a value under a name without asking anyone.
func (s *server) put(name, value string) {
	s.t.Helper()
	_, err := s.verbs.State.Commit(s.t.Context(), store.Change{Key: "/registry/configmaps/default/" + name, Value: []byte(value)})
	if err != nil {
		s.t.Fatal(err)
	}
}

// What cannot be read is an error of whatever would show it, and only that.
func TestUnreadable(t *testing.T) {
	s := newServerOn(t, locked{memory.New(memory.Options{})})
	s.do("POST "+configMaps, configMap(`"name":"fine","labels":{"a":"b"}`)).is(201)
	s.put("locked", "locked")
	s.put("rubbish", "k8s\x00rubbish")
	const (
		lockedError = "StorageError: corrupt object, Code: 7, Key: /configmaps/default/locked, ResourceVersion: 0, " +
			"AdditionalErrorMsg: data from the storage is not transformable revision=0: no key"
		rubbishError = "StorageError: corrupt object, Code: 7, Key: /configmaps/default/rubbish, ResourceVersion: 0, " +
			"AdditionalErrorMsg: object not decodable revision=4: "
	)
	s.do("GET "+configMaps+"/fine", "").is(200)
	for _, method := range []string{"GET", "DELETE"} {
		s.do(method+" "+configMaps+"/locked", "").is(500, "reason", "InternalError", "message", "Internal error occurred: "+lockedError)
		if got := s.do(method+" "+configMaps+"/rubbish", "").is(500, "reason", "InternalError").str("message"); !strings.HasPrefix(got, "Internal error occurred: "+rubbishError) {
			t.Errorf("%s: %s", method, got)
		}
	}
	s.do("PATCH "+configMaps+"/locked", `{}`).is(500, "message", "Internal error occurred: data from the storage is not transformable revision=0: no key")
	s.do("PATCH "+configMaps+"/locked?dryRun=All", `{}`).is(500, "message", "Internal error occurred: "+lockedError)
	if got := s.do("PATCH "+configMaps+"/rubbish", `{}`).is(500, "reason", nil).str("message"); !strings.HasPrefix(got, "object not decodable revision=4: ") {
		t.Error(got)
	}
	s.do("POST "+configMaps, configMap(`"name":"locked"`)).is(409)
	for _, request := range []string{
		"GET " + configMaps, "GET " + configMaps + "?labelSelector=a=b", "GET /api/v1/configmaps", "DELETE " + configMaps, "DELETE " + configMaps + "?labelSelector=a=b",
	} {
		got := s.do(request, "").is(500, "reason", "StorageReadError", "details.kind", "configmaps", "details.name", "list").str("message")
		want := "failed to read one or more configmaps from the storage: " + strings.Replace(lockedError, "Key: ", "Key: /registry", 1) + " (and 1 more)"
		if got != want {
			t.Errorf("%s: %s", request, got)
		}
	}
	s.do("GET "+configMaps+"?fieldSelector=metadata.name=fine", "").is(200)
	s.do("GET "+configMaps+"/fine", "").is(200)
}

// What cannot be kept as it has to be is not written, in upstream's words.
func TestUnwritable(t *testing.T) {
	s := newServerOn(t, locked{memory.New(memory.Options{})})
	s.do("POST "+configMaps, configMap(`"name":"unwritable"`)).is(500, "message", "Internal error occurred: no key")
	s.do("PATCH "+configMaps+"/unwritable?fieldManager=m", configMap(`"name":"unwritable"`), "Content-Type: application/apply-patch+yaml").is(500, "message", "Internal error occurred: no key")
	s.do("GET "+configMaps+"/unwritable", "").is(404)
}

// It can be deleted by those who may, with an option that says so.
func TestDeleteUnreadable(t *testing.T) {
	s := newServerOn(t, locked{memory.New(memory.Options{})})
	s.do("POST "+configMaps, configMap(`"name":"fine"`)).is(201)
	s.put("locked", "locked")
	s.put("rubbish", "k8s\x00rubbish")
	const option = `{"ignoreStoreReadErrorWithClusterBreakingPotential":true`
	s.do("DELETE "+configMaps+"/locked", option+`,"gracePeriodSeconds":0}`).is(422, "message", `DeleteOptions.meta.k8s.io "" is invalid: `+
		`ignoreStoreReadErrorWithClusterBreakingPotential: Invalid value: true: cannot be set together with .gracePeriodSeconds`)
	s.do("DELETE "+configMaps, option+`}`).is(422, "message", `DeleteOptions.meta.k8s.io "" is invalid: `+
		`ignoreStoreReadErrorWithClusterBreakingPotential: Invalid value: true: is not allowed with DELETECOLLECTION, try again after removing the option`)
	s.do("DELETE "+configMaps+"/none", option+`}`).is(404)
	s.do("DELETE "+configMaps+"/fine", option+`}`).is(409, "message", `Operation cannot be fulfilled on configmaps "fine": StorageError: invalid object, Code: 4, `+
		`Key: /registry/configmaps/default/fine, ResourceVersion: 0, AdditionalErrorMsg: unsafe deletion is not allowed because the object is decodable from storage`)
	s.do("DELETE /api/v1/namespaces/none", option+`}`).is(500)
	s.do("DELETE "+configMaps+"/locked", option+`,"dryRun":["All"]}`).is(200, "status", "Success")
	for _, name := range []string{"locked", "rubbish"} {
		s.do("DELETE "+configMaps+"/"+name, option+`}`).is(200, "kind", "Status", "status", "Success", "code", 200.0,
			"details.name", name, "details.kind", "ConfigMap", "details.uid", nil)
		s.do("GET "+configMaps+"/"+name, "").is(404)
	}
	// Who watches is told, and has to list again.
	rev := s.verbs.State.Rev()
	s.put("locked", "locked")
	s.do("DELETE "+configMaps+"/locked", option+`}`).is(200)
	for since, want := range map[uint64]string{
		rev:     `"message":"Internal error occurred: data from the storage is not transformable revision=0: no key"`,
		rev + 1: `"message":"saw a DELETED event, but object data is corrupt - data from the storage is not transformable revision=0: no key","reason":"StorageReadError","code":500`,
	} {
		frames := s.do(fmt.Sprintf("GET %s?watch=true&resourceVersion=%d", configMaps, since), "").is(200).text
		if strings.Count(frames, "\n") != 1 || !strings.HasPrefix(frames, `{"type":"ERROR","object":{"kind":"Status"`) || !strings.Contains(frames, want) {
			t.Errorf("from %d: %s", since, frames)
		}
	}
	if got := s.do("GET "+configMaps, "").is(200).names(); len(got) != 1 || got[0] != "fine" {
		t.Errorf("there are %v", got)
	}
}
