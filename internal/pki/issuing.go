package pki

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"sync"

	"k8s.io/klog/v2"
)

// Issuing returns the authority's certificate and key, for who issues certificates by
// rules of their own.
func (a *Authority) Issuing() (*x509.Certificate, crypto.Signer, error) {
	return a.pair.Leaf(), a.pair.key.Signer, nil
}

// IssuingFiles is an authority of the user's own, as --cluster-signing-cert-file and
// --cluster-signing-key-file name it. It is safe for concurrent use.
type IssuingFiles struct {
	cert, key string

	mu   sync.Mutex
	last *Pair // that could be used
}

// ReadIssuing reads the files of an authority. An error is one line that names the file.
func ReadIssuing(certFile, keyFile string) (*IssuingFiles, error) {
	pair, err := ReadPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	f := &IssuingFiles{cert: certFile, key: keyFile, last: pair}
	return f, f.checkLast()
}

// Issuing returns the certificate and key that are in the files now. As long as they
// cannot be read or do not belong together, those before hold.
func (f *IssuingFiles) Issuing() (*x509.Certificate, crypto.Signer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pair, err := ReadPair(f.cert, f.key)
	if err != nil {
		klog.ErrorS(err, "An authority cannot be read again; what was in its files before still holds", "cert", f.cert, "key", f.key)
	} else {
		f.last = pair
	}
	return f.last.Leaf(), f.last.key.Signer, f.checkLast()
}

// checkLast refuses a chain, as upstream does: who signs is one certificate.
func (f *IssuingFiles) checkLast() error {
	if n := len(f.last.chain); n != 1 {
		return fmt.Errorf("error reading CA cert file %q: expected 1 certificate, found %d", f.cert, n)
	}
	return nil
}
