package certificates

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/cert"
	"k8s.io/kubernetes/pkg/apis/certificates"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/controller/certificates/authority"
)

// Upstream's: how far back a certificate begins, for clocks that are behind; how long
// one lasts at least; and below what it lasts as long as was asked for in spite of
// when it begins.
const (
	backdate    = 5 * time.Minute
	minDuration = 10 * time.Minute
	short       = 8 * time.Hour
)

// Authority returns the certificate and the key of who signs, as they are now.
type Authority func() (*x509.Certificate, crypto.Signer, error)

// signing signs what is approved.
type signing struct {
	*Controller
	signers  map[string]Authority
	duration time.Duration
}

// sign issues the certificate that is asked for, or says in the request why it is not.
func (s *signing) sign(ctx context.Context, csr *certificates.CertificateSigningRequest) error {
	signer, ours := s.signers[csr.Spec.SignerName]
	if !ours || !has(csr, certificates.CertificateApproved) || has(csr, certificates.CertificateDenied) || failed(csr) {
		return nil
	}
	asked, err := certificates.ParseCSR(csr.Spec.Request)
	if err != nil {
		return fmt.Errorf("unable to parse csr %q: %w", csr.Name, err)
	}
	if err := check(csr, asked); err != nil {
		csr.Status.Conditions = append(csr.Status.Conditions, certificates.CertificateSigningRequestCondition{
			Type: certificates.CertificateFailed, Status: api.ConditionTrue,
			Reason: "SignerValidationFailure", Message: err.Error(), LastUpdateTime: metav1.NewTime(s.clock.Now()),
		})
		return s.client.Update(ctx, requests, "status", csr)
	}
	ca, key, err := signer()
	if err != nil {
		return err
	}
	der, err := (&authority.CertificateAuthority{Certificate: ca, PrivateKey: key}).Sign(asked.Raw, authority.PermissiveSigningPolicy{
		TTL: s.lasts(csr.Spec.ExpirationSeconds), Usages: usages(csr), Backdate: backdate, Short: short, Now: s.clock.Now,
	})
	if err != nil {
		return fmt.Errorf("error auto signing csr: %w", err)
	}
	csr.Status.Certificate = pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: der})
	return s.client.Update(ctx, requests, "status", csr)
}

// lasts is how long a certificate is to last that was asked to last so many seconds.
func (s *signing) lasts(asked *int32) time.Duration {
	if asked == nil {
		return s.duration
	}
	seconds := time.Duration(*asked) * time.Second
	if seconds > s.duration {
		return s.duration
	}
	return max(seconds, minDuration)
}

// failed reports whether a request was found to be one that cannot be granted.
func failed(csr *certificates.CertificateSigningRequest) bool {
	for _, c := range csr.Status.Conditions {
		if c.Type == certificates.CertificateFailed && (c.Status == "" || c.Status == api.ConditionTrue) {
			return true
		}
	}
	return false
}

// check tells, in upstream's words, what the signer does not sign.
func check(csr *certificates.CertificateSigningRequest, asked *x509.CertificateRequest) error {
	switch csr.Spec.SignerName {
	case certificatesv1.KubeletServingSignerName:
		return certificates.ValidateKubeletServingCSR(asked, usageSet(csr))
	case certificatesv1.KubeAPIServerClientKubeletSignerName:
		return certificates.ValidateKubeletClientCSR(asked, usageSet(csr))
	case certificatesv1.KubeAPIServerClientSignerName:
		return checkClientUsages(csr.Spec.Usages)
	case certificatesv1beta1.LegacyUnknownSignerName:
		return nil // anything, as ever
	}
	return fmt.Errorf("unrecognized signerName: %q", csr.Spec.SignerName)
}

func checkClientUsages(asked []certificates.KeyUsage) error {
	client := false
	for _, u := range asked {
		switch u {
		case certificates.UsageClientAuth:
			client = true
		case certificates.UsageDigitalSignature, certificates.UsageKeyEncipherment:
		default:
			return fmt.Errorf("invalid usage for client certificate: %s", u)
		}
	}
	if !client {
		return fmt.Errorf("missing required usage for client certificate: %s", certificates.UsageClientAuth)
	}
	return nil
}

// usageSet is what a certificate is asked to be good for, as upstream's checks take it.
func usageSet(csr *certificates.CertificateSigningRequest) sets.String { //nolint:staticcheck // it is their type
	set := sets.NewString() //nolint:staticcheck // as above
	for _, u := range csr.Spec.Usages {
		set.Insert(string(u))
	}
	return set
}
