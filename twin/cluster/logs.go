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

// A logged is a kind of line that tells of an error.
type logged struct {
	program, kind string
	first         string // such a line
	count         int
}

// errorsIn are the errors in logs, those of a kind together.
func errorsIn(logs []string) ([]logged, error) {
	found := map[[2]string]*logged{}
	for _, path := range logs {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		program := strings.TrimSuffix(filepath.Base(path), ".log")
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			line := lines.Text()
			if !wrong.MatchString(line) {
				continue
			}
			key := [2]string{program, kindOf(essence(line))}
			if found[key] == nil {
				found[key] = &logged{program: program, kind: key[1], first: essence(line)}
			}
			found[key].count++
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
	slices.SortFunc(all, func(a, b logged) int { return strings.Compare(a.program+a.kind, b.program+b.kind) })
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
