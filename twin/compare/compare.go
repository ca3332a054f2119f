package compare

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/diff"
	"k8s.io/client-go/rest"

	"github.com/knarr-io/knarr/twin/normal"
	"github.com/knarr-io/knarr/twin/story"
)

// Side is one of the two servers.
type Side struct {
	Name   string
	Config *rest.Config
	// Kubeconfig is a file for client programs.
	Kubeconfig string
	// Addresses are further names the server gives itself in its answers.
	Addresses []string
	// Aggregated is beside the server, if a story needs it.
	Aggregated story.Aggregated
	// AuditLog is where the server records requests, if it does.
	AuditLog string
}

// Pair tells stories to two servers. Several stories may be told at once.
type Pair struct {
	sides   [2]Side
	servers [2]*story.Server
	decoder *decoder

	mu    sync.Mutex
	known []*Known
	told  int

	// Ignore are names of members of bodies that are not compared; set before the first story.
	Ignore []string
}

// New prepares to compare the second server with the first.
func New(first, second Side, known []*Known) (*Pair, error) {
	p := &Pair{sides: [2]Side{first, second}, known: known}
	var err error
	if p.decoder, err = newDecoder(); err != nil {
		return nil, err
	}
	for i, side := range p.sides {
		if p.servers[i], err = story.NewServer(side.Config, side.Kubeconfig); err != nil {
			return nil, fmt.Errorf("%s: %w", side.Name, err)
		}
		p.servers[i].Audited(side.AuditLog)
		if side.Aggregated == nil {
			continue
		}
		if err := p.servers[i].Beside(side.Aggregated); err != nil {
			return nil, fmt.Errorf("%s: %w", side.Name, err)
		}
	}
	return p, nil
}

// Difference is one request of a story that the two servers answered differently.
type Difference struct {
	Request string
	// Sent is the body of the request, as the first server was sent it.
	Sent []byte
	// Diff shows it, line by line; Unexplained are the lines that no known
	// difference accounts for, and Reasons those of the known ones that applied.
	Diff        string
	Unexplained []string
	Reasons     []string
}

// Result is what became of one story.
type Result struct {
	Story       string
	Requests    int
	Differences []Difference
	// Failures is how many of the second server's answers have the status 500.
	Failures int
	// Accepted and Refused are how many requests the first server did, and how
	// many it did not.
	Accepted, Refused int
	// Transcript is what the first server said, in its normal form.
	Transcript []string
}

// Equal reports that the servers said the same.
func (r Result) Equal() bool { return len(r.Differences) == 0 }

// Explained reports that every difference is a known one.
func (r Result) Explained() bool {
	for _, d := range r.Differences {
		if len(d.Unexplained) > 0 {
			return false
		}
	}
	return true
}

// Tell tells one story to both servers at once and compares. The error is of the
// comparison itself: a server that cannot be reached at all.
func (p *Pair) Tell(ctx context.Context, s story.Story) (Result, error) {
	namespace := p.begin(s.Name)
	var told [2]telling
	var errs [2]error
	var both sync.WaitGroup
	for i := range p.servers {
		both.Go(func() { told[i], errs[i] = p.tell(ctx, i, namespace, s) })
	}
	both.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return Result{}, fmt.Errorf("story %s: %w", s.Name, err)
	}

	result := Result{Story: s.Name, Requests: len(told[0].texts), Transcript: told[0].texts}
	for _, e := range told[1].exchanges {
		if e.Status == http.StatusInternalServerError {
			result.Failures++
		}
	}
	for _, e := range told[0].exchanges {
		if e.Status >= 200 && e.Status < 300 {
			result.Accepted++
		} else {
			result.Refused++
		}
	}
	for i := range max(len(told[0].texts), len(told[1].texts)) {
		if d, differ := p.difference(s.Name, told[0].at(i), told[1].at(i)); differ {
			if i < len(told[0].exchanges) {
				d.Sent = told[0].exchanges[i].Sent
			}
			result.Differences = append(result.Differences, d)
		}
	}
	return result, nil
}

// begin notes that a story is told and returns the namespace that is its own.
func (p *Pair) begin(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told++
	for _, k := range p.known {
		k.told = k.told || k.story.MatchString(name)
	}
	return fmt.Sprintf("story-%d", p.told)
}

func (p *Pair) difference(name, first, second string) (Difference, bool) {
	if first == second {
		return Difference{}, false
	}
	request, _, _ := strings.Cut(first, "\n")
	d := Difference{
		Request: request,
		Diff:    string(diff.Diff(p.sides[0].Name, []byte(first), p.sides[1].Name, []byte(second))),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	d.Unexplained, d.Reasons = explain(p.known, name, request, changedLines(d.Diff))
	return d, true
}

// A telling is a story as it went with one server: the exchanges, and each in its
// normal form.
type telling struct {
	exchanges []*story.Exchange
	texts     []string
}

func (t telling) at(i int) string {
	if i < len(t.texts) {
		return t.texts[i]
	}
	return "(no such request)\n"
}

func (p *Pair) tell(ctx context.Context, i int, namespace string, s story.Story) (telling, error) {
	side := p.sides[i]
	session, since, err := p.servers[i].Begin(ctx, namespace)
	if err != nil {
		return telling{}, fmt.Errorf("%s: %w", side.Name, err)
	}
	defer session.End()
	start, err := strconv.ParseUint(since, 10, 64)
	if err != nil {
		return telling{}, fmt.Errorf("%s: namespace %s has resourceVersion %q", side.Name, namespace, since)
	}
	s.Tell(session)
	if err := ctx.Err(); err != nil {
		return telling{}, err
	}
	names := normal.New(start, append(addresses(side), session.Addresses...)...)
	names.Prefixes, names.Ignore, names.AnyOrder = session.Prefixes, p.Ignore, s.AnyOrder
	return telling{session.Exchanges, p.decoder.form(session.Exchanges, names)}, nil
}

// addresses are the names a server may call itself, longest first.
func addresses(side Side) []string {
	u, err := url.Parse(side.Config.Host)
	if err != nil {
		return side.Addresses
	}
	var all []string
	for _, host := range side.Addresses {
		all = append(all, host+":"+u.Port())
	}
	return append(append(all, u.Host), side.Addresses...)
}

func changedLines(diff string) []string {
	var changed []string
	for line := range strings.Lines(diff) {
		if strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "+++ ") {
			continue
		}
		if line[0] == '-' || line[0] == '+' {
			changed = append(changed, strings.TrimSuffix(line, "\n"))
		}
	}
	return changed
}
