package endpoint_test

import (
	"fmt"
	"testing"
)

// What an object was is told to those who may get it.
func TestHistory(t *testing.T) {
	s := newServer(t)
	s.do("POST "+configMaps, configMap(`"name":"other"`)).is(201)
	first := s.do("POST "+configMaps+"?fieldManager=a", `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"},"data":{"k":"1"}}`).is(201).str("metadata.resourceVersion")
	second := s.do("PATCH "+configMaps+"/x?fieldManager=b", `{"data":{"k":"2"}}`).is(200).str("metadata.resourceVersion")
	s.do("DELETE "+configMaps+"/x", "").is(200)

	h := s.do("GET "+configMaps+"/x?knarrHistory=true", "").is(200, "kind", "ObjectHistory", "apiVersion", "knarr.io/v1", "since", "1")
	items := h.body["items"].([]any)
	if len(items) != 3 {
		t.Fatalf("%d items: %s", len(items), h.text)
	}
	for i, want := range []struct{ change, version, by, value string }{
		{"Create", first, "[map[manager:a operation:Update]]", "1"},
		{"Update", second, "[map[manager:b operation:Update]]", "2"},
		{"Delete", "", "<nil>", "2"},
	} {
		item := items[i].(map[string]any)
		value := item["object"].(map[string]any)["data"].(map[string]any)["k"]
		if item["change"] != want.change || want.version != "" && item["resourceVersion"] != want.version || item["time"] == nil ||
			fmt.Sprint(item["by"]) != want.by || value != want.value {
			t.Errorf("item %d is %v, want %+v", i, item, want)
		}
	}

	// As it was, exactly.
	s.do("GET "+configMaps+"/x?knarrRevision="+first, "").is(200, "data.k", "1", "metadata.resourceVersion", first)
	s.do("GET "+configMaps+"/x?knarrRevision="+second, "").is(200, "data.k", "2")
	s.do("GET "+configMaps+"/x", "").is(404)
	s.do("GET "+configMaps+"/x?knarrRevision=2", "").is(404)
	s.do("GET "+configMaps+"/x?knarrRevision=x", "").is(400)
	s.do("GET "+configMaps+"/other?knarrRevision=999999", "").is(504)
	s.do("GET "+configMaps+"/none?knarrHistory=true", "").is(404)

	s.do("GET "+configMaps+"/other?knarrHistory=true", "", "User: nobody").is(403)
	s.do("GET "+configMaps+"/other?knarrHistory=false", "").is(200, "kind", "ConfigMap")
}
