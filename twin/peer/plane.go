package peer

import (
	"context"
	"crypto/x509/pkix"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// kwokModule is what simulates nodes and pods; twin/cluster/kwok pins it, too.
const kwokModule = "sigs.k8s.io/kwok@v0.8.0"

// ControlPlane are the paths of what makes a cluster of an API server.
type ControlPlane struct {
	ControllerManager, Scheduler, Kwok string
	// kwokRole is the file with the role that kwok needs, and stages are those that say
	// what becomes of nodes and pods.
	kwokRole string
	stages   []string
}

// BuildControlPlane compiles kube-controller-manager, kube-scheduler and kwok into
// twin/.peers, each only if it is not there yet.
func BuildControlPlane(ctx context.Context, root string) (c ControlPlane, err error) {
	if c.ControllerManager, err = BuildControllerManager(ctx, root); err != nil {
		return c, err
	}
	module, output, err := upstream(root, "kube-scheduler")
	if err != nil {
		return c, err
	}
	c.Scheduler = output
	if err := buildOnce(ctx, module, output, "build", "k8s.io/kubernetes/cmd/kube-scheduler", versioned); err != nil {
		return c, err
	}
	c.Kwok = filepath.Join(filepath.Dir(output), "kwok")
	module = filepath.Join(filepath.Dir(filepath.Dir(output)), "cluster", "kwok")
	if err := buildOnce(ctx, module, c.Kwok, "build", "sigs.k8s.io/kwok/cmd/kwok", stripped); err != nil {
		return c, err
	}
	for _, stages := range []string{"node/fast/node-*.yaml", "node/heartbeat-with-lease/node-*.yaml", "pod/fast/pod-*.yaml"} {
		files, err := ModuleFiles(ctx, kwokModule, "kustomize/stage/"+stages)
		if err != nil {
			return c, err
		}
		c.stages = append(c.stages, files...)
	}
	role, err := ModuleFiles(ctx, kwokModule, "kustomize/rbac/role.yaml")
	if err != nil {
		return c, err
	}
	if len(role) != 1 || len(c.stages) == 0 {
		return c, fmt.Errorf("%s has no role or no stages where they are looked for", kwokModule)
	}
	c.kwokRole = role[0]
	return c, nil
}

// A Plane is what runs beside a server: each part with a certificate of its own, so that it
// may do what its roles say and no more.
type Plane struct {
	programs  ControlPlane
	server    *Server
	authority *Authority
	dir       string
	signing   []string // kube-controller-manager's flags
	parts     map[string]*process
	ended     []string // logs of parts that were stopped
	spent     map[string]time.Duration
}

// The parts of a plane.
const (
	ControllerManagerPart = "kube-controller-manager"
	SchedulerPart         = "kube-scheduler"
	KwokPart              = "kwok"
)

// StartPlane starts a controller manager, a scheduler and kwok beside the server, which must
// have been told to believe the authority. What they need is kept in a directory below
// dir. They are at work when it returns, and end by Stop, which must come before the server's.
func StartPlane(ctx context.Context, programs ControlPlane, server *Server, authority *Authority, dir string) (_ *Plane, err error) {
	p := &Plane{programs: programs, server: server, authority: authority, dir: filepath.Join(dir, "plane"), parts: map[string]*process{}, spent: map[string]time.Duration{}}
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		return nil, err
	}
	cert, key, err := authority.Write(p.dir)
	if err != nil {
		return nil, err
	}
	p.signing = []string{"--cluster-signing-cert-file=" + cert, "--cluster-signing-key-file=" + key}
	defer func() {
		if err != nil {
			p.Stop()
		}
	}()
	if err := p.StartControllerManager(ctx); err != nil {
		return nil, err
	}
	if err := p.StartScheduler(SchedulerPart); err != nil {
		return nil, err
	}
	return p, p.startKwok(ctx)
}

// StartControllerManager starts the controller manager, and returns when it is at work. Each
// of its controllers has the rights of its own service account, as in clusters.
func (p *Plane) StartControllerManager(ctx context.Context) error {
	kubeconfig, config, err := p.credentials(ControllerManagerPart, "system:kube-controller-manager")
	if err != nil {
		return err
	}
	root := filepath.Join(p.dir, "root-ca.crt")
	if err := os.WriteFile(root, config.CAData, 0o600); err != nil {
		return err
	}
	err = p.start(ControllerManagerPart, p.programs.ControllerManager, append([]string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--secure-port=0", "--root-ca-file=" + root, "--use-service-account-credentials=true", "--controllers=*",
		"--kube-api-qps=1000", "--kube-api-burst=2000",
	}, p.signing...)...)
	if err != nil {
		return err
	}
	return p.server.await(ctx, p.parts[ControllerManagerPart], "/api/v1/namespaces/default/serviceaccounts/default", http.StatusOK)
}

