//go:build pins

package house

// k8s.io/kubernetes requires these at v0.0.0, which does not exist. Nothing of
// them is used: they are named so that go.mod pins them too, and commands that
// look at all modules work here and where knarr is embedded.
import (
	_ "k8s.io/cri-streaming/pkg/streaming"
	_ "k8s.io/sample-apiserver/pkg/apis/wardle"
)
