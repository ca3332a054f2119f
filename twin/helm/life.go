package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// client is Helm, and kubectl, against one cluster.
type client struct {
	helm, kubectl, kubeconfig, dir string
}

// A step is what became of a release after one command.
type step struct {
	name string
	err  string
	// status and history are what Helm says of the release.
	status, history string
	objects         map[string]string // by kind, namespace and name: without what every server chooses for itself
}

// A life is that of one chart's release.
type life struct {
	chart string
	steps []step
	took  time.Duration
}

func (l life) failures() []string {
	var all []string
	for _, s := range l.steps {
		if s.err != "" {
			all = append(all, s.name+": "+s.err)
		}
	}
	return all
}

// A release may take so long to be ready.
const patience = "90s"

// live installs a chart, upgrades it, rolls it back and uninstalls it.
func (c client) live(ctx context.Context, chart chart) life {
	began := time.Now()
	l := life{chart: chart.name}
	for _, file := range chart.files {
		if _, err := c.run(ctx, c.kubectl, "", "apply", "--server-side", "-f", file); err != nil {
			l.steps = append(l.steps, step{name: "definitions", err: err.Error()})
		}
	}
	// Not by a flag, which would forbid objects of other namespaces.
	if _, err := c.run(ctx, c.kubectl, "", "config", "set-context", "--current", "--namespace", chart.namespace); err != nil {
		l.steps = append(l.steps, step{name: "kubeconfig", err: err.Error()})
	}
	in := []string{"--namespace", chart.namespace}
	waiting := append([]string{"--wait", "--timeout", patience}, in...)
	commands := []struct {
		name      string
		arguments []string
	}{
		{"install", append(sets(chart.first), "install", chart.name, chart.dir, "--create-namespace")},
		{"upgrade", append(sets(chart.then), "upgrade", chart.name, chart.dir)},
		{"roll back", []string{"rollback", chart.name, "1"}},
		{"upgrade to the same", append(sets(chart.first), "upgrade", "--install", chart.name, chart.dir)},
		{"uninstall", []string{"uninstall", chart.name}},
	}
	var manifest string
	for _, command := range commands {
		s := step{name: command.name}
		if _, err := c.run(ctx, c.helm, "", append(command.arguments, waiting...)...); err != nil {
			s.err = err.Error()
		}
		if command.name == "install" && s.err == "" && strings.HasSuffix(chart.dir, "hooks") {
			if _, err := c.run(ctx, c.helm, "", append([]string{"test", chart.name, "--timeout", patience}, in...)...); err != nil {
				s.err = err.Error()
			}
		}
		if command.name != "uninstall" {
			s.status = c.said(ctx, "status", chart.name, in)
			s.history = c.said(ctx, "history", chart.name, in)
			if got, err := c.run(ctx, c.helm, "", append([]string{"get", "manifest", chart.name}, in...)...); err == nil {
				manifest = got
			}
		}
		var err error
		if s.objects, err = c.objects(ctx, manifest); err != nil && s.err == "" {
			s.err = err.Error()
		}
		l.steps = append(l.steps, s)
	}
	l.took = time.Since(began)
	return l
}

func sets(values []string) []string {
	var arguments []string
	for _, v := range values {
		arguments = append(arguments, "--set", v)
	}
	return arguments
}

// run runs Helm or kubectl and returns what it prints.
func (c client) run(ctx context.Context, program, input string, arguments ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, arguments...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig, "HOME="+c.dir)
	cmd.Stdin = strings.NewReader(input)
	var out, wrong bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &wrong
	err := cmd.Run()
	c.note(arguments, &wrong, err)
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(wrong.String()))
	}
	return out.String(), nil
}

// note keeps what a command had to say beside its result.
func (c client) note(arguments []string, wrong *bytes.Buffer, result error) {
	file, err := os.OpenFile(filepath.Join(c.dir, "said.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer file.Close()
	fmt.Fprintf(file, "%s %s: %v\n%s\n", time.Now().Format(time.TimeOnly), strings.Join(arguments, " "), result, wrong)
}

// said is what Helm tells of a release, without times and what else differs by chance.
func (c client) said(ctx context.Context, what, release string, in []string) string {
	out, err := c.run(ctx, c.helm, "", append([]string{what, release, "-o", "json"}, in...)...)
	if err != nil {
		return err.Error()
	}
	if what == "history" {
		var revisions []struct {
			Revision                   int
			Status, Chart, Description string
		}
		if err := json.Unmarshal([]byte(out), &revisions); err != nil {
			return err.Error()
		}
		var lines []string
		for _, r := range revisions {
			lines = append(lines, fmt.Sprintf("%d %s %s %s", r.Revision, r.Chart, r.Status, r.Description))
		}
		return strings.Join(lines, "\n")
	}
	var release0 struct {
		Name, Namespace, Manifest string
		Version                   int
		Info                      struct{ Status, Description string }
		Hooks                     []struct {
			Name     string
			LastRun  struct{ Phase string } `json:"last_run"`
			Manifest string
		}
	}
	if err := json.Unmarshal([]byte(out), &release0); err != nil {
		return err.Error()
	}
	lines := []string{fmt.Sprintf("%s/%s %d %s %s", release0.Namespace, release0.Name, release0.Version, release0.Info.Status, release0.Info.Description)}
	for _, h := range release0.Hooks {
		lines = append(lines, "hook "+h.Name+" "+h.LastRun.Phase)
	}
	return strings.Join(lines, "\n")
}

// objects are those of a manifest that are there.
func (c client) objects(ctx context.Context, manifest string) (map[string]string, error) {
	if strings.TrimSpace(manifest) == "" {
		return nil, nil
	}
	out, err := c.run(ctx, c.kubectl, manifest, "get", "--ignore-not-found", "--show-managed-fields", "-o", "json", "-f", "-")
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(out) == "" {
		return nil, nil
	}
	var list map[string]any
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, err
	}
	items, ok := list["items"].([]any)
	if !ok {
		items = []any{list}
	}
	all := map[string]string{}
	for _, item := range items {
		object := item.(map[string]any)
		metadata := object["metadata"].(map[string]any)
		id := fmt.Sprint(object["kind"], " ", metadata["namespace"], "/", metadata["name"])
		own(object)
		text, err := json.MarshalIndent(object, "", " ")
		if err != nil {
			return nil, err
		}
		all[id] = string(text)
	}
	return all, nil
}

// chosen are members that each server chooses for itself.
var chosen = []string{"clusterIP", "clusterIPs", "nodePort", "healthCheckNodePort", "uid", "resourceVersion", "creationTimestamp", "time"}

// generated are values that charts make up: certificates and keys.
var generated = regexp.MustCompile(`^[A-Za-z0-9+/=]{200,}$`)

// own leaves out of an object what is not the release's own: what each server chooses, and
// what controllers write.
func own(object map[string]any) {
	delete(object, "status")
	if metadata, ok := object["metadata"].(map[string]any); ok {
		fields, _ := metadata["managedFields"].([]any)
		fields = slices.DeleteFunc(fields, func(f any) bool {
			manager, _ := f.(map[string]any)["manager"].(string)
			return !strings.HasPrefix(manager, "helm")
		})
		metadata["managedFields"] = fields
	}
	strip(object)
}

func strip(value any) {
	switch v := value.(type) {
	case map[string]any:
		for _, name := range chosen {
			delete(v, name)
		}
		for name, member := range v {
			if text, ok := member.(string); ok && generated.MatchString(text) {
				v[name] = "generated"
			}
			strip(member)
		}
	case []any:
		for _, item := range v {
			strip(item)
		}
	}
}
