// Package normal makes two servers' answers to the same requests comparable. What
// each server must choose for itself (uids, revisions, times, generated names,
// cluster IPs, node ports, its own address) is replaced by names that say only
// what matters: that two uids are the same, that one revision is before another.
//
// A Names belongs to one story told to one server. It must not know what was
// asked, nor compare anything itself.
package normal

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Names holds the names given so far. First Learn every document and text of the
// story, in order; then Text and JSON give the normal form of each.
// It is not safe for concurrent use.
type Names struct {
	// Server are strings that stand for the server itself, such as its host and
	// port; they become <server>.
	Server []string
	// Prefixes are what the story had names generated from.
	Prefixes []string
	// Ignore are names of members that are left out wherever they are.
	Ignore []string
	// AnyOrder leaves out in which order a refusal tells its causes.
	AnyOrder bool
	// Since is the revision just before the story; all that is older is called "old".
	Since uint64

	revisions []uint64 // of single objects, later than Since; sorted by Learn's end
	sorted    bool
	given     map[string]map[string]int
	now       time.Time
}

// New returns Names for a story that begins after revision since.
func New(since uint64, server ...string) *Names {
	return &Names{
		Server: server,
		Since:  since,
		given:  map[string]map[string]int{},
		now:    time.Now(),
	}
}

// Learn notes the revisions in a JSON document. It fails if the document is not JSON.
func (n *Names) Learn(document []byte) error {
	value, err := parse(document)
	if err != nil {
		return err
	}
	n.sorted = false
	n.learn(value)
	return nil
}

func (n *Names) learn(value tree) {
	switch v := value.(type) {
	case array:
		for _, item := range v {
			n.learn(item)
		}
	case object:
		if metadata, ok := v.get("metadata").(object); ok {
			n.learnObject(metadata)
		}
		for _, m := range v {
			n.learn(m.value)
		}
	}
}

func (n *Names) learnObject(metadata object) {
	if metadata.text("uid") == "" {
		return // a list or a bookmark: its revision may be later than any change in the story
	}
	if revision, ok := parseRevision(metadata.text("resourceVersion")); ok && revision > n.Since {
		n.revisions = append(n.revisions, revision)
	}
}

// JSON is the normal form of a JSON document: indented, members in their order.
func (n *Names) JSON(document []byte) (string, error) {
	value, err := parse(document)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	print(&out, n.value(value, nil), "")
	return out.String(), nil
}

// value normalises what it can judge by its place in the document (path holds the
// keys above it) and leaves the rest to Text.
func (n *Names) value(value tree, path []string) tree {
	switch v := value.(type) {
	case array:
		if unordered(path) {
			v = inOrder(v)
		}
		result := make(array, len(v))
		for i, item := range v {
			result[i] = n.value(item, path)
		}
		return result
	case object:
		if v.text("kind") == "Table" {
			v = hideAges(v)
		}
		metadata := len(path) > 0 && path[len(path)-1] == "metadata"
		single := v.text("uid") != ""
		result := make(object, 0, len(v))
		for _, m := range v {
			if slices.Contains(n.Ignore, m.key) {
				continue
			}
			item := m.value
			text, isText := item.(string)
			switch {
			case metadata && m.key == "resourceVersion" && isText:
				item = n.revision(text, single)
			case metadata && m.key == "continue" && text != "":
				item = "<continue>"
			default:
				item = n.value(item, append(path, m.key))
			}
			result = append(result, member{n.Text(m.key), item})
		}
		if n.AnyOrder && v.text("kind") == "Status" {
			return orderCauses(result)
		}
		return result
	case string:
		return n.Text(v)
	case json.Number:
		return n.number(v, path)
	}
	return value
}

func (n *Names) number(value json.Number, path []string) tree {
	if len(path) == 0 {
		return value
	}
	switch path[len(path)-1] {
	case "nodePort", "healthCheckNodePort":
		return n.name("node-port", value.String())
	case "port", "targetPort":
		for _, server := range n.Server {
			if _, port, ok := strings.Cut(server, ":"); ok && port == value.String() {
				return "<server-port>"
			}
		}
	}
	return value
}

var (
	uid       = regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)
	timestamp = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)
	clusterIP = regexp.MustCompile(`\b10\.0\.0\.\d{1,3}\b`)
	// A Service's ports as a table shows them: 80:31234/TCP.
	shownNodePort = regexp.MustCompile(`\b(\d+):(3[0-2]\d{3})/`)
	// The same in a document that a message quotes, and in a message.
	quotedNodePort = regexp.MustCompile(`(odePort\\*": ?|odePort:|nodePort: \{[A-Z]+ |Duplicate value: )(3[0-2]\d{3})\b`)
	// A token that a server signed: three parts, of which the first two are JSON.
	jwt = regexp.MustCompile(`\beyJ[\w-]+\.eyJ[\w-]+\.[\w-]+`)
	// What a key of a key set is known by and made of.
	publicKey = regexp.MustCompile(`("(?:kid|x|y|n)":\s*")([\w-]{20,})"`)
	// The credential that a request came with, as kube-apiserver notes it in a user's extra.
	certificate   = regexp.MustCompile(`-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----`)
	certificateID = regexp.MustCompile(`X509SHA256=[0-9a-f]{64}`)
	// What CEL calls the type of an object, by a number drawn at random.
	selfType      = regexp.MustCompile(`\bselfType\d+`)
	continueQuery = regexp.MustCompile(`\bcontinue=[A-Za-z0-9%_.=-]+`)
	// Where upstream's messages and a request's query mention a revision.
	revisionIn = regexp.MustCompile(`((?i:resource ?version)\b[^0-9,;&]{0,40}?|\bcurrent: |not decodable revision=)(\d+)\b`)
)

