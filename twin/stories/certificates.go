package stories

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/knarr-io/knarr/twin/story"
)

// SigningDuration is how long certificates last at most that both servers sign.
const SigningDuration = "12h"

const (
	signingRequests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

	userSigner    = "kubernetes.io/kube-apiserver-client"
	kubeletSigner = "kubernetes.io/kube-apiserver-client-kubelet"
	servingSigner = "kubernetes.io/kubelet-serving"
)

// A certificateRequest is what is asked for, by whom, and what is decided.
type certificateRequest struct {
	name, signer, usages string
	template             x509.CertificateRequest
	seconds              int
	by                   []string // a user and his groups; empty for the administrator
	decisions            string   // Approved and Denied, by the administrator
	answered             bool     // something comes of it
}

// Certificates tells what comes of requests for certificates, good and bad, where
// kube-controller-manager's controllers, or the server's own, look after them.
func Certificates() []story.Story {
	node := pkix.Name{CommonName: "system:node:a", Organization: []string{"system:nodes"}}
	jane := pkix.Name{CommonName: "jane", Organization: []string{"dev", "ops"}, Country: []string{"FO"}}
	hosts, ips := []string{"a.example.com", "b"}, []net.IP{net.IPv4(10, 0, 0, 1), net.ParseIP("2001:db8::1")}
	uri := []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/a"}}
	const (
		client  = "digital signature,key encipherment,client auth"
		serving = "digital signature,key encipherment,server auth"
	)
	of := func(subject pkix.Name) x509.CertificateRequest { return x509.CertificateRequest{Subject: subject} }
	with := func(change func(*x509.CertificateRequest)) x509.CertificateRequest {
		r := of(node)
		change(&r)
		return r
	}
	withHosts := with(func(r *x509.CertificateRequest) { r.DNSNames, r.IPAddresses = hosts, ips })
	bootstrapper := []string{"system:bootstrap:abcdef", "system:bootstrappers", "system:authenticated"}
	kubelet := []string{"system:node:a", "system:nodes", "system:authenticated"}
	another := []string{"system:node:b", "system:nodes", "system:authenticated"}
	var all []certificateRequest
	// Those that the administrator approves.
	for i, r := range []certificateRequest{
		{signer: userSigner, usages: client, template: of(jane)},
		{signer: userSigner, usages: "client auth", template: of(jane), seconds: 600},
		{signer: userSigner, usages: "client auth,digital signature", template: of(jane), seconds: 8*3600 - 1},
		{signer: userSigner, usages: "client auth", template: of(jane), seconds: 8 * 3600},
		{signer: userSigner, usages: "client auth", template: of(jane), seconds: 100 * 3600},
		{signer: userSigner, usages: client, template: with(func(r *x509.CertificateRequest) {
			*r = x509.CertificateRequest{Subject: jane, DNSNames: hosts, IPAddresses: ips, EmailAddresses: []string{"jane@example.com"}, URIs: uri}
		})},
		{signer: userSigner, usages: client, template: of(pkix.Name{})},
		{signer: userSigner, usages: "server auth", template: of(jane)},
		{signer: userSigner, usages: "digital signature", template: of(jane)},
		{signer: userSigner, usages: "client auth,any", template: of(jane)},
		{signer: kubeletSigner, usages: client, template: of(pkix.Name{CommonName: "system:node:a"})},
		{signer: kubeletSigner, usages: client, template: of(pkix.Name{CommonName: "a", Organization: node.Organization})},
		{signer: kubeletSigner, usages: serving, template: of(node)},
		{signer: kubeletSigner, usages: client, template: withHosts},
		{signer: kubeletSigner, usages: client, template: with(func(r *x509.CertificateRequest) { r.IPAddresses = ips })},
		{signer: kubeletSigner, usages: client, template: with(func(r *x509.CertificateRequest) { r.URIs = uri })},
		{signer: kubeletSigner, usages: client, template: with(func(r *x509.CertificateRequest) { r.EmailAddresses = []string{"a@example.com"} })},
		{signer: servingSigner, usages: serving, template: withHosts, by: kubelet},
		{signer: servingSigner, usages: "digital signature,server auth", template: withHosts},
		{signer: servingSigner, usages: serving, template: of(node)},
		{signer: servingSigner, usages: client, template: withHosts},
		{signer: servingSigner, usages: serving, template: x509.CertificateRequest{Subject: jane, DNSNames: hosts}},
		{signer: servingSigner, usages: serving, template: x509.CertificateRequest{Subject: pkix.Name{CommonName: "a", Organization: node.Organization}, DNSNames: hosts}},
		{signer: servingSigner, usages: serving, template: with(func(r *x509.CertificateRequest) { r.DNSNames, r.URIs = hosts, uri })},
		{signer: servingSigner, usages: serving, template: with(func(r *x509.CertificateRequest) { r.DNSNames, r.EmailAddresses = hosts, []string{"a@example.com"} })},
	} {
		r.name, r.decisions, r.answered = fmt.Sprint("approved-", i), "Approved", true
		all = append(all, r)
	}
	// Those that are left, or denied, or for others.
	for i, r := range []certificateRequest{
		{signer: userSigner, usages: client, template: of(jane)},
		{signer: userSigner, usages: client, template: of(jane), decisions: "Denied"},
		{signer: "example.com/own", usages: client, template: of(jane), decisions: "Approved"},
		{signer: "kubernetes.io/kube-apiserver-serving", usages: serving, template: withHosts, decisions: "Approved"},
		{signer: kubeletSigner, usages: client, template: of(node), by: another},
		{signer: kubeletSigner, usages: client, template: withHosts, by: bootstrapper},
		{signer: servingSigner, usages: serving, template: withHosts, by: kubelet},
	} {
		r.name = fmt.Sprint("left-", i)
		all = append(all, r)
	}
	// Those that are approved by themselves.
	for i, r := range []certificateRequest{
		{signer: kubeletSigner, usages: client, template: of(node), by: bootstrapper},
		{signer: kubeletSigner, usages: "digital signature,client auth", template: of(node), by: kubelet},
		{signer: kubeletSigner, usages: client, template: of(node)},
	} {
		r.name, r.answered = fmt.Sprint("by-itself-", i), true
		all = append(all, r)
	}
	var told []story.Story
	for _, r := range all {
		told = append(told, story.Story{Name: "certificates/" + r.name, Tell: r.teller()})
	}
	return told
}

