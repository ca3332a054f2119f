package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
)

// results are what came of everything, the last time that it was done by the same builds: a
// run of a part leaves the rest as it is.
type results struct {
	path string
	all  []result
}

func kept(path string, builds map[string]string) (*results, error) {
	r := &results{path: path}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	} else if err != nil {
		return nil, err
	}
	err = json.Unmarshal(content, &r.all)
	r.all = slices.DeleteFunc(r.all, func(of result) bool { return of.Build != builds[of.Server] })
	return r, err
}

// add takes what was done in place of what was done before.
func (r *results) add(done result) {
	i := slices.IndexFunc(r.all, func(before result) bool { return before.Server == done.Server })
	if i < 0 {
		r.all = append(r.all, done)
		return
	}
	if done.Scale == nil {
		done.Scale = r.all[i].Scale
	}
	if done.Steps == nil {
		done.Steps, done.Errors, done.Asked = r.all[i].Steps, r.all[i].Errors, r.all[i].Asked
	}
	r.all[i] = done
}

func (r *results) keep() error {
	content, err := json.Marshal(r.all)
	if err != nil {
		return err
	}
	return os.WriteFile(r.path, content, 0o600)
}
