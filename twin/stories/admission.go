package stories

import (
	"embed"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/twin/story"
)

// admissionFiles are tables of requests that admission decides about, one file a
// plugin or a few that go together.
//
//go:embed admission admission-off
var admissionFiles embed.FS

// An admitted is one request, or, if it has a Why, a case.
type admitted struct {
	// Why says what the plugin is to do.
	Why string `json:"why,omitempty"`
	// Do is a method and a URI: paths that do not begin with a slash are below
	// the story's namespace in the core group. $NAMESPACE is the namespace.
	Do string `json:"do"`
	// Body is sent as JSON; for a PATCH as a merge patch, unless Type says
	// otherwise. $NAMESPACE in it is the namespace, too.
	Body any    `json:"body,omitempty"`
	Type string `json:"type,omitempty"`
	// As is who asks, in place of the administrator, with the administrator's
	// rights: a user and groups.
	As []string `json:"as,omitempty"`
}

// OffByDefault are plugins that have to be asked for. What they are told is in
// admission-off.yaml.
var OffByDefault = []string{
	"AlwaysPullImages", "DenyServiceExternalIPs", "EventRateLimit", "ExtendedResourceToleration", "LimitPodHardAntiAffinityTopology",
	"NamespaceAutoProvision", "NamespaceExists", "NodeRestriction", "OwnerReferencesPermissionEnforcement", "PodNodeSelector",
	"PodTolerationRestriction",
}

// Admission tells of what admission decides, a story a file of a directory:
// "admission" of what is on by default, "admission-off" of what is not.
func Admission(dir string) ([]story.Story, error) {
	entries, err := admissionFiles.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []story.Story
	for _, entry := range entries {
		requests, err := readAdmission(dir + "/" + entry.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, story.Story{
			Name: dir + "/" + strings.TrimSuffix(entry.Name(), path.Ext(entry.Name())),
			Tell: func(s *story.Session) {
				for _, r := range requests {
					r.tell(s)
				}
			},
		})
	}
	return all, nil
}

func readAdmission(name string) ([]admitted, error) {
	content, err := admissionFiles.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var requests []admitted
	if err := yaml.UnmarshalStrict(content, &requests); err != nil {
		return nil, fmt.Errorf("stories/%s: %w", name, err)
	}
	return requests, nil
}

func (r admitted) tell(s *story.Session) {
	method, uri, _ := strings.Cut(r.Do, " ")
	if !strings.HasPrefix(uri, "/") {
		uri = "/api/v1/namespaces/$NAMESPACE/" + uri
	}
	uri = strings.ReplaceAll(uri, "$NAMESPACE", s.Namespace)
	var body any
	if r.Body != nil {
		text, err := yaml.Marshal(r.Body)
		if err == nil {
			err = yaml.Unmarshal([]byte(strings.ReplaceAll(string(text), "$NAMESPACE", s.Namespace)), &body)
		}
		if err != nil {
			panic(err) // it came from YAML
		}
	}
	var options []story.Option
	if method == http.MethodPatch {
		options = append(options, story.ContentType(story.MergePatch))
	}
	if r.Type != "" {
		options = append(options, story.ContentType(r.Type))
	}
	if len(r.As) > 0 {
		options = append(options, func(request *http.Request) {
			request.Header.Set("Impersonate-User", strings.ReplaceAll(r.As[0], "$NAMESPACE", s.Namespace))
			for _, group := range append(r.As[1:], "system:masters") {
				request.Header.Add("Impersonate-Group", group)
			}
		})
	}
	s.Do(method, uri, body, options...)
	if r.Why == "" && method != http.MethodGet {
		time.Sleep(informed)
	}
}

// informed is how long what is no case, but the ground for others, is given until
// kube-apiserver's plugins have heard of it: they read from caches.
const informed = 200 * time.Millisecond