// Text is the normal form of any text, alone or within a document.
func (n *Names) Text(text string) string {
	if len(n.Prefixes) == 0 && !strings.ContainsAny(text, "0123456789") {
		return text // nothing that is replaced is without a digit, but what follows a prefix
	}
	for _, prefix := range n.Prefixes {
		if prefix != "" {
			text = n.hideSuffix(text, prefix)
		}
	}
	for _, server := range n.Server {
		text = strings.ReplaceAll(text, server, "<server>")
	}
	text = uid.ReplaceAllStringFunc(text, func(s string) string { return n.name("uid", s) })
	text = timestamp.ReplaceAllStringFunc(text, n.time)
	text = clusterIP.ReplaceAllStringFunc(text, func(s string) string { return n.name("cluster-ip", s) })
	text = replaceGroup(shownNodePort, text, 2, func(s string) string { return n.name("node-port", s) })
	text = replaceGroup(quotedNodePort, text, 2, func(s string) string { return n.name("node-port", s) })
	text = publicKey.ReplaceAllString(text, `$1<key>"`)
	text = jwt.ReplaceAllString(text, "<token>")
	text = certificate.ReplaceAllStringFunc(text, func(s string) string { return n.name("certificate", s) })
	text = certificateID.ReplaceAllString(text, "X509SHA256=<digest>")
	text = selfType.ReplaceAllString(text, "<self-type>")
	text = continueQuery.ReplaceAllString(text, "continue=<continue>")
	return replaceGroup(revisionIn, text, 2, func(s string) string { return n.revision(s, false) })
}

// hideSuffix replaces the five characters that upstream appends to a generateName.
func (n *Names) hideSuffix(text, prefix string) string {
	const longest = 63 - 5 // of a prefix that a name begins with
	prefix = prefix[:min(len(prefix), longest)]
	const alphabet = "bcdfghjklmnpqrstvwxz2456789" // k8s.io/apimachinery/pkg/util/rand
	generated := regexp.MustCompile(regexp.QuoteMeta(prefix) + "([" + alphabet + "]{5})\\b")
	return replaceGroup(generated, text, 1, func(s string) string { return n.name("generated", s) })
}

// name numbers the values of one kind in the order they are first seen.
func (n *Names) name(kind, value string) string {
	numbers := n.given[kind]
	if numbers == nil {
		numbers = map[string]int{}
		n.given[kind] = numbers
	}
	if _, ok := numbers[value]; !ok {
		numbers[value] = len(numbers) + 1
	}
	return fmt.Sprintf("<%s-%d>", kind, numbers[value])
}

// time hides a time only if it is about now: those a manifest carries stay. How
// precise it is shows, since clients see that too.
func (n *Names) time(text string) string {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Before(n.now.Add(-24*time.Hour)) || t.After(n.now.Add(24*time.Hour)) {
		return text
	}
	if match := timestamp.FindStringSubmatch(text); match[1] != "" {
		return fmt.Sprintf("<time.%d>", len(match[1])-1)
	}
	return "<time>"
}

// revision names a revision by its place among the story's changes. That of an
// object is one of them. That of a list, of a bookmark or in a request may be any
// later one, because other things change meanwhile, so only the last change at or
// before it counts.
func (n *Names) revision(text string, ofObject bool) string {
	revision, ok := parseRevision(text)
	if !ok {
		return text
	}
	if !n.sorted {
		sort.Slice(n.revisions, func(i, j int) bool { return n.revisions[i] < n.revisions[j] })
		unique := n.revisions[:0]
		for i, r := range n.revisions {
			if i == 0 || r != n.revisions[i-1] {
				unique = append(unique, r)
			}
		}
		n.revisions, n.sorted = unique, true
	}
	rank := sort.Search(len(n.revisions), func(i int) bool { return n.revisions[i] > revision })
	switch {
	case revision == 0:
		return text
	case revision < n.Since || (rank == 0 && ofObject):
		return "<old>"
	case ofObject:
		return fmt.Sprintf("<revision-%d>", rank)
	}
	return fmt.Sprintf("<at-revision-%d>", rank)
}

func parseRevision(text string) (uint64, bool) {
	revision, err := strconv.ParseUint(text, 10, 64)
	return revision, err == nil
}

// replaceGroup replaces one group of each match.
func replaceGroup(pattern *regexp.Regexp, text string, group int, replace func(string) string) string {
	var out strings.Builder
	last := 0
	for _, match := range pattern.FindAllStringSubmatchIndex(text, -1) {
		start, end := match[2*group], match[2*group+1]
		out.WriteString(text[last:start])
		out.WriteString(replace(text[start:end]))
		last = end
	}
	out.WriteString(text[last:])
	return out.String()
}
