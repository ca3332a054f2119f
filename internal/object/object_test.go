package object

import (
	"errors"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNew(t *testing.T) {
	unreadable := errors.New("no key")
	for _, test := range []struct {
		prefix, key     string
		namespace, name string
	}{
		{"/registry/pods", "/registry/pods/default/web-0", "default", "web-0"},
		{"/registry/minions", "/registry/minions/node-1.example.com", "", "node-1.example.com"},
		{"/registry/services/specs", "/registry/services/specs/kube-system/dns", "kube-system", "dns"},
		{"/registry/ranges", "/registry/ranges/servicenodeports", "", "servicenodeports"},
		{"/registry/masterleases", "/registry/masterleases/2001:db8::1", "", "2001:db8::1"},
		{"/registry/example.com/foos", "/registry/example.com/foos/ns/a", "ns", "a"},
		{"/registry/clusterroles", "/registry/clusterroles/system:controller:job-controller", "", "system:controller:job-controller"},
		// What no API server writes must not be taken for another object.
		{"/registry/pods", "/registry/pods/ns/a/b", "ns", "a/b"},
		{"/registry/pods", "/registry/pods", "", ""},
		{"", "compact_rev_key", "", "compact_rev_key"},
	} {
		value := []byte("value")
		o := New(test.prefix, test.key, value, 7, unreadable)
		if o.Namespace != test.namespace || o.Name != test.name {
			t.Errorf("New(%q, %q): namespace %q, name %q, want %q, %q", test.prefix, test.key, o.Namespace, o.Name, test.namespace, test.name)
		}
		if &o.Value[0] != &value[0] || o.Rev != 7 || o.Err != unreadable {
			t.Errorf("New(%q, %q) = %+v: not what it was given", test.prefix, test.key, o)
		}
	}
}

func TestAt(t *testing.T) {
	o := New("/registry/pods", "/registry/pods/ns/a", []byte("value"), 7, errors.New("damaged"))
	o.SetAttributes(&counter{}, Attributes{})
	c := NewCache(1 << 20)
	encode(t, c, o, &form{size: 10})

	later := o.At(9)
	if later.Rev != 9 || later.Namespace != "ns" || later.Name != "a" || &later.Value[0] != &o.Value[0] || later.Err != o.Err {
		t.Errorf("At(9) = %+v of %+v", later, o)
	}
	if o.Rev != 7 {
		t.Errorf("At changed the object: revision %d", o.Rev)
	}
	if later.encodings.Load() != nil || later.attrs.Load() != nil || later.slot != 0 {
		t.Error("At took along what was derived under the other revision")
	}
}
