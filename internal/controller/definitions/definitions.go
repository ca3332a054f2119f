// Package definitions makes CustomResourceDefinitions served: it keeps the
// catalogue of what is served now, gives definitions the status that upstream's
// controllers give them, takes their objects away with them, and keeps the
// APIServices of their versions. A definition that is written is settled before
// the write is answered, so that what it defines can be used at once; all else
// happens in the background.
//
// It must not know HTTP, nor what a custom resource means: its rules are made
// by internal/kind/custom.
package definitions

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/klog/v2"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/custom"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

// Resource is the definitions.
var Resource = apiextensions.Resource("customresourcedefinitions")

var (
	definitionsGVR = apiextensionsv1.SchemeGroupVersion.WithResource(Resource.Resource)
	servicesGVR    = apiregistrationv1.SchemeGroupVersion.WithResource("apiservices")
)

// manager is whom the written fields belong to.
const manager = "kube-apiserver"

// actingAs is who the keeper is to others: kube-apiserver itself.
func actingAs() user.Info {
	return &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.AllAuthenticated, user.SystemPrivilegedGroup}}
}

// Keeper keeps the definitions of one server. It is safe for concurrent use.
type Keeper struct {
	native   *kind.Catalogue
	managers *ownership.Managers
	maker    *custom.Maker
	// definitions and services are nil where they are not served.
	definitions, services *kind.Version
	schedule              *controller.Schedule[item]
	owned                 managersOf
	current               atomic.Pointer[served]

	// verbs are for the keeper's own writes, which it need not be told of;
	// unchecked ones have no admission. Start sets both.
	verbs, unchecked *verb.Verbs

	mu     sync.Mutex // guards what follows and what is reached from it
	byName map[string]*definition
	groups map[string]*group
	// stale tells that the catalogue is not what it should be, and retired are
	// those whose kinds end with it.
	stale   bool
	retired []*definition
}

// item is what the keeper looks at in the background: a definition or, if
// service is set, an APIService.
type item struct {
	name    string
	service bool
}

// New returns a keeper that serves what is native alone until it is started.
func New(native *kind.Catalogue, managers *ownership.Managers, maker *custom.Maker) *Keeper {
	k := &Keeper{
		native: native, managers: managers, maker: maker,
		definitions: native.Lookup(definitionsGVR), services: native.Lookup(servicesGVR),
		schedule: controller.NewSchedule[item](clock.RealClock{}),
		byName:   map[string]*definition{}, groups: map[string]*group{},
	}
	k.current.Store(&served{catalogue: native})
	return k
}

// Catalogue is what is served now.
func (k *Keeper) Catalogue() *kind.Catalogue { return k.current.Load().catalogue }

// Start takes in the definitions that are stored. The keeper acts through a
// copy of verbs, which are the server's. What goes wrong with a definition is
// logged, and tried again by Run.
func (k *Keeper) Start(ctx context.Context, verbs *verb.Verbs) {
	k.verbs = &verb.Verbs{
		State: verbs.State, Admission: verbs.Admission, Authorizer: verbs.Authorizer, Ownership: verbs.Ownership, Companions: verbs.Companions,
	}
	k.unchecked = &verb.Verbs{State: verbs.State, Ownership: verbs.Ownership}
	k.mu.Lock()
	defer k.mu.Unlock()
	var stored []*object.Object
	if k.definitions != nil {
		k.state().Snapshot(k.definitions.Resource.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
			stored = append(stored, o)
			return true
		})
	}
	k.takeIn(stored)
	for _, o := range stored {
		if k.byName[o.Name].settled {
			continue
		}
		if err := k.settle(ctx, o.Name); err != nil {
			k.retry(item{name: o.Name}, err)
		}
	}
	k.keepAllServices(ctx)
}

// takeIn records definitions as they are stored, and serves what they define.
func (k *Keeper) takeIn(stored []*object.Object) {
	made := make([]*definition, len(stored))
	var next atomic.Int64
	var making sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		making.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(stored)); i = next.Add(1) - 1 {
				made[i] = k.asStored(stored[i])
			}
		})
	}
	making.Wait()
	for i, d := range made {
		k.record(stored[i].Name, d)
	}
	k.publish()
}

