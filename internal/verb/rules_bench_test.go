package verb

import (
	"context"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/registry/rest"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/kind/native"
)

// BenchmarkRules tells what upstream's rules alone take of a write of a pod of
// 3 KB: strategy, validation, declarative validation. Of the update, only an
// annotation is new.
func BenchmarkRules(b *testing.B) {
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		b.Fatal(err)
	}
	target := Target{Version: catalogue.Lookup(api.SchemeGroupVersion.WithResource("pods").GroupResource().WithVersion("v1")), Namespace: "default", Name: "web-6f7d9c5b8d-00001"}
	body, err := os.ReadFile("testdata/pod.json")
	if err != nil {
		b.Fatal(err)
	}
	info, _ := runtime.SerializerInfoForMediaType(target.resource().Serializer.SupportedMediaTypes(), runtime.ContentTypeJSON)
	decode := func() *api.Pod {
		obj, err := target.Decode(context.Background(), body, info, metav1.FieldValidationStrict)
		if err != nil {
			b.Fatal(err)
		}
		return obj.(*api.Pod)
	}
	admin := &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}
	created := decode()
	created.Namespace, created.UID, created.CreationTimestamp = "default", types.UID("u"), metav1.NewTime(time.Unix(1, 0))
	if err := rest.BeforeCreate(target.resource().Create, target.Context(context.Background(), "create", admin), created); err != nil {
		b.Fatal(err)
	}
	created.ResourceVersion = "1"

	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			decode()
		}
	})
	b.Run("create", func(b *testing.B) {
		ctx := target.Context(context.Background(), "create", admin)
		fresh := decode()
		fresh.Namespace, fresh.UID, fresh.CreationTimestamp = "default", types.UID("u"), metav1.NewTime(time.Unix(1, 0))
		b.ReportAllocs()
		for b.Loop() {
			if err := rest.BeforeCreate(target.resource().Create, ctx, fresh); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("update", func(b *testing.B) {
		ctx := target.Context(context.Background(), "update", admin)
		changed := created.DeepCopy()
		changed.Annotations["example.com/checked"] = "1"
		b.ReportAllocs()
		for b.Loop() {
			if err := rest.BeforeUpdate(target.resource().Update, ctx, changed, created); err != nil {
				b.Fatal(err)
			}
		}
	})
}
