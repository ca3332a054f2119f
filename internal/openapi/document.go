package openapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// document is one document, of version 2 or 3, kept as compressed bytes and
// nothing else. It is immutable.
type document struct {
	// hash is the SHA-512 of the JSON, in capital hexadecimal digits as
	// upstream has it. It is the ETag of both encodings.
	hash string
	// place is the hash in its address: its own, or that of what it was made
	// from.
	place string
	made  time.Time
	json  []byte // compressed
	// proto is made from the JSON when it is first asked for, also compressed.
	proto func() ([]byte, error)
}

// newDocument keeps a document. toProto makes protobuf of JSON. building is
// held while it does: that takes many times the memory of what comes out.
func newDocument(json []byte, toProto func([]byte) ([]byte, error), building *sync.Mutex) *document {
	// Writing to memory does not fail.
	d, _ := writeDocument(func(w io.Writer) error { _, err := w.Write(json); return err }, toProto, building)
	return d
}

// writeDocument is newDocument for what write writes. It fails as that does.
func writeDocument(write func(io.Writer) error, toProto func([]byte) ([]byte, error), building *sync.Mutex) (*document, error) {
	digest := sha512.New()
	var compressed bytes.Buffer
	zip := newCompressor(&compressed)
	if err := write(io.MultiWriter(digest, zip)); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	hash := fmt.Sprintf("%X", digest.Sum(nil))
	d := &document{hash: hash, place: hash, made: time.Now(), json: bytes.Clone(compressed.Bytes())}
	d.proto = sync.OnceValues(func() ([]byte, error) {
		building.Lock()
		defer building.Unlock()
		json, err := decompress(d.json)
		if err != nil {
			return nil, err
		}
		proto, err := toProto(json)
		if err != nil {
			return nil, err
		}
		return compress(proto), nil
	})
	return d, nil
}

// encoding is one that a client may ask for.
type encoding struct {
	subtype     string // of application
	contentType string
	bytes       func(*document) ([]byte, error) // compressed
}

// encodings returns those of documents of a version ("v2"), the default first.
// The second protobuf type is the first as it was called when it was not a
// valid media type; clients of old ask for it.
func encodings(version string) []encoding {
	proto := "com.github.proto-openapi.spec." + version + ".v1.0+protobuf"
	ofProto := func(d *document) ([]byte, error) { return d.proto() }
	return []encoding{
		{"json", "application/json", func(d *document) ([]byte, error) { return d.json, nil }},
		{proto, "application/" + proto, ofProto},
		{"com.github.proto-openapi.spec." + version + "@v1.0+protobuf", "application/" + proto, ofProto},
	}
}

// serve writes a document, compressed if the client takes it so. Upstream never
// compresses those of version 3, nor says that they vary by it.
func (d *document) serve(w http.ResponseWriter, r *http.Request, compressed []byte) {
	header := w.Header()
	if acceptsGzip(r) {
		const varies = "Accept-Encoding"
		if !slices.Contains(header.Values("Vary"), varies) {
			header.Add("Vary", varies)
		}
		header.Set("Content-Encoding", "gzip")
		header.Set("Content-Length", strconv.Itoa(len(compressed)))
		http.ServeContent(w, r, "", d.made, bytes.NewReader(compressed))
		return
	}
	content, err := decompress(compressed)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.ServeContent(w, r, "", d.made, bytes.NewReader(content))
}

// acceptsGzip reports whether the client takes gzip, and the whole of it: parts
// are those of the document itself.
func acceptsGzip(r *http.Request) bool {
	if r.Header.Get("Range") != "" {
		return false
	}
	for accepted := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		if strings.TrimSpace(accepted) == "gzip" {
			return true
		}
	}
	return false
}

func compress(content []byte) []byte {
	var b bytes.Buffer
	zip := newCompressor(&b)
	zip.Write(content) // writing to a buffer does not fail
	zip.Close()
	return bytes.Clone(b.Bytes()) // without room to grow
}

func newCompressor(w io.Writer) *gzip.Writer {
	zip, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level exists
	return zip
}

func decompress(content []byte) ([]byte, error) {
	zip, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(zip)
}
