package certificates

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/apis/certificates"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/object"
)

// How long requests are kept: upstream's. It looks once an hour, or every five minutes
// at those of pods; here they go when it is time.
const (
	keepSettled = time.Hour      // those that have an answer
	keepWaiting = 24 * time.Hour // those that wait for one
	keepPods    = 15 * time.Minute
)

func (c *Controller) cleanRequests() func(context.Context, *object.Object) error {
	return cleaner(c, func(csr *certificates.CertificateSigningRequest) time.Time { return endOfRequest(csr) })
}

func (c *Controller) cleanPodRequests() func(context.Context, *object.Object) error {
	return cleaner(c, func(r *certificates.PodCertificateRequest) time.Time { return r.CreationTimestamp.Add(keepPods) })
}

// cleaner returns a sync that removes an object when it has come to its end, which is
// zero for never.
func cleaner[P interface {
	runtime.Object
	metav1.Object
}](c *Controller, end func(P) time.Time) func(context.Context, *object.Object) error {
	return func(ctx context.Context, o *object.Object) error {
		if o == nil {
			return nil
		}
		obj, err := controller.Read[P](c.version.Resource, o)
		if err != nil {
			return err
		}
		at := end(obj)
		if at.IsZero() {
			return nil
		}
		key := types.NamespacedName{Namespace: o.Namespace, Name: o.Name}
		if wait := at.Sub(c.clock.Now()); wait > 0 {
			c.schedule.AddAfter(key, wait)
			return nil
		}
		klog.InfoS("Removing an old request", "controller", c.name, "object", key)
		err = c.client.Delete(ctx, c.gvr(), o.Namespace, o.Name, obj.GetUID())
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil // it is gone, or there is another of its name
		}
		return err
	}
}

// endOfRequest is when a request has been kept long enough; zero for never.
func endOfRequest(csr *certificates.CertificateSigningRequest) (end time.Time) {
	earliest := func(t time.Time) {
		if end.IsZero() || t.Before(end) {
			end = t
		}
	}
	after := func(t metav1.Time, d time.Duration) {
		if !t.IsZero() {
			earliest(t.Add(d))
		}
	}
	if len(csr.Status.Conditions) == 0 {
		after(csr.CreationTimestamp, keepWaiting)
	}
	for _, c := range csr.Status.Conditions {
		switch c.Type {
		case certificates.CertificateDenied, certificates.CertificateFailed:
			after(c.LastUpdateTime, keepSettled)
		case certificates.CertificateApproved:
			if len(csr.Status.Certificate) == 0 {
				after(c.LastUpdateTime, keepWaiting)
				continue
			}
			after(c.LastUpdateTime, keepSettled)
			if expiry, ok := expiryOf(csr.Status.Certificate); ok {
				earliest(expiry)
			}
		}
	}
	return end
}

// expiryOf is when the first certificate ends.
func expiryOf(certificate []byte) (time.Time, bool) {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return time.Time{}, false
	}
	certs, err := x509.ParseCertificates(block.Bytes)
	if err != nil || len(certs) == 0 {
		return time.Time{}, false
	}
	return certs[0].NotAfter, true
}
