package normal

import (
	"sort"
	"strings"
)

// unordered reports whether upstream gives the items of the array at this path in an
// order that depends on chance.
func unordered(path []string) bool {
	if len(path) == 0 {
		return false
	}
	switch path[len(path)-1] {
	case "managedFields":
		// By time, in whole seconds: two writes come in another order when a second
		// begins between them.
		return true
	case "resourceRules", "nonResourceRules":
		// As a cache happens to list the roles.
		return len(path) == 2 && path[0] == "status"
	}
	return false
}

// inOrder sorts the items by their text, times aside. The original is unchanged.
func inOrder(items array) array {
	type sortable struct {
		item tree
		text string
	}
	list := make([]sortable, len(items))
	for i, item := range items {
		var text strings.Builder
		print(&text, item, "")
		list[i] = sortable{item, timestamp.ReplaceAllString(text.String(), "")}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].text < list[j].text })
	result := make(array, len(items))
	for i, s := range list {
		result[i] = s.item
	}
	return result
}
