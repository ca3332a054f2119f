package native

import (
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/apis/storage"
	_ "k8s.io/kubernetes/pkg/apis/storage/install"
	"k8s.io/kubernetes/pkg/registry/storage/csidriver"
	"k8s.io/kubernetes/pkg/registry/storage/csinode"
	"k8s.io/kubernetes/pkg/registry/storage/csistoragecapacity"
	"k8s.io/kubernetes/pkg/registry/storage/storageclass"
	"k8s.io/kubernetes/pkg/registry/storage/volumeattachment"
	"k8s.io/kubernetes/pkg/registry/storage/volumeattributesclass"
)

// volumes is the group storage.k8s.io.
func (b *builder) volumes() *group {
	return &group{name: storage.GroupName, rows: []row{
		{
			name: "csidrivers", hub: of[storage.CSIDriver, storage.CSIDriverList](),
			versions: words("v1"),
			strategy: csidriver.Strategy, returnDeleted: true,
		},
		{
			name: "csinodes", hub: of[storage.CSINode, storage.CSINodeList](),
			versions: words("v1"),
			strategy: csinode.Strategy, status: csinode.StatusStrategy, returnDeleted: true,
		},
		{
			name: "csistoragecapacities", hub: of[storage.CSIStorageCapacity, storage.CSIStorageCapacityList](),
			namespaced: true, versions: words("v1"),
			strategy: csistoragecapacity.Strategy, table: rest.NewDefaultTableConvertor(storage.Resource("csistoragecapacities")),
		},
		{
			name: "storageclasses", hub: of[storage.StorageClass, storage.StorageClassList](), short: words("sc"),
			versions: words("v1"),
			strategy: storageclass.Strategy, returnDeleted: true,
		},
		{
			name: "volumeattachments", hub: of[storage.VolumeAttachment, storage.VolumeAttachmentList](),
			versions: words("v1"),
			strategy: volumeattachment.Strategy, status: volumeattachment.StatusStrategy, returnDeleted: true,
		},
		{
			name: "volumeattributesclasses", hub: of[storage.VolumeAttributesClass, storage.VolumeAttributesClassList](), short: words("vac"),
			versions: words("v1 v1beta1"),
			strategy: volumeattributesclass.Strategy, returnDeleted: true,
		},
	}}
}
