package stories

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"

	"github.com/knarr-io/knarr/twin/story"
)

// reachable is an address that servers may pass requests on to, which loopback's are
// not. Stories of proxies are told where this machine has it on loopback:
//
//	unshare -n sh -c 'ip link set lo up; ip address add 10.77.0.5/32 dev lo; go run . -run ^connect/'
const reachable = "10.77.0.5"

// connections tells of what connects clients with what is behind an object: one web
// server, which stands for kubelets, pods and Services, of both servers.
func connections() []story.Story {
	all := []story.Story{
		{Name: "connect/refusals", Tell: connectRefusals},
		{Name: "connect/options", Tell: connectOptions},
		{Name: "connect/log", Tell: podLogs},
	}
	if plain, err := net.Listen("tcp", reachable+":0"); err == nil {
		plain.Close()
		all = append(all, story.Story{Name: "connect/proxies", Tell: proxies})
	}
	return all
}

// behind starts the web server, at most once at an address, for as long as this
// program lives, and returns its ports with TLS and without.
var behind = func() func(address string) (secure, plain int) {
	type ports struct{ secure, plain int }
	var mu sync.Mutex
	started := map[string]ports{}
	return func(address string) (int, int) {
		mu.Lock()
		defer mu.Unlock()
		p, ok := started[address]
		if !ok {
			p = ports{serveBehind(address, (*httptest.Server).StartTLS), serveBehind(address, (*httptest.Server).Start)}
			started[address] = p
		}
		return p.secure, p.plain
	}
}()

func serveBehind(address string, start func(*httptest.Server)) int {
	listener, err := net.Listen("tcp", address+":0")
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what has come
		w.Header().Set("Date", "today")
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.RequestURI(), body)
	})
	mux.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		switch r.PathValue("container") {
		case "broken":
			http.Error(w, "the disk is on fire", http.StatusInternalServerError)
		case "bad":
			http.Error(w, "what log?", http.StatusBadRequest)
		case "gone":
			http.Error(w, "it is not there", http.StatusNotFound)
		case "late":
			http.Error(w, "not now", http.StatusServiceUnavailable)
		default:
			fmt.Fprintf(w, "%s\none\ntwo\n", r.URL.RawQuery)
		}
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, `<html><head><link href="/style.css"></head><body><a href="/other">link</a><a href="here">relative</a><a href="https://example.com/">away</a></body></html>`)
	})
	for path, to := range map[string]string{"/redirect": "/page", "/relative": "page", "/away": "https://example.com/"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		})
	}
	mux.HandleFunc("/teapot", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Own", "yes")
		http.Error(w, "short and stout", http.StatusTeapot)
	})
	s := httptest.NewUnstartedServer(mux)
	_ = s.Listener.Close() // it is replaced
	s.Listener = listener
	start(s)
	return listener.Addr().(*net.TCPAddr).Port
}

// prepared makes, in the story's namespace and without telling of it, a node whose kubelet
// is at address, and pods: p on it, free on none, lost on one that is not there.
func prepared(s *story.Session, address string, port int) (node, pods string) {
	node = s.Namespace + "-node"
	pods = "/api/v1/namespaces/" + s.Namespace + "/pods"
	s.Quietly(func() {
		s.Post("/api/v1/nodes", object{"metadata": object{"name": node}})
		s.Patch("/api/v1/nodes/"+node+"/status", story.MergePatch, object{"status": object{
			"addresses":       []any{object{"type": "InternalIP", "address": address}},
			"daemonEndpoints": object{"kubeletEndpoint": object{"Port": port}},
		}})
		container := func(name string) object { return object{"name": name, "image": "none"} }
		for name, spec := range map[string]object{
			"p":    {"nodeName": node, "containers": []any{container("c"), container("broken"), container("bad"), container("gone"), container("late")}},
			"one":  {"nodeName": node, "containers": []any{container("c")}},
			"free": {"containers": []any{container("c")}},
			"lost": {"nodeName": s.Namespace + "-none", "containers": []any{container("c")}},
		} {
			s.Post(pods, object{"metadata": object{"name": name}, "spec": spec})
		}
	})
	return node, pods
}