// StartScheduler starts a scheduler, called by a name; of several one leads.
func (p *Plane) StartScheduler(name string) error {
	kubeconfig, _, err := p.credentials(name, "system:kube-scheduler")
	if err != nil {
		return err
	}
	return p.start(name, p.programs.Scheduler,
		"--kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
		"--secure-port=0", "--kube-api-qps=1000", "--kube-api-burst=2000")
}

// startKwok has all nodes and their pods simulated.
func (p *Plane) startKwok(ctx context.Context) error {
	const user = "kwok-controller"
	if err := p.bindKwok(ctx, user); err != nil {
		return fmt.Errorf("kwok's role: %w", err)
	}
	kubeconfig, _, err := p.credentials(KwokPart, user)
	if err != nil {
		return err
	}
	var stages []byte
	for _, file := range p.programs.stages {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		stages = append(append(stages, "---\n"...), content...)
	}
	config := filepath.Join(p.dir, "kwok.yaml")
	if err := os.WriteFile(config, stages, 0o600); err != nil {
		return err
	}
	return p.start(KwokPart, p.programs.Kwok,
		"--kubeconfig="+kubeconfig, "--config="+config, "--manage-all-nodes=true", "--node-lease-duration-seconds=40",
		"--cidr=10.244.0.0/16", "--node-ip=192.0.2.10")
}

// bindKwok gives the user the role that kwok's own manifests say it needs.
func (p *Plane) bindKwok(ctx context.Context, user string) error {
	content, err := os.ReadFile(p.programs.kwokRole)
	if err != nil {
		return err
	}
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict(content, &role); err != nil {
		return err
	}
	clients, err := kubernetes.NewForConfig(p.server.Config)
	if err != nil {
		return err
	}
	if _, err := clients.RbacV1().ClusterRoles().Create(ctx, &role, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err = clients.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{})
	return err
}

// credentials writes a kubeconfig with which a part is a user.
func (p *Plane) credentials(part, user string) (string, *rest.Config, error) {
	config := rest.CopyConfig(p.server.Config)
	if err := rest.LoadTLSFiles(config); err != nil {
		return "", nil, err
	}
	var err error
	if config.CertData, config.KeyData, err = p.authority.client(pkix.Name{CommonName: user}); err != nil {
		return "", nil, err
	}
	path := filepath.Join(p.dir, part+".kubeconfig")
	return path, config, WriteKubeconfig(config, path)
}

func (p *Plane) start(part, binary string, arguments ...string) error {
	if p.parts[part] != nil {
		return fmt.Errorf("%s runs already", part)
	}
	log := filepath.Join(p.dir, part+".log")
	if _, err := os.Stat(log); err == nil { // it ran before
		log = filepath.Join(p.dir, fmt.Sprintf("%s-%d.log", part, len(p.ended)+1))
	}
	started, err := start(part, log, nil, binary, arguments...)
	if err == nil {
		p.parts[part] = started
	}
	return err
}

// StopPart ends a part, and returns when it is gone.
func (p *Plane) StopPart(part string) {
	running := p.parts[part]
	if running == nil {
		return
	}
	if spent, err := running.cpu(); err == nil {
		p.spent[part] += spent
	}
	running.stop(stopTimeout)
	p.ended = append(p.ended, running.log)
	delete(p.parts, part)
}

// Stop ends all parts.
func (p *Plane) Stop() {
	for part := range p.parts {
		p.StopPart(part)
	}
}

// Failure is the error of a part that ended by itself, or nil.
func (p *Plane) Failure() error {
	for _, part := range p.parts {
		select {
		case <-part.exited:
			return part.failure()
		default:
		}
	}
	return nil
}

// CPU is the processor time that a part has used so far.
func (p *Plane) CPU(part string) (time.Duration, error) {
	running := p.parts[part]
	if running == nil {
		return p.spent[part], nil
	}
	spent, err := running.cpu()
	return p.spent[part] + spent, err
}

// Logs are the files that the server and all parts write what they have to say in.
func (p *Plane) Logs() []string {
	logs := p.server.Logs()
	for _, part := range p.parts {
		logs = append(logs, part.log)
	}
	return append(logs, p.ended...)
}

// Logs are the files that the server's processes write what they have to say in.
func (s *Server) Logs() []string {
	var logs []string
	for _, p := range s.processes {
		logs = append(logs, p.log)
	}
	return logs
}

// Usage is what one process of a server has used.
type Usage struct {
	Process string
	CPU     time.Duration
	Memory  int64 // bytes, now
}

// Usages are what each of the server's processes has used so far.
func (s *Server) Usages() ([]Usage, error) {
	var all []Usage
	for _, p := range s.processes {
		cpu, err := p.cpu()
		if err != nil {
			return nil, err
		}
		memory, err := p.memory()
		if err != nil {
			return nil, err
		}
		all = append(all, Usage{p.name, cpu, memory})
	}
	return all, nil
}
