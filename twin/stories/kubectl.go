package stories

import (
	"strings"

	"github.com/knarr-io/knarr/twin/story"
)

// Kubectl tells what a user does with kubectl, by the kubectl of one release and the
// command that starts it.
func Kubectl(release string, command ...string) []story.Story {
	name := func(s string) string { return "kubectl/" + release + "/" + s }
	return []story.Story{
		{Name: name("discovery"), Tell: func(s *story.Session) {
			k := program{s, command}
			k.run("version", "-o", "yaml")
			k.run("api-resources", "--sort-by=name")
			k.run("api-resources", "-o", "wide", "--api-group=apps")
			k.run("api-versions")
			k.run("cluster-info")
			k.run("get", "--raw", "/apis/apps")
			k.run("get", "--raw", "/readyz?verbose")
		}},
		{Name: name("auth"), Tell: func(s *story.Session) {
			k := program{s, command}
			jane := "--as=" + s.Namespace + "-jane"
			k.run("create", "role", "reader", "--verb=get,list", "--resource=pods,configmaps", "--resource-name=a")
			k.run("create", "role", "scaler", "--verb=update", "--resource=deployments.apps/scale")
			k.run("create", "rolebinding", "reader", "--role=reader", "--user="+s.Namespace+"-jane")
			k.run("create", "clusterrole", s.Namespace+"-paths", "--verb=get", "--non-resource-url=/metrics,/x/*")
			k.run("create", "clusterrolebinding", s.Namespace+"-paths", "--clusterrole="+s.Namespace+"-paths", "--user="+s.Namespace+"-jane")
			(&policy{Session: s}).settle()
			k.run("auth", "can-i", "--list")
			k.run("auth", "can-i", "--list", jane)
			k.run("auth", "can-i", "--list", "--as=system:node:n1", "--as-group=system:nodes")
			for _, question := range []string{"get pods/a", "get pods", "list pods", "get pods --subresource=log", "dance pods", "get /metrics", "get /y", "get nothing", "* *"} {
				k.run(append([]string{"auth", "can-i", jane}, strings.Fields(question)...)...)
			}
			k.run("auth", "whoami", jane)
			k.run("get", "secrets", jane)
			k.run("get", "configmap", "a", jane)
			k.feed("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: reader\nrules:\n- apiGroups: ['']\n  resources: [secrets]\n  verbs: [get]\n", "auth", "reconcile", "-f", "-")
		}},
		{Name: name("deployment"), Tell: func(s *story.Session) {
			k := program{s, command}
			k.run("create", "deployment", "web", "--image=example.com/web:1", "--replicas=2")
			k.run("create", "deployment", "web", "--image=example.com/web:1")
			k.run("get", "deployments")
			k.run("get", "deploy/web", "-o", "wide")
			k.run("get", "deploy/web", "-o", "yaml")
			k.run("get", "deploy", "-o", "jsonpath={.items[*].metadata.name}")
			k.run("get", "deploy", "-w", "--request-timeout=2s")
			k.run("label", "deploy/web", "tier=front")
			k.run("label", "deploy/web", "tier=back")
			k.run("label", "deploy/web", "tier=back", "--overwrite")
			k.run("annotate", "deploy/web", "note=one two")
			k.run("get", "deploy", "-l", "tier=back", "--show-labels")
			k.run("patch", "deploy/web", "--type=merge", "-p", `{"spec":{"paused":true}}`)
			k.run("patch", "deploy/web", "--type=json", "-p", `[{"op":"replace","path":"/spec/paused","value":false}]`)
			k.run("patch", "deploy/web", "-p", `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"example.com/web:2"}]}}}}`)
			k.run("scale", "deploy/web", "--replicas=5")
			k.run("edit", "deploy/web")
			k.run("set", "image", "deploy/web", "web=example.com/web:3")
			k.run("get", "deploy/web", "-o", "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image}")
			k.run("delete", "deploy/web")
			k.run("get", "deploy/web")
		}},
		{Name: name("configmaps"), Tell: func(s *story.Session) {
			k := program{s, command}
			manifest := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n"
			k.feed(manifest, "create", "-f", "-")
			k.feed(manifest, "create", "-f", "-", "--dry-run=server")
			k.feed(strings.ReplaceAll(manifest, "k: v", "k: w"), "replace", "-f", "-")
			k.run("create", "configmap", "b", "--from-literal=k=v")
			k.run("create", "configmap", "c", "--from-literal=k=v", "--dry-run=server", "-o", "yaml")
			k.run("get", "configmaps,secrets")
			k.run("get", "configmap", "a", "-o", "json")
			k.run("describe", "configmap", "a")
			k.run("delete", "configmap", "-l", "none=here")
			k.run("delete", "configmap", "a", "--dry-run=server")
			k.run("delete", "configmap", "--all")
			k.run("get", "configmaps")
			k.run("get", "nothing")
			k.run("get", "configmap", "none", "--ignore-not-found")
		}},
		{Name: name("apply"), Tell: func(s *story.Session) {
			k := program{s, command}
			manifest := func(replicas, image string) string {
				return "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: " + replicas +
					"\n  selector:\n    matchLabels:\n      app: web\n  template:\n    metadata:\n      labels:\n        app: web\n" +
					"    spec:\n      containers:\n      - name: web\n        image: " + image + "\n"
			}
			k.feed(manifest("1", "a:1"), "apply", "-f", "-", "--dry-run=server", "-o", "yaml")
			k.feed(manifest("1", "a:1"), "diff", "-f", "-")
			k.feed(manifest("1", "a:1"), "apply", "-f", "-")
			k.feed(manifest("1", "a:1"), "apply", "-f", "-")
			k.feed(manifest("2", "a:1"), "diff", "-f", "-")
			k.feed(manifest("2", "a:1"), "apply", "-f", "-", "-o", "yaml")
			k.feed(manifest("2", "a:1")+"        imagePullPolicie: Never\n", "apply", "-f", "-") // misspelt
			k.feed(manifest("many", "a:1"), "apply", "-f", "-")
			k.feed(manifest("2", "a:2"), "apply", "-f", "-", "--server-side") // takes over from the client
			k.run("get", "deploy/web", "-o", "yaml", "--show-managed-fields")
			k.run("scale", "deploy/web", "--replicas=3")
			k.feed(manifest("2", "a:2"), "apply", "-f", "-", "--server-side")
			k.feed(manifest("2", "a:2"), "apply", "-f", "-", "--server-side", "--field-manager=other")
			k.feed(manifest("2", "a:2"), "apply", "-f", "-", "--server-side", "--force-conflicts")
			k.feed(manifest("2", "a:3"), "diff", "-f", "-", "--server-side")
			k.feed(manifest("2", "a:2"), "apply", "-f", "-") // back to the client's way
			k.run("apply", "view-last-applied", "deploy/web")
			k.run("get", "deploy/web", "-o", "yaml", "--show-managed-fields")
			k.feed(manifest("2", "a:2"), "delete", "-f", "-")
			k.run("explain", "deployment.spec.strategy", "--recursive")
			k.run("explain", "pods.spec.containers.resources")
			k.run("explain", "nothing")
		}},
		{Name: name("services"), Tell: func(s *story.Session) {
			k := program{s, command}
			k.run("create", "service", "nodeport", "web", "--tcp=80:8080")
			k.run("get", "service", "web")
			k.run("create", "service", "externalname", "ext", "--external-name=example.com")
			k.run("create", "serviceaccount", "robot")
			k.run("create", "token", "robot", "--duration=20m")
			k.run("create", "quota", "q", "--hard=pods=3")
			k.run("create", "role", "r", "--verb=get", "--resource=pods")
			k.run("create", "secret", "generic", "s", "--from-literal=a=b", "-o", "yaml")
			k.run("create", "job", "j", "--image=example.com/job:1")
			k.run("create", "cronjob", "c", "--image=example.com/job:1", "--schedule=* * * * *")
			k.run("create", "pdb", "p", "--selector=app=web", "--min-available=1")
			k.run("get", "svc,sa,quota,role,secret,job,cronjob,pdb")
			k.run("delete", "svc,sa,quota,role,secret,job,cronjob,pdb", "--all")
		}},
		{Name: name("pods"), Tell: func(s *story.Session) {
			k := program{s, command}
			k.run("run", "web", "--image=example.com/web:1", "--labels=app=web")
			k.run("get", "pods", "-o", "wide")
			k.run("get", "pods", "--field-selector=status.phase=Pending", "-o", "name")
			k.run("describe", "pod", "web")
			k.run("get", "all")
			k.run("auth", "whoami")
			k.run("delete", "pod", "web", "--wait=true")
			k.run("get", "namespaces", "default", "-o", "yaml")
		}},
	}
}

// A program is a kubectl told to do things in a story.
type program struct {
	*story.Session
	command []string
}

func (p program) run(arguments ...string) { p.Run(p.command, "", arguments...) }

func (p program) feed(stdin string, arguments ...string) { p.Run(p.command, stdin, arguments...) }
