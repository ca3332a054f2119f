package normal

import (
	"regexp"
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

// orderCauses sorts the causes of a refusal, in its details and in the list that
// ends its message. The original is unchanged.
func orderCauses(status object) object {
	result := make(object, len(status))
	for i, m := range status {
		switch value := m.value.(type) {
		case string:
			if m.key == "message" {
				m.value = orderList(value)
			}
		case object:
			if m.key == "details" {
				m.value = orderDetails(value)
			}
		}
		result[i] = m
	}
	return result
}

func orderDetails(details object) object {
	result := make(object, len(details))
	for i, m := range details {
		if causes, ok := m.value.(array); ok && m.key == "causes" {
			ordered := make(array, len(causes))
			for j, cause := range causes {
				ordered[j] = cause
				if o, ok := cause.(object); ok {
					ordered[j] = orderCauses(o)
				}
			}
			m.value = inOrder(ordered)
		}
		result[i] = m
	}
	return result
}

// A walk over an object that meets a field that the schema does not have ends there;
// what it met before is chance, as maps have no order.
const undeclared = "field not declared in schema"

var misfit = regexp.MustCompile(`(?s)((?:failed to [a-z ]+(?: \([^)]*\))?: )+).*`)

// orderList sorts the parts of "...: [a, b, c]", and the lines below "errors:"; a part
// that has a comma itself falls apart, on both sides alike.
func orderList(message string) string {
	if strings.Contains(message, undeclared) {
		message = misfit.ReplaceAllString(message, "$1<fields that do not fit>")
	}
	const errors = "errors:\n"
	if start := strings.Index(message, errors); start >= 0 {
		lines := strings.Split(message[start+len(errors):], "\n")
		sort.Strings(lines)
		return message[:start] + errors + strings.Join(lines, "\n")
	}
	start := strings.Index(message, ": [")
	if start < 0 || !strings.HasSuffix(message, "]") {
		return message
	}
	start += len(": [")
	parts := strings.Split(message[start:len(message)-1], ", ")
	sort.Strings(parts)
	return message[:start] + strings.Join(parts, ", ") + "]"
}
