// Package version is which knarr this is, and the release of Kubernetes whose
// rules it serves.
//
// It must not know anything else of the project.
package version

import (
	"runtime"
	"runtime/debug"
	"strconv"

	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/version"
)

// Knarr is the version of knarr, without a "v".
const Knarr = "0.1.0"

// built is the release of Kubernetes that go.mod requires. What a program was
// linked with may be newer, if another module wants it so.
const built = "v1.37.2"

// Kubernetes returns the release of Kubernetes in this program, as "v1.37.2".
func Kubernetes() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return built
	}
	return release(info)
}

func release(info *debug.BuildInfo) string {
	for _, module := range info.Deps {
		if module.Path != "k8s.io/kubernetes" {
			continue
		}
		// A fork in its place may have any version or, being a directory, none.
		if _, err := utilversion.ParseSemantic(module.Version); err == nil && module.Replace == nil {
			return module.Version
		}
	}
	return built
}

// Info returns what GET /version answers. A commit and a date of building are
// not told: they would be knarr's, where clients expect those of Kubernetes.
func Info() version.Info {
	kubernetes := Kubernetes()
	parsed := utilversion.MustParseSemantic(kubernetes)
	major, minor := strconv.Itoa(int(parsed.Major())), strconv.Itoa(int(parsed.Minor()))
	return version.Info{
		Major:                 major,
		Minor:                 minor,
		EmulationMajor:        major,
		EmulationMinor:        minor,
		MinCompatibilityMajor: major,
		MinCompatibilityMinor: strconv.Itoa(int(parsed.Minor()) - 1),
		GitVersion:            kubernetes,
		BuildDate:             "1970-01-01T00:00:00Z",
		GoVersion:             runtime.Version(),
		Compiler:              runtime.Compiler,
		Platform:              runtime.GOOS + "/" + runtime.GOARCH,
	}
}
