package cli

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/knarr-io/knarr"
)

func TestMain(m *testing.M) {
	run := func() { os.Exit(RunAs(os.Args, os.Stdin, os.Stdout, os.Stderr)) }
	testscript.Main(m, map[string]func(){"knarr": run, apiServerName: run, etcdName: run, kubectlName: run})
}

// The scripts are what users do, in their words.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await":      await,
			"decode":     decode,
			"freeports":  freePorts,
			"newrequest": newRequest,
			"poll":       poll,
			"setenv":     setenv,
			"terminate":  terminate,
		},
	})
}

// await waits for a file to be there and not empty, up to 20 seconds.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await file")
	}
	path := ts.MkAbs(args[0])
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if info, err := os.Stat(path); err == nil && (info.Size() > 0 || !info.Mode().IsRegular()) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s did not come", args[0])
		}
	}
}

// terminate sends SIGTERM to the servers in the background, as systemd would.
func terminate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: terminate")
	}
	for _, cmd := range ts.BackgroundCmds() {
		name := filepath.Base(cmd.Args[0])
		serves := name == apiServerName || name == etcdName || len(cmd.Args) > 1 && cmd.Args[1] == "serve"
		if serves && cmd.ProcessState == nil {
			ts.Check(cmd.Process.Signal(syscall.SIGTERM))
		}
	}
}

