package native

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/resourceconfig"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	cliflag "k8s.io/component-base/cli/flag"
)

// serving tells, for each family of types, which versions and resources are on.
type serving map[*family]*serverstorage.ResourceConfig

// served returns what kube-apiserver serves by default, as changed by a
// --runtime-config. Its errors are upstream's.
func served(runtimeConfig map[string]string) (serving, error) {
	if len(runtimeConfig) == 1 && runtimeConfig[resourceconfig.APIAll] == "false" {
		return nil, fmt.Errorf("invalid runtime-config with only %s=false", resourceconfig.APIAll)
	}
	if err := knownGroups(runtimeConfig); err != nil {
		return nil, err
	}
	on := serving{}
	for _, f := range families() {
		config := serverstorage.NewResourceConfig()
		for _, gv := range f.versions() {
			if isStable(gv) {
				config.EnableVersions(gv)
			} else {
				config.DisableVersions(gv)
			}
		}
		// A family takes the keys of its own groups and passes over the others.
		var err error
		if on[f], err = resourceconfig.MergeAPIResourceConfigs(config, cliflag.ConfigurationMap(runtimeConfig), f.scheme); err != nil {
			return nil, err
		}
	}
	return on, nil
}

// knownGroups refuses keys of groups that no family has.
func knownGroups(runtimeConfig map[string]string) error {
	asked, err := resourceconfig.ParseGroupVersions(runtimeConfig)
	if err != nil {
		return err
	}
	var unknown []string
	for _, gv := range asked {
		if !slices.ContainsFunc(families(), func(f *family) bool { return f.scheme.IsGroupRegistered(gv.Group) }) {
			unknown = append(unknown, gv.String())
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return fmt.Errorf("unknown api groups %s", strings.Join(slices.Compact(unknown), ","))
}

// isStable tells v1, v2 … from versions that are off by default.
func isStable(gv schema.GroupVersion) bool {
	return !strings.Contains(gv.Version, "alpha") && !strings.Contains(gv.Version, "beta")
}
