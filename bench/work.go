package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/knarr-io/knarr/twin/peer"
)

const (
	namespace = "bench"
	pods      = "/api/v1/namespaces/" + namespace + "/pods"
	configs   = "/api/v1/namespaces/" + namespace + "/configmaps"

	applicationJSON = "application/json"
	mergePatch      = "application/merge-patch+json"
	protobuf        = "application/vnd.kubernetes.protobuf"
	pageSize        = 500
)

// work is what is done to one server, in this order: memory is read before the
// operations that follow could add to it.
type work struct {
	ctx    context.Context
	name   string
	server *peer.Server
	client *client
	sizes  sizes
}

func newWork(ctx context.Context, name string, server *peer.Server, n sizes) (*work, error) {
	client, err := newClient(server)
	if err != nil {
		return nil, err
	}
	return &work{ctx, name, server, client, n}, nil
}

func (w *work) do(r *report) error {
	defer w.client.close()
	var err error
	if r.idle, err = w.settledMemory(5 * time.Second); err != nil {
		return err
	}
	progress(w.name, "idle: %d MB", r.idle>>20)
	if err := w.client.write(w.ctx, http.MethodPost, "/api/v1/namespaces", applicationJSON,
		fmt.Appendf(nil, `{"metadata":{"name":%q}}`, namespace), http.StatusCreated); err != nil {
		return err
	}
	// Nobody does the work of kube-controller-manager, and pods need the one they name.
	if err := w.client.write(w.ctx, http.MethodPost, "/api/v1/namespaces/"+namespace+"/serviceaccounts", applicationJSON,
		[]byte(`{"metadata":{"name":"web"}}`), http.StatusCreated); err != nil {
		return err
	}
	r.podSize = len(podManifest(0))
	if err := w.operation(&r.createPod, "create pod", w.sizes.pods, w.sizes.inFlight, w.createPod); err != nil {
		return err
	}
	if r.loaded, err = w.settledMemory(w.sizes.settle); err != nil {
		return err
	}
	progress(w.name, "with %d pods: %d MB", w.sizes.pods, r.loaded>>20)
	if err := w.checkLists(); err != nil {
		return err
	}
	if err := w.operations([]operation{
		{&r.getPod, "get pod", w.sizes.gets, w.sizes.inFlight, w.getPod},
		{&r.listJSON, "list, JSON", w.sizes.lists, 1, w.list(nil, &r.listJSON)},
		{&r.listProtobuf, "list, protobuf", w.sizes.lists, 1, w.list(http.Header{"Accept": {protobuf}}, &r.listProtobuf)},
		{&r.listGzip, "list, JSON with gzip", w.sizes.lists, 1, w.list(http.Header{"Accept-Encoding": {"gzip"}}, &r.listGzip)},
		{&r.listPages, "list, in pages", w.sizes.lists, 1, w.listPages},
		{&r.patchPod, "merge-patch pod", w.sizes.patches, w.sizes.inFlight, w.patchPod},
		{&r.createConfig, "create ConfigMap", w.sizes.configs, w.sizes.inFlight, w.createConfig},
	}); err != nil {
		return err
	}
	if r.event, err = w.fanOut(configs, `{"metadata":{"name":"watched"},"data":{"n":"none"}}`); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	progress(w.name, "watch: %s per event", r.event.cpu)
	return w.doCustom(r)
}

// operation is what is done n times, so many at a time.
type operation struct {
	cost     *cost
	name     string
	n        int
	inFlight int
	do       func(context.Context, int) error
}

func (w *work) operations(all []operation) error {
	for _, o := range all {
		if err := w.operation(o.cost, o.name, o.n, o.inFlight, o.do); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) operation(result *cost, name string, n, inFlight int, do func(context.Context, int) error) error {
	c, err := timed(w.ctx, w.server, n, inFlight, do)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c.bytes = result.bytes
	*result = c
	progress(w.name, "%s: %s of CPU, p50 %s, p99 %s", name, c.cpu, c.p50, c.p99)
	return nil
}

func (w *work) settledMemory(settle time.Duration) (int64, error) {
	select {
	case <-w.ctx.Done():
		return 0, w.ctx.Err()
	case <-time.After(settle):
	}
	return w.server.Memory()
}

func (w *work) createPod(ctx context.Context, i int) error {
	return w.client.write(ctx, http.MethodPost, pods, applicationJSON, podManifest(i), http.StatusCreated)
}

func (w *work) patchPod(ctx context.Context, i int) error {
	return w.annotate(ctx, w.somePod(i), i)
}

// annotate merge-patches an object.
func (w *work) annotate(ctx context.Context, object string, i int) error {
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"example.com/checked":"%d"}}}`, i)
	return w.client.write(ctx, http.MethodPatch, object, mergePatch, patch, http.StatusOK)
}

func (w *work) createConfig(ctx context.Context, i int) error {
	return w.client.write(ctx, http.MethodPost, configs, applicationJSON, configManifest(i), http.StatusCreated)
}

func (w *work) getPod(ctx context.Context, i int) error {
	_, err := w.client.read(ctx, w.somePod(i), nil)
	return err
}

// somePod is the path of a pod that depends on i alone, so that both servers are
// asked for the same pods in about the same order.
func (w *work) somePod(i int) string {
	return pods + "/" + podName(w.some(i))
}

// some is the number of an object that depends on i alone.
func (w *work) some(i int) int { return rand.New(rand.NewPCG(1, uint64(i))).IntN(w.sizes.pods) }

func (w *work) list(header http.Header, result *cost) func(context.Context, int) error {
	return w.listOf(pods, header, result)
}

func (w *work) listOf(collection string, header http.Header, result *cost) func(context.Context, int) error {
	return func(ctx context.Context, _ int) error {
		size, err := w.client.read(ctx, collection, header)
		result.bytes = size
		return err
	}
}

var continueToken = regexp.MustCompile(`"continue":"([^"]+)"`)

// listPages lists all pods once, a page after the other. A list's metadata comes
// before its items, so the token is near the beginning.
func (w *work) listPages(ctx context.Context, _ int) error {
	token := ""
	for page := range w.sizes.pods/pageSize + 1 {
		body, err := w.client.content(ctx, fmt.Sprintf("%s?limit=%d&continue=%s", pods, pageSize, url.QueryEscape(token)), nil)
		if err != nil {
			return err
		}
		match := continueToken.FindSubmatch(body[:min(len(body), 2048)])
		if match == nil {
			if want := (w.sizes.pods + pageSize - 1) / pageSize; page+1 != want {
				return fmt.Errorf("%d pages instead of %d", page+1, want)
			}
			return nil
		}
		token = string(match[1])
	}
	return fmt.Errorf("the pages do not end")
}

// checkLists reads each kind of list once, outside any measurement, and makes sure
// that it is whole.
func (w *work) checkLists() error {
	body, err := w.client.content(w.ctx, pods, nil)
	if err != nil {
		return err
	}
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(body, &list); err != nil {
		return err
	}
	if len(list.Items) != w.sizes.pods {
		return fmt.Errorf("the JSON list has %d pods instead of %d", len(list.Items), w.sizes.pods)
	}
	if body, err = w.client.content(w.ctx, pods, http.Header{"Accept": {protobuf}}); err != nil {
		return err
	}
	object, err := runtime.Decode(scheme.Codecs.UniversalDeserializer(), body)
	if err != nil {
		return err
	}
	if podList, ok := object.(*corev1.PodList); !ok || len(podList.Items) != w.sizes.pods {
		return fmt.Errorf("the protobuf list does not have %d pods", w.sizes.pods)
	}
	return nil
}