// leave removes the node and the pods.
func leave(s *story.Session, node, pods string) {
	s.Quietly(func() {
		s.Delete("/api/v1/nodes/"+node, nil)
		s.Delete(pods+"?gracePeriodSeconds=0", nil)
	})
}

// connectRefusals tells what every method gets that leads nowhere.
func connectRefusals(s *story.Session) {
	secure, _ := behind("127.0.0.1")
	node, pods := prepared(s, "127.0.0.1", secure)
	defer leave(s, node, pods)
	services := "/api/v1/namespaces/" + s.Namespace + "/services"
	for _, uri := range []string{
		pods + "/none/exec", pods + "/none/attach", pods + "/none/portforward", pods + "/none/log", pods + "/none/proxy", pods + "/none/proxy/a",
		pods + "/one/exec", pods + "/one/attach", pods + "/one/portforward", pods + "/one/proxy/a", pods + "/one:80/proxy/", pods + "/free/exec", pods + "/lost/exec", pods + "/p/exec",
		pods + "/a:b:c:d/proxy/", pods + "/ftp:one:80/proxy/", pods + "/one/exec/more", pods + "/one/log/more",
		services + "/none/proxy", services + "/none/proxy/", services + "/none:80/proxy/", services + "/none:web/proxy/", services + "/https:none:/proxy/", services + "/a:b:c:d/proxy/",
		"/api/v1/nodes/none/proxy", "/api/v1/nodes/none/proxy/", "/api/v1/nodes/" + node + "/proxy/", "/api/v1/nodes/" + node + ":1/proxy/", "/api/v1/nodes/a:b:c:d/proxy/",
		"/api/v1/pods/one/exec", "/api/v1/services/one/proxy", "/api/v1/namespaces/" + s.Namespace + "/nodes/" + node + "/proxy",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"} {
			s.Do(method, uri, nil)
		}
		s.Get(uri+"?dryRun=All", story.Accept("application/yaml"))
	}
	for _, uri := range []string{"/api/v1/proxy/nodes/" + node, "/api/v1/proxy/namespaces/" + s.Namespace + "/pods/one/", "/api/v1/proxy/namespaces/" + s.Namespace + "/services/one"} {
		s.Get(uri)
	}
}

// connectOptions tells how parameters are read, and what media types are refused.
func connectOptions(s *story.Session) {
	secure, _ := behind("127.0.0.1")
	node, pods := prepared(s, "127.0.0.1", secure)
	defer leave(s, node, pods)
	for _, query := range []string{
		"command=x", "command=x&command=y&stdin=true&stdout=1&stderr=yes&tty=0", "stdin=maybe", "container=none", "container=c", "container=", "nothing=1",
		"ports=80", "ports=80,81", "ports=x", "ports=80&ports=81", "path=/x", "dryRun=", "dryRun=All", "pretty=true",
	} {
		for _, sub := range []string{"exec", "attach", "portforward"} {
			s.Get(pods + "/p/" + sub + "?" + query)
			s.Post(pods+"/one/"+sub+"?"+query, nil)
		}
	}
	for _, accept := range []string{"text/plain", "application/yaml", "application/json" + asTable, protobuf, "image/png"} {
		for _, sub := range []string{"exec", "log", "proxy/"} {
			s.Get(pods+"/none/"+sub, story.Accept(accept))
			s.Get(pods+"/one/"+sub, story.Accept(accept))
		}
	}
}

func podLogs(s *story.Session) {
	secure, _ := behind("127.0.0.1")
	node, pods := prepared(s, "127.0.0.1", secure)
	defer leave(s, node, pods)
	for _, name := range []string{"one", "p", "free", "lost"} {
		s.Get(pods + "/" + name + "/log")
	}
	for _, container := range []string{"c", "broken", "bad", "gone", "late", "none"} {
		s.Get(pods + "/p/log?container=" + container)
	}
	for _, query := range []string{
		"tailLines=3", "tailLines=-1", "tailLines=0", "tailLines=x", "limitBytes=7", "limitBytes=0", "limitBytes=-1", "sinceSeconds=5", "sinceSeconds=0", "sinceSeconds=-1",
		"sinceTime=2020-01-01T00:00:00Z", "sinceTime=yesterday", "sinceTime=2020-01-01T00:00:00Z&sinceSeconds=5", "previous=true", "previous=x", "timestamps=1", "follow=true",
		"insecureSkipTLSVerifyBackend=true", "stream=Stdout", "stream=All", "stream=none", "stream=Stdout&tailLines=1", "pretty=true", "nothing=1", "follow=true&tailLines=2&timestamps=true&previous=true&limitBytes=9",
	} {
		s.Get(pods + "/one/log?" + query)
	}
}

