package endpoint

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"github.com/knarr-io/knarr/internal/verb"
)

// Parameters of a get that are knarr's own, and look back. Whoever may get the
// object may ask; kube-apiserver passes over them, as over any that it does not know.
const (
	// historyParameter, if true, has the answer be the object's history.
	historyParameter = "knarrHistory"
	// revisionParameter has the answer be the object as it was at a revision.
	revisionParameter = "knarrRevision"
)

// revision is an item of an ObjectHistory.
type revision struct {
	ResourceVersion string          `json:"resourceVersion"`
	Time            *time.Time      `json:"time,omitempty"`
	Change          string          `json:"change"`
	By              []manager       `json:"by,omitempty"`
	Object          json.RawMessage `json:"object"`
}

// manager is who wrote a revision, as managedFields tell.
type manager struct {
	Manager     string `json:"manager"`
	Operation   string `json:"operation"`
	Subresource string `json:"subresource,omitempty"`
}

// past answers a get that looks back; false if this one does not.
func (q *query) past(s shape, values url.Values) (bool, error) {
	if q.target.Subresource != nil || q.target.Version.Resource.Storage == nil {
		return false, nil
	}
	if at := values.Get(revisionParameter); at != "" {
		o, err := q.verbs.GetAt(q.r.Context(), q.target, at)
		if err != nil {
			return true, err
		}
		return true, q.writeObject(200, s, o)
	}
	if values.Get(historyParameter) != "true" {
		return false, nil
	}
	revisions, since, err := q.verbs.History(q.r.Context(), q.target)
	if err != nil {
		return true, err
	}
	return true, q.writeHistory(s, revisions, since)
}

// writeHistory answers in JSON, whatever media type was asked for. Each object is
// encoded as it is written, and not kept.
func (q *query) writeHistory(s shape, revisions []verb.Revision, since uint64) error {
	s = shape{media: mediaJSON, pretty: s.pretty}
	encoded := make([][]byte, len(revisions))
	total := int64(0)
	for _, r := range revisions {
		total += int64(len(r.Object.Value))
	}
	if _, err := q.reserve(q.whole, 8*total); err != nil {
		return err
	}
	for i, r := range revisions {
		object, err := q.cache.Peek(r.Object, q.target.Version.JSON)
		if err != nil {
			return q.target.ReadError(r.Object, err)
		}
		item := revision{ResourceVersion: strconv.FormatUint(r.Object.Rev, 10), Change: r.Change, Object: object}
		if !r.Time.IsZero() {
			at := r.Time.UTC()
			item.Time = &at
		}
		for _, e := range r.By {
			item.By = append(item.By, manager{e.Manager, string(e.Operation), e.Subresource})
		}
		if encoded[i], err = json.Marshal(item); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	b.WriteString(`{"kind":"ObjectHistory","apiVersion":"knarr.io/v1","since":"` + strconv.FormatUint(since, 10) + `","items":[`)
	b.Write(bytes.Join(encoded, []byte(",")))
	b.WriteString(`]}`)
	return q.writeJSON(200, s, b.Bytes())
}
