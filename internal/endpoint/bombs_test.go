package endpoint_test

import (
	"fmt"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/process"
)

// watched runs f and tells how much memory it took at most beside what there was.
func watched(f func()) (most int64, took time.Duration) {
	before := heap()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			metrics.Read(sample)
			if most = max(most, int64(sample[0].Value.Uint64())-before); most > 6<<30 {
				panic("more than 6 GB are held")
			}
			select {
			case <-over:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	began := time.Now()
	f()
	took = time.Since(began)
	close(over)
	watch.Wait()
	return most, took
}

func rep(s string, n int) string { return strings.Repeat(s, n) }

func listed(n int, item func(int) string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = item(i)
	}
	return strings.Join(items, ",")
}

func laughs(n int) string {
	b := "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < n; i++ {
		b += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(rep(fmt.Sprintf("*a%d,", i-1), 9), ","))
	}
	return b
}

func crd(schema string) string {
	return `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"bombs.example.com"},"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"bombs","singular":"bomb","kind":"Bomb","listKind":"BombList"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":` + schema + `}}]}}`
}

// Bodies that are small for what they say.
func TestBombs(t *testing.T) {
	if err := process.Set(process.Settings{}); err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	s.do("POST /api/v1/namespaces/default/configmaps", `{"metadata":{"name":"a"},"data":{"a":"`+rep("x", 1000)+`"}}`).is(201)
	s.do("POST /api/v1/namespaces/default/pods", `{"metadata":{"name":"a"},"spec":{"containers":[{"name":"a","image":"a"}]}}`).is(201)
	const maps, pods, crds = "POST /api/v1/namespaces/default/configmaps", "POST /api/v1/namespaces/default/pods", "POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	const yaml = "Content-Type: application/yaml"
	patch := func(what string) string { return "Content-Type: application/" + what }
	for _, c := range []struct {
		name                  string
		code                  int
		request, body, header string
	}{
		{"containers", 413, pods, `{"metadata":{"name":"b"},"spec":{"containers":[` + strings.TrimSuffix(rep("{},", 1_000_000), ",") + `]}}`, ""},
		{"containers null", 413, pods, `{"metadata":{"name":"b"},"spec":{"containers":[` + strings.TrimSuffix(rep("null,", 500_000), ",") + `]}}`, ""},
		{"containers, fewer", 422, pods, `{"metadata":{"name":"b"},"spec":{"containers":[` + strings.TrimSuffix(rep("{},", 90_000), ",") + `]}}`, ""},
		{"finalizers", 422, pods, `{"metadata":{"name":"b","finalizers":[` + strings.TrimSuffix(rep(`"",`, 1_000_000), ",") + `]},"spec":{"containers":[{"name":"a","image":"a"}]}}`, ""},
		{"unknown fields", 201, maps, `{"metadata":{"name":"b"},` + listed(200_000, func(i int) string { return fmt.Sprintf(`"f%d":0`, i) }) + `}`, ""},
		{"duplicate fields", 201, maps, `{"metadata":{"name":"b"},"data":{` + strings.TrimSuffix(rep(`"a":"",`, 400_000), ",") + `}}`, ""},
		{"many keys", 201, maps, `{"metadata":{"name":"b"},"data":{` + listed(200_000, func(i int) string { return fmt.Sprintf(`"f%d":""`, i) }) + `}}`, ""},
		{"json deep lists", 400, maps, `{"metadata":{"name":"b"},"x":` + rep("[", 1_500_000) + rep("]", 1_500_000) + `}`, ""},
		{"json deep maps", 413, maps, `{"metadata":{"name":"b"},"x":` + rep(`{"a":`, 500_000) + "0" + rep("}", 500_000) + `}`, ""},
		{"json depth 9000", 201, maps, `{"metadata":{"name":"b"},"x":` + rep(`{"a":`, 9_000) + "0" + rep("}", 9_000) + `}`, ""},
		{"yaml deep flow", 400, maps, `{metadata: {name: b}, x: ` + rep("[", 1_000_000) + rep("]", 1_000_000) + `}`, yaml},
		{"yaml depth 9000", 201, maps, "metadata:\n  name: b\nx: " + rep("[", 9_000) + rep("]", 9_000), yaml},
		{"yaml deep block", 400, maps, "metadata:\n  name: b\nx:\n" + rep("- ", 1_000_000) + "a", yaml},
		{"yaml laughs", 400, maps, "metadata:\n  name: b\n" + laughs(12), yaml},
		{"yaml quadratic", 413, maps, "metadata:\n  name: b\na: &a " + rep("x", 100_000) + "\nb: [" + strings.TrimSuffix(rep("*a,", 100_000), ",") + "]", yaml},
		{"yaml documents", 422, maps, rep("---\na: b\n", 200_000), yaml},
		{"yaml tags", 400, maps, "metadata:\n  name: b\ndata:\n  a: !!binary " + rep("!", 1_000_000), yaml},
		{"number digits", 400, pods, `{"metadata":{"name":"b"},"spec":{"priority":` + rep("9", 2_900_000) + `}}`, ""},
		{"number exponent", 400, pods, `{"metadata":{"name":"b"},"spec":{"priority":1e999999999}}`, ""},
		{"quantity digits", 400, pods, `{"metadata":{"name":"b"},"spec":{"containers":[{"name":"a","image":"a","resources":{"limits":{"cpu":"` + rep("9", 1_000_000) + `"}}}]}}`, ""},
		{"quantity exponent", 400, pods, `{"metadata":{"name":"b"},"spec":{"containers":[{"name":"a","image":"a","resources":{"limits":{"cpu":"1e1000000000"}}}]}}`, ""},
		{"quantity small", 400, pods, `{"metadata":{"name":"b"},"spec":{"containers":[{"name":"a","image":"a","resources":{"limits":{"cpu":"1e-1000000000"}}}]}}`, ""},
		{"quantity number", 400, pods, `{"metadata":{"name":"b"},"spec":{"containers":[{"name":"a","image":"a","resources":{"limits":{"cpu":1e1000000000}}}]}}`, ""},
		{"quantity yaml", 400, pods, "metadata: {name: b}\nspec:\n  containers:\n  - {name: a, image: a, resources: {limits: {cpu: 1e1000000000}}}\n", yaml},
		{"quantity protobuf", 400, pods, "k8s\x00\n\x09\n\x02v1\x12\x03Pod\x12\x101e1000000000", "Content-Type: application/vnd.kubernetes.protobuf"},
		{"quantity json patch", 400, "PATCH /api/v1/namespaces/default/pods/a", `[{"op":"add","path":"/spec/containers/0/resources/limits","value":{"cpu":"1e1000000000"}}]`, patch("json-patch+json")},
		{"quantity merge patch", 400, "PATCH /api/v1/namespaces/default/pods/a", `{"spec":{"overhead":{"cpu":"1e1000000000"}}}`, patch("merge-patch+json")},
		{"quantity of another kind", 400, maps, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"},"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":"1e-1000000000"}}}]}}`, ""},
		{"no quantity", 201, pods, `{"metadata":{"name":"b","labels":{"commit":"1e1000000000"}},"spec":{"containers":[{"name":"a","image":"a"}]}}`, ""},
		{"long name", 422, maps, `{"metadata":{"name":"` + rep("b", 2_900_000) + `"}}`, ""},
		{"long generateName", 422, maps, `{"metadata":{"generateName":"` + rep("b", 2_900_000) + `"}}`, ""},
		{"long label", 422, maps, `{"metadata":{"name":"b","labels":{"` + rep("b/", 1_400_000) + `":"a"}}}`, ""},
		{"long key", 422, maps, `{"metadata":{"name":"b"},"data":{"` + rep("b", 2_900_000) + `":"a"}}`, ""},
		{"owners", 413, maps, `{"metadata":{"name":"b","ownerReferences":[` + strings.TrimSuffix(rep("{},", 900_000), ",") + `]}}`, ""},
		{"managed fields", 201, maps, `{"metadata":{"name":"b","managedFields":[` + listed(20_000, func(i int) string {
			return fmt.Sprintf(`{"manager":"m%d","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:a":{}}}}`, i)
		}) + `]}}`, ""},
		{"managed fields deep", 201, maps, `{"metadata":{"name":"b","managedFields":[{"manager":"m","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":` + rep(`{"f:a":`, 9000) + "{}" + rep("}", 9000) + `}]}}`, ""},
		{"selector", 422, "POST /apis/apps/v1/namespaces/default/deployments", `{"metadata":{"name":"b"},"spec":{"selector":{"matchExpressions":[` + listed(50_000, func(i int) string { return fmt.Sprintf(`{"key":"a%d","operator":"In","values":["b"]}`, i) }) + `]},"template":{"spec":{"containers":[{"name":"a","image":"a"}]}}}}`, ""},
		{"json patch operations", 413, "PATCH /api/v1/namespaces/default/configmaps/a", "[" + listed(10_001, func(int) string { return `{"op":"test","path":"/metadata/name","value":"a"}` }) + "]", patch("json-patch+json")},
		{"json patch copies", 422, "PATCH /api/v1/namespaces/default/configmaps/a", "[" + listed(9_000, func(i int) string { return fmt.Sprintf(`{"op":"copy","from":"/data","path":"/data/a%d"}`, i) }) + "]", patch("json-patch+json")},
		{"json patch growing", 422, "PATCH /api/v1/namespaces/default/configmaps/a", "[" + listed(9_000, func(i int) string { return fmt.Sprintf(`{"op":"copy","from":"/metadata","path":"/metadata/x%d"}`, i) }) + "]", patch("json-patch+json")},
		{"json patch empty", 413, "PATCH /api/v1/namespaces/default/configmaps/a", "[" + strings.TrimSuffix(rep("{},", 1_000_000), ",") + "]", patch("json-patch+json")},
		{"json patch index", 422, "PATCH /api/v1/namespaces/default/configmaps/a", `[{"op":"add","path":"/metadata/finalizers","value":[]},{"op":"add","path":"/metadata/finalizers/1000000000","value":"a"}]`, patch("json-patch+json")},
		{"json patch deep", 400, "PATCH /api/v1/namespaces/default/configmaps/a", `[{"op":"add","path":"/data","value":` + rep("[", 1_400_000) + rep("]", 1_400_000) + `}]`, patch("json-patch+json")},
		{"json patch path", 422, "PATCH /api/v1/namespaces/default/configmaps/a", `[{"op":"add","path":"` + rep("/a", 1_400_000) + `","value":1}]`, patch("json-patch+json")},
		{"merge patch deep", 413, "PATCH /api/v1/namespaces/default/configmaps/a", rep(`{"a":`, 500_000) + "0" + rep("}", 500_000), patch("merge-patch+json")},
		{"merge patch depth 9000", 413, "PATCH /api/v1/namespaces/default/configmaps/a", rep(`{"a":`, 9_000) + "0" + rep("}", 9_000), patch("merge-patch+json")},
		{"merge patch wide", 413, "PATCH /api/v1/namespaces/default/configmaps/a", `{"data":{` + listed(200_000, func(i int) string { return fmt.Sprintf(`"f%d":null`, i) }) + `}}`, patch("merge-patch+json")},
		{"strategic deep", 200, "PATCH /api/v1/namespaces/default/pods/a", rep(`{"spec":`, 9_000) + "0" + rep("}", 9_000), patch("strategic-merge-patch+json")},
		{"strategic containers", 422, "PATCH /api/v1/namespaces/default/pods/a", `{"spec":{"containers":[` + listed(4_000, func(i int) string { return fmt.Sprintf(`{"name":"c%d","image":"a"}`, i) }) + `]}}`, patch("strategic-merge-patch+json")},
		{"strategic order", 413, "PATCH /api/v1/namespaces/default/pods/a", `{"spec":{"$setElementOrder/containers":[` + listed(8_000, func(i int) string { return fmt.Sprintf(`{"name":"c%d"}`, i) }) + `],"containers":[` + listed(8_000, func(i int) string { return fmt.Sprintf(`{"name":"c%d","image":"a"}`, i) }) + `]}}`, patch("strategic-merge-patch+json")},
		{"apply laughs", 400, "PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=m", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n" + laughs(12), patch("apply-patch+yaml")},
		{"apply deep", 500, "PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=m", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata: " + rep("[", 9_000) + rep("]", 9_000), patch("apply-patch+yaml")},
		{"apply wide", 200, "PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=m", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{` + listed(20_000, func(i int) string { return fmt.Sprintf(`"f%d":""`, i) }) + `}}`, patch("apply-patch+yaml")},
		{"apply containers", 500, "PATCH /api/v1/namespaces/default/pods/a?fieldManager=m", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[` + strings.TrimSuffix(rep(`{"name":"a"},`, 100_000), ",") + `]}}`, patch("apply-patch+yaml")},
		{"crd deep", 201, crds, crd(rep(`{"type":"object","properties":{"a":`, 4_000) + `{"type":"string"}` + rep("}}", 4_000)), ""},
		{"crd wide", 201, crds, crd(`{"type":"object","properties":{` + listed(50_000, func(i int) string { return fmt.Sprintf(`"f%d":{"type":"string"}`, i) }) + `}}`), ""},
		{"crd regex", 422, crds, crd(`{"type":"object","properties":{"a":{"type":"string","pattern":"((a{1,1000}){1,1000}){1,1000}"}}}`), ""},
		{"crd long regex", 201, crds, crd(`{"type":"object","properties":{"a":{"type":"string","pattern":"` + rep("(a|b)*", 300_000) + `"}}}`), ""},
		{"crd deep regex", 422, crds, crd(`{"type":"object","properties":{"a":{"type":"string","pattern":"` + rep("(", 500_000) + rep(")", 500_000) + `"}}}`), ""},
		{"crd allOf", 413, crds, crd(`{"type":"object","allOf":[` + strings.TrimSuffix(rep("{},", 900_000), ",") + `]}`), ""},
		{"crd cel cost", 422, crds, crd(`{"type":"object","properties":{"a":{"type":"array","items":{"type":"array","items":{"type":"string"}}}},"x-kubernetes-validations":[{"rule":"self.a.all(x, self.a.all(y, self.a.all(z, x.all(u, y.all(v, z.all(w, u + v == w))))))"}]}`), ""},
		{"crd cel deep", 422, crds, crd(`{"type":"object","x-kubernetes-validations":[{"rule":"` + rep("(", 100_000) + "true" + rep(")", 100_000) + `"}]}`), ""},
		{"crd cel long", 422, crds, crd(`{"type":"object","x-kubernetes-validations":[{"rule":"true` + rep(" && true", 100_000) + `"}]}`), ""},
		{"crd cel many", 201, crds, crd(`{"type":"object","x-kubernetes-validations":[` + listed(10_000, func(i int) string { return fmt.Sprintf(`{"rule":"%d == %d"}`, i, i) }) + `]}`), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a *answer
			headers := []string{}
			if c.header != "" {
				headers = append(headers, c.header)
			}
			request := c.request
			if strings.HasPrefix(request, "POST") { // to be told all that is wrong, and store nothing
				request += "?dryRun=All"
			}
			most, took := watched(func() { a = s.do(request, c.body, headers...) })
			message := a.str("message")
			if a.code != c.code {
				t.Errorf("code %d, want %d: %.1000s", a.code, c.code, a.text)
			}
			if most > 2<<30 {
				t.Errorf("%d MB were held", most>>20)
			}
			if len(message) > 160 {
				message = fmt.Sprintf("%s… (%d bytes)", message[:160], len(message))
			}
			t.Logf("%-22s %7d bytes: %d, %4d MB, %v: %s", c.name, len(c.body), a.code, most>>20, took.Round(time.Millisecond), message)
		})
	}
}
