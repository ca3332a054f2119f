package bootstrap

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/verb"
)

const (
	identityLabel = "apiserver.kubernetes.io/identity"
	identityValue = "kube-apiserver"

	leaseDuration = time.Hour
	renewInterval = 10 * time.Second
	// farewell is how long removing the Lease may take.
	farewell = 10 * time.Second
)

// KeepIdentity keeps the Lease that tells which API servers there are
// (KEP-1965): it makes it anew, renews it until ctx ends, and removes it
// before it returns. What fails is logged and tried again at the next renewal.
func KeepIdentity(ctx context.Context, verbs *verb.Verbs, catalogue *kind.Catalogue, o Options) {
	r := &run{ctx: ctx, verbs: verbs, catalogue: catalogue, options: o}
	leases, ok := served[*coordinationv1.Lease](r, coordinationv1.SchemeGroupVersion.WithResource("leases"))
	if !ok {
		return
	}
	hostname, err := os.Hostname()
	if err != nil {
		klog.ErrorS(err, "The server has no identity Lease, since its machine has no name")
		return
	}
	i := &identity{
		leases:   leases.in(metav1.NamespaceSystem),
		name:     identityName(hostname),
		hostname: hostname,
	}
	i.holder = i.name + "_" + string(uuid.NewUUID())
	if ip, err := r.advertised(); err == nil {
		i.address = net.JoinHostPort(ip.String(), strconv.Itoa(o.Port))
	}
	i.keep(ctx)
}

// identity is the Lease of one server while it runs.
type identity struct {
	leases                          objects[*coordinationv1.Lease]
	name, hostname, holder, address string
}

// identityName is the name of the Lease of the server on a machine.
func identityName(hostname string) string {
	var b []byte
	for _, part := range []string{hostname, identityValue} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(part)))
		b = append(b, part...)
	}
	hash := sha256.Sum256(b)
	return "apiserver-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(hash[:16]))
}

func (i *identity) keep(ctx context.Context) {
	i.remove(ctx) // it is that of an earlier process, if there is one
	ticker := time.NewTicker(renewInterval)
	defer ticker.Stop()
	for {
		if err := retry.RetryOnConflict(retry.DefaultRetry, func() error { return i.renew(ctx) }); err != nil && ctx.Err() == nil {
			klog.ErrorS(err, "The identity Lease could not be renewed", "lease", i.name)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
			defer cancel()
			i.remove(ctx)
			return
		}
	}
}

func (i *identity) remove(ctx context.Context) {
	if err := i.leases.Delete(ctx, i.name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		klog.ErrorS(err, "The identity Lease could not be removed", "lease", i.name)
	}
}

// renew makes the Lease, or says in it that the server is still there.
func (i *identity) renew(ctx context.Context) error {
	lease, err := i.leases.Get(ctx, i.name, metav1.GetOptions{})
	missing := apierrors.IsNotFound(err)
	switch {
	case missing:
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: i.name, Namespace: metav1.NamespaceSystem}}
		lease.Spec.HolderIdentity = &i.holder
	case err != nil:
		return err
	}
	seconds, now := int32(leaseDuration.Seconds()), metav1.NowMicro()
	lease.Spec.LeaseDurationSeconds, lease.Spec.RenewTime = &seconds, &now
	lease.Labels = withEntry(lease.Labels, identityLabel, identityValue)
	lease.Labels = withEntry(lease.Labels, corev1.LabelHostname, i.hostname)
	if i.address != "" {
		lease.Annotations = withEntry(lease.Annotations, corev1.AnnotationPeerAdvertiseAddress, i.address)
	}
	if missing {
		_, err = i.leases.Create(ctx, lease, metav1.CreateOptions{})
	} else {
		_, err = i.leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	return err
}
