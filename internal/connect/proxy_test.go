//go:build linux

package connect_test

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/websocket"

	"github.com/knarr-io/knarr/internal/connect"
	"github.com/knarr-io/knarr/internal/connect/connecttest"
)

// here is an address of the network that a test is alone in. Those of loopback are
// refused.
const here = "10.77.0.5"

// inNetwork runs the test again in a network namespace that has the address here,
// and reports whether it is that run.
func inNetwork(t *testing.T) bool {
	t.Helper()
	const variable = "KNARR_TEST_NETWORK"
	if os.Getenv(variable) == t.Name() {
		for _, command := range []string{"ip link set lo up", "ip address add " + here + "/32 dev lo"} {
			words := strings.Fields(command)
			if out, err := exec.CommandContext(t.Context(), words[0], words[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", command, err, out)
			}
		}
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil || os.Getuid() != 0 {
		t.Skip("it needs a network of its own, which only root can make, and ip of iproute2")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in a network of its own: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("it did not run:\n%s", out)
	}
	return false
}

// proxied is a cluster with a web server behind the paths that are returned, all ways to
// reach one, and others that lead nowhere.
func proxied(t *testing.T) (*cluster, []string) {
	c := newCluster(t, connect.KubeletOptions{})
	web := connecttest.Start(t, here, connecttest.Web(), false)
	secure := connecttest.Start(t, here, connecttest.Kubelet(), true)
	c.node("n", here, secure)
	c.pod("p", "n", here, web, "c")
	c.service("named", "web", web, of("p", here, true))
	c.service("s", "", web, of("p", here, true))
	c.service("tls", "", secure, of("p", here, true))
	c.service("unready", "", web, of("p", here, false))
	c.service("other", "", web, of("p", "10.77.0.6", true))
	c.service("nobody", "", web, of("none", here, true))
	stray := of("p", here, true)
	stray.TargetRef = nil
	c.service("stray", "", web, stray)
	c.service("empty", "", web)
	ns := "/api/v1/namespaces/default/"
	return c, []string{
		"/api/v1/nodes/n/proxy", ns + "pods/p/proxy", ns + "services/s/proxy", ns + "services/named:web/proxy", ns + "services/named:80/proxy", ns + "services/s:80/proxy",
		ns + "services/http:named:web/proxy", ns + "services/https:tls:/proxy", ns + "services/https:tls:80/proxy",
	}
}

func TestProxies(t *testing.T) {
	if !inNetwork(t) {
		return
	}
	c, paths := proxied(t)
	for _, path := range paths {
		c.is("GET "+path+"/a/b/?x=1&y=%2F", 200, "GET /a/b/?x=1&y=%2F host=true")
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			c.is(method+" "+path+"/a", 200, method+" /a host=true")
		}
		c.is("HEAD "+path+"/a", 200, "")
		if _, text := c.do("POST "+path+"/a", "content"); !strings.HasSuffix(text, "body=content") {
			t.Errorf("POST %s: %s", path, text)
		}
		if answer, _ := c.do("GET "+path+"?q=1", ""); answer.StatusCode != 301 || answer.Header.Get("Location") != path+"/?q=1" {
			t.Errorf("GET %s: %d %s", path, answer.StatusCode, answer.Header.Get("Location"))
		}
		// What leads elsewhere on the web server leads there through the proxy.
		c.is("GET "+path+"/page", 200, `href="`+path+`/other"`)
		if answer, _ := c.do("GET "+path+"/redirect", ""); answer.StatusCode != 302 || answer.Header.Get("Location") != path+"/page" {
			t.Errorf("GET %s/redirect: %d %s", path, answer.StatusCode, answer.Header.Get("Location"))
		}
	}
	ns := "GET /api/v1/namespaces/default/"
	for _, name := range []string{"unready", "other", "nobody", "stray", "empty"} {
		c.is(ns+"services/"+name+"/proxy/", 503, `no endpoints available for service \"`+name+`\"`)
	}
	c.is(ns+"services/s:81/proxy/", 503, `no service port 81 found for service \"s\"`)
	c.is(ns+"services/named/proxy/", 503, `no endpoints available for service \"named\"`)
	c.is(ns+"services/s:x/proxy/", 503, `no endpoints available for service \"s\"`)
	c.is("GET /api/v1/proxy/nodes/n/", 404, "")
	c.is(ns+"pods/p:1/proxy/", 503, "error trying to reach service: dial tcp "+here+":1: connect: connection refused")
	c.is(ns+"services/https:s:/proxy/", 503, "tls: first record does not look like a TLS handshake")
}

// What is said through a proxy is passed on as it is said, both ways, and ends when
// one of the three leaves.
func TestStreamsThroughProxies(t *testing.T) {
	if !inNetwork(t) {
		return
	}
	c, paths := proxied(t)
	var talking []*websocket.Conn
	var reading []*bufio.Reader
	for _, path := range paths {
		config, err := websocket.NewConfig(strings.Replace(c.server.URL, "https", "wss", 1)+path+"/ws", "https://here")
		if err != nil {
			t.Fatal(err)
		}
		config.TlsConfig = c.server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		config.TlsConfig.NextProtos = nil
		ws, err := config.DialContext(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		defer ws.Close()
		for _, word := range []string{"one", "two"} {
			var back string
			if err := websocket.Message.Send(ws, word); err != nil {
				t.Fatal(err)
			}
			if err := websocket.Message.Receive(ws, &back); err != nil || back != word {
				t.Fatalf("%s: %q, %v", path, back, err)
			}
		}
		talking = append(talking, ws)

		events := open(t, c, path+"/events")
		if line, err := events.ReadString('\n'); err != nil || line != "data: first\n" {
			t.Fatalf("%s: %q, %v", path, line, err)
		}
		reading = append(reading, events)

		// One that breaks off is not taken for whole.
		if answer, err := c.server.Client().Get(c.server.URL + path + "/cut"); err == nil {
			if _, err := io.ReadAll(answer.Body); err == nil {
				t.Errorf("%s/cut: it ended as if it were whole", path)
			}
			answer.Body.Close()
		}
		// A reader that leaves in the middle takes the rest with it.
		if _, err := open(t, c, path+"/large").ReadByte(); err != nil {
			t.Errorf("%s/large: %v", path, err)
		}
	}
	c.stop()
	for i := range paths {
		var rest string
		if err := websocket.Message.Receive(talking[i], &rest); err == nil {
			t.Errorf("%s goes on: %q", paths[i], rest)
		}
		if line, err := reading[i].ReadString('!'); err == nil {
			t.Errorf("%s goes on: %q", paths[i], line)
		}
	}
}

// open returns the body of an answer.
func open(t *testing.T, c *cluster, path string) *bufio.Reader {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return bufio.NewReader(answer.Body)
}
