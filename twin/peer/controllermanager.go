package peer

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/rest"
)

// idleControllers are those of kube-controller-manager that would do harm where no kubelet
// runs: they take a node whose kubelet does not report for one that has failed.
var idleControllers = []string{"node-lifecycle-controller", "taint-eviction-controller"}

// StartControllerManager starts kube-controller-manager, whose binary is given, beside the
// server, which Stop ends with it. It keeps what it needs in a directory of its own
// below dir, and is at work when StartControllerManager returns. Flags are given to it
// as they are.
func (s *Server) StartControllerManager(ctx context.Context, binary, dir string, flags ...string) error {
	flags = append([]string{"--controllers=*,-" + strings.Join(idleControllers, ",-")}, flags...)
	manager, err := s.startManager(binary, dir, flags)
	if err != nil {
		return err
	}
	return s.await(ctx, manager, "/api/v1/namespaces/default/serviceaccounts/default", http.StatusOK)
}

// workloads are the controllers that knarr has none of and that others rely on.
const workloads = "daemonset-controller,deployment-controller,replicaset-controller,replicationcontroller-controller,statefulset-controller,job-controller,cronjob-controller"

// StartWorkloads starts kube-controller-manager for workloads alone. It is at work a while
// after StartWorkloads returns.
func (s *Server) StartWorkloads(binary, dir string) error {
	_, err := s.startManager(binary, dir, []string{"--controllers=" + workloads})
	return err
}

// CertificateControllers are those of kube-controller-manager that look after requests
// for certificates.
const CertificateControllers = "certificatesigningrequest-signing-controller,certificatesigningrequest-approving-controller"

// StartSigners starts kube-controller-manager for requests for certificates alone. It is at
// work a while after StartSigners returns.
func (s *Server) StartSigners(binary, dir string, flags ...string) error {
	_, err := s.startManager(binary, dir, append([]string{"--controllers=" + CertificateControllers}, flags...))
	return err
}

// LifecycleControllers are those of kube-controller-manager that delete what is to go: what
// has lost its owner, is in a namespace that goes, or has had its time.
const LifecycleControllers = "garbage-collector-controller,namespace-controller,ttl-after-finished-controller"

// StartLifecycle starts kube-controller-manager for these controllers alone. They are
// at work when StartLifecycle returns.
func (s *Server) StartLifecycle(ctx context.Context, binary, dir string) error {
	manager, err := s.startManager(binary, dir, []string{"--controllers=" + LifecycleControllers})
	if err != nil {
		return err
	}
	const uri = "/api/v1/namespaces/default/configmaps"
	orphan := `{"metadata":{"name":"orphan","ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"nobody","uid":"none"}]}}`
	if err := s.post(ctx, uri, orphan); err != nil {
		return err
	}
	return s.await(ctx, manager, uri+"/orphan", http.StatusNotFound)
}

// post makes an object.
func (s *Server) post(ctx context.Context, uri, body string) error {
	client, err := rest.HTTPClientFor(s.Config)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Config.Host+uri, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("POST %s: %s", uri, response.Status)
	}
	return nil
}

func (s *Server) startManager(binary, dir string, flags []string) (*process, error) {
	dir = filepath.Join(dir, "controller-manager")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	kubeconfig, authority := filepath.Join(dir, "kubeconfig"), filepath.Join(dir, "ca.crt")
	config := rest.CopyConfig(s.Config)
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, err
	}
	if err := WriteKubeconfig(config, kubeconfig); err != nil {
		return nil, err
	}
	if err := os.WriteFile(authority, config.CAData, 0o600); err != nil {
		return nil, err
	}
	manager, err := start("kube-controller-manager", filepath.Join(dir, "kube-controller-manager.log"), nil, binary,
		append([]string{"--kubeconfig=" + kubeconfig, "--root-ca-file=" + authority, "--leader-elect=false", "--secure-port=0"}, flags...)...)
	if err != nil {
		return nil, err
	}
	s.processes = append(s.processes, manager)
	return manager, nil
}

// await waits until a process has brought about that a URI is answered with a status.
func (s *Server) await(ctx context.Context, doer *process, uri string, status int) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	client, err := rest.HTTPClientFor(s.Config)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	err = poll(ctx, []*process{doer}, func() bool {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Config.Host+uri, nil)
		if err != nil {
			return false
		}
		response, err := client.Do(request)
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == status
	})
	if err != nil {
		return fmt.Errorf("%s: %w", uri, err)
	}
	return nil
}
