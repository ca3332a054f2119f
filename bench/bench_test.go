package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestPodManifest(t *testing.T) {
	var pod corev1.Pod
	decoder := json.NewDecoder(bytes.NewReader(podManifest(7)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&pod); err != nil {
		t.Fatal(err)
	}
	if pod.Name != podName(7) || len(pod.Spec.Containers) != 2 {
		t.Errorf("pod %s has %d containers", pod.Name, len(pod.Spec.Containers))
	}
	if size := len(podManifest(7)); size < 2800 || size > 3300 {
		t.Errorf("a pod is %d bytes, not about 3 KB", size)
	}
}

func TestPercentiles(t *testing.T) {
	var took []time.Duration
	for i := 200; i > 0; i-- {
		took = append(took, time.Duration(i))
	}
	if p50, p99 := percentiles(took); p50 != 100 || p99 != 198 {
		t.Errorf("p50 %d, p99 %d", p50, p99)
	}
	if p50, p99 := percentiles(nil); p50 != 0 || p99 != 0 {
		t.Errorf("of nothing: %d, %d", p50, p99)
	}
	if m := median([]time.Duration{9, 1, 5}); m != 5 {
		t.Errorf("median %d", m)
	}
}

// stream is what a watcher of so many updates is sent.
func stream(updates int) string {
	var out strings.Builder
	for i := range updates {
		fmt.Fprintf(&out, `{"type":"MODIFIED","object":{"data":{"n":"%d"}}}`+"\n", i)
	}
	return out.String()
}

func watch(t *testing.T, updates int, streams ...string) []*watcher {
	t.Helper()
	f := &fanOut{watchers: len(streams), updates: updates, complete: make(chan struct{}, 100), began: time.Now()}
	var watchers []*watcher
	for _, s := range streams {
		w := &watcher{}
		if len(watchers) == 0 {
			w.kept = &bytes.Buffer{}
		}
		_ = w.read(strings.NewReader(s), f) // a stream that ends early is for verify to find
		watchers = append(watchers, w)
	}
	return watchers
}

func TestVerify(t *testing.T) {
	good := stream(20)
	if err := verify(watch(t, 20, good, good, good), 20); err != nil {
		t.Error(err)
	}
	lines := strings.SplitAfter(good, "\n")
	swapped := strings.Join(append([]string{lines[1], lines[0]}, lines[2:]...), "")
	twice := lines[0] + strings.Join(lines[:19], "")
	for name, bad := range map[string]string{"one missing": strings.Join(lines[1:], ""), "out of order": swapped, "one twice": twice} {
		if verify(watch(t, 20, good, bad), 20) == nil {
			t.Errorf("%s in the second watch was not found", name)
		}
		if verify(watch(t, 20, bad, bad), 20) == nil {
			t.Errorf("%s in every watch was not found", name)
		}
	}
}

func TestReportJudgesTargets(t *testing.T) {
	peer := &report{ready: []time.Duration{3 * time.Second}, idle: 300e6, loaded: 1200e6, getPod: cost{cpu: 660 * time.Microsecond}}
	knarr := &report{ready: []time.Duration{90 * time.Millisecond}, idle: 100e6, loaded: 100e6, getPod: cost{cpu: 90 * time.Microsecond}}
	text := render(peer, knarr, flags{sizes: full}, "go run .")
	for _, want := range []string{
		"| ready (median of 5) | 3 s | 90 ms | 33.3 | 15 | pass |",
		"| memory, idle | 300 MB | 100 MB | 3.0 | 4 | **FAIL** |",
		"| memory, 10000 pods | 1200 MB | 100 MB | 12.0 | 5 | pass |",
		"| get pod | 660 µs | 90 µs | 7.3 | 5 | pass |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if text := render(peer, nil, flags{sizes: full}, "go run ."); !strings.Contains(text, "not measured") || strings.Contains(text, "FAIL") {
		t.Errorf("one server alone:\n%s", text)
	}
}

func TestWidgetManifest(t *testing.T) {
	var crd struct {
		Spec struct {
			Versions []struct{ Schema map[string]any }
		}
	}
	if err := json.Unmarshal([]byte(definition), &crd); err != nil || len(crd.Spec.Versions) != 1 {
		t.Fatalf("%v: %+v", err, crd)
	}
	var widget struct{ Metadata struct{ Name string } }
	if err := json.Unmarshal(widgetManifest(7), &widget); err != nil {
		t.Fatal(err)
	}
	if size := len(widgetManifest(7)); widget.Metadata.Name != widgetName(7) || size < 700 || size > 1100 {
		t.Errorf("widget %s is %d bytes, not about 0.8 KB", widget.Metadata.Name, size)
	}
}
