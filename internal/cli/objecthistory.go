package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/rest"
)

// objectHistory is what a server tells of an object's past.
type objectHistory struct {
	Kind  string           `json:"kind"`
	Since string           `json:"since"`
	Items []objectRevision `json:"items"`
}

type objectRevision struct {
	ResourceVersion string
	Time            *time.Time
	Change          string
	By              []struct{ Manager, Operation, Subresource string }
	Object          map[string]any
}

func (r *objectRevision) rev() uint64 {
	rev, _ := strconv.ParseUint(r.ResourceVersion, 10, 64) // the server has written it
	return rev
}

// deleted reports whether the revision is the end of the object.
func (r *objectRevision) deleted() bool { return r.Change == "Delete" }

// named is one object, by KIND NAME or KIND/NAME, and the server that has it.
type named struct {
	flags   *genericclioptions.ConfigFlags
	dataDir string

	client  *rest.RESTClient
	mapping *meta.RESTMapping
	scope   string // the namespace; empty for objects without
	name    string
}

func (n *named) addTo(cmd *cobra.Command) {
	n.flags = configFlags("")
	cmd.Flags().StringVar(&n.dataDir, "data-dir", defaultDataDir, "where admin.kubeconfig is, if there is no KUBECONFIG and no ~/.kube/config")
	n.flags.AddFlags(cmd.Flags())
}

// find completes n.
func (n *named) find(args []string) error {
	kind, name, ok := strings.Cut(strings.Join(args, "/"), "/")
	if !ok || kind == "" || name == "" || strings.Contains(name, "/") {
		return errors.New("name one object: KIND NAME")
	}
	n.name = name
	if *n.flags.KubeConfig == "" && *n.flags.APIServer == "" {
		config, err := kubeconfig(n.dataDir, nil)
		if err != nil {
			return err
		}
		if config != "" && missing(config) {
			return fmt.Errorf("there is no %s; name the data directory of the server with --data-dir, or another server with --kubeconfig", shown(filepath.Join(n.dataDir, "admin.kubeconfig")))
		}
		*n.flags.KubeConfig = config
	}
	config, err := n.flags.ToRESTConfig()
	if err != nil {
		return err
	}
	mapper, err := n.flags.ToRESTMapper()
	if err != nil {
		return err
	}
	if n.mapping, err = mappingOf(mapper, kind); err != nil {
		return err
	}
	if n.mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		if n.scope, _, err = n.flags.ToRawKubeConfigLoader().Namespace(); err != nil {
			return err
		}
	}
	gv := n.mapping.GroupVersionKind.GroupVersion()
	config.GroupVersion, config.APIPath = &gv, "/apis"
	if gv.Group == "" {
		config.APIPath = "/api"
	}
	config.NegotiatedSerializer = resource.UnstructuredPlusDefaultContentConfig().NegotiatedSerializer
	n.client, err = rest.RESTClientFor(config)
	return err
}

// mappingOf finds the resource that a user means, as kubectl does.
func mappingOf(mapper meta.RESTMapper, kind string) (*meta.RESTMapping, error) {
	full, gr := schema.ParseResourceArg(strings.ToLower(kind))
	var gvk schema.GroupVersionKind
	if full != nil {
		gvk, _ = mapper.KindFor(*full)
	}
	if gvk.Empty() {
		var err error
		if gvk, err = mapper.KindFor(gr.WithVersion("")); err != nil {
			return nil, err
		}
	}
	return mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
}

func (n *named) request(r *rest.Request) *rest.Request {
	return r.NamespaceIfScoped(n.scope, n.scope != "").Resource(n.mapping.Resource.Resource)
}

// String names the object for messages.
func (n *named) String() string { return n.mapping.Resource.Resource + "/" + n.name }

// raw returns the answer with the object's history.
func (n *named) raw(ctx context.Context) ([]byte, error) {
	result := n.request(n.client.Get()).Name(n.name).Param("knarrHistory", "true").Do(ctx)
	if err := result.Error(); err != nil { // in the server's words, which Raw has not
		return nil, err
	}
	return result.Raw()
}

func (n *named) history(ctx context.Context) (*objectHistory, error) {
	answer, err := n.raw(ctx)
	if err != nil {
		return nil, err
	}
	h := &objectHistory{}
	if err := json.Unmarshal(answer, h); err != nil {
		return nil, err
	}
	if h.Kind != "ObjectHistory" || len(h.Items) == 0 {
		return nil, errors.New("the server is not knarr, or too old a one: it tells no history")
	}
	return h, nil
}

// without returns a copy of the object with fields removed, each a path.
func (r *objectRevision) without(fields ...string) *unstructured.Unstructured {
	u := (&unstructured.Unstructured{Object: r.Object}).DeepCopy()
	for _, f := range fields {
		unstructured.RemoveNestedField(u.Object, strings.Split(f, ".")...)
	}
	return u
}
