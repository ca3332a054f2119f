package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// pausedTimeout is that of requests while etcd does not answer.
const pausedTimeout = 8 * time.Second

// asked are the requests that are made while etcd does not answer.
var asked = []struct{ verb, path, body string }{
	{"GET", "/api/v1/namespaces/default", ""},
	{"GET", "/api/v1/namespaces/default?resourceVersion=0", ""},
	{"GET", "/api/v1/namespaces", ""},
	{"GET", "/api/v1/namespaces?limit=1", ""},
	{"POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"paused"}}`},
	{"PUT", "/api/v1/namespaces/default/configmaps/there", `{"metadata":{"name":"there"},"data":{"a":"b"}}`},
	{"PATCH", "/api/v1/namespaces/default/configmaps/there", `{"data":{"a":"c"}}`},
	{"PATCH", "/api/v1/namespaces/default/configmaps/nowhere", `{"data":{"a":"c"}}`},
	{"DELETE", "/api/v1/namespaces/default/configmaps/there", ""},
	{"DELETE", "/api/v1/namespaces/default/configmaps/nowhere", ""},
	{"GET", "/readyz/etcd", ""},
	{"GET", "/readyz/etcd-readiness", ""},
}

// pause compares what the servers answer while their etcd does not, and that they are
// back when it is.
func pause(ctx context.Context, sides []*side) error {
	if _, err := ask(ctx, sides[0], "POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"there"}}`); err != nil {
		return err
	}
	if err := sides[0].server.SignalEtcd(syscall.SIGSTOP); err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // who asks how etcd is gets an answer that is a second old
	answers := make([][]string, len(sides))
	var all sync.WaitGroup
	for i, s := range sides {
		answers[i] = make([]string, len(asked))
		for j, a := range asked {
			all.Go(func() {
				began := time.Now()
				answer, err := ask(ctx, s, a.verb, a.path, a.body)
				if err != nil && answer == "" {
					answer = err.Error()
				}
				answers[i][j] = fmt.Sprint(answer, " [", time.Since(began).Round(time.Second), "]")
			})
		}
	}
	all.Wait()
	if err := sides[0].server.SignalEtcd(syscall.SIGCONT); err != nil {
		return err
	}
	var errs []error
	for j, a := range asked {
		for i := 1; i < len(sides); i++ {
			if answers[i][j] == answers[0][j] {
				continue
			}
			// At times kube-apiserver breaks off a request whose time is over, without
			// a word.
			if broken := strings.HasPrefix(answers[0][j], "0 "); !broken || !strings.HasPrefix(answers[i][j], "504 ") {
				errs = append(errs, fmt.Errorf("%s %s: %s\n  %s: %s\n  %s: %s", a.verb, a.path, "the answers differ:", sides[0].name, answers[0][j], sides[i].name, answers[i][j]))
				break
			}
		}
		fmt.Printf("%s %s: %s\n", a.verb, a.path, answers[0][j])
	}
	for _, s := range sides {
		errs = append(errs, eventually(ctx, func() error {
			_, err := ask(ctx, s, "GET", "/api/v1/namespaces", "")
			return err
		}))
	}
	return errors.Join(errs...)
}

func ask(ctx context.Context, s *side, verb, path, body string) (string, error) {
	client := s.typed.Discovery().RESTClient().(*rest.RESTClient)
	request := client.Verb(verb).RequestURI(path).MaxRetries(0)
	if body != "" {
		kind := "application/json"
		if verb == "PATCH" {
			kind = "application/merge-patch+json"
		}
		request = request.Body([]byte(body)).SetHeader("Content-Type", kind)
	}
	var code int
	answer, err := request.Do(ctx).StatusCode(&code).Raw()
	if len(answer) > 400 {
		answer = answer[:400]
	}
	// kube-apiserver leaves out what a Status is where its time is over.
	text := strings.Replace(string(answer), `"kind":"Status","apiVersion":"v1",`, "", 1)
	return fmt.Sprint(code, " ", strings.TrimSpace(text)), err
}
