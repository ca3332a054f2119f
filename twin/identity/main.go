// Command identity shows a kube-apiserver and a knarr the same credentials, good and bad, and
// compares what they answer: client certificates, front proxies, tokens of a file, of
// service accounts, of an OpenID Connect provider, of a webhook and for new nodes;
// and requests that try to be somebody by tricks of HTTP. Requests are written byte by
// byte, so that they may be wrong in ways that clients do not allow.
//
// The provider, the webhook and the front proxies are processes of their own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/knarr-io/knarr/twin/peer"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	var err error
	switch arguments := os.Args[1:]; {
	case len(arguments) > 0 && arguments[0] == "webhook":
		err = serveWebhook(arguments[1:])
	case len(arguments) > 0 && arguments[0] == "frontproxy":
		err = serveFrontProxy(arguments[1:])
	default:
		err = run(ctx, arguments)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "identity:", err)
		cancel()
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	set := flag.NewFlagSet("identity", flag.ContinueOnError)
	root := set.String("root", "..", "the repository's root directory")
	knarr := set.String("knarr", "", "the knarr to compare; built from the repository if empty")
	self := set.Bool("self", false, "compare kube-apiserver with a second kube-apiserver, to prove the comparison itself")
	only := set.String("run", "", "send only the requests whose name matches this regular expression")
	byFlags := set.Bool("oidc-flags", false, "name the provider by the flags --oidc-* instead of a configuration; everybody may be anonymous then")
	gates := set.String("feature-gates", "", "start both servers with these --feature-gates")
	verbose := set.Bool("v", false, "show what both answered")
	if err := set.Parse(arguments); err != nil {
		return err
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	if *self {
		*knarr = "not needed"
	}
	binaries, err := peer.Build(ctx, *root, *knarr)
	if err != nil {
		return err
	}
	provider, err := peer.BuildProvider(ctx, *root)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Join(*root, "twin", ".peers"), "identity-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	w, err := newWorld(ctx, dir, provider)
	if err != nil {
		return err
	}
	defer w.stop()
	if *byFlags {
		w.flags = append(slices.DeleteFunc(w.flags, func(f string) bool { return strings.HasPrefix(f, "--authentication-config=") }), w.oidcFlags...)
	}
	if *gates != "" {
		w.flags = append(w.flags, "--feature-gates="+*gates)
	}

	starters, flags := []peer.Starter{peer.StartKubeAPIServer, peer.StartKnarr}, [][]string{w.flags, slices.Concat(w.flags, headersOfProxies)}
	if *self {
		starters[1], flags[1] = starters[0], flags[0]
	}
	var sides []*side
	for i, start := range starters {
		own := filepath.Join(dir, fmt.Sprint(i+1))
		if err := os.Mkdir(own, 0o700); err != nil {
			return err
		}
		server, err := start(ctx, binaries, peer.Options{Dir: own, Tokens: staticTokens, ClientCA: w.clients.pem, Flags: flags[i]})
		if err != nil {
			return err
		}
		defer server.Stop()
		s, err := newSide(ctx, w, server)
		if err != nil {
			return fmt.Errorf("%s: %w", server.Name, err)
		}
		sides = append(sides, s)
	}
	return compare(ctx, sides, match, *verbose)
}

// compare sends all requests to both sides.
func compare(ctx context.Context, sides []*side, match *regexp.Regexp, verbose bool) error {
	var equal, different int
	var failures []error
	groups := cases()
	for _, g := range groups {
		var said [2][]named
		for i, s := range sides {
			all, err := g.requests(ctx, s)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", s.name, g.name, err)
			}
			for _, r := range all {
				if name := g.name + "/" + r.name; match.MatchString(name) {
					said[i] = append(said[i], named{name, s.send(r)})
				}
			}
		}
		if len(said[0]) != len(said[1]) {
			return fmt.Errorf("%s: %d and %d requests", g.name, len(said[0]), len(said[1]))
		}
		for i, a := range said[0] {
			b := said[1][i]
			if a == b {
				equal++
				if verbose {
					fmt.Printf("= %s\n    %s\n", a.name, a.answer)
				}
				continue
			}
			different++
			fmt.Printf("! %s\n  - %s\n  + %s\n", a.name, a.answer, b.answer)
		}
	}
	fmt.Printf("%d requests, %d answered alike, %d not\n", equal+different, equal, different)
	if different > 0 {
		failures = append(failures, fmt.Errorf("%d answers differ", different))
	}
	return errors.Join(failures...)
}

type named struct{ name, answer string }

// Parts of answers that are another on each server.
var varying = []struct {
	pattern *regexp.Regexp
	to      string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
	{regexp.MustCompile(`"serverAddress":"[\d.:]+"`), `"serverAddress":"HERE"`},
	{regexp.MustCompile(`"resourceVersion":"\d+"`), `"resourceVersion":"N"`},
	{regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]*`), "JWT"},
	{regexp.MustCompile(`,"managedFields":\[.*?\]\}?\]`), ""},
}

func normal(s string) string {
	for _, v := range varying {
		s = v.pattern.ReplaceAllString(s, v.to)
	}
	return strings.TrimSpace(s)
}
