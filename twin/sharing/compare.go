package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// patience is how long servers may take to come to the same.
const patience = 20 * time.Second

// watched is what each server has told of each kind, one line an event.
type watched struct {
	sides []*side
	mu    sync.Mutex
	told  map[schema.GroupVersionResource][][]string // by kind and server
}

// watchAll watches every kind at every server, from one revision, which one of them
// has told.
func watchAll(ctx context.Context, sides []*side) (*watched, error) {
	w := &watched{sides: sides, told: map[schema.GroupVersionResource][][]string{}}
	for n, k := range kinds {
		from, err := sides[n%len(sides)].objects.Resource(k.of).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		w.told[k.of] = make([][]string, len(sides))
		for i, s := range sides {
			stream, err := s.objects.Resource(k.of).Namespace(namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: from.GetResourceVersion()})
			if err != nil {
				return nil, fmt.Errorf("%s: watch of %s: %w", s.name, k.of.Resource, err)
			}
			go w.follow(stream, k.of, i) // ends with ctx
		}
	}
	return w, nil
}

func (w *watched) follow(stream watch.Interface, of schema.GroupVersionResource, i int) {
	for event := range stream.ResultChan() {
		line, err := json.Marshal(event.Object)
		if err != nil {
			line = []byte(err.Error())
		}
		w.mu.Lock()
		w.told[of][i] = append(w.told[of][i], string(event.Type)+" "+string(line))
		w.mu.Unlock()
	}
}

func (w *watched) compare(ctx context.Context) error {
	return eventually(ctx, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		n := 0
		for of, told := range w.told {
			for i := range told {
				if d := difference(told[0], told[i]); d != "" {
					return fmt.Errorf("watches of %s: %s and %s: %s", of.Resource, w.sides[0].name, w.sides[i].name, d)
				}
				n += len(told[i])
			}
		}
		fmt.Printf("%d events came from %d watches, the same from each server\n", n, len(w.told)*len(w.sides))
		return nil
	})
}

// eventually tries until there is no error, for a while.
func eventually(ctx context.Context, try func() error) error {
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		err := try()
		if err == nil || ctx.Err() != nil || time.Since(began) > patience {
			return err
		}
	}
}

func difference(a, b []string) string {
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			return "only the other has " + b[i]
		case i >= len(b):
			return "only the first has " + a[i]
		case a[i] != b[i]:
			return a[i] + "\nis not\n" + b[i]
		}
	}
	return ""
}

// comparePages lists in pages, each from another server than the one before.
func comparePages(ctx context.Context, sides []*side) error {
	whole, err := sides[0].objects.Resource(configMaps).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var pages []unstructured.Unstructured
	options := metav1.ListOptions{Limit: 7}
	for i := 0; ; i++ {
		s := sides[i%len(sides)]
		page, err := s.objects.Resource(configMaps).List(ctx, options)
		if err != nil {
			return fmt.Errorf("%s: page %d: %w", s.name, i, err)
		}
		pages = append(pages, page.Items...)
		if options.Continue = page.GetContinue(); options.Continue == "" {
			break
		}
	}
	if d := difference(lines(whole.Items), lines(pages)); d != "" {
		return fmt.Errorf("a list and its pages: %s", d)
	}
	fmt.Printf("%d ConfigMaps were listed in pages, from each server in turn\n", len(pages))
	return nil
}

// compareAll lists everything that can be listed at every server.
func compareAll(ctx context.Context, sides []*side) error {
	all, err := sides[0].typed.Discovery().ServerPreferredResources()
	if err != nil {
		return err
	}
	var errs []error
	objects, resources := 0, 0
	for _, group := range all {
		version, err := schema.ParseGroupVersion(group.GroupVersion)
		if err != nil {
			return err
		}
		for _, r := range group.APIResources {
			if !slices.Contains(r.Verbs, "list") || r.Name == "componentstatuses" {
				continue
			}
			of := version.WithResource(r.Name)
			n := 0
			errs = append(errs, eventually(ctx, func() error {
				var first []string
				for i, s := range sides {
					list, err := s.objects.Resource(of).List(ctx, metav1.ListOptions{})
					if err != nil {
						return fmt.Errorf("%s: %s: %w", s.name, r.Name, err)
					}
					if n = len(list.Items); i == 0 {
						first = lines(list.Items)
					} else if d := difference(first, lines(list.Items)); d != "" {
						return fmt.Errorf("%s: %s and %s: %s", r.Name, sides[0].name, s.name, d)
					}
				}
				return nil
			}))
			objects, resources = objects+n, resources+1
		}
	}
	fmt.Printf("%d objects of %d resources were compared\n", objects, resources)
	return errors.Join(errs...)
}

func lines(objects []unstructured.Unstructured) []string {
	var all []string
	for i := range objects {
		line, err := json.Marshal(objects[i].Object)
		if err != nil {
			line = []byte(err.Error())
		}
		all = append(all, string(line))
	}
	return all
}
