// Package version tells Kubernetes' own code which version it is.
//
// Kubernetes' build does that with `-ldflags -X`, and without it an API server
// says v0.0.0-master+$Format:%H$, which clients and charts cannot parse. The
// variables are not exported and there is no setter that accepts another
// version, so this package links to them by name. Then `go build`, `go run` and
// `go install` all make a working program, and no build has to know a flag.
//
// It is a package of its own so that it is initialized right after the one
// that it changes, before those that read it: it imports nothing else.
package version

import (
	"runtime/debug"
	"strings"
	_ "unsafe" // for go:linkname

	"k8s.io/component-base/version"
)

//go:linkname gitVersion k8s.io/component-base/version.gitVersion
var gitVersion string

//go:linkname gitMajor k8s.io/component-base/version.gitMajor
var gitMajor string

//go:linkname gitMinor k8s.io/component-base/version.gitMinor
var gitMinor string

// Kubernetes is the version of the control plane, such as v1.37.2.
var Kubernetes = set()

func set() string {
	v := Module("k8s.io/kubernetes")
	parts := strings.Split(strings.TrimPrefix(v, "v"), ".")
	if len(parts) < 3 {
		return v // built without module information, as tests of this package are
	}
	gitVersion, gitMajor, gitMinor = v, parts[0], parts[1]
	if err := version.SetDynamicVersion(v); err != nil {
		panic(err) // cannot be: it is the version that was set a line above
	}
	return v
}

// Module is the version of a module that this program was built with, or "".
func Module(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, dep := range info.Deps {
		if dep.Path == path {
			if dep.Replace != nil {
				return dep.Replace.Version
			}
			return dep.Version
		}
	}
	return ""
}
