package native

import (
	"reflect"
	"testing"
	"time"

	extensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	extensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	extensionsserver "k8s.io/apiextensions-apiserver/pkg/apiserver"
	crd "k8s.io/apiextensions-apiserver/pkg/registry/customresourcedefinition"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	serveroptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/server/resourceconfig"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-base/compatibility"
	aggregatorv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorscheme "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	apiservicerest "k8s.io/kube-aggregator/pkg/registry/apiservice/rest"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/controlplane"
	"k8s.io/kubernetes/pkg/kubeapiserver"
	kubeletclient "k8s.io/kubernetes/pkg/kubelet/client"
	admissionregistrationrest "k8s.io/kubernetes/pkg/registry/admissionregistration/rest"
	apiserverinternalrest "k8s.io/kubernetes/pkg/registry/apiserverinternal/rest"
	appsrest "k8s.io/kubernetes/pkg/registry/apps/rest"
	authenticationrest "k8s.io/kubernetes/pkg/registry/authentication/rest"
	authorizationrest "k8s.io/kubernetes/pkg/registry/authorization/rest"
	autoscalingrest "k8s.io/kubernetes/pkg/registry/autoscaling/rest"
	batchrest "k8s.io/kubernetes/pkg/registry/batch/rest"
	certificatesrest "k8s.io/kubernetes/pkg/registry/certificates/rest"
	coordinationrest "k8s.io/kubernetes/pkg/registry/coordination/rest"
	"k8s.io/kubernetes/pkg/registry/core/componentstatus"
	configmapstore "k8s.io/kubernetes/pkg/registry/core/configmap/storage"
	endpointsstore "k8s.io/kubernetes/pkg/registry/core/endpoint/storage"
	eventstore "k8s.io/kubernetes/pkg/registry/core/event/storage"
	limitrangestore "k8s.io/kubernetes/pkg/registry/core/limitrange/storage"
	namespacestore "k8s.io/kubernetes/pkg/registry/core/namespace/storage"
	nodestore "k8s.io/kubernetes/pkg/registry/core/node/storage"
	pvstore "k8s.io/kubernetes/pkg/registry/core/persistentvolume/storage"
	pvcstore "k8s.io/kubernetes/pkg/registry/core/persistentvolumeclaim/storage"
	podstore "k8s.io/kubernetes/pkg/registry/core/pod/storage"
	podtemplatestore "k8s.io/kubernetes/pkg/registry/core/podtemplate/storage"
	controllerstore "k8s.io/kubernetes/pkg/registry/core/replicationcontroller/storage"
	resourcequotastore "k8s.io/kubernetes/pkg/registry/core/resourcequota/storage"
	secretstore "k8s.io/kubernetes/pkg/registry/core/secret/storage"
	servicestore "k8s.io/kubernetes/pkg/registry/core/service/storage"
	serviceaccountstore "k8s.io/kubernetes/pkg/registry/core/serviceaccount/storage"
	discoveryrest "k8s.io/kubernetes/pkg/registry/discovery/rest"
	eventsrest "k8s.io/kubernetes/pkg/registry/events/rest"
	flowcontrolrest "k8s.io/kubernetes/pkg/registry/flowcontrol/rest"
	lifecyclerest "k8s.io/kubernetes/pkg/registry/lifecycle/rest"
	networkingrest "k8s.io/kubernetes/pkg/registry/networking/rest"
	noderest "k8s.io/kubernetes/pkg/registry/node/rest"
	policyrest "k8s.io/kubernetes/pkg/registry/policy/rest"
	rbacrest "k8s.io/kubernetes/pkg/registry/rbac/rest"
	resourcerest "k8s.io/kubernetes/pkg/registry/resource/rest"
	schedulingrest "k8s.io/kubernetes/pkg/registry/scheduling/rest"
	storagerest "k8s.io/kubernetes/pkg/registry/storage/rest"
	storagemigrationrest "k8s.io/kubernetes/pkg/registry/storagemigration/rest"
)

// upstream is what kube-apiserver would install: its own REST storages, over
// stores without a backend, by "group/version/resource[/subresource]".
type upstream map[string]rest.Storage

// provider is what kube-apiserver makes its groups from.
type provider interface {
	GroupName() string
	NewRESTStorage(serverstorage.APIResourceConfigSource, generic.RESTOptionsGetter) (genericapiserver.APIGroupInfo, error)
}

