package namespace

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/admission"
	api "k8s.io/kubernetes/pkg/apis/core"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/disk"
)

// chain is what the verbs know of an admission.
type chain interface {
	admission.MutationInterface
	admission.ValidationInterface
	Mutates(admission.Attributes) bool
	Validates(admission.Attributes) bool
	Conditions(schema.GroupResource, string, func() admission.Attributes) ([]store.Change, error)
}

// refusing refuses deletions of a resource while it is on, and holds up creates once
// they have been admitted.
type refusing struct {
	Interface chain
	resource  string
	on        atomic.Bool
	hold      func(admission.Attributes)
}

func (r *refusing) Handles(admission.Operation) bool    { return true }
func (r *refusing) Mutates(admission.Attributes) bool   { return true }
func (r *refusing) Validates(admission.Attributes) bool { return true }
func (r *refusing) Conditions(gr schema.GroupResource, namespace string, write func() admission.Attributes) ([]store.Change, error) {
	return r.Interface.Conditions(gr, namespace, write)
}

func (r *refusing) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	if !r.Interface.Mutates(a) {
		return nil
	}
	err := r.Interface.Admit(ctx, a, o)
	if err == nil && r.hold != nil && a.GetOperation() == admission.Create {
		r.hold(a)
	}
	return err
}

func (r *refusing) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	if r.on.Load() && a.GetOperation() == admission.Delete && a.GetResource().Resource == r.resource {
		name := a.GetName()
		if m, ok := a.GetOldObject().(metav1.Object); ok && name == "" {
			name = m.GetName()
		}
		return apierrors.NewForbidden(a.GetResource().GroupResource(), name, errors.New("not now"))
	}
	if !r.Interface.Validates(a) {
		return nil
	}
	return r.Interface.Validate(ctx, a, o)
}

// A create that was admitted before its namespace was to go leaves nothing behind,
// however long it has been on its way.
func TestAdmittedBeforeTheNamespaceWent(t *testing.T) {
	for _, way := range []string{"create", "apply"} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprint(way, ", the namespace made again ", again), func(t *testing.T) {
				c := newCluster(t, statetest.Start(t))
				admitted, goOn := make(chan struct{}), make(chan struct{})
				var once sync.Once
				c.Verbs.Admission = &refusing{Interface: c.Verbs.Admission.(chain), hold: func(a admission.Attributes) {
					if a.GetResource().Resource == "configmaps" {
						once.Do(func() { close(admitted); <-goOn })
					}
				}}
				c.Namespace("shop")
				c.run()
				result := make(chan error, 1)
				go func() {
					if way == "create" {
						result <- c.configMap("shop", "late")
						return
					}
					target := c.Target("configmaps", "shop", "late")
					body := []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"late"}}`)
					_, err := c.Verbs.Patch(c.As(target, "patch"), target, types.ApplyYAMLPatchType, body, &metav1.PatchOptions{FieldManager: "tester"})
					result <- err
				}()
				<-admitted
				c.Delete("namespaces", "", "shop")
				c.awaitGone("shop")
				if again {
					c.Namespace("shop")
				}
				close(goOn)
				err := <-result
				switch there := c.There("configmaps", "shop", "late"); {
				case again && (err != nil || !there):
					t.Errorf("in the namespace that there is now nothing was created: %v", err)
				case !again && (!apierrors.IsNotFound(err) || there):
					t.Errorf("there is something in a namespace that is gone, or the create got %v", err)
				}
			})
		}
	}
}

// Namespaces are deleted and made again while many create things in them, and while
// they are written: nothing is ever in a namespace that is not there, and nothing that
// was created is in another one than it was created in.
func TestNothingIsLeftBehind(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) *state.State{
		"memory": func(t *testing.T) *state.State { return statetest.Start(t) },
		"disk":   startOnDisk,
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, start(t))
			c.run()
			const names, rounds, writers = 3, 10, 4
			var done atomic.Bool
			until, end := context.WithCancel(c.Context)
			var created atomic.Int64
			var writing, ending sync.WaitGroup
			for i := range names {
				namespace := fmt.Sprint("shop-", i)
				few := make(chan struct{}, 1) // told of some creates
				for w := range writers {
					writing.Go(func() {
						for n := 0; !done.Load(); n++ {
							before := c.State.Rev()
							err := c.configMap(namespace, fmt.Sprint("c-", w, "-", n))
							switch {
							case err == nil:
								created.Add(1)
								select {
								case few <- struct{}{}:
								default:
								}
							case !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err):
								t.Error(err)
								return
							default:
								_ = c.State.WaitFor(until, before+1)
							}
						}
					})
				}
				writing.Go(func() { // has the condition of creates fail that are to be made again
					for n := 0; !done.Load(); n++ {
						select {
						case <-few:
						case <-until.Done():
						}
						target := c.Target("namespaces", "", namespace)
						patch := fmt.Appendf(nil, `{"metadata":{"labels":{"n":"%d"}}}`, n)
						_, err := c.Verbs.Patch(c.As(target, "patch"), target, types.MergePatchType, patch, &metav1.PatchOptions{FieldManager: "tester"})
						if err != nil && !apierrors.IsNotFound(err) {
							t.Error(err)
							return
						}
					}
				})
				ending.Go(func() {
					for range rounds {
						c.Namespace(namespace)
						for before := created.Load(); created.Load() < before+20 && c.Context.Err() == nil; {
							c.await(namespace, func(*api.Namespace) bool { return true })
						}
						c.Delete("namespaces", "", namespace)
						c.awaitGone(namespace)
					}
				})
			}
			ending.Wait()
			done.Store(true)
			end()
			writing.Wait()
			for i := range names {
				if left := c.left(fmt.Sprint("shop-", i)); len(left) > 0 {
					t.Errorf("in a namespace that is gone there are %q", left)
				}
			}
			t.Logf("%d objects", created.Load())
		})
	}
}

func startOnDisk(t *testing.T) *state.State { return diskState(t, t.TempDir()) }

func diskState(t testing.TB, dir string) *state.State {
	t.Helper()
	engine, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	st, err := state.Start(t.Context(), engine, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Stop(); err != nil {
			t.Error(err)
		}
	})
	return st
}
