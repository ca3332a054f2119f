package main

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
)

// auditPolicy has all requests recorded, as they end.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules: [{level: Metadata}]
`

// asked is what one program asked of a server.
type asked struct {
	Requests, Writes, Conflicts int
	Failed                      int // 5xx, and 403: what nobody expects
	Example                     string
}

// audited tells, by programs, what they asked, as the server has recorded it. The controllers
// of kube-controller-manager are told apart.
func audited(path string) (map[string]asked, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	all := map[string]asked{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var event struct {
			Verb, UserAgent, RequestURI string
			User                        struct{ Username string }
			ResponseStatus              struct {
				Code    int
				Message string
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, err
		}
		if strings.HasPrefix(event.RequestURI, "/readyz") { // asked until it is, as servers start
			continue
		}
		program, _, _ := strings.Cut(event.UserAgent, "/")
		if controller, is := strings.CutPrefix(event.User.Username, "system:serviceaccount:kube-system:"); is {
			program += ": " + controller
		}
		a := all[program]
		a.Requests++
		switch event.Verb {
		case "create", "update", "patch", "delete", "deletecollection":
			a.Writes++
		}
		switch code := event.ResponseStatus.Code; {
		case code == 409:
			a.Conflicts++
		case code == 403 || code >= 500:
			a.Failed++
			a.Example = event.Verb + " " + event.RequestURI + ": " + event.ResponseStatus.Message
		}
		all[program] = a
	}
	return all, lines.Err()
}
