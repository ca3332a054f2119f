package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// A report is what was measured of one server.
type report struct {
	ready        []time.Duration
	idle, loaded int64 // bytes
	podSize      int   // bytes of JSON sent

	createPod, patchPod, createConfig, getPod   cost
	listJSON, listProtobuf, listGzip, listPages cost
	event                                       cost

	createWidget, patchWidget, getWidget, listWidgets, widgetEvent cost
}

// A row compares one figure of the two servers. Smaller is better; target is how many
// times smaller knarr's must be, 0 if there is no such target.
type row struct {
	name   string
	figure func(*report) float64
	show   func(float64) string
	target float64
	detail func(*report) string
}

func rows(n sizes) []row {
	cpu := func(c func(*report) cost) func(*report) float64 {
		return func(r *report) float64 { return float64(c(r).cpu) }
	}
	latency := func(c func(*report) cost) func(*report) string {
		return func(r *report) string { return round(c(r).p50) + " / " + round(c(r).p99) }
	}
	operation := func(name string, target float64, c func(*report) cost) row {
		return row{name, cpu(c), duration, target, latency(c)}
	}
	none := func(*report) string { return "" }
	return []row{
		{fmt.Sprintf("ready (median of %d)", n.starts), func(r *report) float64 { return float64(median(r.ready)) }, duration, 15, none},
		{"memory, idle", func(r *report) float64 { return float64(r.idle) }, megabytes, 4, none},
		{fmt.Sprintf("memory, %d pods", n.pods), func(r *report) float64 { return float64(r.loaded) }, megabytes, 5, none},
		operation("create pod", 0, func(r *report) cost { return r.createPod }),
		operation("merge-patch pod", 0, func(r *report) cost { return r.patchPod }),
		operation("create ConfigMap", 3, func(r *report) cost { return r.createConfig }),
		operation("get pod", 5, func(r *report) cost { return r.getPod }),
		operation(fmt.Sprintf("list %d pods, JSON", n.pods), 3, func(r *report) cost { return r.listJSON }),
		operation(fmt.Sprintf("list %d pods, protobuf", n.pods), 3, func(r *report) cost { return r.listProtobuf }),
		operation(fmt.Sprintf("list %d pods, JSON with gzip", n.pods), 0, func(r *report) cost { return r.listGzip }),
		operation(fmt.Sprintf("list %d pods, JSON in pages of %d", n.pods, pageSize), 0, func(r *report) cost { return r.listPages }),
		operation(fmt.Sprintf("watch event (%d watchers, %d updates)", n.watchers, n.updates), 2, func(r *report) cost { return r.event }),
		operation("create custom resource", 3, func(r *report) cost { return r.createWidget }),
		operation("merge-patch custom resource", 0, func(r *report) cost { return r.patchWidget }),
		operation("get custom resource", 5, func(r *report) cost { return r.getWidget }),
		operation(fmt.Sprintf("list %d custom resources", n.pods), 3, func(r *report) cost { return r.listWidgets }),
		operation("watch event of a custom resource", 2, func(r *report) cost { return r.widgetEvent }),
	}
}

// render is the report as Markdown. Either server may be missing.
func render(peer, knarr *report, f flags, command string) string {
	n := f.sizes
	var out strings.Builder
	fmt.Fprintf(&out, "# What it costs\n\n`%s` in `bench/`, %s, on %s.\n\n", strings.TrimSpace(command), time.Now().UTC().Format(time.DateOnly), machine())
	out.WriteString("| | kube-apiserver + etcd | knarr | times less | target | | kube-apiserver p50 / p99 | knarr p50 / p99 |\n")
	out.WriteString("|---|---:|---:|---:|---:|---|---:|---:|\n")
	for _, r := range rows(n) {
		times, target, verdict := "", "", ""
		if r.target > 0 {
			target = fmt.Sprintf("%g", r.target)
		}
		if peer != nil && knarr != nil && r.figure(knarr) > 0 {
			ratio := r.figure(peer) / r.figure(knarr)
			times = fmt.Sprintf("%.1f", ratio)
			if r.target > 0 {
				verdict = "pass"
				if ratio < r.target {
					verdict = "**FAIL**"
				}
			}
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", r.name,
			cell(peer, func(p *report) string { return r.show(r.figure(p)) }),
			cell(knarr, func(k *report) string { return r.show(r.figure(k)) }),
			times, target, verdict, cell(peer, r.detail), cell(knarr, r.detail))
	}
	out.WriteString("\n" + explanation(peer, knarr, f))
	return out.String()
}

