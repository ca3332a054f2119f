package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/twin/peer"
)

// providers are modules with definitions as providers of Crossplane have them, in
// the order in which they are taken.
var providers = []string{"github.com/upbound/provider-aws@v1.14.0", "github.com/crossplane-contrib/provider-aws@v0.50.0"}

// providerDefinitions returns n definitions of providers, as JSON. Where they do
// not suffice, those of the first are there once more under the names that its
// second release has for them, those of groups in aws.m.upbound.io.
func providerDefinitions(ctx context.Context, n int) ([]*apiextensionsv1.CustomResourceDefinition, error) {
	var all []*apiextensionsv1.CustomResourceDefinition
	for _, module := range providers {
		found, err := definitionsOf(ctx, module)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", module, err)
		}
		all = append(all, found...)
	}
	for _, d := range slices.Clone(all) {
		if strings.HasSuffix(d.Spec.Group, ".aws.upbound.io") {
			again := d.DeepCopy()
			again.Spec.Group = strings.TrimSuffix(d.Spec.Group, ".aws.upbound.io") + ".aws.m.upbound.io"
			again.Name = d.Spec.Names.Plural + "." + again.Spec.Group
			all = append(all, again)
		}
	}
	if len(all) < n {
		return nil, fmt.Errorf("there are no more than %d definitions", len(all))
	}
	return all[:n], nil
}

// definitionsOf downloads a module and returns the definitions in it.
func definitionsOf(ctx context.Context, module string) ([]*apiextensionsv1.CustomResourceDefinition, error) {
	files, err := peer.ModuleFiles(ctx, module, "package/crds/*.yaml")
	if err != nil {
		return nil, err
	}
	var found []*apiextensionsv1.CustomResourceDefinition
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		d := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(bytes.TrimPrefix(content, []byte("---\n")), d); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		found = append(found, d)
	}
	return found, nil
}

// manyReport is what many definitions cost one server.
type manyReport struct {
	name         string
	n            int
	size         int64 // of all definitions, as sent
	idle, loaded int64 // bytes of memory, without definitions and with them after a restart
	ready        time.Duration
	readyLoaded  time.Duration
	create       cost
	list         cost
	first, later cost // discovery, after all and after each of some changes
	object       cost // create the first of each kind
	again        cost // get each
	used         int64
	unused       int64 // bytes of memory, when nothing was done for a while; zero if not measured
}

// many measures what many definitions cost.
func many(ctx context.Context, f flags, b peer.Binaries, start peer.Starter, name string) (*manyReport, error) {
	all, err := providerDefinitions(ctx, f.definitions+changes)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Join(f.root, "twin", ".peers"), "bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	m := &manyWork{f: f, b: b, start: start, dir: dir, report: manyReport{name: name, n: f.definitions}}
	defer m.stop()
	err = m.do(ctx, all[:f.definitions], all[f.definitions:])
	return &m.report, err
}

// changes is how many definitions are added while discovery is looked at.
const changes = 10

type manyWork struct {
	f      flags
	b      peer.Binaries
	start  peer.Starter
	dir    string
	report manyReport
	*work
}

func (m *manyWork) stop() {
	if m.work != nil {
		m.client.close()
		m.server.Stop()
		m.work = nil
	}
}

// restart starts the server on what it has stored, and returns when it was ready
// and what memory it takes a while later.
func (m *manyWork) restart(ctx context.Context) (ready time.Duration, memory int64, err error) {
	m.stop()
	server, err := m.start(ctx, m.b, peer.Options{Dir: m.dir})
	if err != nil {
		return 0, 0, err
	}
	if m.work, err = newWork(ctx, m.report.name, server, m.f.sizes); err != nil {
		server.Stop()
		return 0, 0, err
	}
	memory, err = m.settledMemory(m.f.sizes.settle)
	progress(m.name, "ready after %s, %d MB", server.Ready.Round(time.Millisecond), memory>>20)
	return server.Ready, memory, err
}

