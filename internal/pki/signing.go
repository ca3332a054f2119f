package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path/filepath"

	"k8s.io/client-go/util/keyutil"
)

// signingFile names the key pair for the tokens of service accounts, sa.key
// and sa.pub, as kubeadm does.
const signingFile = "sa"

// NewSigningKey makes a key pair for the tokens of service accounts, in
// memory.
func NewSigningKey() (crypto.Signer, error) {
	key, err := newKey()
	return key.Signer, err
}

// LoadSigningKey reads the key pair for the tokens of service accounts that is
// kept in dir, and makes what is not there yet: the directory (0700), sa.key
// (0600) and sa.pub (0644), which others need to verify tokens. For errors and
// for several processes it is as Load.
func LoadSigningKey(dir string) (crypto.Signer, error) {
	return load(dir, Options{}, directory.signingKey)
}

func (d directory) signingKey() (crypto.Signer, error) {
	key, err := d.readSigningKey()
	if err != nil {
		return nil, err
	}
	public, err := publicPEM(key)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(d.path, signingFile+".pub")
	kept, err := readIfExists(path)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(kept, public) {
		return key, d.write(path, public, 0o644)
	}
	return key, nil
}

// readSigningKey reads the private key, or makes it where there is none.
func (d directory) readSigningKey() (crypto.Signer, error) {
	path := d.key(signingFile)
	data, err := readIfExists(path)
	if err != nil {
		return nil, err
	}
	if data == nil {
		if !d.writable {
			return nil, errOutdated
		}
		made, err := newKey()
		if err != nil {
			return nil, err
		}
		return made.Signer, d.write(path, made.pem, 0o600)
	}
	key, err := parseKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to make a new one, tokens of service accounts are then void", path, err)
	}
	return key.Signer, nil
}

func publicPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyutil.PublicKeyBlockType, Bytes: der}), nil
}
