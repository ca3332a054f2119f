package native

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kubernetes/pkg/apis/storagemigration"
	_ "k8s.io/kubernetes/pkg/apis/storagemigration/install"
	"k8s.io/kubernetes/pkg/features"
	migration "k8s.io/kubernetes/pkg/registry/storagemigration/storagemigration"
)

func (b *builder) storagemigration() *group {
	return &group{name: storagemigration.GroupName, rows: []row{
		{
			name: "storageversionmigrations", hub: of[storagemigration.StorageVersionMigration, storagemigration.StorageVersionMigrationList](),
			versions: words("v1 v1beta1"), gate: features.StorageVersionMigrator,
			stored:   schema.GroupVersion{Group: storagemigration.GroupName, Version: "v1beta1"},
			strategy: migration.Strategy, status: migration.StatusStrategy,
		},
	}}
}