// Run keeps definitions, once they were taken in, until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	if k.definitions == nil {
		return
	}
	var following sync.WaitGroup
	defer following.Wait()
	follow := func(prefix string, begin func(state.Snapshot), changed func(*state.Event)) {
		following.Go(func() { k.state().Follow(ctx, prefix, begin, changed) })
	}
	see := func(e *state.Event) { k.schedule.Add(item{name: e.Object.Name}) }
	follow(k.definitions.Resource.Storage.Prefix, k.begin, see)
	if k.services != nil {
		see := func(e *state.Event) { k.schedule.Add(item{name: e.Object.Name, service: true}) }
		follow(k.services.Resource.Storage.Prefix, state.AsNew(see), see)
	}
	waits := map[string]context.CancelFunc{} // for the objects of definitions that are to go
	defer func() {
		for _, cancel := range waits {
			cancel()
		}
	}()
	k.schedule.Work(ctx, func(ctx context.Context, next item) error {
		if next.service {
			return k.syncService(ctx, next.name)
		}
		prefix, err := k.sync(ctx, next.name)
		switch cancel := waits[next.name]; {
		case prefix != "" && cancel == nil:
			wait, cancel := context.WithCancel(ctx)
			waits[next.name] = cancel
			gone := func(e *state.Event) {
				if e.Deleted {
					k.schedule.Add(next)
				}
			}
			following.Go(func() {
				k.state().Follow(wait, prefix, func(state.Snapshot) { k.schedule.Add(next) }, gone)
			})
		case prefix == "" && err == nil && cancel != nil:
			cancel()
			delete(waits, next.name)
		}
		return err
	}, gaveUp)
}

// Begin settles what is not as the keeper knows it: it is for a state that has become
// another at once, and does what Committed does for each definition, but makes the
// catalogue only once of those that are gone.
func (k *Keeper) Begin(ctx context.Context) {
	if k.definitions == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	all := k.state().Snapshot(k.definitions.Resource.Storage.Prefix)
	gone := map[string]*definition{}
	for name, d := range k.byName {
		if all.Get("", name) == nil {
			gone[name] = d
			k.forget(name, d)
		}
	}
	if len(gone) > 0 {
		k.publish()
	}
	for name, d := range gone {
		if err := k.keepServices(ctx, d.group, d.served); err != nil {
			k.retry(item{name: name}, err)
		}
	}
	all.Each(state.Range{}, func(o *object.Object) bool {
		if err := k.settle(ctx, o.Name); err != nil {
			k.retry(item{name: o.Name}, err)
		}
		return true
	})
}

// begin has all definitions looked at, those that are gone too.
func (k *Keeper) begin(all state.Snapshot) {
	all.Each(state.Range{}, func(o *object.Object) bool {
		k.schedule.Add(item{name: o.Name})
		return true
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	for name := range k.byName {
		if all.Get("", name) == nil {
			k.schedule.Add(item{name: name})
		}
	}
}

func (k *Keeper) retry(i item, err error) {
	if !k.schedule.Retry(i) {
		gaveUp(i, err)
	}
}

func gaveUp(i item, err error) {
	klog.ErrorS(err, "What is served by a CustomResourceDefinition could not be brought up to date", "name", i.name)
}

// sync settles a definition and, if it is to go, takes its objects away. While
// there are some that stay, it returns where they are stored.
func (k *Keeper) sync(ctx context.Context, name string) (waitFor string, err error) {
	k.mu.Lock()
	err = k.settle(ctx, name)
	d := k.byName[name]
	goes := d != nil && d.terminating
	k.mu.Unlock()
	if err != nil || !goes {
		return "", err
	}
	return k.finalize(ctx, name)
}

// Committed settles a definition that was just written or removed: it is to be
// called before the write is answered.
func (k *Keeper) Committed(_ context.Context, o *object.Object) {
	// What follows is the keeper's own doing: neither does it end with the
	// request, nor are its warnings for who made that.
	ctx := context.Background()
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.settle(ctx, o.Name); err != nil {
		k.retry(item{name: o.Name}, err)
	}
}

func (k *Keeper) state() *state.State { return k.verbs.State }

// stored returns a definition as it is stored; nil if there is none.
func (k *Keeper) stored(name string) *object.Object {
	return k.state().Get(k.definitions.Resource.Storage.Key("", name))
}

// groupOf is the group that the definition of a name defines something in.
func groupOf(name string) string {
	_, g, _ := strings.Cut(name, ".")
	return g
}
