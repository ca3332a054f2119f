// Package knarr is a Kubernetes API server in one process.
//
// Start one, in a program or a test, and talk to it with any client:
//
//	server, err := knarr.Start(ctx, knarr.Options{Store: knarr.Memory})
//	if err != nil { … }
//	defer server.Stop(ctx)
//	client, err := kubernetes.NewForConfig(server.ClientConfig())
//
// Servers share nothing but code, so many of them run in one process. The
// exceptions are the feature gates and the privileged-containers switch of
// Kubernetes' own libraries, which are set once per process (see Options).
//
// Package knarrtest starts servers that end with a test.
package knarr

import (
	"net"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// StoreKind is where objects are kept.
type StoreKind string

const (
	// Disk keeps objects in DataDir. Every write is synced to disk before it
	// is acknowledged.
	Disk StoreKind = "disk"
	// Memory forgets everything when the server stops.
	Memory StoreKind = "memory"
)

// Options say how a server is to run. The zero value listens on a free port of
// 127.0.0.1 and keeps its objects in memory and its certificates to itself.
// Where kube-apiserver has a flag for a thing, the field means what it means
// there.
type Options struct {
	// DataDir is where objects, certificates and admin.kubeconfig are. It is
	// made if it is not there, and belongs to one server at a time. If it is
	// empty, nothing is written anywhere and Store must be Memory or Etcd.
	DataDir string
	// Store is Disk, Etcd or Memory; empty means Etcd if that has servers, else
	// Disk if there is a DataDir.
	Store StoreKind
	// Etcd is the cluster that the store Etcd is in.
	Etcd EtcdOptions

	// BindAddress is the IP address to listen on; default 127.0.0.1.
	BindAddress net.IP
	// AdvertiseAddress is where the kubernetes Service sends clients; by default
	// BindAddress, or an address of this machine if that cannot be reached from
	// others.
	AdvertiseAddress net.IP
	// SecurePort is the port to listen on; 0 takes a free one.
	SecurePort int

	// CertDir is where certificates are kept; default DataDir/pki.
	CertDir string
	// TLSCertFile and TLSPrivateKeyFile are the serving certificate, if it is
	// not to be made.
	TLSCertFile, TLSPrivateKeyFile string
	// TLSSNICertKeys are for clients that ask for certain names. Certificates,
	// authorities and keys are read again when their files change.
	TLSSNICertKeys []NamedCertKey
	// TLSMinVersion is VersionTLS12, the default, or VersionTLS13; those before
	// are not safe. TLSCipherSuites are the names of suites for 1.2, and
	// TLSCurvePreferences what keys may be exchanged by, by crypto/tls' numbers;
	// default Go's.
	TLSMinVersion       string
	TLSCipherSuites     []string
	TLSCurvePreferences []int32
	// DisableHTTP2Serving leaves HTTP/1.1. HTTP2MaxStreamsPerConnection is how
	// many requests of a connection run at once; default 250.
	DisableHTTP2Serving          bool
	HTTP2MaxStreamsPerConnection int
	// GoawayChance is the share of requests, up to 0.02, after which clients of
	// HTTP/2 are asked to connect anew.
	GoawayChance float64
	// CORSAllowedOrigins are expressions for the origins of web pages that browsers
	// let see answers, each pinned to both ends of the host. Default none.
	CORSAllowedOrigins []string
	// StrictTransportSecurityDirectives is what browsers are told of HSTS: max-age=…,
	// includeSubDomains, preload. Default nothing.
	StrictTransportSecurityDirectives []string
	// ClientCAFile names further authorities of client certificates.
	ClientCAFile string
	// ProxyClientCertFile and ProxyClientKeyFile are what the server shows those
	// that it passes requests on to, and RequestHeaderClientCAFile are the
	// authorities of front proxies, which tell servers who asks. If none of
	// them is given, both are made and kept with the other certificates, as
	// kubeadm does; if one is, nothing is.
	ProxyClientCertFile, ProxyClientKeyFile, RequestHeaderClientCAFile string
	// RequestHeaderAllowedNames are the common names that front proxies may
	// have, and the others the headers in which they tell who asks: of the
	// user's name, uid and groups, and what those of the rest begin with.
	// Where the authorities are made, the default is kubeadm's:
	// front-proxy-client, X-Remote-User, none, X-Remote-Group, X-Remote-Extra-.
	RequestHeaderAllowedNames, RequestHeaderUsernameHeaders, RequestHeaderUIDHeaders []string
	RequestHeaderGroupHeaders, RequestHeaderExtraHeadersPrefix                       []string
	// EnableAggregatorRouting has requests passed on to the endpoints of
	// Services instead of their addresses.
	EnableAggregatorRouting bool
	// AggregatorRejectForwardingRedirect refuses answers of other servers that
	// would send the client elsewhere; nil means true.
	AggregatorRejectForwardingRedirect *bool
	// TokenAuthFile is a file of static bearer tokens.
	TokenAuthFile string
	// EnableBootstrapTokenAuth accepts the tokens for new nodes that Secrets of
	// kube-system hold.
	EnableBootstrapTokenAuth bool
	// OIDC is a provider of OpenID Connect whose tokens are accepted.
	OIDC OIDCOptions
	// AuthenticationConfigFile is an AuthenticationConfiguration, in place of
	// OIDC and AnonymousAuth. It is read again when it changes.
	AuthenticationConfigFile string
	// AuthenticationTokenWebhook is a server that is asked about tokens.
	AuthenticationTokenWebhook WebhookTokenOptions
	// AnonymousAuth lets requests without credentials in as system:anonymous;
	// nil means true unless the file above says.
	AnonymousAuth *bool

	// ServiceAccountIssuers are the names that tokens of service accounts are
	// accepted from; the first issues them. Default
	// https://kubernetes.default.svc.cluster.local.
	ServiceAccountIssuers []string
	// ServiceAccountSigningKeyFile is the private key that tokens are signed
	// with, if it is not to be made; a made one is kept with the certificates.
	ServiceAccountSigningKeyFile string
	// ServiceAccountKeyFiles have further keys that tokens may have been signed
	// with.
	ServiceAccountKeyFiles []string
	// ServiceAccountLookup has a token that lives in a Secret void when that is
	// gone; nil means true.
	ServiceAccountLookup *bool
	// ServiceAccountJWKSURI is where others get the keys to verify tokens;
	// default this server.
	ServiceAccountJWKSURI string
	// ServiceAccountMaxTokenExpiration is how long a token is valid at most; 0
	// leaves it to who asks for one.
	ServiceAccountMaxTokenExpiration time.Duration
	// ServiceAccountExtendTokenExpiration has the tokens that pods get by
	// themselves last a year; nil means true.
	ServiceAccountExtendTokenExpiration *bool
	// APIAudiences are the names of this API that tokens may be for; default
	// ServiceAccountIssuers.
	APIAudiences []string

	// AuthorizationModes are those who decide what users may do, one asked after
	// another: Node, RBAC, ABAC, Webhook, AlwaysAllow, AlwaysDeny; default Node and
	// RBAC. AuthorizationPolicyFile is ABAC's.
	AuthorizationModes      []string
	AuthorizationPolicyFile string
	// AuthorizationConfig is a file that configures them instead, webhooks with
	// conditions included. It is read again when it changes.
	AuthorizationConfig string
	// AuthorizationWebhookConfigFile is a kubeconfig for the mode Webhook, and
	// AuthorizationWebhookVersion the version of the reviews it is sent (default
	// v1beta1). How long its answers hold is by default 5 minutes and 30 seconds;
	// negative is not at all.
	AuthorizationWebhookConfigFile, AuthorizationWebhookVersion                      string
	AuthorizationWebhookCacheAuthorizedTTL, AuthorizationWebhookCacheUnauthorizedTTL time.Duration
	// Audit says what is recorded of requests, and where; nil for nothing.
	Audit *Audit

	// EnableAdmissionPlugins and DisableAdmissionPlugins are admission plugins
	// that run, or do not, other than by default. AdmissionControl is all that
	// run: the deprecated way, which excludes the others.
	EnableAdmissionPlugins, DisableAdmissionPlugins, AdmissionControl []string
	// AdmissionControlConfigFile is a file with what admission plugins are to
	// know, or with the names of files that have it.
	AdmissionControlConfigFile string
	// DefaultNotReadyTolerationSeconds and DefaultUnreachableTolerationSeconds
	// are how long a pod tolerates a node that is so, unless it says; nil means
	// 300.
	DefaultNotReadyTolerationSeconds, DefaultUnreachableTolerationSeconds *int64

	// Kubelet says how kubelets are reached.
	Kubelet KubeletOptions

	// Controllers tells which of kube-controller-manager's controllers run, by
	// the names they have there: "*" is all there are, "-name" all but that
	// one, "name" only that. Nil means "*". The "token-cleaner-controller" runs only if
	// it is named.
	Controllers []string
	// TerminatedPodGCThreshold is how many pods that have ended are kept; default 12500,
	// less than 0 for any number.
	TerminatedPodGCThreshold int
	// LegacyServiceAccountTokenCleanUpPeriod is how long a token of a service account
	// in a Secret that was made by itself stays unused until it is marked as invalid,
	// and then until it is removed; default a year.
	LegacyServiceAccountTokenCleanUpPeriod time.Duration
	// ClusterSigning says who signs certificates that are asked for.
	ClusterSigning ClusterSigning

	// ServiceClusterIPRange is the network of Services' addresses; default
	// 10.0.0.0/24. Two, one of IPv4 and one of IPv6, are divided by a comma:
	// Services are of the first family unless they say otherwise.
	ServiceClusterIPRange string
	// ServiceNodePortRange is the node ports of Services; default 30000-32767.
	ServiceNodePortRange utilnet.PortRange
	// RuntimeConfig switches API versions and resources on and off.
	RuntimeConfig map[string]string
	// EventTTL is how long events are kept; default an hour.
	EventTTL time.Duration

	// RequestTimeout bounds requests that are not watches; default a minute.
	RequestTimeout time.Duration
	// MinRequestTimeout is how long a watch lasts at least, unless its client
	// says; default 30 minutes.
	MinRequestTimeout time.Duration
	// MaxRequestsInflight and MaxMutatingRequestsInflight bound how many
	// requests run at once; default 400 and 200, negative for no bound. Where
	// priority and fairness is on, their sum is what it shares out.
	MaxRequestsInflight, MaxMutatingRequestsInflight int
	// EnablePriorityAndFairness has FlowSchemas and PriorityLevelConfigurations
	// say whose requests run, wait or are refused when there are many; nil means
	// true.
	EnablePriorityAndFairness *bool
	// ShutdownDelayDuration is how long Stop goes on serving, not ready, before
	// it refuses new requests.
	ShutdownDelayDuration time.Duration

	// HistoryRetention is how long the past can be watched from and listed
	// at; default 5 minutes. HistoryBytes bounds what it may hold beside the
	// present; default 64 MiB.
	HistoryRetention time.Duration
	HistoryBytes     int64

	// EncryptionProviderConfig is a file that says which resources are kept
	// encrypted, and by which keys or plugins: an EncryptionConfiguration, as
	// kube-apiserver reads it. With EncryptionProviderConfigAutomaticReload it is
	// read again, within a minute, when it has changed.
	EncryptionProviderConfig                string
	EncryptionProviderConfigAutomaticReload bool

	// FeatureGates sets feature gates of Kubernetes' libraries, and
	// AllowPrivileged whether pods may be privileged (nil means true). Both
	// hold for the whole process: the first server sets them, and a later one
	// that asks for others fails to start.
	FeatureGates    map[string]bool
	AllowPrivileged *bool
}
