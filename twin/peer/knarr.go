package peer

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

// banner is the line knarr prints when it is ready.
var banner = regexp.MustCompile(`^knarr \S+ \(Kubernetes \S+\) serves https://(\S+), ready in `)

// StartKnarr starts a knarr with its default store, on a port of its choice.
func StartKnarr(ctx context.Context, b Binaries, o Options) (_ *Server, err error) {
	tokens, err := o.writeTokens()
	if err != nil {
		return nil, err
	}
	if len(o.ClientCA) > 0 {
		file := filepath.Join(o.Dir, "clients.crt")
		if err := os.WriteFile(file, o.ClientCA, 0o600); err != nil {
			return nil, err
		}
		tokens = append(tokens, "--client-ca-file="+file)
	}
	output, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer input.Close()

	data := filepath.Join(o.Dir, "data")
	s := &Server{Name: "knarr"}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if !o.Alone {
		// Nobody does the work of kube-controller-manager beside kube-apiserver.
		tokens = append(tokens, "--controllers=-serviceaccount-controller,-root-ca-certificate-publisher-controller,-service-cidr-controller,-clusterrole-aggregation-controller,-resourcequota-controller,-validatingadmissionpolicy-status-controller")
	}
	began := time.Now()
	knarr, err := start("knarr", filepath.Join(o.Dir, "knarr.log"), input, b.Knarr,
		append([]string{
			"serve",
			"--data-dir=" + data,
			"--secure-port=0",
			"--service-cluster-ip-range=" + ServiceCIDR,
			"--service-account-issuer=" + serviceAccountIssuer,
		}, append(tokens, o.Flags...)...)...)
	if err != nil {
		output.Close()
		return nil, err
	}
	s.processes = append(s.processes, knarr)

	address := make(chan string, 1)
	go func() { // ends with the process, whose end closes the pipe
		defer output.Close()
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			if match := banner.FindStringSubmatch(lines.Text()); match != nil {
				select {
				case address <- match[1]:
				default:
				}
			}
		}
	}()
	var host string
	select {
	case host = <-address:
	case <-knarr.exited:
		return nil, knarr.failure()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(readyTimeout):
		return nil, fmt.Errorf("knarr printed no address within %s", readyTimeout)
	}
	if err := s.awaitReady(ctx, host); err != nil {
		return nil, err
	}
	s.Ready = time.Since(began)

	s.Config, err = clientcmd.BuildConfigFromFlags("", filepath.Join(data, "admin.kubeconfig"))
	if err != nil {
		return nil, fmt.Errorf("knarr's kubeconfig: %w", err)
	}
	return s, nil
}
