package ownership

import (
	"math/rand"
	"strings"
	"testing"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// A set is written as upstream writes it after it has read it; where we cannot
// tell, we say so.
func TestFieldsAreUpstreams(t *testing.T) {
	for _, c := range []struct {
		in    string
		usual bool
	}{
		{`{}`, true},
		{`{"f:a":{}}`, true},
		{`{"f:a":{".":{},"f:b":{}},"f:b":{"f:c":{}}}`, true},
		{`{"f:é":{}}`, true},
		{`{"f:a\"b\\":{},"f:tab\t":{},"f:\u0001":{}}`, false}, // not in order
		{`{"f:\u0001":{},"f:a\"b\\":{},"f:tab\t":{}}`, true},
		{`{"k:{\"a\":\"x\",\"b\":1}":{},"k:{\"a\":\"x\",\"b\":10}":{},"k:{\"b\":1}":{".":{},"f:x":{}}}`, true},
		{`{"v:1":{},"v:2":{},"v:10":{},"v:\"1\"":{},"v:true":{},"i:1":{},"i:2":{},"i:10":{}}`, true},
		{`{"v:\"\\u003c\"":{}}`, true},
		{`{"v:\"<\"":{}}`, false},
		{`{"v:1.0":{}}`, false},
		{`{"v:-1":{},"v:0":{}}`, true},
		{`{"v:01":{}}`, false},
		{`{"v:9007199254740993":{}}`, false},
		{`{"i:01":{}}`, false},
		{`{"k:{\"b\":1,\"a\":2}":{}}`, false},
		{`{"k:{\"a\": 2}":{}}`, false},
		{`{"x:y":{}}`, false},
		{`{"f:b":{},"f:a":{}}`, false},
		{`{"f:a":{},"f:a":{}}`, false},
		{`{"f:a":{".":{}}}`, false},
		{`{".":{},"f:a":{}}`, false},
		{`{"f:a":{"f:b":{},".":{}}}`, false},
		{`{"f:a":{".":{},}}`, false},
		{`{"f:a":{} }`, false},
		{`{"f:\u0061":{}}`, false},
		{`{"f:\/":{}}`, false},
		{"{\"f:\x01\":{}}", false},
		{`{"f:a":{}}x`, false},
		{`{"f:a"`, false}, {`{"f:a":`, false}, {`{"f:a":{`, false}, {`{"f:a":{}`, false}, {`{"f:\`, false}, {`{"f:\u00`, false},
		{strings.Repeat(`{"f:a":`, 1000) + `{}` + strings.Repeat(`}`, 1000), true},
		{strings.Repeat(`{"f:a":`, 1001) + `{}` + strings.Repeat(`}`, 1001), false},
		{`{`, false}, {``, false}, {`null`, false}, {`[]`, false}, {`{"":{}}`, false}, {`{"f":{}}`, false}, {`{"f:a":null}`, false},
	} {
		out, usual := rewritten(c.in)
		if usual != c.usual {
			t.Errorf("%s: usual %v, want %v", c.in, usual, c.usual)
		}
		if usual {
			if want := upstreams(t, c.in); out != want || out != c.in {
				t.Errorf("%s became %s, upstream's is %s", c.in, out, want)
			}
		}
	}
}

// Damaged sets are never taken for usual unless upstream writes the same.
func TestFieldsDamaged(t *testing.T) {
	const whole = `{"f:a":{".":{},"k:{\"name\":\"x\",\"port\":1}":{".":{},"f:b":{}},"v:\"y\"":{}},"f:b\t":{},"f:c":{"i:3":{}}}`
	r := rand.New(rand.NewSource(1))
	for range 20000 {
		damaged := []byte(whole)
		for range 1 + r.Intn(3) {
			i, j := r.Intn(len(damaged)), r.Intn(len(damaged))
			switch r.Intn(4) {
			case 0:
				damaged[i] = damaged[j]
			case 1:
				damaged = append(damaged[:i:i], damaged[i+1:]...)
			case 2:
				damaged = append(append(append([]byte{}, damaged[:i]...), `{}":,\.a`[r.Intn(8)]), damaged[i:]...)
			default:
				damaged[i], damaged[j] = damaged[j], damaged[i]
			}
		}
		if out, usual := rewritten(string(damaged)); usual && out != upstreams(t, string(damaged)) {
			t.Fatalf("%s became %s", damaged, out)
		}
	}
}

func rewritten(in string) (string, bool) {
	var none changes
	none.reset()
	f := &fieldsWriter{changes: &none}
	_, err := f.write(in, nil)
	return string(f.out), err == nil
}

func upstreams(t *testing.T, in string) string {
	t.Helper()
	var set fieldpath.Set
	if err := set.FromJSON(strings.NewReader(in)); err != nil {
		t.Fatalf("upstream refuses %s: %v", in, err)
	}
	out, err := set.ToJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
