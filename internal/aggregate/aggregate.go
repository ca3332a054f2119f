// Package aggregate serves what an APIService says is served elsewhere: it knows
// which versions of groups those are, where their servers are reached, and
// passes requests on to them in the name of who asked.
//
// It must not know what the other server answers means, and it writes nothing:
// whether a server can be reached is found out and told by controller/apiservice.
package aggregate

import (
	"net/http"

	"k8s.io/apimachinery/pkg/types"
)

// Service is an APIService that is served elsewhere, as it is stored at one
// time. It is immutable.
type Service struct {
	// Name is the APIService's: the version, a dot and the group.
	Name           string
	UID            types.UID
	Group, Version string
	// GroupPriority and VersionPriority are its place in discovery: the higher,
	// the earlier.
	GroupPriority, VersionPriority int32
	// Available is whether its condition says that it can be reached.
	Available bool

	// path is where it is served; what is below it, too. Empty for nowhere.
	path      string
	backend   backend
	transport http.RoundTripper
}

// RoundTrip sends a request whose URL has a path and a query to the server, in
// the name of the user that the request's context has. A server that cannot be
// found or reached is an error.
func (s *Service) RoundTrip(r *http.Request) (*http.Response, error) {
	return s.transport.RoundTrip(r)
}

// Services are all that are served elsewhere at one time. They are immutable:
// the same pointer says the same.
type Services struct {
	// All is in the order of names.
	All []*Service
}
