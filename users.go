package knarr

import (
	"k8s.io/client-go/rest"

	"github.com/knarr-io/knarr/internal/kubeconfig"
)

// User is who a client is to a server.
type User struct{ access kubeconfig.Access }

// AddUser returns a user of a name and of groups, proven by a client certificate
// that the server's own authority has signed, valid for a year. What he may do is
// up to authorization: by default nothing, until a role is bound to him or to one of
// his groups. It writes nothing, and may be called again for the same name.
func (s *Server) AddUser(name string, groups ...string) (*User, error) {
	pair, err := s.authority.IssueClient(name, groups...)
	if err != nil {
		return nil, err
	}
	return &User{kubeconfig.Access{Server: s.access.Server, CA: s.access.CA, Cert: pair.CertPEM, Key: pair.KeyPEM}}, nil
}

// ClientConfig returns a new configuration for client-go. As Server.ClientConfig,
// it does not hold requests back.
func (u *User) ClientConfig() *rest.Config {
	c := u.access.REST()
	c.QPS = -1
	return c
}

// Kubeconfig returns the same as a kubeconfig file, with the key in it.
func (u *User) Kubeconfig() ([]byte, error) { return u.access.Render() }