// newUpstream builds kube-apiserver's storages with a --runtime-config.
func newUpstream(t *testing.T, runtimeConfig map[string]string) upstream {
	t.Helper()
	config, err := resourceconfig.MergeAPIResourceConfigs(controlplane.DefaultAPIResourceConfigSource(), runtimeConfig, legacyscheme.Scheme)
	if err != nil {
		t.Fatal(err)
	}
	options := storeOptions(t, config)
	always := authorizerfactory.NewAlwaysAllowAuthorizer()
	namespaces := struct{ typedcorev1.NamespaceInterface }{}
	found := upstream{}
	for _, p := range []provider{
		admissionregistrationrest.RESTStorageProvider{Authorizer: always}, apiserverinternalrest.StorageProvider{}, appsrest.StorageProvider{},
		authenticationrest.RESTStorageProvider{}, authorizationrest.RESTStorageProvider{Authorizer: always}, autoscalingrest.RESTStorageProvider{},
		batchrest.RESTStorageProvider{}, certificatesrest.RESTStorageProvider{Authorizer: always}, coordinationrest.RESTStorageProvider{},
		discoveryrest.StorageProvider{}, eventsrest.RESTStorageProvider{TTL: time.Hour}, flowcontrolrest.RESTStorageProvider{},
		lifecyclerest.RESTStorageProvider{}, networkingrest.RESTStorageProvider{}, noderest.RESTStorageProvider{}, policyrest.RESTStorageProvider{},
		rbacrest.RESTStorageProvider{Authorizer: always}, resourcerest.RESTStorageProvider{NamespaceClient: namespaces, Authorizer: always}, schedulingrest.RESTStorageProvider{},
		storagerest.RESTStorageProvider{}, storagemigrationrest.RESTStorageProvider{},
	} {
		info, err := p.NewRESTStorage(config, options)
		if err != nil {
			t.Fatal(err)
		}
		found.add(t, p.GroupName(), legacyscheme.Scheme, info.VersionedResourcesStorageMap)
	}
	if config.ResourceEnabled(schema.GroupVersionResource{Version: "v1", Resource: "pods"}) {
		found.add(t, "", legacyscheme.Scheme, map[string]map[string]rest.Storage{"v1": coreStorages(t, options)})
	}
	info := apiservicerest.NewRESTStorage(everything(aggregatorv1.SchemeGroupVersion), groupInKey(aggregatorscheme.Codecs.LegacyCodec(aggregatorv1.SchemeGroupVersion), aggregatorv1.SchemeGroupVersion), false)
	found.add(t, "apiregistration.k8s.io", aggregatorscheme.Scheme, info.VersionedResourcesStorageMap)
	definitions, err := crd.NewREST(extensionsserver.Scheme, groupInKey(extensionsserver.Codecs.LegacyCodec(extensionsv1beta1.SchemeGroupVersion, extensionsv1.SchemeGroupVersion), extensionsv1beta1.SchemeGroupVersion))
	if err != nil {
		t.Fatal(err)
	}
	found["apiextensions.k8s.io/v1/customresourcedefinitions"] = definitions
	found["apiextensions.k8s.io/v1/customresourcedefinitions/status"] = crd.NewStatusREST(extensionsserver.Scheme, definitions)
	return found
}

// add takes up the storages of a group, but for kinds that this release has
// stopped serving.
func (u upstream) add(t *testing.T, group string, scheme *runtime.Scheme, versions map[string]map[string]rest.Storage) {
	t.Helper()
	effective := compatibility.NewEffectiveVersionFromString("1.37", "", "")
	evaluator, err := genericapiserver.NewResourceExpirationEvaluator(effective.EmulationVersion())
	if err != nil {
		t.Fatal(err)
	}
	if err := evaluator.RemoveUnavailableKinds(group, scheme, versions, nil); err != nil {
		t.Fatal(err)
	}
	for version, resources := range versions {
		for name, storage := range resources {
			u[group+"/"+version+"/"+name] = storage
		}
	}
}

// storeOptions gives stores the configuration that kube-apiserver would: its
// keys and codecs.
func storeOptions(t *testing.T, config *serverstorage.ResourceConfig) generic.RESTOptionsGetter {
	t.Helper()
	etcd := serveroptions.NewEtcdOptions(storagebackend.NewDefaultConfig("/registry", nil))
	etcd.DefaultStorageMediaType = runtime.ContentTypeProtobuf
	effective := compatibility.NewEffectiveVersionFromString("1.37", "", "")
	factoryConfig := kubeapiserver.NewStorageFactoryConfigEffectiveVersion(effective)
	factoryConfig.APIResourceConfig = config
	storages, err := factoryConfig.Complete(etcd).New()
	if err != nil {
		t.Fatal(err)
	}
	return optionsFunc(func(resource schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
		storageConfig, err := storages.NewConfig(resource, example)
		return generic.RESTOptions{StorageConfig: storageConfig, Decorator: recordCodec, ResourcePrefix: storages.ResourcePrefix(resource)}, err
	})
}

// groupInKey gives stores the configuration of the servers that have a scheme
// of their own.
func groupInKey(codec runtime.Codec, stored schema.GroupVersion) generic.RESTOptionsGetter {
	config := *storagebackend.NewDefaultConfig("/registry", codec)
	config.EncodeVersioner = runtime.NewMultiGroupVersioner(stored, schema.GroupKind{Group: stored.Group})
	storages := &serveroptions.SimpleStorageFactory{StorageConfig: config}
	return optionsFunc(func(resource schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
		storageConfig, err := storages.NewConfig(resource, example)
		return generic.RESTOptions{StorageConfig: storageConfig, Decorator: recordCodec, ResourcePrefix: storages.ResourcePrefix(resource)}, err
	})
}

