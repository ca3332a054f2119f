package normal

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// form learns all documents and returns the normal form of each.
func form(t *testing.T, n *Names, documents ...string) []string {
	t.Helper()
	for _, d := range documents {
		if err := n.Learn([]byte(d)); err != nil {
			t.Fatalf("Learn(%s): %v", d, err)
		}
	}
	var forms []string
	for _, d := range documents {
		text, err := n.JSON([]byte(d))
		if err != nil {
			t.Fatalf("JSON(%s): %v", d, err)
		}
		forms = append(forms, text)
	}
	return forms
}

func pod(name, uid string, revision int) string {
	return fmt.Sprintf(`{"kind":"Pod","metadata":{"name":%q,"uid":%q,"resourceVersion":"%d"}}`, name, uid, revision)
}

const (
	uidA = "11111111-1111-4111-8111-111111111111"
	uidB = "22222222-2222-4222-8222-222222222222"
	uidC = "33333333-3333-4333-8333-333333333333"
	uidD = "44444444-4444-4444-8444-444444444444"
)

func TestServersThatChooseDifferentlyAreEqual(t *testing.T) {
	now := time.Now().UTC()
	answers := func(uid1, uid2 string, first, second, list int, at time.Time, ip string, port int, suffix string) string {
		n := New(uint64(first-1), "127.0.0.1:"+fmt.Sprint(port))
		n.Prefixes = []string{"web-"}
		return strings.Join(form(t, n,
			pod("a", uid1, first), pod("b", uid2, second), pod("a", uid1, second+5),
			fmt.Sprintf(`{"kind":"List","metadata":{"resourceVersion":"%d","continue":"token%d"},"items":[]}`, list, list),
			fmt.Sprintf(`{"at":%q,"owner":%q,"spec":{"clusterIP":%q,"ports":[{"nodePort":%d}]}}`,
				at.Format(time.RFC3339), uid2, ip, 30000+port%100),
			fmt.Sprintf(`{"message":"pods \"web-%s\" at 127.0.0.1:%d"}`, suffix, port),
		), "\n")
	}
	one := answers(uidA, uidB, 10, 12, 17, now, "10.0.0.7", 6443, "bcdfg")
	other := answers(uidC, uidD, 900, 950, 960, now.Add(time.Minute), "10.0.0.99", 41234, "x2z9w")
	if one != other {
		t.Errorf("not equal:\n%s\n---\n%s", one, other)
	}
}