// teller makes the request, the same for both servers, and returns what tells of it.
func (r certificateRequest) teller() func(*story.Session) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &r.template, key)
	if err != nil {
		panic(err) // they are all well formed
	}
	spec := object{
		"signerName": r.signer, "usages": strings.Split(r.usages, ","),
		"request": base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
	}
	if r.seconds != 0 {
		spec["expirationSeconds"] = r.seconds
	}
	uri := signingRequests + "/" + r.name
	return func(s *story.Session) {
		s.Quietly(func() { kubeletsMayAsk(s) })
		as := func(h *http.Request) {
			if len(r.by) == 0 {
				return
			}
			h.Header.Set("Impersonate-User", r.by[0])
			for _, group := range r.by[1:] {
				h.Header.Add("Impersonate-Group", group)
			}
		}
		made := s.Post(signingRequests, object{
			"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": object{"name": r.name}, "spec": spec,
		}, as).Object()
		if r.decisions != "" {
			made["status"] = object{"conditions": []object{{"type": r.decisions, "status": "True", "reason": "Story", "message": "by hand"}}}
			s.Quietly(func() { s.Put(uri+"/approval", made) }) // it may be answered already
		}
		if r.answered {
			s.Await(uri, func(a story.Answer) bool {
				return a.Text("status", "certificate") != "" || strings.Contains(string(a.Body), `"Failed"`)
			})
		} else {
			s.Settle(uri)
			s.Get(uri)
		}
		exchange := s.Exchanges[len(s.Exchanges)-1]
		exchange.Bodies[0] = described(exchange.Bodies[0], der)
		s.Delete(uri, nil)
	}
}

// kubeletsMayAsk gives kubelets what kubeadm gives them.
func kubeletsMayAsk(s *story.Session) {
	const own = "system:certificates.k8s.io:certificatesigningrequests:"
	for role, group := range map[string]string{
		"system:node-bootstrapper": "system:bootstrappers", own + "nodeclient": "system:bootstrappers", own + "selfnodeclient": "system:nodes",
	} {
		s.Post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", object{
			"metadata": object{"name": "story-" + strings.ReplaceAll(role, ":", "-")},
			"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
			"subjects": []object{{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}},
		})
	}
}

// described puts in the place of a certificate what it says.
func described(body, asked []byte) []byte {
	var csr object
	if json.Unmarshal(body, &csr) != nil {
		return body
	}
	status, _ := csr["status"].(object)
	encoded, _ := status["certificate"].(string)
	if encoded == "" {
		return body
	}
	content, err := base64.StdEncoding.DecodeString(encoded)
	block, rest := pem.Decode(content)
	if err != nil || block == nil {
		return body
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return body
	}
	request, err := x509.ParseCertificateRequest(asked)
	if err != nil {
		return body
	}
	var extensions []string
	for _, e := range certificate.Extensions {
		said := fmt.Sprintf("%x", e.Value)
		if e.Id.String() == "2.5.29.35" { // the authority's key is as long, but another
			said = fmt.Sprint(len(e.Value), " bytes")
		}
		extensions = append(extensions, fmt.Sprint(e.Id, " ", e.Critical, " ", said))
	}
	uris := []string{}
	for _, u := range certificate.URIs {
		uris = append(uris, u.String())
	}
	status["certificate"] = object{
		"type": block.Type, "rest": string(rest), "version": certificate.Version, "algorithm": certificate.SignatureAlgorithm.String(),
		"subject": fmt.Sprintf("%x", certificate.RawSubject), "issuer": certificate.Issuer.String(), "ca": certificate.IsCA,
		"usage": certificate.KeyUsage, "extended": certificate.ExtKeyUsage, "extensions": extensions,
		"names": fmt.Sprint(certificate.DNSNames, certificate.IPAddresses, certificate.EmailAddresses, uris),
		"lasts": certificate.NotAfter.Sub(certificate.NotBefore).String(), "began": fmt.Sprint(time.Since(certificate.NotBefore).Round(time.Minute).Minutes(), " minutes before"),
		"keyAskedFor": certificate.PublicKey.(*ecdsa.PublicKey).Equal(request.PublicKey), "serialBits": certificate.SerialNumber.BitLen() > 64,
	}
	if changed, err := json.Marshal(csr); err == nil {
		return changed
	}
	return body
}
