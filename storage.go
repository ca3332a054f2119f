package knarr

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/knarr-io/knarr/internal/health"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/disk"
	"github.com/knarr-io/knarr/internal/store/encrypted"
	"github.com/knarr-io/knarr/internal/store/memory"
)

// openEncrypted opens the store and, if that is asked for, keeps values in it
// encrypted.
func (s *Server) openEncrypted(ctx context.Context, c *kind.Catalogue) (store.Store, error) {
	o := &s.options
	if o.EncryptionProviderConfig == "" {
		st, err := s.openStore()
		s.storeChecks = s.storeHealth(nil)
		return st, err
	}
	keys, err := encrypted.Load(ctx, encrypted.Options{
		ConfigFile: o.EncryptionProviderConfig, Reload: o.EncryptionProviderConfigAutomaticReload, Resource: keyResources(c),
	})
	if err != nil {
		return nil, err
	}
	st, err := s.openStore()
	if err != nil {
		keys.Close()
		return nil, err
	}
	var checks []health.Check
	for _, c := range keys.Checks() {
		checks = append(checks, health.Check{Name: c.Name, On: health.Healthz | health.Readyz, Check: c.Check})
	}
	s.storeChecks = s.storeHealth(checks)
	return encrypted.Around(st, keys), nil
}

func (s *Server) openStore() (_ store.Store, err error) {
	o := &s.options
	switch o.Store {
	case Memory:
		return memory.New(memory.Options{}), nil
	case Etcd:
		if s.cluster, err = openEtcd(o.Etcd); err != nil {
			return nil, err
		}
		return s.cluster, nil
	}
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return disk.Open(o.DataDir, disk.Options{})
}

func (o *Options) checkEncryption() error {
	if o.EncryptionProviderConfigAutomaticReload && o.EncryptionProviderConfig == "" {
		return errors.New("the encryption configuration can be read again only if there is one: EncryptionProviderConfig (--encryption-provider-config)")
	}
	return nil
}

// keyResources returns the resource whose rules of encryption hold for a storage
// key, as upstream has it.
func keyResources(c *kind.Catalogue) func(key string) (schema.GroupResource, bool) {
	native := map[string]schema.GroupResource{}
	for _, g := range c.Groups { // the core group is the first: events of both are its
		for _, r := range g.Resources {
			if r.Storage == nil {
				continue
			}
			if _, ok := native[r.Storage.Prefix]; !ok {
				native[r.Storage.Prefix] = schema.GroupResource{Group: r.Group, Resource: r.Name}
			}
		}
	}
	return func(key string) (schema.GroupResource, bool) {
		prefix := state.ResourceOf(key)
		if gr, ok := native[prefix]; ok {
			return gr, true
		}
		switch prefix {
		case "", "/registry/ranges", "/registry/masterleases", "/registry/peerserverleases": // no objects of clients
			return schema.GroupResource{}, false
		}
		group, resource, ok := strings.Cut(strings.TrimPrefix(prefix, "/registry/"), "/")
		if !ok { // a native resource that is switched off
			group, resource = "", group
		}
		return schema.GroupResource{Group: group, Resource: resource}, true
	}
}
