package pki

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/lockedfile"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/knarr-io/knarr/internal/atomicfile"
)

// The files of a directory, each with .crt and .key. The authority's and the
// serving certificate have the names that kube-apiserver and kubeadm give them.
const (
	authorityFile = "ca"
	servingFile   = "apiserver"
	adminFile     = "admin"
)

// Load reads the bundle kept in dir, and makes what is not there yet: the
// directory (0700), certificates (0644) and keys (0600). A serving or admin
// certificate that ends within 30 days, lacks one of o.Hosts or is not the
// authority's is issued anew, for the same key. Where nothing is missing,
// nothing is written, so the directory may be read-only.
//
// An authority that has ended, a file that cannot be read as what it is, and a
// certificate and key that do not belong together are errors of one line that
// name the file and the remedy. Several processes may load one directory at
// the same time: they get the same bundle.
func Load(dir string, o Options) (*Bundle, error) {
	return load(dir, o, directory.bundle)
}

// load returns what read finds in dir, or makes there.
func load[T any](dir string, o Options, read func(directory) (T, error)) (T, error) {
	d := directory{path: dir, options: o}
	found, err := read(d)
	if err == nil {
		return found, nil
	}
	// Something is missing, or is being written by another process right now:
	// look again when alone, then write or say what is wrong.
	unlock, lockErr := d.lock()
	if lockErr != nil {
		if errors.Is(err, errOutdated) {
			err = fmt.Errorf("%w; %s", lockErr, writableRemedy)
		}
		return found, err
	}
	defer unlock()
	d.writable = true
	return read(d)
}

// errOutdated is the answer of a directory that may not be written to when
// something must be.
var errOutdated = errors.New("certificates are missing or outdated")

const writableRemedy = "certificates are kept there, choose a directory that this user can write to"

type directory struct {
	path     string
	options  Options
	writable bool // this process holds the lock
}

func (d directory) lock() (unlock func(), err error) {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return nil, err
	}
	return lockedfile.MutexAt(filepath.Join(d.path, ".lock")).Lock()
}

func (d directory) bundle() (*Bundle, error) {
	ca, err := d.authority(authorityFile, authorityName,
		"remove the "+filepath.Base(d.path)+" directory to make new ones, clients then need the new kubeconfig")
	if err != nil {
		return nil, err
	}
	b := &Bundle{CA: ca}
	if b.Serving, err = d.issued(ca, servingFile, serving(d.options.Hosts)); err != nil {
		return nil, err
	}
	if b.Admin, err = d.issued(ca, adminFile, client(AdminUser, user.SystemPrivilegedGroup)); err != nil {
		return nil, err
	}
	return b, nil
}

// authority reads an authority, or makes it where there is none. remedy is what
// to do about one that is of no use.
func (d directory) authority(file, name, remedy string) (*Authority, error) {
	pair, key, err := d.read(file, remedy)
	if err != nil {
		return nil, err
	}
	if pair != nil {
		ca := &Authority{pair: pair, now: d.options.clock()}
		if err := ca.check(); err != nil {
			return nil, fmt.Errorf("%s: %w; %s", d.cert(file), err, remedy)
		}
		return ca, nil
	}
	if key == nil && exists(d.cert(file)) {
		return nil, fmt.Errorf("%s: missing, and %s.crt is of no use without it; put it back or %s", d.key(file), file, remedy)
	}
	if key, err = d.ensureKey(file, key); err != nil {
		return nil, err
	}
	ca, err := newAuthority(name, *key, d.options.clock())
	if err != nil {
		return nil, err
	}
	return ca, d.write(d.cert(file), ca.CertPEM(), 0o644)
}

// issued reads a certificate that the authority has issued for the identity,
// or issues it where there is none that will do.
func (d directory) issued(ca *Authority, name string, id identity) (*Pair, error) {
	remedy := fmt.Sprintf("remove %[1]s.crt and %[1]s.key to make new ones", name)
	pair, key, err := d.read(name, remedy)
	if err != nil {
		return nil, err
	}
	if pair != nil && ca.vouches(pair.Leaf(), id) {
		return pair, nil
	}
	if key, err = d.ensureKey(name, key); err != nil {
		return nil, err
	}
	if pair, err = ca.issue(id, *key); err != nil {
		return nil, err
	}
	return pair, d.write(d.cert(name), pair.CertPEM, 0o644)
}

// read returns the pair kept under a name, nil if either file is missing, and
// the key, nil if it is.
func (d directory) read(name, remedy string) (*Pair, *privateKey, error) {
	keyPEM, err := readIfExists(d.key(name))
	if keyPEM == nil || err != nil {
		return nil, nil, err
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w; %s", d.key(name), err, remedy)
	}
	certPEM, err := readIfExists(d.cert(name))
	if err != nil {
		return nil, nil, err
	}
	if certPEM == nil {
		return nil, &key, nil
	}
	chain, err := parseCertificates(certPEM)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w; %s", d.cert(name), err, remedy)
	}
	pair := &Pair{CertPEM: certPEM, KeyPEM: keyPEM, chain: chain, key: key}
	if !pair.matches() {
		return nil, nil, fmt.Errorf("%s: not the key of %s.crt; %s", d.key(name), name, remedy)
	}
	return pair, &key, nil
}

// ensureKey returns key, or makes and keeps one if it is nil. The key is
// always durable before its certificate is written, and a certificate whose
// key was lost goes first: so no crash leaves a certificate and a key that do
// not belong together, and a start after it goes on where it stopped.
func (d directory) ensureKey(name string, key *privateKey) (*privateKey, error) {
	if !d.writable {
		return nil, errOutdated
	}
	if key != nil {
		return key, nil
	}
	if err := os.Remove(d.cert(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	made, err := newKey()
	if err != nil {
		return nil, err
	}
	return &made, d.write(d.key(name), made.pem, 0o600)
}

func (d directory) write(path string, data []byte, perm fs.FileMode) error {
	if !d.writable {
		return errOutdated
	}
	if err := atomicfile.Write(path, data, perm); err != nil {
		return fmt.Errorf("%w; %s", err, writableRemedy)
	}
	return nil
}

func (d directory) cert(name string) string { return filepath.Join(d.path, name+".crt") }
func (d directory) key(name string) string  { return filepath.Join(d.path, name+".key") }

// readIfExists returns nil for a file that is not there.
func readIfExists(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%w; let this user read it", err)
	}
	return data, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
