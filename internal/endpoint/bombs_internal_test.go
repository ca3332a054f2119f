package endpoint

import "testing"

// What could be a monstrous quantity is found wherever one may stand, and not in the
// words that bodies are full of.
func TestSuspicious(t *testing.T) {
	for body, want := range map[string]string{
		`{"cpu":"1e10000"}`:          "1e10000",
		`{"cpu":1E+99999}`:           "1E+99999",
		`cpu: -1.5e-12345`:           "1.5e-12345",
		"\x07" + `1e99999` + "\x12":  "1e99999",
		`{"cpu":"1e9999"}`:           "",
		`sha256:ab1e12345f`:          "",
		`"id":"c1e12345"`:            "",
		`"image":"x@sha256:12e3456"`: "",
	} {
		if got := string(suspicious([]byte(body))); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}