// proxies tells of what is passed on, and how it comes back.
func proxies(s *story.Session) {
	secure, plain := behind(reachable)
	node, pods := prepared(s, reachable, secure)
	defer leave(s, node, pods)
	base := "/api/v1/namespaces/" + s.Namespace
	s.Quietly(func() {
		s.Patch(pods+"/one/status", story.MergePatch, object{"status": object{"podIP": reachable, "podIPs": []any{object{"ip": reachable}}}})
		ref := object{"kind": "Pod", "namespace": s.Namespace, "name": "one"}
		for name, set := range map[string]struct {
			portName string
			port     int
			endpoint object
		}{
			"plain":   {"", plain, object{"addresses": []any{reachable}, "targetRef": ref}},
			"named":   {"web", plain, object{"addresses": []any{reachable}, "targetRef": ref}},
			"secure":  {"", secure, object{"addresses": []any{reachable}, "targetRef": ref}},
			"unready": {"", plain, object{"addresses": []any{reachable}, "targetRef": ref, "conditions": object{"ready": false}}},
			"stray":   {"", plain, object{"addresses": []any{reachable}}},
			"other":   {"", plain, object{"addresses": []any{"10.77.0.6"}, "targetRef": ref}},
			"outside": {"", plain, object{"addresses": []any{reachable}, "targetRef": object{"kind": "Pod", "namespace": "default", "name": "one"}}},
			"nobody":  {"", plain, object{"addresses": []any{reachable}, "targetRef": object{"kind": "Pod", "namespace": s.Namespace, "name": "none"}}},
		} {
			s.Post(base+"/services", object{"metadata": object{"name": name}, "spec": object{"clusterIP": "None", "ports": []any{object{"name": set.portName, "port": 80}}}})
			s.Post("/apis/discovery.k8s.io/v1/namespaces/"+s.Namespace+"/endpointslices", object{
				"metadata":    object{"name": name, "labels": object{"kubernetes.io/service-name": name}},
				"addressType": "IPv4", "endpoints": []any{set.endpoint}, "ports": []any{object{"name": set.portName, "port": set.port}},
			})
		}
	})
	for _, to := range []string{
		"/api/v1/nodes/" + node, "/api/v1/nodes/https:" + node + ":", fmt.Sprintf("/api/v1/nodes/%s:%d", node, plain), fmt.Sprintf("/api/v1/nodes/http:%s:%d", node, plain),
		fmt.Sprintf("%s/one:%d", pods, plain), fmt.Sprintf("%s/https:one:%d", pods, secure), fmt.Sprintf("%s/https:one:%d", pods, plain), pods + "/one", pods + "/one:1",
		base + "/services/plain", base + "/services/plain:80", base + "/services/plain:81", base + "/services/plain:web", base + "/services/named", base + "/services/named:web", base + "/services/named:80",
		base + "/services/https:secure:", base + "/services/https:secure:80", base + "/services/secure", base + "/services/https:plain:",
		base + "/services/unready", base + "/services/stray", base + "/services/other", base + "/services/outside", base + "/services/nobody",
	} {
		for _, path := range []string{"", "?q=1", "/", "/a/b", "/a/b/", "/a//b", "/a%2Fb?x=%2F&y=1&y=2", "/page", "/redirect", "/relative", "/away", "/teapot", "/../x"} {
			s.Get(to + "/proxy" + path)
		}
		if to == base+"/services/secure" {
			continue // whether the refusal or the end of what is sent comes first is chance
		}
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"} {
			s.Do(method, to+"/proxy/a", object{"sent": true})
			s.Do(method, to+"/proxy", nil)
		}
	}
}
