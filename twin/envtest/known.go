package main

import "strings"

// causes are why tests fail, by what their names end with: of what fails with knarr
// alone, and of what fails with both on a machine that is like the one of ENVTEST.md.
var causes = [][2]string{
	{"TestApiMachinery", "its second half downloads an older kube-apiserver, and this machine is not connected"},
	{"TestLazyRestMapperProvider", "its second half downloads an older kube-apiserver, and this machine is not connected"},
	{"should allow for get informer to be cancelled", "a race in the spec, now and then: it counts on an informer not being in sync a few milliseconds after it was asked for"},
}

// cause is why a test fails; empty if that is not known.
func cause(test string) string {
	for _, c := range causes {
		if strings.HasSuffix(test, c[0]) {
			return c[1]
		}
	}
	return ""
}
