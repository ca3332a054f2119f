package fuzz

// enums are values that fields of the API take, beside those in the samples.
const enums = `
Always Never OnFailure IfNotPresent ClusterIP NodePort LoadBalancer ExternalName None ClientIP Local Cluster
TCP UDP SCTP HTTP HTTPS IPv4 IPv6 SingleStack PreferDualStack RequireDualStack
In NotIn Exists DoesNotExist Equal Gt Lt NoSchedule PreferNoSchedule NoExecute DoNotSchedule ScheduleAnyway Honor Ignore
Recreate RollingUpdate OnDelete OrderedReady Parallel Retain Delete Recycle Immediate WaitForFirstConsumer
ReadWriteOnce ReadOnlyMany ReadWriteMany ReadWriteOncePod Filesystem Block Default ClusterFirst ClusterFirstWithHostNet
Allow Forbid Replace NonIndexed Indexed FailJob FailIndex Count Terminating Failed TerminatingOrFailed Complete Suspended
Pending Running Succeeded Unknown True False Ready Active Bound Available Released Lost Fail Equivalent Exact
Namespaced Ingress Egress Prefix ImplementationSpecific Guaranteed Burstable BestEffort IfHealthyBudget AlwaysAllow
Resource Pods Object External ContainerResource Utilization AverageValue Value Max Min Disabled Percent
Limited Exempt Queue Reject ByUser ByNamespace ServiceAccount User Group ClusterRole Role
Memory HugePages Directory DirectoryOrCreate File Socket CharDevice BlockDevice Bidirectional HostToContainer
RuntimeDefault Localhost Unconfined OnRootMismatch MountOption Recursive Merge Strict All Container Pod
Opaque kubernetes.io/tls kubernetes.io/dockerconfigjson kubernetes.io/basic-auth kubernetes.io/ssh-auth
kubernetes.io/service-account-token bootstrap.kubernetes.io/token cpu memory pods requests.storage
kubernetes.io/kube-apiserver-client approved Approved Denied
`

// oddStrings are ones that something may stumble over.
var oddStrings = []string{
	"", " ", "a", "A", "a b", "a/b", "a/b/c", "/", "//", ".", "..", "-", "-a", "a-", "a.b", "a_b", "a..b", "é", "日本語", "🚢", "a\u0000b", "a\nb", "\u202e",
	"\\", "\"", "'", "{}", "[]", "null", "true", "0", "-1", "1", "1.5", "010", "0x10", "1e3", "1e400", "100%", "101%", "50%", "-5%", "%",
	"1Gi", "1G", "100m", "0.1m", "1n", "-1Gi", "1Zi", "99999999999999999999", "1.5Gi", "1e3Mi", "Gi", "12h", "1h1m", "5s", "-5s",
	"2020-01-01T00:00:00Z", "2020-01-01T00:00:00.123456Z", "2020-01-01", "2020-13-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
	"10.0.0.0/8", "10.0.0.1/8", "::1", "::/0", "fd00::1", "1.2.3.4", "256.1.1.1", "01.2.3.4", "::ffff:1.2.3.4", "0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.1",
	"example.com", "example.com/x", "Example.com/X", "*.example.com", "*", "*.", "x.*", "kubernetes.io/x", "k8s.io/x", "requests.cpu", "hugepages-2Mi",
	"0 0 * * *", "* * *", "@daily", "TZ=UTC 0 0 * * *", "CRON_TZ=UTC * * * * *", "@every 5m", "60 * * * *",
	"/abs", "rel", "../up", "/a/../b", "a:b", "C:\\x", "http://example.com", "https://example.com/x?y=z", "ftp://x", "unix:///x", "docker.io/library/x:1@sha256:abc",
	"00000000-0000-4000-8000-000000000000", "self.x", "object.spec.replicas > 1", "1 +", "true || ", "$(VAR)", "$$", "default", "kube-system", "v1", "apps/v1",
	"YQ==", "YQ", "!!!!", "aGVsbG8=", "request.auth", "system:masters", "system:nodes", "system:node:a", "node.kubernetes.io/not-ready", "kubernetes", "foregroundDeletion", "orphan",
}

// oddNumbers are ones at the ends of ranges. A float may be written so that it needs
// more digits than an int64 or a float64 has.
var oddNumbers = []string{
	"0", "-0", "1", "-1", "2", "5", "10", "63", "64", "100", "101", "253", "255", "256", "511", "512", "1000", "1023", "1024", "3600", "32767", "32768", "65534", "65535", "65536",
	"100000", "1000000000", "2147483646", "2147483647", "2147483648", "-2147483648", "-2147483649", "4294967295", "4294967296", "9007199254740993",
	"9223372036854775807", "9223372036854775808", "-9223372036854775808", "18446744073709551615", "18446744073709551616",
	"0.5", "1.0", "1e2", "1e-7", "1.5e300", "-0.0", "30000", "31000", "10250",
}

// oddKeys are names of members that no kind has, or that every kind has.
var oddKeys = []string{
	"unknown", "Name", "NAME", "kind", "apiVersion", "metadata", "spec", "status", "name", "namespace", "labels", "", "a.b", "a b", "é", "$patch", "$retainKeys", "items", "x-y",
}
