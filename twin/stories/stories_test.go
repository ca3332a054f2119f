package stories

import (
	"testing"

	"github.com/knarr-io/knarr/twin/sample"
)

func TestStoriesHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Features() {
		if seen[s.Name] {
			t.Errorf("two stories are called %s", s.Name)
		}
		seen[s.Name] = true
	}
}

func TestBadInputsSayWhatIsWrong(t *testing.T) {
	entries, err := badFiles.ReadDir("bad")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, entry := range entries {
		inputs, err := readBad(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, input := range inputs {
			count++
			if input.Why == "" || seen[input.Why] {
				t.Errorf("%s: %q is said twice, or nothing is", entry.Name(), input.Why)
			}
			seen[input.Why] = true
			if (input.Of == "") == (input.Request == "") {
				t.Errorf("%s: %s: either a resource or a request", entry.Name(), input.Why)
			}
			if input.Of != "" && input.With == nil && input.Update == nil {
				t.Errorf("%s: %s: nothing is bad", entry.Name(), input.Why)
			}
		}
	}
	if count < 300 {
		t.Errorf("only %d bad inputs", count)
	}
}

func TestMergedLeavesBoth(t *testing.T) {
	o, patch := object{"a": object{"b": 1, "c": 2}, "d": 3}, object{"a": object{"b": nil, "e": 4}, "d": []any{5}}
	if got, want := sample.Text(merged(o, patch)), `{"a":{"c":2,"e":4},"d":[5]}`; got != want {
		t.Errorf("merged to %s, want %s", got, want)
	}
	if got := sample.Text(o) + sample.Text(patch); got != `{"a":{"b":1,"c":2},"d":3}{"a":{"b":null,"e":4},"d":[5]}` {
		t.Errorf("the originals became %s", got)
	}
}
