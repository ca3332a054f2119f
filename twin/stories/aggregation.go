package stories

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

// What the aggregated server serves, which upstream's sample API server has built in: the
// group with flunders in two versions and fischers, whose names flunders may not have.
const (
	wardle      = "wardle.example.com"
	wardlePath  = "/apis/" + wardle + "/v1alpha1"
	apiServices = "/apis/apiregistration.k8s.io/v1/apiservices"
	// The Service that the aggregated server's certificate is for.
	wardleNamespace = "wardle"
	wardleService   = "api"
)

// Aggregation tells of APIServices that are served by another server, and of what it
// serves. The command starts a kubectl.
func Aggregation(command ...string) []story.Story {
	return slices.Concat(remoteLives(), remoteFailures(), remoteRefusals(), remoteLoops(), remoteUsers(),
		remoteObjects(), remoteReads(), remoteWatches(), remoteDiscovery(), remoteOpenAPI(), remoteKubectl(command))
}

// A remote is the aggregated server as a story sees it.
type remote struct{ *story.Session }

// withService lets a story be told with the Service that stands for the aggregated server,
// and takes away afterwards what was made beside the story's own namespace.
func withService(tell func(remote)) func(*story.Session) {
	return func(s *story.Session) {
		r := remote{s}
		s.Aggregated() // from here on its addresses are known
		r.Quietly(func() {
			r.Post("/api/v1/namespaces", object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": wardleNamespace}})
			r.Post(r.services(), r.service())
		})
		defer r.remove()
		tell(r)
	}
}

// withRemote lets a story be told with these versions of the group served.
func withRemote(versions []string, tell func(remote)) func(*story.Session) {
	return withService(func(r remote) {
		r.Quietly(func() {
			for _, version := range versions {
				r.register(version)
			}
		})
		tell(r)
	})
}

// register makes the APIService of a version, and waits until it is served.
func (r remote) register(version string) {
	r.Post(apiServices, r.apiService(version, nil))
	r.Await(apiServices+"/"+version+"."+wardle, condition("Available", "True"))
	r.Await("/apis/"+wardle+"/"+version, story.Found)
}

// remove takes away the APIServices of the group, the Services, and what the server stores
// that is in no namespace.
func (r remote) remove() {
	r.Quietly(func() {
		r.StartAggregated()
		r.Directly(func() {
			r.Delete(wardlePath+"/fischers", nil)
			r.Delete(wardlePath+"/namespaces/"+r.Namespace+"/flunders", nil)
		})
		items, _ := r.Get(apiServices).Object()["items"].([]any)
		for _, item := range items {
			spec, name := item.(object)["spec"].(object), item.(object)["metadata"].(object)["name"].(string)
			if spec["service"] == nil {
				continue
			}
			r.Delete(apiServices+"/"+name, nil)
			r.Await(fmt.Sprint("/apis/", spec["group"], "/", spec["version"]), story.NotFound)
		}
		r.Delete(r.services(), nil)
		r.Delete("/apis/discovery.k8s.io/v1/namespaces/"+wardleNamespace+"/endpointslices", nil)
	})
}

func (r remote) services() string { return "/api/v1/namespaces/" + wardleNamespace + "/services" }

// service is the Service by which the aggregated server is reached: another name of this
// machine, since nothing leads from an address of a Service to it here.
func (r remote) service() object {
	return object{"apiVersion": "v1", "kind": "Service", "metadata": object{"name": wardleService},
		"spec": object{"type": "ExternalName", "externalName": "localhost"}}
}

// clusterService is a Service with an address and a port of its own.
func (r remote) clusterService(name string, port int) object {
	return object{"apiVersion": "v1", "kind": "Service", "metadata": object{"name": name},
		"spec": object{"ports": []object{{"name": "https", "port": port}}}}
}

// apiService is the APIService of a version of the group, with changes to its spec.
func (r remote) apiService(version string, changes object) object {
	spec := merged(object{
		"group": wardle, "version": version, "groupPriorityMinimum": 1000, "versionPriority": 15,
		"caBundle": r.Aggregated().Authority(),
		"service":  object{"namespace": wardleNamespace, "name": wardleService, "port": r.Aggregated().Port()},
	}, changes)
	return object{"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
		"metadata": object{"name": fmt.Sprint(spec["version"], ".", spec["group"])}, "spec": spec}
}

// flunders is where the story's flunders are, in version v1alpha1.
func (r remote) flunders() string { return wardlePath + "/namespaces/" + r.Namespace + "/flunders" }

// flunder is one in version v1alpha1. The rest is in YAML.
func (r remote) flunder(name, rest string) object {
	o := object{"apiVersion": wardle + "/v1alpha1", "kind": "Flunder", "metadata": object{"name": name}}
	maps.Copy(o, fromYAML(rest))
	return sample.With(o, name, "metadata", "name")
}

// because wants an APIService to be unavailable for a reason.
func because(reason string) func(story.Answer) bool {
	return func(a story.Answer) bool {
		held, _ := a.Object()["status"].(object)
		conditions, _ := held["conditions"].([]any)
		return slices.ContainsFunc(conditions, func(item any) bool { return item.(object)["reason"] == reason })
	}
}

// unavailable wants a server to say that it cannot pass a request on.
func unavailable(a story.Answer) bool { return a.Status == http.StatusServiceUnavailable }

// look has the server look at an APIService again, which it does by itself only now and then.
func (r remote) look(name string) {
	r.Quietly(func() {
		r.Patch(apiServices+"/"+name, story.MergePatch, object{"metadata": object{"annotations": object{"looked": fmt.Sprint(len(r.Exchanges))}}})
	})
}

func remoteLives() []story.Story {
	const name = "v1alpha1." + wardle
	return []story.Story{
		{Name: "aggregation/life", Tell: withService(func(r remote) {
			r.Get(wardlePath)
			r.Get(r.flunders())
			r.Post(apiServices+"?dryRun=All", r.apiService("v1alpha1", nil))
			r.Post(apiServices, r.apiService("v1alpha1", nil))
			r.Await(apiServices+"/"+name, condition("Available", "True"))
			r.Await(apiServices+"/"+name, condition("Available", "True"), story.Accept("application/json"+asTable))
			r.Await(r.flunders(), story.Found)
			r.Post(r.flunders(), r.flunder("a", `{}`))
			r.Get(r.flunders() + "/a")
			r.Get("/apis/" + wardle + "/v1beta1/namespaces/" + r.Namespace + "/flunders/a")
			r.Get("/apis/" + wardle)
			r.Get(wardlePath)
			r.Delete(apiServices+"/"+name, nil)
			r.Await(r.flunders(), story.NotFound)
			r.Await(wardlePath, story.NotFound)
			r.Await("/apis/"+wardle, story.NotFound)
			r.Get(apiServices + "/" + name)
			r.Post(apiServices, r.apiService("v1alpha1", nil))
			r.Await(r.flunders()+"/a", story.Found)
		})},
		{Name: "aggregation/repaired", Tell: withRemote([]string{"v1alpha1"}, func(r remote) {
			patch := func(spec object, reason string, wanted func(story.Answer) bool) {
				r.Patch(apiServices+"/"+name, story.MergePatch, object{"spec": spec})
				r.Await(apiServices+"/"+name, because(reason))
				r.Await(wardlePath, wanted)
			}
			patch(object{"service": object{"name": "other"}}, "ServiceNotFound", unavailable)
			patch(object{"service": object{"name": wardleService}}, "Passed", story.Found)
			patch(object{"caBundle": nil}, "FailedDiscoveryCheck", unavailable)
			patch(object{"insecureSkipTLSVerify": true}, "Passed", story.Found)
			patch(object{"insecureSkipTLSVerify": false, "caBundle": r.Aggregated().Authority()}, "Passed", story.Found)
			patch(object{"service": object{"port": 1}}, "FailedDiscoveryCheck", unavailable)
			patch(object{"service": object{"port": r.Aggregated().Port()}}, "Passed", story.Found)

			r.Delete(r.services()+"/"+wardleService, nil)
			r.Await(apiServices+"/"+name, because("ServiceNotFound"))
			r.Await(r.flunders(), unavailable)
			r.Post(r.services(), r.service())
			r.Await(apiServices+"/"+name, because("Passed"))
			r.Await(r.flunders(), story.Found)
		})},
		{Name: "aggregation/status", Tell: withRemote([]string{"v1alpha1"}, func(r remote) {
			// What others write there does not stay.
			r.Quietly(func() {
				r.Patch(apiServices+"/"+name+"/status", story.MergePatch, object{"status": object{"conditions": []object{
					{"type": "Available", "status": "False", "reason": "Mine", "message": "mine"}, {"type": "Other", "status": "True", "reason": "Mine"},
				}}})
			})
			r.Await(apiServices+"/"+name, because("Passed"))
			r.Await(wardlePath, story.Found)
			r.Quietly(func() { r.Patch(apiServices+"/"+name+"/status", story.MergePatch, object{"status": nil}) })
			r.Await(apiServices+"/"+name, because("Passed"))
			r.Await(wardlePath, story.Found)
		})},
		{Name: "aggregation/stopped", Tell: withRemote([]string{"v1alpha1"}, func(r remote) {
			r.Post(r.flunders(), r.flunder("a", `{}`))
			r.StopAggregated()
			r.Get(r.flunders()) // before anybody has noticed
			r.Post(r.flunders(), r.flunder("b", `{}`))
			r.Get(wardlePath)
			r.Watch(r.flunders() + "?watch=true&timeoutSeconds=5").Next(1)
			r.look(name)
			r.Await(apiServices+"/"+name, because("FailedDiscoveryCheck"))
			r.Await(r.flunders(), unavailable)
			r.Post(r.flunders(), r.flunder("b", `{}`))
			r.Patch(r.flunders()+"/a", story.MergePatch, object{})
			r.Delete(r.flunders()+"/a", nil)
			r.Get(wardlePath)
			r.Get("/apis/" + wardle)
			r.Get(r.flunders(), story.Token("outsider-token"))
			r.Get(r.flunders(), story.Anonymous)
			r.StartAggregated()
			r.look(name)
			r.Await(apiServices+"/"+name, because("Passed"))
			r.Await(r.flunders(), story.Found)
		})},
	}
}

// remoteFailures tell why an APIService is not available.
func remoteFailures() []story.Story {
	fail := func(name, reason string, prepare func(r remote), changes func(r remote) object) story.Story {
		return story.Story{Name: "aggregation/unavailable/" + name, Tell: withService(func(r remote) {
			if prepare != nil {
				r.Quietly(func() { prepare(r) })
			}
			service := r.apiService("v1alpha1", changes(r))
			spec, path := service["spec"].(object), apiServices+"/"+service["metadata"].(object)["name"].(string)
			r.Post(apiServices, service)
			r.Await(path, because(reason))
			version := fmt.Sprint("/apis/", spec["group"], "/", spec["version"])
			wanted := unavailable
			if reason == "Passed" {
				wanted = story.Found
			}
			r.Await(version, wanted)
			r.Get(version + "/namespaces/" + r.Namespace + "/flunders")
			r.Get(version + "/flunders/none?watch=true")
			r.Post(version+"/namespaces/"+r.Namespace+"/flunders", r.flunder("a", `{}`))
			r.Get(version + "/")
			r.Get(version + "/anything/at/all?x=y")
			r.Get(path, story.Accept("application/json"+asTable))
		})}
	}
	to := func(service object) func(remote) object {
		return func(remote) object { return object{"service": service} }
	}
	cluster := func(spec object) func(remote) {
		return func(r remote) {
			service := r.clusterService("other", 443)
			service["spec"] = merged(service["spec"].(object), spec)
			r.Post(r.services(), service)
		}
	}
	slice := func(name string, ready bool, port string) func(remote) {
		return func(r remote) {
			r.Post(r.services(), r.clusterService("other", 443))
			r.Post("/apis/discovery.k8s.io/v1/namespaces/"+wardleNamespace+"/endpointslices", object{
				"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
				"metadata":  object{"name": name, "labels": object{"kubernetes.io/service-name": "other"}},
				"endpoints": []object{{"addresses": []string{"192.0.2.1"}, "conditions": object{"ready": ready}}},
				"ports":     []object{{"name": port, "port": 443, "protocol": "TCP"}},
			})
		}
	}
	other := object{"name": "other", "port": 443}
	return []story.Story{
		fail("no-service", "ServiceNotFound", nil, to(object{"name": "none"})),
		fail("no-namespace", "ServiceNotFound", nil, to(object{"namespace": "none"})),
		fail("port", "ServicePortError", cluster(nil), to(object{"name": "other", "port": 8443})),
		fail("default-port", "ServicePortError", cluster(object{"ports": []object{{"name": "https", "port": 8443}}}), to(object{"name": "other", "port": nil})),
		fail("no-endpoints", "EndpointsNotFound", cluster(nil), to(other)),
		fail("not-ready", "MissingEndpoints", slice("not-ready", false, "https"), to(other)),
		fail("other-port", "MissingEndpoints", slice("other-port", true, "http"), to(other)),
		fail("headless", "EndpointsNotFound", cluster(object{"clusterIP": "None"}), to(other)),
		fail("headless-with-endpoints", "FailedDiscoveryCheck", func(r remote) {
			slice("ready", true, "https")(r)
			r.Delete(r.services()+"/other", nil)
			cluster(object{"clusterIP": "None"})(r)
		}, to(other)),
		fail("nobody-listens", "FailedDiscoveryCheck", nil, to(object{"port": 1})),
		fail("no-such-host", "FailedDiscoveryCheck", func(r remote) {
			r.Post(r.services(), object{"apiVersion": "v1", "kind": "Service", "metadata": object{"name": "other"},
				"spec": object{"type": "ExternalName", "externalName": "127.0.0.1"}})
		}, to(object{"name": "other", "port": 1})),
		// The certificate is for another name.
		fail("name", "FailedDiscoveryCheck", func(r remote) {
			r.Post(r.services(), merged(r.service(), object{"metadata": object{"name": "other"}}))
		}, to(object{"name": "other"})),
		fail("authority", "FailedDiscoveryCheck", nil, func(remote) object { return object{"caBundle": []byte(otherAuthority)} }),
		fail("system-authorities", "FailedDiscoveryCheck", nil, func(remote) object { return object{"caBundle": nil} }),
		fail("insecure", "Passed", nil, func(remote) object { return object{"caBundle": nil, "insecureSkipTLSVerify": true} }),
		fail("other-version", "FailedDiscoveryCheck", nil, func(remote) object { return object{"version": "v7"} }),
		fail("other-group", "FailedDiscoveryCheck", nil, func(remote) object { return object{"group": "other.example.com"} }),
	}
}

// otherAuthority has signed nothing here.
const otherAuthority = `-----BEGIN CERTIFICATE-----
MIIBZjCCAQ2gAwIBAgIBATAKBggqhkjOPQQDAjAaMRgwFgYDVQQDEw9vdGhlci1h
dXRob3JpdHkwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBoxGDAW
BgNVBAMTD290aGVyLWF1dGhvcml0eTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
BAQOL8maCuVS0gmmBfv0Y0VAa6Gu2VYzJmGLEirTAUs1Xb5flJ/w19W7OLmuF+Nu
pUW1AzGfNLOljK8t7fFr2wKjQjBAMA4GA1UdDwEB/wQEAwICBDAPBgNVHRMBAf8E
BTADAQH/MB0GA1UdDgQWBBSsMafR/x4sJXmK7fCdoPJrKuuXoDAKBggqhkjOPQQD
AgNHADBEAiBIkxKNn9b4QT80V4FNbj/rxgabSLoPe3slwwisV14T4wIgMItSdS2d
g55vdgUrtC2ZzC4VfcJ5Pzr8Ypj5VnX1i+M=
-----END CERTIFICATE-----
`

// remoteRefusals are APIServices that are not taken.
func remoteRefusals() []story.Story {
	return []story.Story{{Name: "aggregation/refused", Tell: withService(func(r remote) {
		for _, changes := range []object{
			{"insecureSkipTLSVerify": true},
			{"caBundle": "bm90IGEgY2VydGlmaWNhdGU="}, {"caBundle": "not base64"},
			{"service": object{"name": ""}}, {"service": object{"namespace": ""}}, {"service": object{"port": 0}}, {"service": object{"port": 70000}},
			{"service": nil}, {"group": ""}, {"version": ""}, {"version": "V1"}, {"group": "Wardle"},
			{"groupPriorityMinimum": 0}, {"groupPriorityMinimum": 20001}, {"versionPriority": 0}, {"versionPriority": 1001},
			{"other": true},
		} {
			service := r.apiService("v1alpha1", changes)
			r.Post(apiServices+"?dryRun=All", service)
			r.Post(apiServices+"?dryRun=All&fieldValidation=Strict", service)
		}
		r.Post(apiServices, sample.With(r.apiService("v1alpha1", nil), "v1."+wardle, "metadata", "name"))
		r.Post(apiServices, sample.With(r.apiService("v1alpha1", nil), "other", "metadata", "name"))
	})}}
}
