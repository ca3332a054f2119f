package knarrtest

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// definitions is the option of CustomResourceDefinitions.
type definitions struct {
	paths []string
	given []*apiextensionsv1.CustomResourceDefinition
}

// CRDPaths has the CustomResourceDefinitions in files, or in the YAML and JSON files
// of directories, served. What else is in the files is passed over.
func CRDPaths(paths ...string) Option { return &definitions{paths: paths} }

// CRDs has definitions served.
func CRDs(crds ...*apiextensionsv1.CustomResourceDefinition) Option {
	return &definitions{given: crds}
}

func (d *definitions) objects() ([]*object, error) {
	read, err := readAll(d.paths, definitionKind)
	if err != nil {
		return nil, err
	}
	more, err := given(definitionKind, d.given)
	return append(read, more...), err
}

func (*definitions) change(*object) error { return nil }
