// Package componentstatus tells how the parts of a control plane are, as the
// deprecated resource of that name does: those that kube-apiserver asks, where
// it asks them. What stands for etcd is the server's own store.
//
// It must not know who asks, or what its answers are written as.
package componentstatus

import (
	"crypto/tls"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kubernetes/pkg/probe"
	"k8s.io/kubernetes/pkg/registry/core/componentstatus"
)

// Resource is the one that the statuses are served as.
var Resource = schema.GroupResource{Resource: "componentstatuses"}

// The ports that kube-controller-manager and kube-scheduler serve on, unless
// they are told otherwise.
const (
	controllerManagerPort = 10257
	schedulerPort         = 10259
)

// New returns the statuses. They are found out for each request, all at once.
// store returns what is wrong with the server's store, or nil.
func New(store func() error) *componentstatus.REST {
	local := func(port int) componentstatus.Server {
		return &componentstatus.HttpServer{
			// As upstream: nothing is told to these servers but that someone asks.
			EnableHTTPS: true, TLSConfig: &tls.Config{InsecureSkipVerify: true},
			Addr: "127.0.0.1", Port: port, Path: "/healthz",
		}
	}
	servers := map[string]componentstatus.Server{
		"controller-manager": local(controllerManagerPort),
		"scheduler":          local(schedulerPort),
		"etcd-0":             storeServer(store),
	}
	return componentstatus.NewStorage(func() map[string]componentstatus.Server { return servers })
}

// storeServer is the store as a server that can be asked.
type storeServer func() error

func (s storeServer) DoServerCheck() (probe.Result, string, error) {
	if err := s(); err != nil {
		return probe.Failure, "", err
	}
	return probe.Success, "ok", nil
}
