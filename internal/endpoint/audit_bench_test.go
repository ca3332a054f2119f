package endpoint_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/knarr-io/knarr/internal/audit"
	"github.com/knarr-io/knarr/internal/endpoint"
)

// What a record costs a request that reads, and one that writes, without
// connection and disk: go test -run XXX -bench Audit ./internal/endpoint
func BenchmarkAudit(b *testing.B) {
	for _, level := range []string{"off", "None", "Metadata", "Request", "RequestResponse"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			b.Run(level+"/"+method, func(b *testing.B) {
				s := newServer(b)
				o := audit.Defaults()
				if level != "off" {
					dir := b.TempDir()
					o.PolicyFile, o.Log.Path = filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "audit.log")
					policy := `{"apiVersion":"audit.k8s.io/v1","kind":"Policy","rules":[{"level":"` + level + `"}]}`
					if err := os.WriteFile(o.PolicyFile, []byte(policy), 0o600); err != nil {
						b.Fatal(err)
					}
				}
				a, err := audit.New(o)
				if err != nil {
					b.Fatal(err)
				}
				defer a.Stop(b.Context())
				s.options.Audit, s.options.AuditPolicy = a.Sink(), a.Policy()
				s.Handler = endpoint.New(s.options)
				data := strings.Repeat("x", 2500)
				body := func(name string) string {
					return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"` + name + `"},"data":{"k":"` + data + `"}}`
				}
				s.do("POST "+configMaps, body("read")).is(201)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					code, path, sent := http.StatusOK, configMaps+"/read", ""
					if method == http.MethodPost {
						code, path, sent = http.StatusCreated, configMaps, body(fmt.Sprint("c-", i))
					}
					r := httptest.NewRequestWithContext(b.Context(), method, path, strings.NewReader(sent))
					r.Header.Set("Content-Type", "application/json")
					w := httptest.NewRecorder()
					s.ServeHTTP(w, r)
					if w.Code != code {
						b.Fatal(w.Code, w.Body)
					}
				}
			})
		}
	}
}
