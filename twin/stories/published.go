package stories

import (
	"context"
	"fmt"
	"os"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/twin/peer"
	"github.com/knarr-io/knarr/twin/story"
)

// publishedSets are definitions that others have published, in Go modules.
var publishedSets = []struct{ name, module, files string }{
	{"argo-cd", "github.com/argoproj/argo-cd/v2@v2.14.0", "manifests/crds/*-crd.yaml"},
	{"cert-manager", "github.com/cert-manager/cert-manager@v1.21.2", "deploy/crds/*.yaml"},
	{"cluster-api", "sigs.k8s.io/cluster-api@v1.14.2", "core/config/crd/bases/*.yaml"},
	{"crossplane", "github.com/crossplane/crossplane@v1.20.0", "cluster/crds/*.yaml"},
	{"gateway-api", "sigs.k8s.io/gateway-api@v1.4.0", "config/crd/standard/*.yaml"},
	{"prometheus-operator", "github.com/prometheus-operator/prometheus-operator@v0.85.0", "example/prometheus-operator-crd/*.yaml"},
}

// discoveredWithin is how long kube-apiserver may take to tell of what it serves.
const discoveredWithin = 3 * time.Second

// Published tells how kubectl, by the command that starts it, applies each set of
// definitions, whose modules are downloaded.
func Published(ctx context.Context, command ...string) ([]story.Story, error) {
	var all []story.Story
	for _, set := range publishedSets {
		files, err := peer.ModuleFiles(ctx, set.module, set.files)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", set.module, err)
		}
		var names, apply []string
		for _, file := range files {
			name, err := definitionIn(file)
			if err != nil {
				return nil, err
			}
			if name != "" {
				names, apply = append(names, name), append(apply, "--filename="+file)
			}
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("%s has no definitions in %s", set.module, set.files)
		}
		all = append(all, story.Story{Name: "published/" + set.name, Tell: func(s *story.Session) {
			k := program{s, command}
			k.run(append([]string{"apply", "--server-side"}, apply...)...)
			k.run(append([]string{"wait", "crd", "--for=condition=established", "--timeout=30s"}, names...)...)
			time.Sleep(discoveredWithin)
			for _, name := range names {
				k.run("get", name, "--all-namespaces")
			}
			// In which order conditions are set is chance.
			k.run(append([]string{"get", "crd", "-o", "jsonpath={range .items[*]}{.metadata.name} {.spec} {.status.acceptedNames} {.status.storedVersions}{\"\\n\"}{end}"}, names...)...)
			k.run(append([]string{"apply", "--server-side"}, apply...)...)
			k.run(append([]string{"delete", "crd", "--timeout=30s"}, names...)...)
		}})
	}
	return all, nil
}

// PublishedDefinitions are those definitions, whose modules are downloaded.
func PublishedDefinitions(ctx context.Context) ([]map[string]any, error) {
	var all []map[string]any
	for _, set := range publishedSets {
		files, err := peer.ModuleFiles(ctx, set.module, set.files)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", set.module, err)
		}
		for _, file := range files {
			name, err := definitionIn(file)
			if err != nil {
				return nil, err
			}
			if name == "" {
				continue
			}
			content, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			var definition map[string]any
			if err := yaml.Unmarshal(content, &definition); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			all = append(all, definition)
		}
	}
	return all, nil
}

// definitionIn returns the name of the definition in a file, or nothing if that
// is something else.
func definitionIn(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var object struct {
		Kind     string
		Metadata struct{ Name string }
	}
	if err := yaml.Unmarshal(content, &object); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	if object.Kind != "CustomResourceDefinition" {
		return "", nil
	}
	return object.Metadata.Name, nil
}
