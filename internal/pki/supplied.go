package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// ReadPair reads a certificate (with its intermediates, if any) and its key
// from files of the user's own, as --tls-cert-file and --tls-private-key-file
// name them. As upstream does, it takes them whatever their names and dates
// are. An error is one line that names the file.
func ReadPair(certFile, keyFile string) (*Pair, error) {
	if certFile == "" || keyFile == "" {
		return nil, errors.New("a certificate file and its private key file must be given together")
	}
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	chain, err := parseCertificates(certPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	pair := &Pair{CertPEM: certPEM, KeyPEM: keyPEM, chain: chain, key: key}
	if !pair.matches() {
		return nil, fmt.Errorf("%s: not the key of the first certificate in %s", keyFile, certFile)
	}
	return pair, nil
}

// ReadCertificates reads the certificates of a PEM file, as --client-ca-file
// names it. An error is one line that names the file.
func ReadCertificates(file string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	certs, err := parseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return certs, nil
}
