// Package stories holds what is told to the servers that are compared: for every
// native resource the life of an object, and stories of single features.
package stories

import (
	"fmt"
	"slices"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

type object = sample.Object

// Tokens is the --token-auth-file that both servers are started with.
const Tokens = `outsider-token,outsider,outsider-uid,"readers,writers"
`

// Features tells of single features of the API. The stories of what a fresh server
// holds come first: they must be told before any other has changed it.
func Features() []story.Story {
	return slices.Concat(fresh(), discoveryDocuments(), health(), credentials(), authorization(),
		mediaTypes(), lists(), watches(), writes(),
		applies(), deletes(), actions(), refusals(), webhookAdmission(), policyAdmission(), connections())
}

// The objects most stories are about.
func configMap(name string, labels object) object {
	metadata := object{"name": name}
	if labels != nil {
		metadata["labels"] = labels
	}
	return object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": object{"key": "value"}}
}

func pod(name string, labels object) object {
	return object{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": object{"name": name, "labels": labels},
		"spec":     object{"containers": []object{{"name": "web", "image": "example.com/web:1"}}},
	}
}

func configMaps(s *story.Session) string {
	return "/api/v1/namespaces/" + s.Namespace + "/configmaps"
}

func pods(s *story.Session) string { return "/api/v1/namespaces/" + s.Namespace + "/pods" }

// some creates n ConfigMaps, item-0 onwards, labelled by whether their number is even
// or odd, and returns the answers.
func some(s *story.Session, n int) []story.Answer {
	var answers []story.Answer
	for i := range n {
		labels := object{"parity": []string{"even", "odd"}[i%2], "number": fmt.Sprint(i)}
		answers = append(answers, s.Post(configMaps(s), configMap(fmt.Sprintf("item-%d", i), labels)))
	}
	return answers
}

func revision(a story.Answer) string { return a.Text("metadata", "resourceVersion") }
