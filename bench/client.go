package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"k8s.io/client-go/rest"

	"github.com/knarr-io/knarr/twin/peer"
)

// A client is one HTTP/2 connection with the administrator's certificate or, of a
// guarded server, a token. It counts
// the bytes of answers and decodes none, so that the servers' work shows and not its own.
type client struct {
	host, token string
	transport   *http.Transport
}

func newClient(server *peer.Server) (*client, error) {
	tls, err := rest.TLSConfigFor(server.Config)
	if err != nil {
		return nil, err
	}
	return &client{
		host: server.Config.Host, token: server.Config.BearerToken,
		// What is compressed is for the request to say.
		transport: &http.Transport{TLSClientConfig: tls, ForceAttemptHTTP2: true, DisableCompression: true},
	}, nil
}

func (c *client) close() { c.transport.CloseIdleConnections() }

// send returns an answer with one of the wanted status codes, which is never empty.
func (c *client) send(ctx context.Context, method, uri, contentType string, header http.Header, body []byte, want int) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.host+uri, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "bench/1.0")
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != want {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 500))
		response.Body.Close()
		return nil, &refusal{response.StatusCode, fmt.Sprintf("%s %s: %s: %s", method, uri, response.Status, text)}
	}
	return response, nil
}

// A refusal is an answer with another status code than was wanted.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return r.text }

// write sends a body and drops the answer.
func (c *client) write(ctx context.Context, method, uri, contentType string, body []byte, want int) error {
	response, err := c.send(ctx, method, uri, contentType, nil, body, want)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// read drops an answer and returns its size in bytes, as it came over the wire.
func (c *client) read(ctx context.Context, uri string, header http.Header) (int64, error) {
	response, err := c.send(ctx, http.MethodGet, uri, "", header, nil, http.StatusOK)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return io.Copy(io.Discard, response.Body)
}

// content returns an answer's body.
func (c *client) content(ctx context.Context, uri string, header http.Header) ([]byte, error) {
	response, err := c.send(ctx, http.MethodGet, uri, "", header, nil, http.StatusOK)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}
