package knarr_test

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"

	"github.com/knarr-io/knarr"
	"github.com/knarr-io/knarr/knarrtest"
)

// What discovery tells of is there: a subresource of an object that does not
// exist answers by its own rules, not that there is nothing at its path.
func TestEverySubresourceIsServed(t *testing.T) {
	server := knarrtest.StartWith(t, knarr.Options{RuntimeConfig: map[string]string{"api/all": "true"}})
	client, err := kubernetes.NewForConfig(server.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	_, lists, err := client.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	methods := map[string]string{"get": "GET", "create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}
	tried := 0
	for _, list := range lists {
		root := "/apis/" + list.GroupVersion
		if list.GroupVersion == "v1" {
			root = "/api/v1"
		}
		for _, r := range list.APIResources {
			resource, sub, ok := strings.Cut(r.Name, "/")
			if !ok {
				continue
			}
			path := root
			if r.Namespaced {
				path += "/namespaces/default"
			}
			path += "/" + resource + "/none/" + sub
			for _, verb := range r.Verbs {
				request := client.Discovery().RESTClient().Verb(methods[verb]).AbsPath(path)
				switch verb {
				case "create", "update":
					request = request.SetHeader("Content-Type", "application/json").Body([]byte(`{"metadata":{"name":"none"}}`))
				case "patch":
					request = request.SetHeader("Content-Type", "application/merge-patch+json").Body([]byte(`{}`))
				}
				err := request.Do(t.Context()).Error()
				var status apierrors.APIStatus
				if !errors.As(err, &status) {
					t.Errorf("%s %s: %v", verb, path, err)
					continue
				}
				s := status.Status()
				noRoute := s.Code == 404 && (s.Details == nil || s.Details.Name == "")
				if noRoute || s.Code == 405 || s.Code == 501 || s.Code == 500 && sub != "binding" {
					t.Errorf("%s %s: %d %s", verb, path, s.Code, s.Message)
				}
				tried++
			}
		}
	}
	if tried < 100 {
		t.Errorf("only %d requests were made", tried)
	}
}