// setenv sets a variable to what a file, or stdout, has in it.
func setenv(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: setenv name file")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

func TestReadyIsToldAsDocumented(t *testing.T) {
	defer func(args []string) { os.Args = args }(os.Args)
	for name, test := range map[string]struct {
		program string
		options knarr.Options
		want    []string
	}{
		"defaults": {"/tmp/go-build123/b001/exe/knarr", knarr.Options{DataDir: "knarr-data", Store: knarr.Disk}, []string{
			"objects     ./knarr-data (disk)",
			"kubeconfig  ./knarr-data/admin.kubeconfig",
			"",
			"  export KUBECONFIG=$PWD/knarr-data/admin.kubeconfig",
			"  kubectl get namespaces        # no kubectl installed? go run ./cmd/knarr kubectl get namespaces",
		}},
		"elsewhere": {"./knarr", knarr.Options{DataDir: "/srv/my data/", Store: knarr.Memory}, []string{
			"objects     in memory, gone when the server stops",
			"kubeconfig  /srv/my data/admin.kubeconfig",
			"",
			"  export KUBECONFIG='/srv/my data/admin.kubeconfig'",
			"  kubectl get namespaces        # no kubectl installed? ./knarr kubectl get namespaces",
		}},
	} {
		os.Args = []string{test.program}
		var out strings.Builder
		printReady(&out, "https://127.0.0.1:6443", test.options, 84*time.Millisecond+time.Microsecond)
		want := "knarr v0.1.0 (Kubernetes v1.37.2) serves https://127.0.0.1:6443, ready in 84 ms\n" + strings.Join(test.want, "\n") + "\n"
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// parse returns the options that the flags of serve become.
func parse(args ...string) (knarr.Options, error) {
	f, cmd := newServeFlags(), newServe()
	cmd.ResetFlags()
	f.addTo(cmd.Flags())
	if err := cmd.ParseFlags(args); err != nil {
		return knarr.Options{}, flagError(cmd, err)
	}
	return f.options()
}

func TestServeFlags(t *testing.T) {
	yes, no := true, false
	etcd := knarr.EtcdOptions{Prefix: "/registry", CompactionInterval: 5 * time.Minute, HealthcheckTimeout: 2 * time.Second, ReadycheckTimeout: 2 * time.Second}
	kubelets := knarr.KubeletOptions{
		PreferredAddressTypes: []string{"Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP"}, Port: 10250,
	}
	defaults := knarr.Options{
		Etcd:    etcd,
		DataDir: "knarr-data", Store: knarr.Disk, BindAddress: net.IPv4(127, 0, 0, 1), SecurePort: 6443,
		ServiceClusterIPRange: "10.0.0.0/24", ServiceNodePortRange: utilnet.PortRange{Base: 30000, Size: 2768},
		RuntimeConfig: map[string]string{}, EventTTL: time.Hour, HistoryRetention: 5 * time.Minute, HistoryBytes: 64 << 20,
		RequestTimeout: time.Minute, MinRequestTimeout: 30 * time.Minute,
		MaxRequestsInflight: 400, MaxMutatingRequestsInflight: 200,
		FeatureGates: map[string]bool{}, AllowPrivileged: &yes,
		ServiceAccountIssuers:               []string{"https://kubernetes.default.svc.cluster.local"},
		ServiceAccountExtendTokenExpiration: &yes, EnablePriorityAndFairness: &yes, Controllers: []string{"*"},
		ServiceAccountLookup: &yes, AuthenticationTokenWebhook: knarr.WebhookTokenOptions{Version: "v1beta1", CacheTTL: 2 * time.Minute},
		AggregatorRejectForwardingRedirect: &yes,
		Audit:                              knarr.DefaultAudit(),
		ClusterSigning:                     knarr.ClusterSigning{Duration: 365 * 24 * time.Hour}, Kubelet: kubelets,
		LegacyServiceAccountTokenCleanUpPeriod: 365 * 24 * time.Hour, TerminatedPodGCThreshold: 12500,
	}
	got, err := parse()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaults, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}

	got, err = parse("--data-dir=d", "--store=memory", "--secure_port=0", "--bind-address=::1", "--cert-dir=c",
		"--tls-cert-file=t", "--tls-private-key-file=k", "--client-ca-file=a", "--token-auth-file=f",
		"--service-cluster-ip-range=10.1.0.0/16", "--service-node-port-range=30000+99", "--runtime-config=api/beta=true,apps/v1=false", "--runtime-config=api/all=true",
		"--feature-gates=A=true,B=false", "--allow-privileged=false", "--event-ttl=2h", "--request-timeout=5s",
		"--min-request-timeout=60", "--max-requests-inflight=0", "--max-mutating-requests-inflight=7", "--shutdown-delay-duration=3s",
		"--service-account-issuer=https://a", "--service-account-issuer=b,c", "--service-account-signing-key-file=sk",
		"--service-account-key-file=k1", "--service-account-key-file=k2", "--service-account-jwks-uri=https://j",
		"--service-account-max-token-expiration=2h", "--service-account-extend-token-expiration=false", "--enable-priority-and-fairness=false",
		"--api-audiences=x,y", "--controllers=*,-serviceaccount-controller", "--legacy-service-account-token-clean-up-period=48h", "--terminated-pod-gc-threshold=0",
		"--proxy-client-cert-file=pc", "--proxy-client-key-file=pk", "--requestheader-client-ca-file=rc", "--requestheader-allowed-names=n1,n2",
		"--requestheader-username-headers=h1", "--requestheader-uid-headers=h2", "--requestheader-group-headers=h3,h4", "--requestheader-extra-headers-prefix=h5-",
		"--enable-aggregator-routing", "--aggregator-reject-forwarding-redirect=false", "--service-account-lookup=false",
		"--anonymous-auth=false", "--enable-bootstrap-token-auth", "--authentication-config=ac", "--oidc-issuer-url=ou", "--oidc-client-id=oc",
		"--oidc-ca-file=of", "--oidc-username-claim=ouc", "--oidc-username-prefix=oup", "--oidc-groups-claim=ogc", "--oidc-groups-prefix=ogp",
		"--oidc-signing-algs=RS256,ES256", "--oidc-required-claim=a=b", "--oidc-required-claim=c=d,e", "--authentication-token-webhook-config-file=wc",
		"--authentication-token-webhook-version=v1", "--authentication-token-webhook-cache-ttl=0",
		"--tls-sni-cert-key=c1,k1", "--tls-sni-cert-key=c2,k2:a.example,*.b.example", "--tls-min-version=VersionTLS13", "--tls-cipher-suites=S1,S2",
		"--tls-curve-preferences=29,23", "--disable-http2-serving", "--http2-max-streams-per-connection=7", "--goaway-chance=0.01",
		"--cors-allowed-origins=//a$,//b$", "--strict-transport-security-directives=max-age=1,preload",
		"--authorization-mode=ABAC,Webhook", "--authorization-policy-file=p", "--authorization-config=ac", "--authorization-webhook-config-file=w",
		"--authorization-webhook-version=v1", "--authorization-webhook-cache-authorized-ttl=0", "--authorization-webhook-cache-unauthorized-ttl=1s", "--history-retention=2h", "--history-bytes=7")
	if err != nil {
		t.Fatal(err)
	}
	want := knarr.Options{
		Etcd:    etcd,
		DataDir: "d", Store: knarr.Memory, BindAddress: net.IPv6loopback, SecurePort: 0, CertDir: "c",
		TLSCertFile: "t", TLSPrivateKeyFile: "k", ClientCAFile: "a", TokenAuthFile: "f",
		ServiceClusterIPRange: "10.1.0.0/16", ServiceNodePortRange: utilnet.PortRange{Base: 30000, Size: 100}, RuntimeConfig: map[string]string{"api/beta": "true", "apps/v1": "false", "api/all": "true"},
		EventTTL: 2 * time.Hour, HistoryRetention: 2 * time.Hour, HistoryBytes: 7, RequestTimeout: 5 * time.Second, MinRequestTimeout: time.Minute,
		MaxRequestsInflight: -1, MaxMutatingRequestsInflight: 7, ShutdownDelayDuration: 3 * time.Second,
		FeatureGates: map[string]bool{"A": true, "B": false}, AllowPrivileged: &no,
		ServiceAccountIssuers: []string{"https://a", "b,c"}, ServiceAccountSigningKeyFile: "sk",
		ServiceAccountKeyFiles: []string{"k1", "k2"}, ServiceAccountJWKSURI: "https://j",
		ServiceAccountMaxTokenExpiration: 2 * time.Hour, ServiceAccountExtendTokenExpiration: &no, EnablePriorityAndFairness: &no,
		APIAudiences: []string{"x", "y"}, Controllers: []string{"*", "-serviceaccount-controller"},
		ProxyClientCertFile: "pc", ProxyClientKeyFile: "pk", RequestHeaderClientCAFile: "rc", RequestHeaderAllowedNames: []string{"n1", "n2"},
		RequestHeaderUsernameHeaders: []string{"h1"}, RequestHeaderUIDHeaders: []string{"h2"}, RequestHeaderGroupHeaders: []string{"h3", "h4"}, RequestHeaderExtraHeadersPrefix: []string{"h5-"},
		Audit:                                  knarr.DefaultAudit(),
		ClusterSigning:                         knarr.ClusterSigning{Duration: 365 * 24 * time.Hour},
		Kubelet:                                kubelets,
		LegacyServiceAccountTokenCleanUpPeriod: 48 * time.Hour, TerminatedPodGCThreshold: -1,
		EnableAggregatorRouting: true, AggregatorRejectForwardingRedirect: &no, ServiceAccountLookup: &no,
		AnonymousAuth: &no, EnableBootstrapTokenAuth: true, AuthenticationConfigFile: "ac",
		OIDC: knarr.OIDCOptions{
			IssuerURL: "ou", ClientID: "oc", CAFile: "of", UsernameClaim: "ouc", UsernamePrefix: "oup", GroupsClaim: "ogc", GroupsPrefix: "ogp",
			SigningAlgs: []string{"RS256", "ES256"}, RequiredClaims: map[string]string{"a": "b", "c": "d,e"},
		},
		AuthenticationTokenWebhook: knarr.WebhookTokenOptions{ConfigFile: "wc", Version: "v1", CacheTTL: -1},
		TLSSNICertKeys:             []knarr.NamedCertKey{{CertFile: "c1", KeyFile: "k1"}, {CertFile: "c2", KeyFile: "k2", Names: []string{"a.example", "*.b.example"}}},
		TLSMinVersion:              "VersionTLS13", TLSCipherSuites: []string{"S1", "S2"}, TLSCurvePreferences: []int32{29, 23},
		DisableHTTP2Serving: true, HTTP2MaxStreamsPerConnection: 7, GoawayChance: 0.01,
		CORSAllowedOrigins: []string{"//a$", "//b$"}, StrictTransportSecurityDirectives: []string{"max-age=1", "preload"},
		AuthorizationModes: []string{"ABAC", "Webhook"}, AuthorizationPolicyFile: "p", AuthorizationConfig: "ac", AuthorizationWebhookConfigFile: "w",
		AuthorizationWebhookVersion: "v1", AuthorizationWebhookCacheAuthorizedTTL: -1, AuthorizationWebhookCacheUnauthorizedTTL: time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("all flags (-want +got):\n%s", diff)
	}
}

// Servers of etcd are where objects are kept, unless another place is named.
func TestEtcdFlags(t *testing.T) {
	got, err := parse("--etcd-servers=https://a:2379,https://b:2379", "--etcd-cafile=ca", "--etcd-certfile=c", "--etcd-keyfile=k", "--etcd-prefix=/p",
		"--etcd-compaction-interval=0", "--etcd-healthcheck-timeout=3s", "--etcd-readycheck-timeout=4s")
	if err != nil {
		t.Fatal(err)
	}
	want := knarr.EtcdOptions{
		Servers: []string{"https://a:2379", "https://b:2379"}, CAFile: "ca", CertFile: "c", KeyFile: "k", Prefix: "/p",
		CompactionInterval: -1, HealthcheckTimeout: 3 * time.Second, ReadycheckTimeout: 4 * time.Second,
	}
	if diff := cmp.Diff(want, got.Etcd); diff != "" || got.Store != knarr.Etcd {
		t.Errorf("objects are kept in %q (-want +got):\n%s", got.Store, diff)
	}
	for flag, want := range map[string]knarr.StoreKind{"--store=disk": knarr.Disk, "--store=etcd": knarr.Etcd, "--etcd-compaction-interval=1h": knarr.Etcd} {
		if got, err = parse("--etcd-servers=https://a:2379", flag); err != nil || got.Store != want {
			t.Errorf("%s: objects are kept in %q, %v, want %q", flag, got.Store, err, want)
		}
	}
}

func TestServeFlagsRefused(t *testing.T) {
	for flag, want := range map[string]string{
		"--tls-sni-cert-key=c":                "expected comma separated certificate and key file paths",
		"--anonymous-auth=x":                  "--anonymous-auth",
		"--etcd-servers-overrides=x":          "kube-apiserver has a flag --etcd-servers-overrides, but it is not implemented in knarr",
		"--etcd_servers_overrides=x":          "kube-apiserver has a flag --etcd-servers-overrides, but it is not implemented in knarr",
		"--etcd-server=x":                     "there is no flag --etcd-server; serve --help lists those there are",
		"-x":                                  "there is no flag -x",
		"--secure-port=x":                     "--secure-port",
		"--bind-address=example.com":          "--bind-address",
		"--request-timeout=0":                 "--request-timeout must be more than 0",
		"--min-request-timeout=-1":            "--min-request-timeout must be more than 0",
		"--event-ttl=0":                       "--event-ttl must be more than 0",
		"--max-requests-inflight=-1":          "--max-requests-inflight must not be negative",
		"--shutdown-delay-duration=-1s":       "--shutdown-delay-duration must not be negative",
		"--data-dir=":                         "--data-dir is empty",
		"--service-node-port-range=2-1":       `invalid argument "2-1" for "--service-node-port-range" flag`,
		"--feature-gates=A":                   "--feature-gates",
		"--max-mutating-requests-inflight=-1": "--max-mutating-requests-inflight must not be negative",
	} {
		_, err := parse(flag)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", flag, err, want)
		}
	}
}

func TestCutDataDir(t *testing.T) {
	for _, test := range []struct {
		args    string
		dataDir string
		rest    string
	}{
		{"", defaultDataDir, ""},
		{"get pods --data-dir x", defaultDataDir, "get pods --data-dir x"},
		{"--data-dir x get pods", "x", "get pods"},
		{"--data-dir=x get pods", "x", "get pods"},
		{"--data-dir x", "x", ""},
	} {
		dataDir, rest, err := cutDataDir(strings.Fields(test.args))
		if err != nil || dataDir != test.dataDir || strings.Join(rest, " ") != test.rest || rest == nil {
			t.Errorf("%q: %q, %q, %v", test.args, dataDir, rest, err)
		}
	}
	if _, _, err := cutDataDir([]string{"--data-dir"}); err == nil {
		t.Error("--data-dir with nothing after it is taken")
	}
}

func TestWords(t *testing.T) {
	for s, want := range map[string]string{"": "''", "a/b-c.d": "a/b-c.d", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'"} {
		if got := quote(s); got != want {
			t.Errorf("quote(%q) is %s, want %s", s, got, want)
		}
	}
	for path, want := range map[string]string{"d": "./d", "./d/": "./d", "../d": "../d", "/d": "/d", ".": "."} {
		if got := shown(path); got != want {
			t.Errorf("shown(%q) is %s, want %s", path, got, want)
		}
	}
	if got := oneLine(errors.Join(errors.New("a"), errors.New("b"))); got != "a; b" {
		t.Errorf("two errors in a line: %s", got)
	}
}
