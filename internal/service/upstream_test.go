package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/registry/core/service/ipallocator"
	"k8s.io/kubernetes/pkg/registry/core/service/portallocator"
	upstream "k8s.io/kubernetes/pkg/registry/core/service/storage"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/service"
	"github.com/knarr-io/knarr/internal/store/memory"
)

// TestLikeUpstream does the same at random to Services here and in upstream's
// own registry, on clusters of one family and of two: the answers are the same
// but for the addresses and ports that each chose.
func TestLikeUpstream(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, ranges := range [][]string{
		{"10.0.0.0/24"}, {"fd00::/112"}, {"10.0.0.0/24", "fd00::/112"}, {"fd00::/112", "10.0.0.0/24"},
	} {
		t.Run(fmt.Sprint(ranges), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			for range 40 {
				p := newPair(t, ranges)
				for i := 0; i < 12 && !p.apart; i++ {
					p.step(random)
				}
				p.here.checkBooks()
				p.here.stop()
				if t.Failed() {
					p.differ("books", fmt.Sprintf("%+v", p.here.services()))
				}
			}
		})
	}
}

// pair is a cluster, and upstream's registry with the same in it.
type pair struct {
	t     *testing.T
	here  *cluster
	there *upstream.REST
	done  []string // what was done, to be told when the answers differ
	// external says that an ExternalName was written with a node port, which
	// upstream may then have given to two; apart, that it has.
	external, apart bool
}

