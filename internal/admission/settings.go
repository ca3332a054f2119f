package admission

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/apis/apiserver"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	apiserverv1alpha1 "k8s.io/apiserver/pkg/apis/apiserver/v1alpha1"
)

// Settings say which plugins run, as kube-apiserver's flags do.
type Settings struct {
	// Enable and Disable are plugins that run, or do not, other than by default.
	Enable, Disable []string
	// Control, if not nil, is all plugins that run: the deprecated way.
	Control []string
	// ConfigFile is what plugins are told of how to do their work.
	ConfigFile string
	// NotReadySeconds and UnreachableSeconds are how long pods tolerate a node
	// that is so, unless they say; nil is 300.
	NotReadySeconds, UnreachableSeconds *int64
}

// Names returns the names of all plugins, sorted, and of those that run by
// default, in their order.
func Names() (known, byDefault []string) {
	for _, p := range all() {
		known = append(known, p.name)
		if !p.off {
			byDefault = append(byDefault, p.name)
		}
	}
	slices.Sort(known)
	return known, byDefault
}

// Check returns what is wrong with the settings, in upstream's words and in one
// line.
func (s Settings) Check() error {
	var errs []string
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Sprintf(format, args...)) }
	if s.Control != nil && (s.Enable != nil || s.Disable != nil) {
		wrong("admission-control and enable-admission-plugins/disable-admission-plugins flags are mutually exclusive")
	}
	known, _ := Names()
	for _, list := range []struct {
		flag  string
		names []string
	}{
		{"admission-control", s.Control}, {"enable-admission-plugins", s.Enable}, {"disable-admission-plugins", s.Disable},
	} {
		for _, name := range list.names {
			if !slices.Contains(known, name) {
				wrong("%s plugin %q is unknown", list.flag, name)
			}
		}
	}
	if both := sets.New(s.Enable...).Intersection(sets.New(s.Disable...)); len(both) > 0 {
		wrong("%v in enable-admission-plugins and disable-admission-plugins overlapped", sets.List(both))
	}
	if len(errs) == 0 {
		return nil
	}
	return errors.New(strings.Join(errs, ", "))
}

// enabled returns the plugins that run, in their order.
func (s Settings) enabled() []plugin {
	var run []plugin
	for _, p := range all() {
		on := !p.off && !slices.Contains(s.Disable, p.name) || slices.Contains(s.Enable, p.name)
		if s.Control != nil {
			on = slices.Contains(s.Control, p.name)
		}
		if on {
			run = append(run, p)
		}
	}
	return run
}

// configuration returns what tells each plugin its configuration.
func (s Settings) configuration(run []plugin) (admission.ConfigProvider, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{apiserver.AddToScheme, apiserverv1alpha1.AddToScheme, apiserverv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	if err := s.checkFiles(scheme); err != nil {
		return nil, err
	}
	names := make([]string, len(run))
	for i, p := range run {
		names[i] = p.name
	}
	provider, err := admission.ReadAdmissionConfiguration(names, s.ConfigFile, scheme)
	if err != nil {
		return nil, fmt.Errorf("failed to read plugin config: %w", err)
	}
	return provider, nil
}

// checkFiles makes sure that the files named by the configuration can be read:
// upstream ends the process if one cannot.
func (s Settings) checkFiles(scheme *runtime.Scheme) error {
	if s.ConfigFile == "" {
		return nil
	}
	data, err := os.ReadFile(s.ConfigFile)
	if err != nil {
		return fmt.Errorf("failed to read plugin config: unable to read admission control configuration from %q [%w]", s.ConfigFile, err)
	}
	obj, err := runtime.Decode(serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder(), data)
	if err != nil {
		return nil // whoever reads it says what is wrong, or knows an older form
	}
	config, ok := obj.(*apiserver.AdmissionConfiguration)
	if !ok {
		return nil
	}
	for _, p := range config.Plugins {
		if p.Path == "" || p.Configuration != nil {
			continue
		}
		path := p.Path
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(s.ConfigFile), path)
		}
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("the configuration of admission plugin %s cannot be read: %w", p.Name, err)
		}
		_ = f.Close() // it was only looked for
	}
	return nil
}
