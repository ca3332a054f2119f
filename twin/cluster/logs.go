package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// wrong are lines of logs that tell of errors: of upstream's programs and knarr, of etcd and
// of kwok, and of any that gave up.
var wrong = regexp.MustCompile(`^[EF]\d{4} |"level":"(?i:error|dpanic|panic|fatal)"|level=ERROR|^(panic|fatal error): |^\S+ERROR |DATA RACE`)

// What differs from one line of a kind to the next.
var (
	klogHead = regexp.MustCompile(`^([EF])\d{4} [\d:.]+ +\d+ (\S+\.go):\d+\] `)
	object   = regexp.MustCompile(`[a-z0-9]+(?:[-./][a-z0-9.]+)*[-/.][a-z0-9.-]*\d[a-z0-9.-]*`)
	number   = regexp.MustCompile(`\d[\d.:µm]*s?\b`)
	named    = regexp.MustCompile(`(\\?")[^"\\ ]+(\\?")`)
)

// expected are errors that upstream's programs log against any server, each with its cause.
var expected = []struct {
	of  *regexp.Regexp
	why string
}{
	{regexp.MustCompile(`read version: \d+ is not as new as written version`), "a controller waits until it hears of its own write, and calls that an error"},
	{regexp.MustCompile(`the object has been modified; please apply your changes`), "somebody else wrote the object in between; it is tried again"},
	{regexp.MustCompile(`failed to delete pod \S+: pods "[^"]*" not found`), "kwok deletes each pod that ends twice"},
	{regexp.MustCompile(`status\.podIPs: Invalid value.*may specify no more than one IP`), "kwok gives a pod two addresses where it has two changes of it under way"},
	{regexp.MustCompile(`because it is being terminated`), "controllers go on creating while their namespace ends"},
	{regexp.MustCompile(`unexpected items still remain in namespace`), "the namespace controller looks again until all pods have ended"},
	{regexp.MustCompile(`(Plugin Failed|Error scheduling pod; retrying|Error updating pod).*pods \\?"[^"]*" not found`), "the pod was deleted as it was being bound"},
	{regexp.MustCompile(`syncing \\"[^"]*" failed: (configmaps|serviceaccounts) .* already exists`), "knarr makes it in one commit with its namespace; the controller heard of the namespace first"},
	{regexp.MustCompile(`The manifest file is empty, ignoring`), "said at each start of this release"},
	{regexp.MustCompile(`Unable to record event \(will not retry!\).*broadcaster already stopped`), "said as a scheduler ends"},
	{regexp.MustCompile(`unable to fetch metrics from resource metrics API`), "no server of metrics is there"},
	{regexp.MustCompile(`entry 0 does not have the CA bit set`), "kube-apiserver's own certificate, which it made itself, is no authority"},
	{regexp.MustCompile(`sync \\"[^"]*" failed with (replicasets\.apps|replicationcontrollers|pods) .* not found`), "what a controller looks after was deleted in between"},
}

// cause is why an error is to be expected, or nothing.
func (l logged) cause() string {
	for _, e := range expected {
		if e.of.MatchString(l.First) {
			return e.why
		}
	}
	return ""
}

// unexpected are those errors that have no cause that is known.
func unexpected(all []logged) []logged {
	return slices.DeleteFunc(slices.Clone(all), func(l logged) bool { return l.cause() != "" })
}

// restarted is what the log of a part that was started again is called beside its name.
var restarted = regexp.MustCompile(`-(\d+|second)$`)

// A logged is a kind of line that tells of an error.
type logged struct {
	Program, Kind string
	First         string // such a line
	Count         int
}

// errorsIn are the errors in logs, those of a kind together.
func errorsIn(logs []string) ([]logged, error) {
	found := map[[2]string]*logged{}
	for _, path := range logs {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		program := restarted.ReplaceAllString(strings.TrimSuffix(filepath.Base(path), ".log"), "")
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			line := lines.Text()
			if !wrong.MatchString(line) {
				continue
			}
			key := [2]string{program, kindOf(essence(line))}
			if found[key] == nil {
				found[key] = &logged{Program: program, Kind: key[1], First: essence(line)}
			}
			found[key].Count++
		}
		file.Close()
		if err := lines.Err(); err != nil {
			return nil, err
		}
	}
	var all []logged
	for _, l := range found {
		all = append(all, *l)
	}
	slices.SortFunc(all, func(a, b logged) int { return strings.Compare(a.Program+a.Kind, b.Program+b.Kind) })
	return all, nil
}

// essence is a line without what tells when and where it was written, of those that are JSON.
func essence(line string) string {
	var structured struct{ Msg, Err string }
	if json.Unmarshal([]byte(line), &structured) == nil && structured.Msg != "" {
		return structured.Msg + ": " + structured.Err
	}
	return line
}

// kindOf is a line without what is of its time and object.
func kindOf(line string) string {
	line = klogHead.ReplaceAllString(line, "$1 $2 ")
	line = named.ReplaceAllString(line, "$1…$2")
	line = object.ReplaceAllString(line, "…")
	return number.ReplaceAllString(line, "…")
}
