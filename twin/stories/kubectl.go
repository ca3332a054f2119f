package stories

import "github.com/knarr-io/knarr/twin/story"

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
			k.feed(manifest+"  more: x\n", "replace", "-f", "-")
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