type optionsFunc func(schema.GroupResource, runtime.Object) (generic.RESTOptions, error)

func (f optionsFunc) GetRESTOptions(r schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
	return f(r, example)
}

// backend stands for a store's backend and keeps the facts it was given.
type backend struct {
	storage.Interface
	codec      runtime.Codec
	prefix     string
	attributes storage.AttrFunc
}

func (*backend) ReadinessCheck() error { return nil }

func recordCodec(config *storagebackend.ConfigForResource, resourcePrefix string, _ func(runtime.Object) (string, error),
	_, _ func() runtime.Object, attrs storage.AttrFunc, _ storage.IndexerFuncs, _ *cache.Indexers) (storage.Interface, factory.DestroyFunc, error) {
	return &backend{codec: config.Codec, prefix: config.Prefix + resourcePrefix, attributes: attrs}, func() {}, nil
}

func everything(gv schema.GroupVersion) *serverstorage.ResourceConfig {
	config := serverstorage.NewResourceConfig()
	config.EnableVersions(gv)
	return config
}

// coreStorages makes those of the core group one by one, since its provider
// wants a whole server.
func coreStorages(t *testing.T, options generic.RESTOptionsGetter) map[string]rest.Storage {
	t.Helper()
	must := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	configmaps, err1 := configmapstore.NewREST(options)
	endpoints, err2 := endpointsstore.NewREST(options)
	events, err3 := eventstore.NewREST(options, 3600)
	limits, err4 := limitrangestore.NewREST(options)
	namespaces, namespaceStatus, namespaceFinalize, err5 := namespacestore.NewREST(options)
	nodes, err6 := nodestore.NewStorage(options, kubeletclient.KubeletClientConfig{}, nil)
	must(err1, err2, err3, err4, err5, err6)
	volumes, volumeStatus, err1 := pvstore.NewREST(options)
	claims, claimStatus, err2 := pvcstore.NewREST(options)
	pods, err3 := podstore.NewStorage(options, nil, nil, nil, nil)
	templates, err4 := podtemplatestore.NewREST(options)
	controllers, err5 := controllerstore.NewStorage(options)
	quotas, quotaStatus, err6 := resourcequotastore.NewREST(options)
	must(err1, err2, err3, err4, err5, err6)
	secrets, err1 := secretstore.NewREST(options)
	services, serviceStatus, serviceProxy, err2 := servicestore.NewREST(options, api.IPv4Protocol, nil, nil, nil, pods.Pod, nil)
	accounts, err3 := serviceaccountstore.NewREST(options, nil, nil, nil, 0, nil, nil, nil, nil, nil, false, 0)
	must(err1, err2, err3)
	return map[string]rest.Storage{
		"bindings": pods.LegacyBinding, "componentstatuses": componentstatus.NewStorage(nil),
		"configmaps": configmaps, "endpoints": endpoints, "events": events, "limitranges": limits,
		"namespaces": namespaces, "namespaces/status": namespaceStatus, "namespaces/finalize": namespaceFinalize,
		"nodes": nodes.Node, "nodes/status": nodes.Status, "nodes/proxy": nodes.Proxy,
		"persistentvolumeclaims": claims, "persistentvolumeclaims/status": claimStatus,
		"persistentvolumes": volumes, "persistentvolumes/status": volumeStatus,
		"pods": pods.Pod, "pods/status": pods.Status, "pods/attach": pods.Attach, "pods/binding": pods.Binding,
		"pods/ephemeralcontainers": pods.EphemeralContainers, "pods/eviction": pods.Eviction, "pods/exec": pods.Exec, "pods/log": pods.Log,
		"pods/portforward": pods.PortForward, "pods/proxy": pods.Proxy, "pods/resize": pods.Resize,
		"podtemplates": templates, "resourcequotas": quotas, "resourcequotas/status": quotaStatus,
		"replicationcontrollers": controllers.Controller, "replicationcontrollers/status": controllers.Status, "replicationcontrollers/scale": controllers.Scale,
		"secrets": secrets, "services": services, "services/status": serviceStatus, "services/proxy": serviceProxy,
		"serviceaccounts": accounts, "serviceaccounts/token": &serviceaccountstore.TokenREST{},
	}
}

// storeOf finds the generic store inside a storage, or returns nil.
func storeOf(s rest.Storage) *genericregistry.Store { return findStore(reflect.ValueOf(s)) }

func findStore(v reflect.Value) *genericregistry.Store {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return nil
		}
		if v.Type() == reflect.TypeFor[*genericregistry.Store]() {
			return (*genericregistry.Store)(v.UnsafePointer())
		}
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil
	}
	for i := range v.NumField() {
		switch v.Type().Field(i).Name {
		case "Store", "store", "StandardStorage":
			if found := findStore(v.Field(i)); found != nil {
				return found
			}
		}
	}
	return nil
}

// allOn is the --runtime-config that switches everything on.
func allOn() map[string]string { return map[string]string{"api/all": "true"} }
