package connect_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/connect"
	"github.com/knarr-io/knarr/internal/connect/connecttest"
)

func TestLog(t *testing.T) {
	c := withKubelet(t, "c", "broken", "gone", "moved")
	c.pod("free", "", "", 0, "c")
	c.pod("lost", "nowhere", "", 0, "c")
	c.pod("alone", "here", "", 0, "c")
	log := "GET " + base + "/pods/p/log"
	c.is("GET "+base+"/pods/alone/log", 200, "\none\ntwo\n")
	c.is(log+"?container=c&tailLines=3&previous=true&timestamps=true&limitBytes=7&sinceSeconds=5", 200, "limitBytes=7&previous=true&sinceSeconds=5&tailLines=3&timestamps=true\n")
	c.is(log, 400, "a container name must be specified for pod p, choose one of: [c broken gone moved]")
	c.is(log+"?container=x", 400, "container x is not valid for pod p")
	c.is(log+"?container=broken", 500, "the disk is on fire")
	c.is(log+"?container=gone", 404, "the server could not find the requested resource ( pods/log p)")
	c.is(log+"?container=moved", 500, "redirects forbidden")
	c.is(log+"?container=c&tailLines=-1", 422, "tailLines")
	c.is(log+"?container=c&tailLines=x", 400, "invalid syntax")
	c.is(log+"?container=c&follow=1&sinceSeconds=1&sinceTime=2020-01-01T00:00:00Z", 422, "at most one of `sinceTime` or `sinceSeconds`")
	c.is("GET "+base+"/pods/free/log", 204, "")
	c.is("GET "+base+"/pods/lost/log", 404, `pods \"nowhere\" not found`)
	c.is("GET "+base+"/pods/none/log", 404, `pods \"none\" not found`)
	c.is("POST "+base+"/pods/p/log", 405, "")
}

// What is followed comes at once, and ends when the server stops.
func TestLogIsFollowed(t *testing.T) {
	c := withKubelet(t, "c")
	stream, err := c.client.CoreV1().Pods("default").GetLogs("p", &corev1.PodLogOptions{Follow: true}).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	lines := bufio.NewScanner(stream)
	for _, want := range []string{"follow=true", "one", "two"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("the log says %q (%v), want %q", lines.Text(), lines.Err(), want)
		}
	}
	c.stop()
	if lines.Scan() {
		t.Errorf("the log goes on: %q", lines.Text())
	}
}

// executors are the two ways to run something in a container.
func executors(t *testing.T, c *cluster, sub string, o *corev1.PodExecOptions) map[string]remotecommand.Executor {
	t.Helper()
	u := c.client.CoreV1().RESTClient().Post().Resource("pods").Name("p").Namespace("default").SubResource(sub).VersionedParams(o, scheme.ParameterCodec).URL()
	ws, err := remotecommand.NewWebSocketExecutor(c.config(), "GET", u.String())
	if err != nil {
		t.Fatal(err)
	}
	spdy, err := remotecommand.NewSPDYExecutor(c.config(), "POST", u)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]remotecommand.Executor{"websocket": ws, "spdy": spdy}
}

func TestExec(t *testing.T) {
	c := withKubelet(t, "c")
	run := func(command ...string) map[string]remotecommand.Executor {
		return executors(t, c, "exec", &corev1.PodExecOptions{Command: command, Stdin: true, Stdout: true, Stderr: true})
	}
	for name, x := range run("cat") {
		var out, errs bytes.Buffer
		large := strings.Repeat("all of it ", 100_000)
		// That cat ends shows that it is told the end of its input.
		if err := x.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader(large), Stdout: &out, Stderr: &errs}); err != nil || out.String() != large {
			t.Errorf("%s: %v, %d bytes, %q", name, err, out.Len(), errs.String())
		}
	}
	for name, x := range run("exit", "7") {
		var out, errs bytes.Buffer
		err := x.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
		if code, ok := err.(exec.CodeExitError); !ok || code.Code != 7 || errs.String() != "as told\n" {
			t.Errorf("%s: %v, %q", name, err, errs.String())
		}
	}
	terminal := executors(t, c, "exec", &corev1.PodExecOptions{Command: []string{"size"}, Stdout: true, TTY: true})
	for name, x := range terminal {
		var out bytes.Buffer
		if err := x.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &out, Tty: true, TerminalSizeQueue: &size{}}); err != nil || out.String() != "80x25\n" {
			t.Errorf("%s: %v, %q", name, err, out.String())
		}
	}
	for name, x := range executors(t, c, "attach", &corev1.PodExecOptions{Stdin: true, Stdout: true}) {
		var out bytes.Buffer
		if err := x.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader("in"), Stdout: &out}); err != nil || out.String() != "in" {
			t.Errorf("%s: %v, %q", name, err, out.String())
		}
	}
}

// size tells one size of a terminal.
type size struct{ told bool }

func (s *size) Next() *remotecommand.TerminalSize {
	if s.told {
		return nil
	}
	s.told = true
	return &remotecommand.TerminalSize{Width: 80, Height: 25}
}