func cell(r *report, show func(*report) string) string {
	if r == nil {
		return "not measured"
	}
	return show(r)
}

// explanation says what the table's figures are.
func explanation(peer, knarr *report, f flags) string {
	n, credential := f.sizes, "a client certificate"
	if f.guarded {
		credential = "a static token, whose owner RBAC lets do everything, and each recorded at Metadata"
	}
	size, lists, custom := 0, "", 0.0
	for _, r := range []*report{peer, knarr} {
		if r != nil {
			size, custom = r.podSize, mega(r.listWidgets.bytes)
			lists = fmt.Sprintf("%.1f MB as JSON, %.1f MB as protobuf, %.1f MB as JSON with gzip",
				mega(r.listJSON.bytes), mega(r.listProtobuf.bytes), mega(r.listGzip.bytes))
		}
	}
	return fmt.Sprintf(`Operations show the server's processor time per operation (user and system, etcd's added to kube-apiserver's) and
the latency at the client. The servers run one after the other on the same machine and disk as the client, each with
its defaults but for what the comparison fixes (see twin/peer): RBAC, privileged pods, no webhooks and policies in
admission. Both make every write durable before they acknowledge it.

- Ready: from starting the first process, with an empty data directory, to the first 200 from /readyz.
- Memory: resident set of all the server's processes; idle is 5 s after ready, with pods is %s after the last of them
  was created over the API. A pod is %d bytes of JSON as sent.
- Writes and gets: %d in flight over one HTTP/2 connection with %s; %d pods created, %d patched,
  %d ConfigMaps created, %d gets. Lists: one at a time, %d times; a list is %s. Answers are counted, not decoded;
  one list of each kind is decoded beforehand to see that it is whole.
- Watch: %d watches of one ConfigMap on connections of %d; an update follows when all have had the last, and its cost
  is in the figure. Every watch is checked to have had every update once and in order. Latency is from sending the
  update to a watcher's having it.
- Custom resources: as many as pods, patches and gets, of about 0.8 KB, with a schema that has defaults, sets, maps and a
  rule (CEL); a list is %.1f MB.
`, n.settle, size, n.inFlight, credential, n.pods, n.patches, n.configs, n.gets, n.lists, lists, n.watchers, watchersPerConnection, custom)
}

func mega(bytes int64) float64 { return float64(bytes) / 1e6 }

func megabytes(bytes float64) string { return fmt.Sprintf("%.0f MB", bytes/1e6) }

func duration(nanoseconds float64) string { return round(time.Duration(nanoseconds)) }

// round shows three digits.
func round(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.3g s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.3g µs", float64(d)/float64(time.Microsecond))
}

// machine describes what the measurement ran on.
func machine() string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	memory := ""
	content, _ := os.ReadFile("/proc/meminfo")
	var kib int64
	if _, err := fmt.Sscanf(string(content), "MemTotal: %d kB", &kib); err == nil {
		memory = fmt.Sprintf(", %d GB", (kib+1<<19)>>20)
	}
	return fmt.Sprintf("%d cores (%s)%s, Linux %s, %s", runtime.NumCPU(), runtime.GOARCH, memory, strings.TrimSpace(string(kernel)), runtime.Version())
}
