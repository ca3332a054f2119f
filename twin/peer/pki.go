package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
)

// AdminName is the user name of the client that a Server's Config logs in as; it
// is the one knarr's admin.kubeconfig carries, so that recorded user names agree.
const AdminName = "kubernetes-admin"

// frontProxyName is what a server calls itself that passes requests on, as kubeadm has it.
const frontProxyName = "front-proxy-client"

// pki is what a kube-apiserver needs to know its clients, sign its tokens and pass
// requests on to other servers.
type pki struct {
	caFile              string
	serviceAccountFile  string
	adminCert, adminKey []byte // PEM

	frontProxyCAFile, frontProxyCertFile, frontProxyKeyFile string
}

func newPKI(dir string, clientCA []byte) (*pki, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p := &pki{
		caFile:             filepath.Join(dir, "ca.crt"),
		serviceAccountFile: filepath.Join(dir, "service-account.key"),
		frontProxyCAFile:   filepath.Join(dir, "front-proxy-ca.crt"),
	}
	ca, err := NewAuthority("twin-ca")
	if err != nil {
		return nil, err
	}
	if p.adminCert, p.adminKey, err = ca.client(pkix.Name{CommonName: AdminName, Organization: []string{"system:masters"}}); err != nil {
		return nil, err
	}
	if err := p.frontProxy(dir); err != nil {
		return nil, err
	}
	accountKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	account, err := keyPEM(accountKey)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(p.caFile, slices.Concat(ca.CertPEM, clientCA), 0o600); err != nil {
		return nil, err
	}
	return p, os.WriteFile(p.serviceAccountFile, account, 0o600)
}

// frontProxy makes the certificate by which other servers know that they may believe
// this one who asks.
func (p *pki) frontProxy(dir string) error {
	ca, err := NewAuthority("front-proxy-ca")
	if err != nil {
		return err
	}
	cert, key, err := ca.client(pkix.Name{CommonName: frontProxyName})
	if err != nil {
		return err
	}
	if p.frontProxyCertFile, p.frontProxyKeyFile, err = writePair(dir, frontProxyName, cert, key); err != nil {
		return err
	}
	return os.WriteFile(p.frontProxyCAFile, ca.CertPEM, 0o600)
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key) // the form kube-apiserver reads service account keys in
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