func newPair(t *testing.T, ranges []string) *pair {
	t.Helper()
	o := service.Options{}
	allocators := map[api.IPFamily]ipallocator.Interface{}
	for _, r := range ranges {
		_, network, err := net.ParseCIDR(r)
		if err != nil {
			t.Fatal(err)
		}
		allocator, err := ipallocator.NewInMemory(network)
		if err != nil {
			t.Fatal(err)
		}
		o.Families = append(o.Families, allocator.IPFamily())
		allocators[allocator.IPFamily()] = allocator
	}
	here := openCluster(t, memory.New(memory.Options{}), o)
	here.addRange("kubernetes", ranges...)
	ports, err := portallocator.NewInMemory(utilnet.PortRange{Base: 30000, Size: 2768})
	if err != nil {
		t.Fatal(err)
	}
	there, _, _, err := upstream.NewREST(generic.RESTOptions{
		StorageConfig: &storagebackend.ConfigForResource{
			Config:        storagebackend.Config{Codec: legacyscheme.Codecs.LegacyCodec(corev1.SchemeGroupVersion)},
			GroupResource: schema.GroupResource{Resource: "services"},
		},
		Decorator:      undecorated,
		ResourcePrefix: "services/specs",
	}, o.Families[0], allocators, ports, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{t: t, here: here, there: there}
}

// step does one thing to both.
func (p *pair) step(random *rand.Rand) {
	p.t.Helper()
	name := fmt.Sprintf("svc-%d", random.IntN(2))
	var dry []string
	if random.IntN(5) == 0 {
		dry = []string{metav1.DryRunAll}
	}
	do := random.IntN(8)
	var here, there api.Service
	var errHere, errThere error
	if do == 0 {
		p.done = append(p.done, "delete "+name)
		_, errHere = p.here.delete(services, name, &metav1.DeleteOptions{DryRun: dry})
		_, _, errThere = p.there.Delete(p.context("delete", name), name, rest.ValidateAllObjectFunc, &metav1.DeleteOptions{DryRun: dry})
	} else {
		change := anyChange(random)
		current := do > 3 // changes what there is, or says all anew
		here, there = p.manifests(name, current, change)
		if here.Spec.Type == api.ServiceTypeExternalName {
			p.external = p.external || slices.ContainsFunc(here.Spec.Ports, func(port api.ServicePort) bool { return port.NodePort != 0 })
		}
		told, _ := json.Marshal(here.Spec)
		p.done = append(p.done, fmt.Sprintf("write %s, of what there is %t, dry run %v: %s", name, current, dry, told))
		errHere = p.writeHere(&here, dry)
		errThere = p.writeThere(&there, dry)
	}
	if errors.Is(errThere, errPanic) {
		if errHere == nil {
			p.differ("answers", "upstream panics, and here it is well")
		}
		return
	}
	if p.external && errHere != nil && errThere == nil && strings.Contains(errHere.Error(), "provided port is") {
		p.apart = true
		return
	}
	if a, b := said(errHere), said(errThere); a != b {
		p.differ("answers", cmp.Diff(b, a))
	}
	if errHere == nil && do != 0 {
		if diff := cmp.Diff(shown(&there), shown(&here)); diff != "" {
			p.differ("specs", diff)
		}
	}
}

func (p *pair) differ(what, diff string) {
	p.t.Helper()
	for _, done := range p.done {
		p.t.Log(done)
	}
	p.t.Fatalf("%s differ (-upstream +here):\n%s", what, diff)
}

// manifests returns what to write to each side: a new Service, or the one that
// is there, with a change.
func (p *pair) manifests(name string, current bool, change func(*api.ServiceSpec)) (here, there api.Service) {
	p.t.Helper()
	for side, svc := range []*api.Service{&here, &there} {
		svc.Name, svc.Namespace = name, "default"
		if current {
			if found := p.get(side, name); found != nil {
				*svc = *found
			}
		}
		svc.ResourceVersion = ""
		change(&svc.Spec)
		p.setDefaults(svc)
	}
	return here, there
}

// get returns a Service of one side, or nil.
func (p *pair) get(side int, name string) *api.Service {
	if side == 0 {
		r := p.here.catalogue.Lookup(services).Resource
		o := p.here.verbs.State.Get(r.Storage.Key("default", name))
		if o == nil {
			return nil
		}
		obj, err := r.Decode(o)
		if err != nil {
			p.t.Fatal(err)
		}
		return obj.(*api.Service)
	}
	obj, err := p.there.Get(p.context("get", name), name, &metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return obj.(*api.Service).DeepCopy()
}

// setDefaults does what decoding a body does.
func (p *pair) setDefaults(svc *api.Service) {
	p.t.Helper()
	var versioned corev1.Service
	if err := legacyscheme.Scheme.Convert(svc.DeepCopy(), &versioned, nil); err != nil {
		p.t.Fatal(err)
	}
	legacyscheme.Scheme.Default(&versioned)
	*svc = api.Service{}
	if err := legacyscheme.Scheme.Convert(&versioned, svc, nil); err != nil {
		p.t.Fatal(err)
	}
}

// writeHere creates or replaces a Service, which it makes what is answered.
func (p *pair) writeHere(svc *api.Service, dry []string) error {
	exists := p.get(0, svc.Name) != nil
	t := p.here.target(services, svc.Name)
	var err error
	if exists {
		result, e := p.here.verbs.Update(t.Context(context.Background(), "update", admin), t, svc.DeepCopy(), &metav1.UpdateOptions{DryRun: dry})
		if err = e; err == nil {
			return p.decodeInto(result.Object, svc)
		}
	} else {
		t.Name = ""
		result, e := p.here.verbs.Create(t.Context(context.Background(), "create", admin), t, svc.DeepCopy(), &metav1.CreateOptions{DryRun: dry})
		if err = e; err == nil {
			return p.decodeInto(result.Object, svc)
		}
	}
	return err
}

// decodeInto makes svc what is stored as o, as clients see it.
func (p *pair) decodeInto(o *object.Object, svc *api.Service) error {
	obj, err := p.here.catalogue.Lookup(services).Resource.Decode(o)
	if err == nil {
		*svc = *obj.(*api.Service)
	}
	return err
}

// errPanic is what upstream answers where it panics.
var errPanic = errors.New("panic")

func (p *pair) writeThere(svc *api.Service, dry []string) (err error) {
	defer func() {
		if recover() != nil {
			err = errPanic
		}
	}()
	var obj runtime.Object
	if p.get(1, svc.Name) != nil {
		obj, _, err = p.there.Update(p.context("update", svc.Name), svc.Name, rest.DefaultUpdatedObjectInfo(svc.DeepCopy()),
			rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{DryRun: dry})
	} else {
		obj, err = p.there.Create(p.context("create", ""), svc.DeepCopy(), rest.ValidateAllObjectFunc, &metav1.CreateOptions{DryRun: dry})
	}
	if err == nil {
		*svc = *obj.(*api.Service)
	}
	return err
}

func (p *pair) context(verb, name string) context.Context {
	t := p.here.target(services, name)
	return t.Context(context.Background(), verb, admin)
}

// anyChange returns something to do to a Service's spec, the same each time.
func anyChange(random *rand.Rand) func(*api.ServiceSpec) {
	var changes []func(*api.ServiceSpec)
	for _, c := range []func() func(*api.ServiceSpec){
		func() func(*api.ServiceSpec) {
			to := pick(random, api.ServiceTypeClusterIP, api.ServiceTypeNodePort, api.ServiceTypeLoadBalancer, api.ServiceTypeExternalName)
			return func(s *api.ServiceSpec) {
				s.Type = to
				if s.ExternalName = ""; to == api.ServiceTypeExternalName {
					s.ExternalName = "example.com"
				}
			}
		},
		func() func(*api.ServiceSpec) {
			to := pick(random, nil, new(api.IPFamilyPolicySingleStack), new(api.IPFamilyPolicyPreferDualStack), new(api.IPFamilyPolicyRequireDualStack))
			return func(s *api.ServiceSpec) { s.IPFamilyPolicy = to }
		},
		func() func(*api.ServiceSpec) {
			to := pick(random, nil, []api.IPFamily{"IPv4"}, []api.IPFamily{"IPv6"}, []api.IPFamily{"IPv4", "IPv6"}, []api.IPFamily{"IPv6", "IPv4"})
			return func(s *api.ServiceSpec) { s.IPFamilies = slices.Clone(to) }
		},
		func() func(*api.ServiceSpec) {
			to := pick(random, nil, []string{"None"}, []string{"10.0.0.3"}, []string{"fd00::3"}, []string{"10.0.0.3", "fd00::3"}, []string{"fd00::4", "10.0.0.4"})
			single := random.IntN(5) > 0
			return func(s *api.ServiceSpec) {
				s.ClusterIP, s.ClusterIPs = "", slices.Clone(to)
				if len(to) > 0 && single {
					s.ClusterIP = to[0]
				}
			}
		},
		func() func(*api.ServiceSpec) { // a client that knows one address
			to := pick(random, "", "None", "10.0.0.5", "fd00::5")
			return func(s *api.ServiceSpec) { s.ClusterIP = to }
		},
		func() func(*api.ServiceSpec) { // an older client
			return func(s *api.ServiceSpec) { s.ClusterIPs = nil }
		},
		func() func(*api.ServiceSpec) {
			to := pick(random, nil, map[string]string{"app": "web"})
			return func(s *api.ServiceSpec) { s.Selector = to }
		},
		func() func(*api.ServiceSpec) {
			ports := make([]api.ServicePort, 1+random.IntN(3))
			for i := range ports {
				ports[i] = api.ServicePort{Name: string(rune('a' + i)), Port: 80 + random.Int32N(2), Protocol: pick(random, api.ProtocolTCP, api.ProtocolUDP)}
				if random.IntN(3) == 0 {
					ports[i].NodePort = pick(random, int32(30001), 30002, 30003, 99)
				}
			}
			return func(s *api.ServiceSpec) { s.Ports = slices.Clone(ports) }
		},
		func() func(*api.ServiceSpec) {
			to := pick(random, api.ServiceExternalTrafficPolicy(""), "Cluster", "Local")
			port := pick(random, int32(0), 0, 30004, 30001)
			return func(s *api.ServiceSpec) { s.ExternalTrafficPolicy, s.HealthCheckNodePort = to, port }
		},
		func() func(*api.ServiceSpec) {
			to := pick(random, nil, new(true), new(false))
			return func(s *api.ServiceSpec) { s.AllocateLoadBalancerNodePorts = to }
		},
	} {
		if random.IntN(3) == 0 {
			changes = append(changes, c())
		}
	}
	return func(s *api.ServiceSpec) {
		if len(s.Ports) == 0 {
			s.Ports = []api.ServicePort{{Name: "a", Port: 80, Protocol: api.ProtocolTCP}}
		}
		for _, change := range changes {
			change(s)
		}
	}
}

func pick[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

// chosen are addresses and ports that a cluster has chosen, be it for a dry
// run: none of those that the test asks for.
var chosen = regexp.MustCompile(`\b10\.0\.0\.(0|1[6-9]|[2-9]\d|1\d\d|2\d\d)\b|\bfd00::([1-9a-f][0-9a-f]+)?\b|\b(30[1-9]\d\d|300[89]\d|3[12]\d{3})\b`)

func withoutChosen(s string) string { return chosen.ReplaceAllString(s, "<chosen>") }

// said is an answer without what was chosen.
func said(err error) string {
	code, message := answer(err)
	return strconv.Itoa(code) + " " + withoutChosen(message)
}

// shown is a spec without what was chosen.
func shown(svc *api.Service) string {
	encoded, err := json.MarshalIndent(svc.Spec, "", " ")
	if err != nil {
		return err.Error()
	}
	return withoutChosen(string(encoded))
}

// undecorated makes a storage that keeps objects in a map.
func undecorated(_ *storagebackend.ConfigForResource, _ string, _ func(runtime.Object) (string, error), _, _ func() runtime.Object,
	_ storage.AttrFunc, _ storage.IndexerFuncs, _ *cache.Indexers) (storage.Interface, factory.DestroyFunc, error) {
	return &shelf{objects: map[string]*api.Service{}}, func() {}, nil
}

// shelf is as much of a storage as upstream's registry needs for Services, for
// one goroutine.
type shelf struct {
	storage.Interface
	objects map[string]*api.Service
	rev     uint64
}

func (s *shelf) Versioner() storage.Versioner { return storage.APIObjectVersioner{} }

func (s *shelf) put(key string, obj, out runtime.Object) error {
	svc := obj.(*api.Service).DeepCopy()
	s.rev++
	svc.ResourceVersion = strconv.FormatUint(s.rev, 10)
	s.objects[key] = svc
	svc.DeepCopyInto(out.(*api.Service))
	return nil
}

func (s *shelf) Create(_ context.Context, key string, obj, out runtime.Object, _ uint64) error {
	if s.objects[key] != nil {
		return storage.NewKeyExistsError(key, 0)
	}
	return s.put(key, obj, out)
}

func (s *shelf) Get(_ context.Context, key string, _ storage.GetOptions, out runtime.Object) error {
	if s.objects[key] == nil {
		return storage.NewKeyNotFoundError(key, 0)
	}
	s.objects[key].DeepCopyInto(out.(*api.Service))
	return nil
}

func (s *shelf) Delete(ctx context.Context, key string, out runtime.Object, preconditions *storage.Preconditions,
	validate storage.ValidateObjectFunc, _ runtime.Object, _ storage.DeleteOptions) error {
	if err := s.Get(ctx, key, storage.GetOptions{}, out); err != nil {
		return err
	}
	if err := preconditions.Check(key, out); err != nil {
		return err
	}
	if err := validate(ctx, out); err != nil {
		return err
	}
	delete(s.objects, key)
	return nil
}

func (s *shelf) GuaranteedUpdate(ctx context.Context, key string, out runtime.Object, _ bool,
	preconditions *storage.Preconditions, try storage.UpdateFunc, _ runtime.Object) error {
	current := &api.Service{}
	if err := s.Get(ctx, key, storage.GetOptions{}, current); err != nil {
		return err
	}
	if err := preconditions.Check(key, current); err != nil {
		return err
	}
	rev, err := s.Versioner().ObjectResourceVersion(current)
	if err != nil {
		return err
	}
	updated, _, err := try(current, storage.ResponseMeta{ResourceVersion: rev})
	if err != nil {
		return err
	}
	return s.put(key, updated, out)
}
