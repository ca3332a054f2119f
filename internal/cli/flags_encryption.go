package cli

import (
	"github.com/spf13/pflag"

	"github.com/knarr-io/knarr"
)

// addEncryptionFlags adds the flags of how objects are kept.
func addEncryptionFlags(fs *pflag.FlagSet, o *knarr.Options) {
	fs.StringVar(&o.EncryptionProviderConfig, "encryption-provider-config", o.EncryptionProviderConfig, "which resources are kept encrypted, and by which keys or plugins; without it, none is")
	fs.BoolVar(&o.EncryptionProviderConfigAutomaticReload, "encryption-provider-config-automatic-reload", o.EncryptionProviderConfigAutomaticReload, "read that file again when it has changed")
}
