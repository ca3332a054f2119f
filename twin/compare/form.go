// Package compare tells one story to two servers, brings what each said into a
// normal form and shows where the two differ, apart from differences that are known
// and explained.
//
// It must not know any story.
package compare

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/twin/normal"
	"github.com/knarr-io/knarr/twin/story"
)

// A decoder turns the bodies of answers into JSON.
type decoder struct {
	protobuf runtime.Decoder
}

func newDecoder() (*decoder, error) {
	types := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme, apiextensions.AddToScheme, apiregistration.AddToScheme, metav1.AddMetaToScheme,
	} {
		if err := add(types); err != nil {
			return nil, err
		}
	}
	return &decoder{protobuf.NewSerializer(types, types)}, nil
}

// document is a body as JSON and a word about what it looked like. ok is false if
// the body is no document but plain text.
func (d *decoder) document(contentType string, body []byte, frame bool) (document []byte, form string, ok bool) {
	mediaType, _, _ := mime.ParseMediaType(contentType)
	switch mediaType {
	case "application/json":
		if !json.Valid(body) {
			return nil, "", false
		}
		form = "JSON"
		if !frame {
			if bytes.Contains(bytes.TrimSpace(body), []byte("\n")) {
				form = "JSON, indented"
			}
			if bytes.HasSuffix(body, []byte("\n")) {
				form += ", newline at the end"
			}
		}
		return body, form, true
	case "application/yaml":
		document, err := yaml.YAMLToJSON(body)
		return document, "YAML", err == nil
	case "application/vnd.kubernetes.protobuf":
		if frame {
			return d.event(body)
		}
		return d.object(body)
	}
	return nil, "", false
}

func (d *decoder) object(body []byte) (document []byte, form string, ok bool) {
	decoded, _, err := d.protobuf.Decode(body, nil, nil)
	if err != nil {
		return nil, "", false
	}
	document, err = json.Marshal(decoded)
	return document, "protobuf", err == nil
}

// event decodes a frame of a protobuf watch: a WatchEvent without the envelope,
// holding an object with it.
func (d *decoder) event(frame []byte) (document []byte, form string, ok bool) {
	var event metav1.WatchEvent
	if event.Unmarshal(frame) != nil {
		return nil, "", false
	}
	object, _, ok := d.object(event.Object.Raw)
	if !ok {
		return nil, "", false
	}
	document, err := json.Marshal(map[string]any{"type": event.Type, "object": json.RawMessage(object)})
	return document, "protobuf", err == nil
}

// form is the normal form of the exchanges, one text each.
func (d *decoder) form(exchanges []*story.Exchange, names *normal.Names) []string {
	for _, e := range exchanges {
		for _, body := range e.Bodies {
			body = decompress(e.Header, body)
			if document, _, ok := d.document(e.Header.Get("Content-Type"), body, e.Streamed); ok {
				_ = names.Learn(document) // it is valid JSON
			}
		}
	}
	texts := make([]string, len(exchanges))
	for i, e := range exchanges {
		texts[i] = d.exchange(e, names)
	}
	return texts
}

// decompress undoes the answer's encoding, so that its content shows.
func decompress(header http.Header, body []byte) []byte {
	if header.Get("Content-Encoding") != "gzip" {
		return body
	}
	reader, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return body
	}
	content, err := io.ReadAll(reader)
	if err != nil {
		return body
	}
	return content
}

func (d *decoder) exchange(e *story.Exchange, names *normal.Names) string {
	if e.Program {
		return program(e, names)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n%d %s\n", names.Text(e.Request), e.Status, http.StatusText(e.Status))
	writeHeader(&out, e.Header, names)
	for _, body := range e.Bodies {
		body = decompress(e.Header, body)
		document, form, ok := d.document(e.Header.Get("Content-Type"), body, e.Streamed)
		if !ok {
			fmt.Fprintf(&out, "\n%s\n", names.Text(string(body)))
			continue
		}
		text, err := names.JSON(document)
		if err != nil {
			text = err.Error()
		}
		fmt.Fprintf(&out, "\n(%s)\n%s\n", form, text)
	}
	if e.End != "" {
		fmt.Fprintf(&out, "\n(%s)\n", e.End)
	}
	return out.String()
}

// program is what a client program printed. Columns are as wide as their widest
// cell, which an age may be, so how wide they are is left out.
func program(e *story.Exchange, names *normal.Names) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\nexit code %d\n", names.Text(e.Request), e.Status)
	for _, body := range e.Bodies {
		text := spaces.ReplaceAllString(names.Text(diffed.ReplaceAllString(string(body), "<$1>")), " ")
		fmt.Fprintf(&out, "\n%s", ages.ReplaceAllString(text, "${1}<age>$3"))
	}
	if e.End != "" {
		fmt.Fprintf(&out, "\n(%s)\n", e.End)
	}
	return out.String()
}

var (
	// Where kubectl diff keeps what it compares, and when it wrote that down.
	diffed = regexp.MustCompile(`/tmp/(LIVE|MERGED)-\d+|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [-+]\d{4}`)
	spaces = regexp.MustCompile(`[ \t]+`)
	ages   = regexp.MustCompile(`(?m)( )((?:\d+[smhd])+)( |$)`)
)

// Headers that say nothing about the answer, or whose value is each server's own.
var (
	ignoredHeaders = map[string]bool{"Date": true, "Content-Length": true}
	opaqueHeaders  = map[string]bool{
		"Audit-Id":      true,
		"Etag":          true,
		"Last-Modified": true,
	}
)

func writeHeader(out *strings.Builder, header http.Header, names *normal.Names) {
	for _, name := range slices.Sorted(maps.Keys(header)) { // names are given in that order, too
		if ignoredHeaders[name] {
			continue
		}
		var lines []string
		for _, value := range header[name] {
			if value = names.Text(value); opaqueHeaders[name] {
				value = "<any>"
			}
			lines = append(lines, name+": "+value+"\n")
		}
		slices.Sort(lines)
		out.WriteString(strings.Join(lines, ""))
	}
}
