package knarr

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/server/filters"
)

func BenchmarkFairness(b *testing.B) {
	s, err := Start(b.Context(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Stop(b.Context())
	ctx := b.Context()
	f, err := s.newFairness(ctx)
	if err != nil {
		b.Fatal(err)
	}
	time.Sleep(time.Second)
	h := filters.WithPriorityAndFairness(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil, f, s.estimator(s.cat, f), 15*time.Second)
	for _, who := range []string{"masters", "jane"} {
		for _, verb := range []string{"get", "list", "create"} {
			b.Run(who+"/"+verb, func(b *testing.B) {
				u := &user.DefaultInfo{Name: "jane", Groups: []string{"system:authenticated"}}
				if who == "masters" {
					u.Groups = append(u.Groups, "system:masters")
				}
				r := httptest.NewRequest("GET", "/api/v1/namespaces/default/pods", nil)
				c := request.WithRequestInfo(r.Context(), &request.RequestInfo{IsResourceRequest: true, Verb: verb, APIVersion: "v1", Resource: "pods", Namespace: "default"})
				r = r.WithContext(request.WithUser(c, u))
				w := httptest.NewRecorder()
				b.ReportAllocs()
				for b.Loop() {
					h.ServeHTTP(w, r)
				}
				b.Log(w.Header())
			})
		}
	}
}