func (m *manyWork) do(ctx context.Context, all, more []*apiextensionsv1.CustomResourceDefinition) (err error) {
	r := &m.report
	if r.ready, r.idle, err = m.restart(ctx); err != nil {
		return err
	}
	if err = m.operation(&r.create, "create a definition", len(all), 4, func(ctx context.Context, i int) error {
		return m.createDefinition(ctx, all[i])
	}); err != nil {
		return err
	}
	for _, d := range all {
		content, err := json.Marshal(d)
		if err != nil {
			return err
		}
		r.size += int64(len(content))
	}
	if r.name == "knarr" { // the other makes its certificates anew
		if r.readyLoaded, r.loaded, err = m.restart(ctx); err != nil {
			return err
		}
	} else if r.loaded, err = m.settledMemory(m.f.sizes.settle); err != nil {
		return err
	}
	if err = m.discover(ctx, more); err != nil {
		return err
	}
	if err = m.operation(&r.list, "list of definitions", 3, 1, func(ctx context.Context, _ int) error {
		n, err := m.client.read(ctx, definitions, nil)
		r.list.bytes = n
		return err
	}); err != nil {
		return err
	}
	return m.objects(all)
}

func (m *manyWork) createDefinition(ctx context.Context, d *apiextensionsv1.CustomResourceDefinition) error {
	content, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return m.client.write(ctx, http.MethodPost, definitions, applicationJSON, content, http.StatusCreated)
}

// discover measures aggregated discovery: the first one, and those after a change.
func (m *manyWork) discover(ctx context.Context, more []*apiextensionsv1.CustomResourceDefinition) error {
	accept := http.Header{
		"Accept":          {"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"},
		"Accept-Encoding": {"gzip"},
	}
	read := func(c *cost) func(context.Context, int) error {
		return func(ctx context.Context, _ int) (err error) {
			c.bytes, err = m.client.read(ctx, "/apis", accept)
			return err
		}
	}
	if err := m.operation(&m.report.first, "discovery, the first", 1, 1, read(&m.report.first)); err != nil {
		return err
	}
	var sum, took time.Duration
	for _, d := range more {
		if err := m.createDefinition(ctx, d); err != nil {
			return err
		}
		time.Sleep(time.Second) // for what the change itself causes
		var c cost
		if err := m.operation(&c, "discovery after a change", 1, 1, read(&m.report.later)); err != nil {
			return err
		}
		sum, took = sum+c.cpu, took+c.p50
	}
	n := time.Duration(len(more))
	m.report.later.count, m.report.later.cpu, m.report.later.p50, m.report.later.p99 = len(more), sum/n, took/n, took/n
	return nil
}

// render is the report as Markdown.
func (r *manyReport) render(command string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "# What %d definitions cost %s\n\n`%s` in `bench/`, %s, on %s.\n\n| | |\n|---|---:|\n",
		r.n, r.name, strings.TrimSpace(command), time.Now().UTC().Format(time.DateOnly), machine())
	line := func(what, format string, arguments ...any) {
		fmt.Fprintf(&out, "| %s | %s |\n", what, fmt.Sprintf(format, arguments...))
	}
	each := func(memory int64) string {
		return fmt.Sprintf("%d MB, %d KB a definition", memory>>20, (memory-r.idle)/int64(r.n)/1000)
	}
	line("a definition, as sent", "%d KB", r.size/int64(r.n)/1000)
	line("memory without any", "%d MB", r.idle>>20)
	line("create one, CPU", "%s", round(r.create.cpu))
	if r.readyLoaded > 0 {
		line("ready without any", "%s", round(r.ready))
		line("ready with all stored", "%s", round(r.readyLoaded))
	}
	line("memory with all", "%s", each(r.loaded))
	line("aggregated discovery, the first, CPU", "%s", round(r.first.cpu))
	line("aggregated discovery after a change, CPU", "%s, %.1f MB as JSON with gzip", round(r.later.cpu), mega(r.later.bytes))
	line("list of definitions, CPU", "%s, %.1f MB", round(r.list.cpu), mega(r.list.bytes))
	line("create the first object of a kind, CPU", "%s", round(r.object.cpu))
	line("memory then", "%s", each(r.used))
	line("list of one object, CPU", "%s", round(r.again.cpu))
	if r.unused > 0 {
		line("memory when nothing was asked for a while", "%s", each(r.unused))
	}
	fmt.Fprintf(&out, `
The definitions are those of %s,
and those of the first once more, under other names. Each has an object made of it that says no more than its schema
requires. Memory is the resident set%s.
`, strings.Join(providers, " and "), map[bool]string{true: " after a restart", false: ""}[r.readyLoaded > 0])
	return out.String()
}

