package definitions

import "testing"

func TestOutline(t *testing.T) {
	for value, want := range map[string]string{
		`{"kind":"K","metadata":{"name":"n","managedFields":[{"a":1}],"labels":{"managedFields":"x"}},"spec":{"validation":{"a":{}},"names":{"schema":"s"},
			"versions":[{"name":"v1","schema":{"openAPIV3Schema":{"type":"object"}},"served":true},{"schema":null}]},"status":{"schema":1}}`: `{"kind":"K","metadata":{"name":"n","labels":{"managedFields":"x"}},"spec":{"names":{"schema":"s"},"versions":[{"name":"v1","served":true},{}]},"status":{"schema":1}}`,
		`{"spec":null,"metadata":"odd"}`:     `{"spec":null,"metadata":"odd"}`,
		`{"spec":{"versions":[]},"spec":{}}`: `{"spec":{"versions":[]},"spec":{}}`,
		`[1,{}]`:                             `[1,{}]`,
		`1`:                                  `1`,
	} {
		got, err := outline([]byte(value))
		if err != nil || string(trim(got)) != want {
			t.Errorf("%s: %s, %v, want %s", value, got, err, want)
		}
	}
	for _, value := range []string{``, `{`, `{"spec":{"versions":[{"schema":`, `{"a" 1}`, `[1`} {
		if got, err := outline([]byte(value)); err == nil {
			t.Errorf("%s: %s", value, got)
		}
	}
}

// trim removes the newline that an encoder ends with.
func trim(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	return b
}
