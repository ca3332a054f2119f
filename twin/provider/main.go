// Command provider is an OpenID Connect provider for tests, of zitadel's library. It
// listens on a port of 127.0.0.1 of its choice and prints the URL that is its
// name; the authority of its certificate is written to a file.
//
// Beside what providers do it signs whatever claims are posted to /test/sign, so that
// tokens can be made that no honest provider would issue.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

func main() {
	ca := flag.String("ca", "", "file to write the authority of the provider's certificate to")
	client := flag.String("client", "twin", "the client that tokens are for; its secret is secret")
	redirect := flag.String("redirect", "http://127.0.0.1/callback", "where users go who have logged in")
	flag.Parse()
	log.Fatal(run(*ca, *client, *redirect))
}

func run(ca, client, redirect string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o600); err != nil {
		return err
	}
	issuer := "https://" + listener.Addr().String()
	storage.RegisterClients(storage.WebClient(client, "secret", redirect))
	store := storage.NewStorage(storage.NewUserStore(issuer))
	mux := http.NewServeMux()
	mux.Handle("/", exampleop.SetupServer(issuer, store, nil, false))
	mux.HandleFunc("POST /test/sign", func(w http.ResponseWriter, r *http.Request) {
		token, err := sign(r, store)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, token)
	})
	fmt.Println(issuer)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}}
	return server.ServeTLS(listener, "", "")
}

// sign returns a token of the claims in the request's body.
func sign(r *http.Request, store *storage.Storage) (string, error) {
	claims, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if !json.Valid(claims) {
		return "", fmt.Errorf("not JSON")
	}
	key, err := store.SigningKey(r.Context())
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: key.SignatureAlgorithm(), Key: jose.JSONWebKey{Key: key.Key(), KeyID: key.ID()}}, nil)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "provider"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
