package cli

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/knarr-io/knarr"
)

// admissionFlags are the flags about admission.
type admissionFlags struct {
	notReady, unreachable int64
}

func (f *admissionFlags) addTo(fs *pflag.FlagSet, o *knarr.Options) {
	known, byDefault := knarr.AdmissionPlugins()
	all := " (all there are: " + strings.Join(known, ", ") + ")"
	fs.StringSliceVar(&o.EnableAdmissionPlugins, "enable-admission-plugins", o.EnableAdmissionPlugins, "admission plugins to run besides those that run by default"+all)
	fs.StringSliceVar(&o.DisableAdmissionPlugins, "disable-admission-plugins", o.DisableAdmissionPlugins, "admission plugins not to run though they do by default ("+strings.Join(byDefault, ", ")+")")
	fs.StringSliceVar(&o.AdmissionControl, "admission-control", o.AdmissionControl, "all admission plugins to run")
	_ = fs.MarkDeprecated("admission-control", "Use --enable-admission-plugins or --disable-admission-plugins instead. Will be removed in a future version.") // it is there
	fs.Lookup("admission-control").Hidden = false
	fs.StringVar(&o.AdmissionControlConfigFile, "admission-control-config-file", o.AdmissionControlConfigFile, "file with what admission plugins are to know")
	fs.Int64Var(&f.notReady, "default-not-ready-toleration-seconds", 300, "how long a pod tolerates a node that is not ready, unless it says")
	fs.Int64Var(&f.unreachable, "default-unreachable-toleration-seconds", 300, "how long a pod tolerates a node that cannot be reached, unless it says")
}

// into completes the options.
func (f *admissionFlags) into(o *knarr.Options) {
	const byDefault = 300
	if f.notReady != byDefault {
		o.DefaultNotReadyTolerationSeconds = &f.notReady
	}
	if f.unreachable != byDefault {
		o.DefaultUnreachableTolerationSeconds = &f.unreachable
	}
}
