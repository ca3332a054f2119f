package knarr

import (
	"errors"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	"k8s.io/klog/v2"

	issue "github.com/knarr-io/knarr/internal/controller/certificates"
	"github.com/knarr-io/knarr/internal/pki"
)

// ClusterSigning says who signs the certificates that are asked for by
// CertificateSigningRequests and approved: the server's own authority or, if files are
// given, theirs, which are read again when they change. The files of single signers
// exclude those for all; signers without any then do not sign.
type ClusterSigning struct {
	SigningFiles
	KubeAPIServerClient, KubeletClient, KubeletServing, LegacyUnknown SigningFiles
	// Duration is how long a certificate lasts at most; default a year.
	Duration time.Duration
}

// SigningFiles name the certificate and the private key of an authority.
type SigningFiles struct{ CertFile, KeyFile string }

func (f SigningFiles) given() bool { return f != SigningFiles{} }

// signer is one of kubernetes.io's, with the files of its own.
type signer struct {
	name, flag string
	files      SigningFiles
}

func (c ClusterSigning) signers() []signer {
	return []signer{
		{certificatesv1.KubeletServingSignerName, "cluster-signing-kubelet-serving", c.KubeletServing},
		{certificatesv1.KubeAPIServerClientKubeletSignerName, "cluster-signing-kubelet-client", c.KubeletClient},
		{certificatesv1.KubeAPIServerClientSignerName, "cluster-signing-kube-apiserver-client", c.KubeAPIServerClient},
		{certificatesv1beta1.LegacyUnknownSignerName, "cluster-signing-legacy-unknown", c.LegacyUnknown},
	}
}

// check tells what does not go together, and fills in defaults.
func (c *ClusterSigning) check() error {
	single := false
	for _, s := range append(c.signers(), signer{flag: "cluster-signing", files: c.SigningFiles}) {
		switch {
		case s.files.CertFile == "" && s.files.KeyFile != "":
			return fmt.Errorf("%q: cannot specify key without cert", s.flag)
		case s.files.CertFile != "" && s.files.KeyFile == "":
			return fmt.Errorf("%q: cannot specify cert without key", s.flag)
		}
		single = single || s.name != "" && s.files.given()
	}
	if single && c.given() {
		return errors.New("cannot specify --cluster-signing-{cert,key}-file and other --cluster-signing-*-file flags at the same time")
	}
	if c.Duration == 0 {
		c.Duration = 365 * 24 * time.Hour
	}
	return nil
}

// authorities returns that of each signer who signs; own is the server's.
func (c ClusterSigning) authorities(own *pki.Authority) (map[string]issue.Authority, error) {
	byFiles := func(f SigningFiles) (issue.Authority, error) {
		files, err := pki.ReadIssuing(f.CertFile, f.KeyFile)
		if err != nil {
			return nil, err
		}
		return files.Issuing, nil
	}
	all, single := map[string]issue.Authority{}, false
	for _, s := range c.signers() {
		if !s.files.given() {
			continue
		}
		single = true
		var err error
		if all[s.name], err = byFiles(s.files); err != nil {
			return nil, err
		}
	}
	everybody := issue.Authority(own.Issuing)
	if c.given() {
		var err error
		if everybody, err = byFiles(c.SigningFiles); err != nil {
			return nil, err
		}
	}
	for _, s := range c.signers() {
		switch {
		case !single:
			all[s.name] = everybody
		case all[s.name] == nil:
			klog.InfoS("A signer does not sign, as files were given for others and not for it", "signer", s.name)
		}
	}
	return all, nil
}