// What has been taken over ends when the server stops.
func TestExecEndsWithTheServer(t *testing.T) {
	for _, name := range []string{"websocket", "spdy"} {
		c := withKubelet(t, "c")
		x := executors(t, c, "exec", &corev1.PodExecOptions{Command: []string{"cat"}, Stdin: true, Stdout: true})[name]
		in, feed := io.Pipe()
		out, sink := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			ended <- x.StreamWithContext(context.WithoutCancel(t.Context()), remotecommand.StreamOptions{Stdin: in, Stdout: sink})
		}()
		if _, err := feed.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		c.stop()
		<-ended // client-go calls the end of a SPDY connection success
		feed.Close()
		sink.Close()
	}
}

func TestPortForward(t *testing.T) {
	c := withKubelet(t, "c")
	u, err := url.Parse(c.server.URL + base + "/pods/p/portforward")
	if err != nil {
		t.Fatal(err)
	}
	transport, upgrader, err := spdy.RoundTripperFor(c.config())
	if err != nil {
		t.Fatal(err)
	}
	tunnel, err := portforward.NewSPDYOverWebsocketDialer(u, c.config())
	if err != nil {
		t.Fatal(err)
	}
	plain := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, "POST", u)
	for name, d := range map[string]interface {
		Dial(...string) (httpstream.Connection, string, error)
	}{"websocket": tunnel, "spdy": plain} {
		conn, _, err := d.Dial(portforward.PortForwardProtocolV1Name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		h := http.Header{}
		h.Set(corev1.PortHeader, "80")
		h.Set(corev1.PortForwardRequestIDHeader, "0")
		h.Set(corev1.StreamType, corev1.StreamTypeError)
		if _, err := conn.CreateStream(h); err != nil {
			t.Fatal(err)
		}
		h.Set(corev1.StreamType, corev1.StreamTypeData)
		data, err := conn.CreateStream(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := data.Write([]byte("there and back")); err != nil {
			t.Fatal(err)
		}
		if err := data.Close(); err != nil { // one half
			t.Fatal(err)
		}
		if back, err := io.ReadAll(data); err != nil || string(back) != "there and back" {
			t.Errorf("%s: %q, %v", name, back, err)
		}
		conn.Close()
	}
}

func TestRefusals(t *testing.T) {
	c := withKubelet(t, "c")
	c.pod("free", "", "", 0, "c")
	exec := base + "/pods/p/exec"
	c.is("POST "+exec+"?command=x&stdout=1", 400, "Upgrade request required")
	c.is("POST "+exec+"?dryRun=All", 400, "dryRun is not supported")
	c.is("POST "+exec+"?stdin=maybe", 400, "Upgrade request required")
	c.is("PUT "+exec, 405, "")
	c.is("HEAD "+exec, 405, "")
	c.is("GET "+exec+"/more", 404, "")
	c.is("POST "+base+"/pods/free/attach", 400, "pod free does not have a host assigned")
	c.is("POST "+base+"/pods/none/portforward", 404, `pods \"none\" not found`)
	// Nobody gets at what must not be reached from here.
	c.is("GET /api/v1/nodes/here/proxy/pods", 400, "address not allowed")
	c.is("GET /api/v1/nodes/none/proxy/pods", 404, `nodes \"none\" not found`)
	c.pod("inside", "here", "127.0.0.1", 80, "c")
	c.is("GET "+base+"/pods/inside/proxy/", 400, "address not allowed")
	c.is("GET "+base+"/pods/a:b:c:d/proxy/", 400, `invalid pod request`)
	c.is("GET "+base+"/services/none/proxy/", 503, `no endpoints available for service \"none\"`)
	c.is("GET "+base+"/services/none:80/proxy/", 404, `services \"none\" not found`)

	// Who may get a pod's exec is not to run anything by it.
	c.allowed = func(a authorizer.Attributes) bool { return a.GetVerb() == "get" }
	c.is("GET "+exec+"?command=x&stdout=1", 403, "not today")
}

// A kubelet whose certificate is of no authority that is known is not believed, unless
// the reader of a log says so.
func TestUnknownKubelet(t *testing.T) {
	other := connecttest.Authority(t)
	c := newCluster(t, connect.KubeletOptions{CAFile: other})
	c.node("here", "127.0.0.1", connecttest.Start(t, "127.0.0.1", connecttest.Kubelet(), true))
	c.pod("p", "here", "", 0, "c")
	c.is("GET "+base+"/pods/p/log", 500, "certificate signed by unknown authority")
	c.is("GET "+base+"/pods/p/log?insecureSkipTLSVerifyBackend=true", 200, "one\ntwo\n")
}

// refusing refuses all connections, and tells by what it knows of them.
type refusing struct{ *admission.Handler }

func (refusing) Validate(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	o, ok := a.GetObject().(*api.PodExecOptions)
	if !ok {
		return nil
	}
	return admission.NewForbidden(a, fmt.Errorf("%s %s %s/%s %s %q by %s", a.GetOperation(), a.GetKind(), a.GetResource().Resource, a.GetSubresource(), a.GetName(), o.Command, a.GetUserInfo().GetName()))
}

// Admission sees connections, with their options, before anything is connected.
func TestAdmission(t *testing.T) {
	c := withKubelet(t, "c")
	c.verbs.Admission = refusing{admission.NewHandler(admission.Connect)}
	c.is("POST "+base+"/pods/none/exec?command=a&command=b", 403, `CONNECT /v1, Kind=PodExecOptions pods/exec none [\"a\" \"b\"] by somebody`)
	c.is("POST "+base+"/pods/none/attach", 404, "")
	c.verbs.Admission = nil
	c.is("POST "+base+"/pods/p/exec?command=a&command=b", 400, "Upgrade request required")
}
