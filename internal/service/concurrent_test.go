package service_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/service"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/disk"
)

// killVariable makes this test binary a process that writes Services in the
// directory it names until it is killed.
const killVariable = "KNARR_SERVICE_KILL_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killVariable); dir != "" {
		writeUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

// small has few addresses and node ports, of both families, so that they are
// fought for and run out.
var small = service.Options{
	Families:  []api.IPFamily{api.IPv4Protocol, api.IPv6Protocol},
	NodePorts: utilnet.PortRange{Base: 30000, Size: 24},
}

func (c *cluster) addSmallRanges() {
	c.addRange("range-0", "10.0.0.0/27", "fd00::/123")
	c.addRange("range-1", "10.1.0.0/30")
}

// clients is how many write at once.
const clients = 16

// churn makes, changes and deletes Services from many sides at once, each a
// number of times.
func (c *cluster) churn(seed uint64, rounds int) {
	c.t.Helper()
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(client)))
			for range rounds {
				name := fmt.Sprintf("svc-%d", random.IntN(2*clients)) // several clients' own
				if err := c.anything(random, name); err != nil {
					c.t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	wg.Wait()
}

// anything does one thing to a Service. Errors that may be are not returned.
func (c *cluster) anything(random *rand.Rand, name string) error {
	svc := anyService(random, name)
	var err error
	switch random.IntN(4) {
	case 0, 1:
		_, err = c.create(services, svc, &metav1.CreateOptions{})
	case 2:
		_, err = c.update(svc, &metav1.UpdateOptions{})
	case 3:
		_, err = c.delete(services, name, &metav1.DeleteOptions{})
	}
	if mayBe(err) {
		return nil
	}
	return err
}

// anyService is a Service of any type, with addresses and ports of its own
// choice now and then.
func anyService(random *rand.Rand, name string) *corev1.Service {
	policies := []corev1.IPFamilyPolicy{corev1.IPFamilyPolicySingleStack, corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack}
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{
			IPFamilyPolicy: &policies[random.IntN(len(policies))],
			Ports: []corev1.ServicePort{
				{Name: "a", Port: 80, Protocol: corev1.ProtocolTCP},
				{Name: "b", Port: 80, Protocol: corev1.ProtocolUDP},
			}[:1+random.IntN(2)],
		},
	}
	switch random.IntN(6) {
	case 0:
		svc.Spec.Type = corev1.ServiceTypeNodePort
		svc.Spec.Ports[0].NodePort = 30000 + random.Int32N(26) // the last two are none
	case 1:
		svc.Spec.Type = corev1.ServiceTypeNodePort
	case 2:
		svc.Spec.Type, svc.Spec.ExternalTrafficPolicy = corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyLocal
	case 3:
		svc.Spec.Type, svc.Spec.ExternalName, svc.Spec.IPFamilyPolicy = corev1.ServiceTypeExternalName, "example.com", nil
	case 4:
		svc.Spec.ClusterIP = fmt.Sprintf("10.0.0.%d", 1+random.IntN(30))
	}
	return svc
}

// mayBe reports whether err is one that many who want the same may get.
func mayBe(err error) bool {
	if err == nil || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return true
	}
	for _, part := range []string{
		"provided IP is already allocated", "may not change once set", "range is full",
		"provided port is already allocated", "provided port is not in the valid range", "duplicate nodePort",
		"must be 'SingleStack' to release the secondary",
	} {
		if strings.Contains(err.Error(), part) {
			return true
		}
	}
	return false
}

// checkEmpty deletes all Services, and expects that nothing is taken then.
func (c *cluster) checkEmpty() {
	c.t.Helper()
	for name := range c.services() {
		c.must(c.delete(services, name, &metav1.DeleteOptions{}))
	}
	if held, ports := c.holders(), c.nodePorts(); len(held) > 0 || ports > 0 {
		c.t.Errorf("after all Services are gone, %v and %d node ports are taken", held, ports)
	}
}

func TestConcurrent(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := newCluster(t, small)
	c.addSmallRanges()
	c.churn(seed, 60)
	c.checkBooks()
	c.checkEmpty()
}

// TestConcurrentOnDisk does so over restarts.
func TestConcurrentOnDisk(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dir := t.TempDir()
	for restart := range uint64(3) {
		c := openCluster(t, openDisk(t, dir), small)
		if restart == 0 {
			c.addSmallRanges()
		}
		c.checkBooks()
		c.churn(seed+restart, 10)
		c.checkBooks()
		c.stop()
	}
	openCluster(t, openDisk(t, dir), small).checkEmpty()
}

func openDisk(t testing.TB, dir string) store.Store {
	t.Helper()
	st, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestKill kills a process that writes Services, again and again, and looks at
// what is on disk then.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	for round := range 4 {
		killed := kill(t, dir, 20+rand.IntN(150))
		c := openCluster(t, openDisk(t, dir), small)
		c.checkBooks()
		t.Logf("round %d: killed after %d writes, %d Services are left", round, killed, len(c.services()))
		if round == 3 {
			c.checkEmpty()
		}
		c.stop()
	}
}

// kill runs a process in dir, kills it after a number of successful writes, and
// returns how many it has told of.
func kill(t *testing.T, dir string, after int) (writes int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), killVariable+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() != "written" {
			t.Error(lines.Text())
		}
		if writes++; writes == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the process was not killed: %v", err)
	}
	return writes
}

// writeUntilKilled writes Services in dir and says so on stdout. It does not
// return.
func writeUntilKilled(dir string) {
	fail := func(err error) {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	time.AfterFunc(time.Minute, func() { fail(context.DeadlineExceeded) }) // the parent is gone
	st, err := disk.Open(dir, disk.Options{})
	if err != nil {
		fail(err)
	}
	c := openCluster(orphan{}, st, small)
	if len(c.holders()) == 0 && c.verbs.State.Get("/registry/servicecidrs/range-0") == nil {
		c.addSmallRanges()
	}
	var out sync.Mutex
	for client := range clients {
		go func() {
			random := rand.New(rand.NewPCG(rand.Uint64(), uint64(client)))
			for {
				err := c.anything(random, fmt.Sprintf("svc-%d", random.IntN(2*clients)))
				out.Lock()
				if err != nil {
					fail(err)
				}
				fmt.Println("written")
				out.Unlock()
			}
		}()
	}
	select {}
}

// orphan is the testing.TB of a process that is no test: what fails ends it.
type orphan struct{ testing.TB }

func (orphan) Helper()                  {}
func (orphan) Cleanup(func())           {}
func (orphan) Context() context.Context { return context.Background() }
func (orphan) Fatal(args ...any) {
	fmt.Println(args...)
	os.Exit(1)
}
func (o orphan) Error(args ...any) { o.Fatal(args...) }