// objects makes one object of each kind and reads it.
func (m *manyWork) objects(all []*apiextensionsv1.CustomResourceDefinition) (err error) {
	r := &m.report
	var refusals refused
	if err := m.operation(&r.object, "create the first object of a kind", len(all), 4, func(ctx context.Context, i int) error {
		at, content, err := sampleOf(all[i])
		if err != nil {
			return err
		}
		return refusals.unless(m.client.write(ctx, http.MethodPost, at, applicationJSON, content, http.StatusCreated))
	}); err != nil {
		return err
	}
	if err := refusals.tooMany(len(all)); err != nil {
		return err
	}
	if r.used, err = m.settledMemory(m.f.sizes.settle); err != nil {
		return err
	}
	progress(m.name, "with an object of each kind but %d: %d MB", refusals.n, r.used>>20)
	if err := m.operation(&r.again, "list of one object", len(all), 4, func(ctx context.Context, i int) error {
		at, _, err := sampleOf(all[i])
		if err == nil {
			_, err = m.client.read(ctx, at, nil)
		}
		return err
	}); err != nil {
		return err
	}
	if m.f.definitionsUnused > 0 {
		r.unused, err = m.settledMemory(m.f.definitionsUnused)
		progress(m.name, "after %s without a request: %d MB", m.f.definitionsUnused, r.unused>>20)
	}
	return err
}

// refused counts what a server refused, for rules that a sample does not keep.
type refused struct {
	sync.Mutex
	n    int
	last error
}

func (r *refused) unless(err error) error {
	var refusal *refusal
	if !errors.As(err, &refusal) || refusal.code != http.StatusUnprocessableEntity {
		return err
	}
	r.Lock()
	defer r.Unlock()
	r.n++
	r.last = err
	return nil
}

func (r *refused) tooMany(of int) error {
	if r.n > of/20 {
		return fmt.Errorf("%d samples of %d were refused, the last: %w", r.n, of, r.last)
	}
	return nil
}

// sampleOf returns an object of what a definition defines, with what its schema
// requires and no more, and where it is created.
func sampleOf(d *apiextensionsv1.CustomResourceDefinition) (at string, content []byte, err error) {
	for i := range d.Spec.Versions {
		v := &d.Spec.Versions[i]
		if !v.Storage {
			continue
		}
		schema := v.Schema.OpenAPIV3Schema
		object, _ := sample(schema).(map[string]any)
		object["apiVersion"], object["kind"], object["metadata"] = d.Spec.Group+"/"+v.Name, d.Spec.Names.Kind, map[string]any{"name": "sample"}
		if _, ok := schema.Properties["spec"].Properties["managementPolicies"]; ok {
			// So that nothing is required of what is only observed.
			object["spec"].(map[string]any)["managementPolicies"] = []any{"Observe"}
		}
		at = "/apis/" + d.Spec.Group + "/" + v.Name + "/"
		if d.Spec.Scope == apiextensionsv1.NamespaceScoped {
			at += "namespaces/default/"
		}
		content, err = json.Marshal(object)
		return at + d.Spec.Names.Plural, content, err
	}
	return "", nil, errors.New(d.Name + " has no storage version")
}

// sample returns a value that a schema lets in, in most cases.
func sample(s *apiextensionsv1.JSONSchemaProps) any {
	if len(s.Enum) > 0 {
		return json.RawMessage(s.Enum[0].Raw)
	}
	switch s.Type {
	case "object":
		object := map[string]any{}
		for _, name := range s.Required {
			property := s.Properties[name]
			object[name] = sample(&property)
		}
		return object
	case "array":
		return []any{}
	case "boolean":
		return true
	case "integer", "number":
		if s.Minimum != nil {
			return *s.Minimum
		}
		return 1
	}
	return "sample"
}
