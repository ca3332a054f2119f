package customtest

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Webhook is a conversion webhook with TLS on loopback that counts what it is
// asked. It is safe for concurrent use.
type Webhook struct {
	// Convert converts an object in place, but for its apiVersion, which is set. An
	// error refuses the whole review. It is set before the first review.
	Convert func(u *unstructured.Unstructured) error

	server *httptest.Server
	mu     sync.Mutex
	calls  []int
}

// NewWebhook starts a webhook, which ends with the test.
func NewWebhook(t testing.TB) *Webhook {
	t.Helper()
	w := &Webhook{}
	w.server = httptest.NewTLSServer(w)
	t.Cleanup(w.Close)
	return w
}

// Close ends the webhook and its connections.
func (w *Webhook) Close() {
	w.server.CloseClientConnections()
	w.server.Close()
}

// Conversion is what a definition says that is converted by it.
func (w *Webhook) Conversion() *apiextensionsv1.CustomResourceConversion {
	url := w.server.URL + "/convert"
	return &apiextensionsv1.CustomResourceConversion{
		Strategy: apiextensionsv1.WebhookConverter,
		Webhook: &apiextensionsv1.WebhookConversion{
			ConversionReviewVersions: []string{"v1"},
			ClientConfig: &apiextensionsv1.WebhookClientConfig{
				URL: &url, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.server.Certificate().Raw}),
			},
		},
	}
}

// Calls returns how many objects each review had since the last call of it.
func (w *Webhook) Calls() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := w.calls
	w.calls = nil
	return calls
}

// ServeHTTP answers a review. A Webhook that was not started may be served by others.
func (w *Webhook) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	review := &apiextensionsv1.ConversionReview{}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, review)
	}
	if err != nil || review.Request == nil {
		http.Error(out, "no review", http.StatusBadRequest)
		return
	}
	w.mu.Lock()
	w.calls = append(w.calls, len(review.Request.Objects))
	w.mu.Unlock()
	response := &apiextensionsv1.ConversionResponse{UID: review.Request.UID, Result: metav1.Status{Status: metav1.StatusSuccess}}
	for _, in := range review.Request.Objects {
		u := &unstructured.Unstructured{}
		err := u.UnmarshalJSON(in.Raw)
		if err == nil && w.Convert != nil {
			err = w.Convert(u)
		}
		if err != nil {
			response.Result, response.ConvertedObjects = metav1.Status{Status: metav1.StatusFailure, Message: err.Error()}, nil
			break
		}
		u.SetAPIVersion(review.Request.DesiredAPIVersion)
		response.ConvertedObjects = append(response.ConvertedObjects, runtime.RawExtension{Object: u})
	}
	review.Request, review.Response = nil, response
	out.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(out).Encode(review)
}