func TestWhatMattersStaysDifferent(t *testing.T) {
	for name, documents := range map[string][2][]string{
		"the same uid and another": {
			{pod("a", uidA, 5), pod("b", uidA, 6)},
			{pod("a", uidA, 5), pod("b", uidB, 6)},
		},
		"order of revisions": {
			{pod("a", uidA, 5), pod("b", uidB, 6)},
			{pod("a", uidA, 6), pod("b", uidB, 5)},
		},
		"a change and none": {
			{pod("a", uidA, 5), pod("a", uidA, 5)},
			{pod("a", uidA, 5), pod("a", uidA, 6)},
		},
		"a list from before the change": {
			{pod("a", uidA, 5), pod("a", uidA, 7), `{"metadata":{"resourceVersion":"8"}}`},
			{pod("a", uidA, 5), pod("a", uidA, 7), `{"metadata":{"resourceVersion":"6"}}`},
		},
		"a revision and none": {
			{`{"metadata":{"resourceVersion":"8"}}`},
			{`{"metadata":{"resourceVersion":""}}`},
		},
		"precision of times": {
			{fmt.Sprintf(`{"t":%q}`, time.Now().UTC().Format("2006-01-02T15:04:05Z"))},
			{fmt.Sprintf(`{"t":%q}`, time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"))},
		},
		"times of long ago": {
			{`{"t":"2020-01-01T00:00:00Z"}`},
			{`{"t":"2020-01-01T00:00:01Z"}`},
		},
		"order of members": {
			{`{"a":1,"b":2}`},
			{`{"b":2,"a":1}`},
		},
		"null and absent": {
			{`{"a":null}`},
			{`{}`},
		},
		"numbers and their text": {
			{`{"a":1}`},
			{`{"a":"1"}`},
		},
		"a continue token and none": {
			{`{"metadata":{"continue":"x"}}`},
			{`{"metadata":{"continue":""}}`},
		},
		"ages outside age columns": {
			{`{"kind":"Table","columnDefinitions":[{"name":"Name"}],"rows":[{"cells":["1s"]}]}`},
			{`{"kind":"Table","columnDefinitions":[{"name":"Name"}],"rows":[{"cells":["2s"]}]}`},
		},
		"a node port and none": {
			{`{"nodePort":30001}`},
			{`{}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			one := strings.Join(form(t, New(1), documents[0]...), "\n")
			other := strings.Join(form(t, New(1), documents[1]...), "\n")
			if one == other {
				t.Errorf("equal, both are\n%s", one)
			}
		})
	}
}

func TestWhatIsLeftToChanceIsEqual(t *testing.T) {
	for name, documents := range map[string][2]string{
		"ages": {
			`{"kind":"Table","columnDefinitions":[{"name":"Name"},{"name":"Age"}],"rows":[{"cells":["a","1s"]}]}`,
			`{"kind":"Table","columnDefinitions":[{"name":"Name"},{"name":"Age"}],"rows":[{"cells":["a","2m3s"]}]}`,
		},
		"ages in a later frame of a watch": {
			`{"type":"ADDED","object":{"kind":"Table","columnDefinitions":null,"rows":[{"cells":["a","1s"]}]}}`,
			`{"type":"ADDED","object":{"kind":"Table","columnDefinitions":null,"rows":[{"cells":["a","0s"]}]}}`,
		},
		"managers that wrote in one second or two": {
			`{"metadata":{"managedFields":[{"manager":"a","time":"2026-01-01T00:00:00Z"},{"manager":"b","time":"2026-01-01T00:00:00Z"}]}}`,
			`{"metadata":{"managedFields":[{"manager":"b","time":"2026-01-01T00:00:00Z"},{"manager":"a","time":"2026-01-01T00:00:00Z"}]}}`,
		},
		"rules of a review": {
			`{"status":{"resourceRules":[{"verbs":["get"]},{"verbs":["list"]}]}}`,
			`{"status":{"resourceRules":[{"verbs":["list"]},{"verbs":["get"]}]}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			one, other := form(t, New(1), documents[0])[0], form(t, New(1), documents[1])[0]
			if one != other {
				t.Errorf("not equal:\n%s\n---\n%s", one, other)
			}
		})
	}
}

func TestIgnoredMembersAreLeftOut(t *testing.T) {
	n := New(1)
	n.Ignore = []string{"b"}
	if got := form(t, n, `{"a":{"b":1},"b":{"c":2}}`)[0]; got != "{\n  \"a\": {}\n}" {
		t.Errorf("the form is %s", got)
	}
}

func TestText(t *testing.T) {
	n := New(100, "127.0.0.1:6443")
	form(t, n, pod("a", uidA, 105), pod("b", uidB, 110))
	for text, want := range map[string]string{
		"https://127.0.0.1:6443/api":                                    "https://<server>/api",
		"GET /x?resourceVersion=105":                                    "GET /x?resourceVersion=<at-revision-1>",
		"GET /x?limit=2&continue=eyJ2IjoibWV0YSJ9":                      "GET /x?limit=2&continue=<continue>",
		"GET /x?resourceVersion=7":                                      "GET /x?resourceVersion=<old>",
		"GET /x?resourceVersion=0":                                      "GET /x?resourceVersion=0",
		"GET /x?limit=500":                                              "GET /x?limit=500",
		"Too large resource version: 999, current: 112":                 "Too large resource version: <at-revision-2>, current: <at-revision-2>",
		"the UID in the precondition: " + uidB:                          "the UID in the precondition: <uid-2>",
		"object not decodable revision=105: x":                          "object not decodable revision=<at-revision-1>: x",
		"no matching overload for 'size' applied to '(selfType94.a)'":   "no matching overload for 'size' applied to '(<self-type>.a)'",
		"80:30123/TCP":                                                  "80:<node-port-1>/TCP",
		"spec.ports[0].nodePort: Invalid value: 80: not in 30000-32767": "spec.ports[0].nodePort: Invalid value: 80: not in 30000-32767",
	} {
		if got := n.Text(text); got != want {
			t.Errorf("Text(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestRefusesWhatIsNoDocument(t *testing.T) {
	for _, text := range []string{"", "ok", "{", `{"a":1}{"a":2}`, "[1,"} {
		if err := New(1).Learn([]byte(text)); err == nil {
			t.Errorf("Learn(%q) succeeded", text)
		}
	}
}

func TestTheOrderOfCausesMayBeLeftOut(t *testing.T) {
	refusal := func(message, first, second string) string {
		return fmt.Sprintf(`{"kind":"Status","message":%q,"details":{"causes":[{"field":%q},{"field":%q}]}}`, message, first, second)
	}
	one := refusal("invalid: [a: bad, b: worse]", "a", "b")
	other := refusal("invalid: [b: worse, a: bad]", "b", "a")
	typed, swapped := refusal("errors:\n  x\n  y", "a", "b"), refusal("errors:\n  y\n  x", "a", "b")
	for _, any := range []bool{false, true} {
		n := New(1)
		n.AnyOrder = any
		forms := form(t, n, one, other, typed, swapped)
		if (forms[0] == forms[1]) != any || (forms[2] == forms[3]) != any {
			t.Errorf("AnyOrder %t: %q", any, forms)
		}
	}
	generated := func(suffix string) string {
		n := New(1)
		n.AnyOrder, n.Prefixes = true, []string{"web-"}
		return form(t, n, refusal("invalid", `web-`+suffix, `web-\"`))[0]
	}
	if letters, numbers := generated("bcdfg"), generated("24567"); letters != numbers {
		t.Errorf("the order depends on a generated name: %s\n%s", letters, numbers)
	}
	n := New(1)
	n.AnyOrder = true
	unfit := func(errors string) string {
		return refusal("failed to create typed patch object (/a; v1, Kind=B): "+errors, "a", "b")
	}
	const undeclared = ".x: field not declared in schema"
	if forms := form(t, n, unfit(undeclared), unfit("errors:\n  "+undeclared+"\n  .y: expected string"), unfit(".y: expected string"), unfit(".z: expected string")); forms[0] != forms[1] || forms[2] == forms[3] {
		t.Errorf("what a walk met before an unknown field: %s", forms)
	}
	if forms := form(t, n, one, refusal("invalid: [a: bad]", "a", "a")); forms[0] == forms[1] {
		t.Errorf("a cause that is missing is not seen: %s", forms[0])
	}
}

func TestNodePortsInMessages(t *testing.T) {
	n := New(1)
	for _, pair := range [][2]string{
		{`duplicate nodePort: {TCP 32123}`, `duplicate nodePort: {TCP <node-port-1>}`},
		{`{\"healthCheckNodePort\":32123}`, `{\"healthCheckNodePort\":<node-port-1>}`},
		{`Duplicate value: 32123`, `Duplicate value: <node-port-1>`},
		{`map[nodePort:32123 port:80]`, `map[nodePort:<node-port-1> port:80]`},
		{`Duplicate value: 80`, `Duplicate value: 80`},
		{`replicas: {TCP 32123}`, `replicas: {TCP 32123}`},
	} {
		if got := n.Text(pair[0]); got != pair[1] {
			t.Errorf("%s became %s, want %s", pair[0], got, pair[1])
		}
	}
}
