package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEnable(t *testing.T) {
	everything := []string{}
	for _, c := range all() {
		everything = append(everything, c[0])
	}
	without := func(name string) []string {
		return slices.DeleteFunc(slices.Clone(everything), func(n string) bool { return n == name })
	}
	for _, test := range []struct {
		list []string
		want []string
	}{
		{nil, everything},
		{[]string{"*"}, everything},
		{[]string{}, nil},
		{[]string{ServiceAccounts}, []string{ServiceAccounts}},
		{[]string{"-" + ServiceAccounts}, nil}, // nothing says that others run
		{[]string{"*", "-" + ServiceAccounts}, without(ServiceAccounts)},
		{[]string{"-" + ServiceAccounts, "*"}, without(ServiceAccounts)},
		{[]string{"-" + ServiceAccounts, ServiceAccounts}, nil},
		{[]string{ServiceAccounts, "-" + ServiceAccounts}, []string{ServiceAccounts}},
		{[]string{"*", "-root-ca-cert-publisher"}, without(RootCAPublisher)},
		{[]string{"serviceaccount", RootCAPublisher}, []string{RootCAPublisher, ServiceAccounts}},
	} {
		enabled, err := Enable(test.list)
		if err != nil {
			t.Errorf("%q: %v", test.list, err)
			continue
		}
		var got []string
		for name, on := range enabled {
			if on {
				got = append(got, name)
			}
		}
		if want := sets.New(test.want...); !want.Equal(sets.New(got...)) {
			t.Errorf("%q: %q, want %q", test.list, got, test.want)
		}
	}
	for _, list := range [][]string{{"deployment-controller"}, {"*", "-x"}, {"-*"}, {""}} {
		_, err := Enable(list)
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "known controllers: "+RootCAPublisher+", ") {
			t.Errorf("%q: %v, want one line with those that are known", list, err)
		}
	}
}

func TestNamesAreUpstreams(t *testing.T) {
	if ServiceAccounts != names.ServiceAccountController || RootCAPublisher != names.RootCACertificatePublisherController {
		t.Error("a controller is not called as in kube-controller-manager")
	}
}

// What was there and what happens are told in order; who falls behind begins
// again and misses nothing that is.
func TestFollow(t *testing.T) {
	st, err := state.Start(t.Context(), memory.New(memory.Options{}), state.Options{HistoryBytes: 2000})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Stop()
	commit := func(name string) {
		change := store.Change{Key: "/registry/things/" + name, Value: []byte(name)}
		if o := st.Get(change.Key); o != nil {
			change.If = o.Rev
		}
		if _, err := st.Commit(t.Context(), change); err != nil {
			t.Error(err)
		}
	}
	commit("first")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var told []string
	last := uint64(0)
	begin := func(s state.Snapshot) {
		last = s.Rev
		names := []string{}
		s.Each(state.Range{}, func(o *object.Object) bool { names = append(names, o.Name); return true })
		told = append(told, fmt.Sprint(names))
		if len(told) > 1 {
			commit("end")
			return
		}
		for range 500 { // more than the history holds
			commit("second")
		}
	}
	changed := func(e *state.Event) {
		if e.Rev() <= last {
			t.Errorf("event %d after %d", e.Rev(), last)
		}
		last = e.Rev()
		if told = append(told, e.Object.Name); e.Object.Name == "end" {
			cancel()
		}
	}
	Follow(ctx, st, "/registry/things", begin, changed)
	if got, want := fmt.Sprint(told), "[[first] [first second] end]"; got != want {
		t.Errorf("told of %s, want %s", got, want)
	}
}
