package knarr

import (
	"crypto"
	"fmt"
	"path/filepath"

	"k8s.io/client-go/util/keyutil"
	"k8s.io/klog/v2"

	"github.com/knarr-io/knarr/internal/discovery"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/pki"
	"github.com/knarr-io/knarr/internal/serviceaccount"
	"github.com/knarr-io/knarr/internal/verb"
)

// tokenSettings are the options about tokens of service accounts, checked and
// with their defaults.
func (o *Options) tokenSettings() (serviceaccount.Settings, error) {
	s := serviceaccount.Settings{
		Issuers:             o.ServiceAccountIssuers,
		JWKSURI:             o.ServiceAccountJWKSURI,
		MaxTokenExpiration:  o.ServiceAccountMaxTokenExpiration,
		KeepTokenExpiration: isFalse(o.ServiceAccountExtendTokenExpiration),
		APIAudiences:        o.APIAudiences,
	}
	return s, s.Complete()
}

// newIssuer returns the issuer of tokens of service accounts.
func newIssuer(o *Options) (*serviceaccount.Issuer, error) {
	settings, err := o.tokenSettings()
	if err != nil {
		return nil, err
	}
	keys, err := readKeys(o)
	if err != nil {
		return nil, err
	}
	return serviceaccount.NewIssuer(settings, keys)
}

// readKeys reads the keys that tokens are signed with and verified by.
func readKeys(o *Options) (keys serviceaccount.Keys, err error) {
	if keys.Signing, err = signingKey(o); err != nil {
		return keys, err
	}
	for _, file := range o.ServiceAccountKeyFiles {
		public, err := keyutil.PublicKeysFromFile(file)
		if err != nil {
			return keys, fmt.Errorf("failed to parse key file %q: %w", file, err)
		}
		keys.Others = append(keys.Others, public...)
	}
	return keys, nil
}

// signingKey reads the key that tokens are signed with, or makes it.
func signingKey(o *Options) (crypto.Signer, error) {
	if file := o.ServiceAccountSigningKeyFile; file != "" {
		key, err := keyutil.PrivateKeyFromFile(file)
		if err != nil {
			return nil, fmt.Errorf("failed to parse service-account-issuer-key-file: %w", err)
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("failed to parse service-account-issuer-key-file: %s: %T cannot sign", file, key)
		}
		return signer, nil
	}
	if dir := o.pkiDir(); dir != "" {
		return pki.LoadSigningKey(dir)
	}
	return pki.NewSigningKey()
}

// pkiDir is where certificates and keys are kept; empty if they are not.
func (o *Options) pkiDir() string {
	if o.CertDir == "" && o.DataDir != "" {
		return filepath.Join(o.DataDir, "pki")
	}
	return o.CertDir
}

// issuerDocuments returns the documents of an issuer who is reached at address,
// or nil if its name is none that OpenID Connect allows. As upstream does, the
// server then goes without.
func issuerDocuments(i *serviceaccount.Issuer, address string) discovery.Issuer {
	documents, err := i.Documents(address)
	if err != nil {
		klog.ErrorS(err, "There are no documents for those who verify tokens of service accounts")
		return nil
	}
	return documents
}

// tokenObjects are those that tokens are for or bound to.
func tokenObjects(verbs *verb.Verbs, catalogue func() *kind.Catalogue) *serviceaccount.Objects {
	return serviceaccount.NewObjects(verbs, catalogue)
}
