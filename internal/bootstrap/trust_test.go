package bootstrap

import (
	"context"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
)

// trusting has a server that believes front proxies, as kubeadm has it.
func trusting(t *testing.T) *server {
	t.Helper()
	s := newServer(t, nil)
	s.options.FrontProxies = FrontProxies{
		CA: newCA(t), Names: []string{"front-proxy-client"}, UsernameHeaders: []string{"X-Remote-User"},
		GroupHeaders: []string{"X-Remote-Group"}, ExtraHeaderPrefixes: []string{"X-Remote-Extra-"},
	}
	return s
}

// told is what the ConfigMap says.
func (s *server) told(t *testing.T) *corev1.ConfigMap {
	t.Helper()
	configMaps, _ := s.systemConfigMaps()
	is, err := configMaps.Get(t.Context(), trustName, metav1.GetOptions{})
	must(t, err)
	return is
}

func TestTrust(t *testing.T) {
	s := trusting(t)
	s.start(t)
	want := map[string]string{
		"client-ca-file":                     string(s.options.ClientCA),
		"requestheader-client-ca-file":       string(s.options.FrontProxies.CA),
		"requestheader-allowed-names":        `["front-proxy-client"]`,
		"requestheader-username-headers":     `["X-Remote-User"]`,
		"requestheader-group-headers":        `["X-Remote-Group"]`,
		"requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`,
	}
	if diff := cmp.Diff(want, s.told(t).Data); diff != "" {
		t.Errorf("after a start (-want +got):\n%s", diff)
	}
	for _, f := range s.told(t).ManagedFields {
		if f.Manager != "kube-apiserver" || f.Operation != metav1.ManagedFieldsOperationUpdate {
			t.Errorf("it belongs to %s", f.Manager)
		}
	}

	// What another server believes stays; authorities and names are added.
	other, before := trusting(t).options, s.options
	s.options.ClientCA, s.options.FrontProxies = other.ClientCA, other.FrontProxies
	s.options.FrontProxies.Names = nil
	s.options.FrontProxies.UIDHeaders = []string{"X-Remote-Uid"}
	s.options.FrontProxies.UsernameHeaders = []string{"X-Who", "X-Remote-User"}
	s.start(t)
	want["client-ca-file"] += string(s.options.ClientCA)
	want["requestheader-client-ca-file"] += string(s.options.FrontProxies.CA)
	want["requestheader-username-headers"] = `["X-Remote-User","X-Who"]`
	want["requestheader-uid-headers"] = `["X-Remote-Uid"]`
	if diff := cmp.Diff(want, s.told(t).Data); diff != "" {
		t.Errorf("after another (-want +got):\n%s", diff)
	}

	// A server that believes none adds nothing to them.
	s.options = before
	s.options.FrontProxies = FrontProxies{}
	s.start(t)
	if diff := cmp.Diff(want, s.told(t).Data); diff != "" {
		t.Errorf("after one without front proxies (-want +got):\n%s", diff)
	}
}

// Without authorities, the rest means nothing. A list may be empty.
func TestTrustWithout(t *testing.T) {
	s := trusting(t)
	s.options.FrontProxies.CA = nil
	s.start(t)
	if diff := cmp.Diff(map[string]string{"client-ca-file": string(s.options.ClientCA)}, s.told(t).Data); diff != "" {
		t.Errorf("without an authority (-want +got):\n%s", diff)
	}
	s = trusting(t)
	s.options.ClientCA, s.options.FrontProxies = nil, FrontProxies{CA: s.options.FrontProxies.CA}
	s.start(t)
	want := map[string]string{
		"requestheader-client-ca-file": string(s.options.FrontProxies.CA), "requestheader-allowed-names": "[]",
		"requestheader-username-headers": "[]", "requestheader-group-headers": "[]", "requestheader-extra-headers-prefix": "[]",
	}
	if diff := cmp.Diff(want, s.told(t).Data); diff != "" {
		t.Errorf("with nothing but an authority (-want +got):\n%s", diff)
	}
}

func TestTrustThatCannotBeRead(t *testing.T) {
	for key, value := range map[string]string{"client-ca-file": "none", "requestheader-client-ca-file": "none", "requestheader-allowed-names": "x"} {
		if merged, err := mergeTrust(map[string]string{key: value}, newCA(t), FrontProxies{}); err == nil {
			t.Errorf("%s: %v", key, merged)
		}
	}
}

// What others do to it does not last.
func TestTrustIsKept(t *testing.T) {
	s := trusting(t)
	s.start(t)
	clock := clocktesting.NewFakeClock(time.Now())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { KeepTrust(ctx, s.verbs, s.catalogue, s.options, clock) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	configMaps, _ := s.systemConfigMaps()
	want := s.told(t).Data
	right := func() bool {
		clock.Step(keepInterval)
		is, err := configMaps.Get(ctx, trustName, metav1.GetOptions{})
		return err == nil && maps.Equal(is.Data, want)
	}
	must(t, configMaps.Delete(ctx, trustName, metav1.DeleteOptions{}))
	eventually(t, "its return", right)
	is := s.told(t)
	is.Data = map[string]string{"mine": "x", "requestheader-allowed-names": `[]`}
	_, err := configMaps.Update(ctx, is, metav1.UpdateOptions{})
	must(t, err)
	eventually(t, "its repair", right)
	// What fills it goes, so that there is room.
	want = maps.Clone(want)
	is = s.told(t)
	is.BinaryData = map[string][]byte{"full": []byte(strings.Repeat("x", 1<<20-200))}
	is.Data = nil
	_, err = configMaps.Update(ctx, is, metav1.UpdateOptions{})
	must(t, err)
	eventually(t, "its repair", right)
	if s.told(t).BinaryData != nil {
		t.Error("what filled it is there")
	}
}
