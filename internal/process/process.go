// Package process guards what Kubernetes' libraries keep once per process:
// feature gates and capabilities. It is the one place of this project with
// state of the package, since there is but one process to describe.
//
// It must not know what the settings mean.
package process

import (
	"fmt"
	"sync"
	"sync/atomic"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/featuregate"
	"k8s.io/kubernetes/pkg/capabilities"
)

// Settings are what a server asks of its process.
type Settings struct {
	FeatureGates    map[string]bool
	AllowPrivileged bool
}

// maxPatchCopies is how many bytes the copies of a JSON patch may take, as upstream's.
const maxPatchCopies = 3 << 20

// first is what the first server asked for; nil until there is one.
var (
	mu    sync.Mutex
	first *Settings
)

// Set makes s hold for the process if nothing does yet. Otherwise it is an
// error if s asks for anything else than what holds.
func Set(s Settings) error {
	mu.Lock()
	defer mu.Unlock()
	gates := utilfeature.DefaultMutableFeatureGate
	if first == nil {
		if err := gates.SetFromMap(s.FeatureGates); err != nil {
			return err
		}
		capabilities.Initialize(capabilities.Capabilities{AllowPrivileged: s.AllowPrivileged})
		if capabilities.Get().AllowPrivileged != s.AllowPrivileged {
			return fmt.Errorf("privileged containers are switched %s in this process already", onOff(!s.AllowPrivileged))
		}
		atomic.StoreInt64(&jsonpatch.AccumulatedCopySizeLimit, maxPatchCopies)
		first = &s
		return nil
	}
	if s.AllowPrivileged != first.AllowPrivileged {
		return fmt.Errorf("privileged containers are switched %s in this process by its first server", onOff(first.AllowPrivileged))
	}
	known := gates.GetAll()
	for name, want := range s.FeatureGates {
		if _, ok := known[featuregate.Feature(name)]; !ok {
			return fmt.Errorf("unrecognized feature gate: %s", name)
		}
		if gates.Enabled(featuregate.Feature(name)) != want {
			return fmt.Errorf("feature gate %s is %t in this process since its first server", name, !want)
		}
	}
	return nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
