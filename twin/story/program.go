package story

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// programTimeout bounds one run of a client program.
const programTimeout = time.Minute

// Run runs kubectl, by the command that starts it, against the server and keeps its exit
// code as the exchange's status and its output and error output as the bodies. It
// is run in the story's namespace, in a directory of the session's own.
func (s *Session) Run(command []string, stdin string, arguments ...string) {
	exchange := &Exchange{Request: "kubectl " + strings.Join(arguments, " "), Program: true}
	s.Exchanges = append(s.Exchanges, exchange)
	if s.server.kubeconfig == "" {
		panic("the server was given no kubeconfig")
	}
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "story-")
		if err != nil {
			exchange.End = err.Error()
			return
		}
		s.dir = dir // End removes it
	}
	ctx, cancel := context.WithTimeout(s.ctx, programTimeout)
	defer cancel()
	all := slices.Concat(command, []string{"--namespace=" + s.Namespace}, arguments)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Dir = s.dir
	cmd.Env = []string{"KUBECONFIG=" + s.server.kubeconfig, "HOME=" + s.dir, "PATH=" + os.Getenv("PATH"), "KUBE_EDITOR=" + editor}
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		exchange.End = err.Error()
		return
	}
	exchange.Status = cmd.ProcessState.ExitCode()
	exchange.Bodies = [][]byte{stdout.Bytes(), stderr.Bytes()}
}

// editor stands for the user in kubectl edit: it raises the replicas.
const editor = `sed -i "s/^  replicas: .*/  replicas: 4/"`
