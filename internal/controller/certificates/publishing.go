package certificates

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/apis/certificates"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// servingSigner is who signs this server's own certificate.
const servingSigner = "kubernetes.io/kube-apiserver-serving"

// publisher keeps one ClusterTrustBundle of servingSigner, named by its content.
type publisher struct {
	*Controller
	name, content string
}

func newPublisher(c *Controller, content []byte) *publisher {
	c.unasked = true
	hash := sha256.Sum256(content)
	return &publisher{c, fmt.Sprintf("%s:%x", strings.ReplaceAll(servingSigner, "/", ":"), hash[:12]), string(content)}
}

// publish makes the bundle be there, and none other of the signer's. Whichever has
// changed, all are looked at: there are few.
func (p *publisher) publish(ctx context.Context, _ *object.Object) error {
	there := false
	var others []*certificates.ClusterTrustBundle
	var all []error
	p.client.Verbs.State.Snapshot(p.version.Resource.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
		bundle, err := controller.Read[*certificates.ClusterTrustBundle](p.version.Resource, o)
		switch {
		case err != nil: // nobody else's reading is in the way
			if o.Name == p.name {
				there, all = true, append(all, err)
			}
		case o.Name == p.name:
			there = true
			if bundle.Spec.TrustBundle != p.content {
				bundle.Spec.TrustBundle = p.content
				all = append(all, p.client.Update(ctx, p.gvr(), "", bundle))
			}
		case bundle.Spec.SignerName == servingSigner:
			others = append(others, bundle)
		}
		return true
	})
	if !there {
		all = append(all, p.client.Create(ctx, p.gvr(), "", &certificates.ClusterTrustBundle{
			ObjectMeta: metav1.ObjectMeta{Name: p.name},
			Spec:       certificates.ClusterTrustBundleSpec{SignerName: servingSigner, TrustBundle: p.content},
		}))
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	for _, bundle := range others {
		if err := p.client.Delete(ctx, p.gvr(), "", bundle.Name, bundle.UID); err != nil && !apierrors.IsNotFound(err) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}
