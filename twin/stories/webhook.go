package stories

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	"github.com/knarr-io/knarr/twin/story"
)

// A webhook converts custom objects for one server that a story is told to, and keeps
// what it was sent. It listens on loopback, with TLS, and ends with the story.
//
// It is safe for concurrent use: a server may call it whenever it likes.
type webhook struct {
	server *httptest.Server

	mu      sync.Mutex
	answer  answering
	objects map[string]bool // those it was sent, each with the version wanted
	reviews int
}

// answering makes the response to a review of the objects that were converted well; it
// may change them. The response lacks its uid.
type answering func(r *review, converted []object) object

// A review is what a webhook is sent.
type review struct {
	APIVersion string `json:"apiVersion"`
	Request    struct {
		UID               string   `json:"uid"`
		DesiredAPIVersion string   `json:"desiredAPIVersion"`
		Objects           []object `json:"objects"`
	} `json:"request"`
	// raw is the answer, if it is no ConversionReview.
	raw    string
	status int
	wrong  string // uid
}

// newWebhook starts a webhook.
func newWebhook(s *story.Session) *webhook {
	w := &webhook{answer: well, objects: map[string]bool{}}
	w.server = httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
	w.server.Config.ErrorLog = log.New(io.Discard, "", 0) // that a certificate is not trusted is part of a story
	w.server.StartTLS()
	s.Addresses = append(s.Addresses, w.server.Listener.Addr().String())
	return w
}

func (w *webhook) close() {
	w.server.CloseClientConnections()
	w.server.Close()
}

// bundle is what the webhook's certificate is verified with, as definitions hold it.
func (w *webhook) bundle() string { return bundle(w.server.Certificate()) }

func bundle(c *x509.Certificate) string {
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// answers has reviews answered in another way from now on.
func (w *webhook) answers(a answering) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = a
}

func (w *webhook) serve(out http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	in := &review{}
	if err == nil {
		err = json.Unmarshal(body, in)
	}
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
		return
	}
	w.mu.Lock()
	answer := w.answer
	w.reviews++
	for _, o := range in.Request.Objects {
		sent, _ := json.Marshal(object{
			"apiVersion": in.APIVersion, "desiredAPIVersion": in.Request.DesiredAPIVersion, "object": o,
			"path": r.URL.Path, "contentType": r.Header.Get("Content-Type"), "accept": r.Header.Get("Accept"),
		})
		w.objects[string(sent)] = true
	}
	w.mu.Unlock()
	var converted []object
	for _, o := range in.Request.Objects {
		converted = append(converted, convertedTo(in.Request.DesiredAPIVersion, o))
	}
	response := answer(in, converted)
	if in.raw != "" || in.status != 0 {
		out.Header().Set("Content-Type", "application/json")
		out.WriteHeader(max(in.status, http.StatusOK))
		_, _ = io.WriteString(out, in.raw)
		return
	}
	if response != nil {
		response["uid"] = in.Request.UID
		if in.wrong != "" {
			response["uid"] = in.wrong
		}
	}
	out.Header().Set("Content-Type", "application/json")
	whole := object{"apiVersion": in.APIVersion, "kind": "ConversionReview"}
	if response != nil {
		whole["response"] = response
	}
	_ = json.NewEncoder(out).Encode(whole)
}

// was notes, in the story, what the webhook was sent of the objects of a name.
func (w *webhook) was(s *story.Session, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var sent []json.RawMessage
	for text := range w.objects {
		if strings.Contains(text, `"name":"`+name+`"`) {
			sent = append(sent, json.RawMessage(text))
		}
	}
	slices.SortFunc(sent, func(a, b json.RawMessage) int { return strings.Compare(string(a), string(b)) })
	body, _ := json.Marshal(sent)
	s.Exchanges = append(s.Exchanges, &story.Exchange{
		Request: "the webhook was sent " + name, Status: http.StatusOK,
		Header: http.Header{"Content-Type": {"application/json"}}, Bodies: [][]byte{body},
	})
}

// convertedTo is an object of v1, of a host and a port, as one of v2, of both in one
// text, or the other way round. All else is left.
func convertedTo(apiVersion string, o object) object {
	converted := fromYAML("{}")
	for name, value := range o {
		converted[name] = value
	}
	converted["apiVersion"] = apiVersion
	spec, ok := o["spec"].(object)
	if !ok {
		return converted
	}
	to := object{}
	for name, value := range spec {
		to[name] = value
	}
	if strings.HasSuffix(apiVersion, "/v2") {
		delete(to, "host")
		delete(to, "port")
		to["address"] = fmt.Sprint(spec["host"], ":", spec["port"])
	} else {
		delete(to, "address")
		delete(to, "secure")
		text, _ := spec["address"].(string)
		host, port, _ := strings.Cut(text, ":")
		to["host"], to["port"] = host, len(port)
		var n int
		if _, err := fmt.Sscan(port, &n); err == nil {
			to["port"] = n
		}
	}
	converted["spec"] = to
	return converted
}

// well answers as it should be answered.
func well(_ *review, converted []object) object {
	return object{"result": object{"status": "Success"}, "convertedObjects": converted}
}

// each answers well, but changes each object.
func each(change func(o object)) answering {
	return func(r *review, converted []object) object {
		for _, o := range converted {
			change(o)
		}
		return well(r, converted)
	}
}

// metadataOf is an object's metadata, to be changed.
func metadataOf(o object) object {
	metadata := object{}
	for name, value := range o["metadata"].(object) {
		metadata[name] = value
	}
	o["metadata"] = metadata
	return metadata
}
