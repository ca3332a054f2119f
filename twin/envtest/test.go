package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// outcome is what came of the tests of a package with one of the servers.
type outcome struct {
	side             string
	passed, skipped  int
	failed           []string
	took             time.Duration
	memory           int64 // bytes, the most that the servers had at once
	cpu              time.Duration
	unfinished, left bool // the tests did not end; the servers outlived them
}

// kept is an outcome in a file, for runs with one server alone.
type kept struct {
	Passed, Skipped  int
	Failed           []string
	Took, CPU        time.Duration
	Memory           int64
	Unfinished, Left bool
}

func (s *settings) resultFile(b built, side string) string {
	return filepath.Join(s.dir, "results", strings.TrimSuffix(filepath.Base(b.binary), ".test")+"-"+side+".json")
}

// keep writes an outcome down.
func (s *settings) keep(b built, o outcome) error {
	content, err := json.MarshalIndent(kept{o.passed, o.skipped, o.failed, o.took, o.cpu, o.memory, o.unfinished, o.left}, "", "  ")
	if err != nil {
		return err
	}
	file := s.resultFile(b, o.side)
	return errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, content, 0o644))
}

// before returns what came of the tests the last time, if there was one.
func (s *settings) before(b built, side string) (o outcome, ok bool) {
	content, err := os.ReadFile(s.resultFile(b, side))
	var k kept
	if err != nil || json.Unmarshal(content, &k) != nil {
		return outcome{}, false
	}
	return outcome{side, k.Passed, k.Skipped, k.Failed, k.Took, k.Memory, k.CPU, k.Unfinished, k.Left}, true
}

func downloaded(output []byte) (string, error) {
	var m struct{ Dir string }
	err := json.Unmarshal(output, &m)
	return m.Dir, err
}

// test runs the tests of a package. What they say goes to a file.
func (s *settings) test(ctx context.Context, b built, side side) (outcome, error) {
	name := strings.TrimSuffix(filepath.Base(b.binary), ".test") + "-" + side.name
	logs := filepath.Join(s.dir, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return outcome{}, err
	}
	junit := filepath.Join(logs, name+".xml")
	if err := os.Remove(junit); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return outcome{}, err
	}
	log, err := os.Create(filepath.Join(logs, name+".log"))
	if err != nil {
		return outcome{}, err
	}
	defer log.Close()
	temporary, err := os.MkdirTemp("", "envtest-")
	if err != nil {
		return outcome{}, err
	}
	defer os.RemoveAll(temporary)

	arguments := []string{"-test.v", "-test.timeout=" + s.timeout.String()}
	ginkgo := usesGinkgo(ctx, b)
	if ginkgo {
		arguments = append(arguments, "-ginkgo.junit-report="+junit, "-ginkgo.timeout="+s.timeout.String(), "-ginkgo.seed=1", "-ginkgo.no-color")
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.binary, arguments...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "KUBEBUILDER_ASSETS="+side.assets, "TMPDIR="+temporary)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	m := measure(side.assets)
	began := time.Now()
	failed := cmd.Run()
	o := outcome{side: side.name, took: time.Since(began)}
	o.memory, o.cpu, o.left = m.stop()

	said, err := os.ReadFile(log.Name())
	if err != nil {
		return o, err
	}
	o.count(said, ginkgo)
	if ginkgo {
		report, err := os.ReadFile(junit)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			o.unfinished = true
		case err != nil:
			return o, err
		default:
			if err := o.countSpecs(report); err != nil {
				return o, err
			}
		}
	}
	var exit *exec.ExitError
	if failed != nil && !errors.As(failed, &exit) {
		return o, failed
	}
	if failed != nil && len(o.failed) == 0 {
		o.unfinished = true
	}
	return o, nil
}

func usesGinkgo(ctx context.Context, b built) bool {
	cmd := exec.CommandContext(ctx, b.binary, "-h")
	output, _ := cmd.CombinedOutput() // it ends with an error
	return bytes.Contains(output, []byte("ginkgo.junit-report"))
}

var result = regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (\S+)`)

// count reads what go test says of its tests. Where there are Ginkgo's specs, the one that
// runs them is none itself.
func (o *outcome) count(said []byte, ginkgo bool) {
	for _, m := range result.FindAllStringSubmatch(string(said), -1) {
		switch {
		case ginkgo && ranSpecs(said, m[2]):
		case m[1] == "PASS":
			o.passed++
		case m[1] == "FAIL":
			o.failed = append(o.failed, m[2])
		default:
			o.skipped++
		}
	}
}

// ranSpecs reports whether a test is the one that runs the specs: what they say stands
// between its beginning and its end.
func ranSpecs(said []byte, test string) bool {
	_, after, ok := strings.Cut(string(said), "=== RUN   "+test+"\n")
	return ok && strings.HasPrefix(after, "Running Suite: ")
}

// countSpecs reads Ginkgo's report.
func (o *outcome) countSpecs(report []byte) error {
	var all struct {
		Suites []struct {
			Cases []struct {
				Name   string `xml:"name,attr"`
				Status string `xml:"status,attr"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(report, &all); err != nil {
		return fmt.Errorf("Ginkgo's report: %w", err) //nolint:staticcheck // a name
	}
	for _, s := range all.Suites {
		for _, c := range s.Cases {
			suiteNode := !strings.HasPrefix(c.Name, "[It]")
			switch c.Status {
			case "passed":
				if !suiteNode {
					o.passed++
				}
			case "skipped", "pending":
				o.skipped++
			default:
				o.failed = append(o.failed, strings.TrimPrefix(c.Name, "[It] "))
			}
		}
	}
	return nil
}
