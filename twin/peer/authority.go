package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Authority signs certificates for a day.
type Authority struct {
	// CertPEM is its own certificate.
	CertPEM []byte

	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	issued int64
}

// NewAuthority makes an authority of a name.
func NewAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	forADay(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{CertPEM: certificatePEM(der), cert: cert, key: key, issued: 1}, nil
}

// Write writes the certificate and the key into files below dir.
func (a *Authority) Write(dir string) (certFile, keyFile string, err error) {
	key, err := keyPEM(a.key)
	if err != nil {
		return "", "", err
	}
	return writePair(dir, a.cert.Subject.CommonName, a.CertPEM, key)
}

// client issues a client's certificate and key, PEM.
func (a *Authority) client(subject pkix.Name) (certPEM, key []byte, err error) {
	return a.issue(&x509.Certificate{Subject: subject, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// server issues the certificate and key, PEM, of a server that has the names.
func (a *Authority) server(names ...string) (certPEM, key []byte, err error) {
	return a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

func (a *Authority) issue(template *x509.Certificate) (certPEM, key []byte, err error) {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	a.issued++
	template.SerialNumber = big.NewInt(a.issued)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	forADay(template)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, own.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	key, err = keyPEM(own)
	return certificatePEM(der), key, err
}

func forADay(template *x509.Certificate) {
	now := time.Now()
	template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(24*time.Hour)
}

// writePair writes a certificate and its key below dir.
func writePair(dir, name string, certPEM, key []byte) (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	if err := os.WriteFile(certFile, certPEM, 0o600); err != nil {
		return "", "", err
	}
	return certFile, keyFile, os.WriteFile(keyFile, key, 0o600)
}
