package bootstrap

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/features"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/util/cert"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/verb"
)

// FrontProxies says by which certificates servers know front proxies, and in
// which headers these tell who asks.
type FrontProxies struct {
	// CA is their authorities, PEM; empty if there are none.
	CA []byte
	// Names are the common names that their certificates may have.
	Names []string
	// The headers of the user's name, uid and groups, and what those of the rest
	// begin with.
	UsernameHeaders, UIDHeaders, GroupHeaders, ExtraHeaderPrefixes []string
}

// trustName is the ConfigMap that tells extension API servers whom this server
// trusts, and so whom they should.
const trustName = "extension-apiserver-authentication"

// Its keys.
const (
	clientCAKey      = "client-ca-file"
	proxyCAKey       = "requestheader-client-ca-file"
	proxyNamesKey    = "requestheader-allowed-names"
	usernamesKey     = "requestheader-username-headers"
	uidsKey          = "requestheader-uid-headers"
	groupsKey        = "requestheader-group-headers"
	extraPrefixesKey = "requestheader-extra-headers-prefix"
)

// authenticationTrust tells whom this server trusts.
func (r *run) authenticationTrust() error {
	for _, s := range r.trusting() {
		r.do(s.what, s.write)
	}
	return nil
}

// KeepTrust keeps the ConfigMap that tells whom this server trusts, as Run has
// made it: what is deleted is made anew at once, and what was changed is put
// right. It returns when ctx ends. clock tells the time.
func KeepTrust(ctx context.Context, verbs *verb.Verbs, catalogue *kind.Catalogue, o Options, clock clock.Clock) {
	r := &run{ctx: ctx, verbs: verbs, catalogue: catalogue, options: o}
	r.keep(clock, r.trusting())
}

// trusting is what is to be told, if anything is.
func (r *run) trusting() []standing {
	configMaps, ok := r.systemConfigMaps()
	if !ok || len(r.options.ClientCA)+len(r.options.FrontProxies.CA) == 0 {
		return nil
	}
	return []standing{{what: "config map " + trustName, keys: []string{configMaps.key(trustName)}, write: func(ctx context.Context) error {
		return r.tellTrust(ctx, configMaps)
	}}}
}

// tellTrust adds to the ConfigMap what it lacks. What other servers trust stays
// in it, authorities until they expire.
func (r *run) tellTrust(ctx context.Context, configMaps objects[*corev1.ConfigMap]) error {
	is, err := configMaps.Get(ctx, trustName, metav1.GetOptions{})
	missing := apierrors.IsNotFound(err)
	if missing {
		is = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: trustName}}
	} else if err != nil {
		return err
	}
	data, err := mergeTrust(is.Data, r.options.ClientCA, r.options.FrontProxies)
	switch {
	case err != nil:
		return err
	case missing:
		is.Data = data
		return configMaps.Ensure(ctx, is)
	case maps.Equal(data, is.Data):
		return nil
	}
	is.Data = data
	_, err = configMaps.Update(ctx, is, metav1.UpdateOptions{})
	if apierrors.IsRequestEntityTooLargeError(err) || apierrors.IsInvalid(err) && strings.Contains(err.Error(), "Too long") {
		// What others have put there leaves no room: without it, there is.
		if err := configMaps.Delete(ctx, trustName, metav1.DeleteOptions{}); err != nil {
			return err
		}
	}
	return err
}

// mergeTrust returns what the ConfigMap is to say if it says data. What does not
// belong there is left out; what cannot be read is an error, as nobody could
// tell what it was.
func mergeTrust(data map[string]string, clientCA []byte, proxies FrontProxies) (map[string]string, error) {
	merged := map[string]string{}
	for key, more := range map[string][]byte{clientCAKey: clientCA, proxyCAKey: proxies.CA} {
		bundle, err := mergeBundles([]byte(data[key]), more)
		if err != nil {
			return nil, err
		}
		if bundle != "" {
			merged[key] = bundle
		}
	}
	uids := utilfeature.DefaultFeatureGate.Enabled(features.RemoteRequestHeaderUID)
	for key, more := range map[string][]string{
		proxyNamesKey: proxies.Names, usernamesKey: proxies.UsernameHeaders, uidsKey: proxies.UIDHeaders,
		groupsKey: proxies.GroupHeaders, extraPrefixesKey: proxies.ExtraHeaderPrefixes,
	} {
		if key == uidsKey && !uids {
			continue
		}
		list, err := mergeLists(data[key], more)
		if err != nil {
			return nil, err
		}
		if merged[proxyCAKey] != "" && (key != uidsKey || list != "[]") {
			merged[key] = list
		}
	}
	return merged, nil
}

// mergeLists returns what is in a list, JSON or empty, and in more, each once.
func mergeLists(list string, more []string) (string, error) {
	var is []string
	if list != "" {
		if err := json.Unmarshal([]byte(list), &is); err != nil {
			return "", err
		}
	}
	merged := []string{}
	for _, s := range slices.Concat(is, more) {
		if !slices.Contains(merged, s) {
			merged = append(merged, s)
		}
	}
	text, err := json.Marshal(merged)
	return string(text), err
}

// mergeBundles returns the certificates of all bundles, PEM, each once and
// without those that have expired. Empty bundles hold none.
func mergeBundles(bundles ...[]byte) (string, error) {
	const slack = 5 * time.Minute // upstream's, for clocks that differ
	var merged []*x509.Certificate
	for _, bundle := range bundles {
		if len(bundle) == 0 {
			continue
		}
		certificates, err := cert.ParseCertsPEM(bundle)
		if err != nil {
			return "", err
		}
		for _, c := range certificates {
			if c.NotAfter.After(time.Now().Add(-slack)) && !slices.ContainsFunc(merged, c.Equal) {
				merged = append(merged, c)
			}
		}
	}
	all, err := cert.EncodeCertificates(merged...)
	return string(all), err
}
