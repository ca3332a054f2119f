package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// Pair is a certificate, possibly followed by its intermediates, and its
// private key. It is immutable: callers must not modify the slices.
type Pair struct {
	CertPEM []byte
	KeyPEM  []byte

	chain []*x509.Certificate
	key   privateKey
}

// Leaf is the certificate itself.
func (p *Pair) Leaf() *x509.Certificate { return p.chain[0] }

// TLS is the pair as crypto/tls wants it.
func (p *Pair) TLS() tls.Certificate {
	c := tls.Certificate{PrivateKey: p.key.Signer, Leaf: p.Leaf()}
	for _, cert := range p.chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

// matches says whether the pair's key is its certificate's.
func (p *Pair) matches() bool {
	public, ok := p.Leaf().PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(p.key.Public())
}

// newPair joins a certificate, as DER, and its key.
func newPair(der []byte, key privateKey) (*Pair, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	certPEM, err := certutil.EncodeCertificates(cert)
	if err != nil {
		return nil, err
	}
	return &Pair{CertPEM: certPEM, KeyPEM: key.pem, chain: []*x509.Certificate{cert}, key: key}, nil
}

// privateKey is a key and its file's content.
type privateKey struct {
	crypto.Signer
	pem []byte
}

// newKey makes a P-256 key: the fastest to make and to sign with that every
// client knows.
func newKey() (privateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return privateKey{}, err
	}
	data, err := keyutil.MarshalPrivateKeyToPEM(key)
	return privateKey{key, data}, err
}

// The parsers' own errors say less than these, and these hold nothing of the
// content.
var (
	errNotCertificate = errors.New("not a PEM certificate")
	errNotKey         = errors.New("not a PEM private key")
)

func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	certs, err := certutil.ParseCertsPEM(data)
	if err != nil {
		return nil, errNotCertificate
	}
	return certs, nil
}

func parseKey(data []byte) (privateKey, error) {
	key, err := keyutil.ParsePrivateKeyPEM(data)
	if err != nil {
		return privateKey{}, errNotKey
	}
	signer, ok := key.(crypto.Signer)
	if !ok { // PKCS #8 holds keys for key agreement too
		return privateKey{}, errNotKey
	}
	return privateKey{signer, data}, nil
}
