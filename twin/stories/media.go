package stories

import (
	"strings"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

const (
	protobuf     = "application/vnd.kubernetes.protobuf"
	asTable      = ";as=Table;v=v1;g=meta.k8s.io"
	asPartial    = ";as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
	asPartials   = ";as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
	asTableBeta  = ";as=Table;v=v1beta1;g=meta.k8s.io"
	asTableAlpha = ";as=Table;v=v1alpha1;g=meta.k8s.io"
)

func mediaTypes() []story.Story {
	return []story.Story{
		{Name: "media/accept", Tell: func(s *story.Session) {
			some(s, 2)
			for _, path := range []string{configMaps(s), configMaps(s) + "/item-0", configMaps(s) + "/none"} {
				for _, accept := range []string{
					"", "*/*", "application/*", "application/json", "application/yaml", protobuf, "text/html", "image/png",
					"application/cbor", "application/json;pretty=1", "application/json;charset=utf-8",
					"text/html, application/yaml;q=0.5, */*;q=0.1", "application/json;q=0.1, application/yaml",
					"application/vnd.kubernetes.protobuf;stream=watch", "application/json;stream=watch", "application/apply-patch+yaml",
					"application/json" + asTable, "application/yaml" + asTable, protobuf + asTable,
					"application/json" + asTableBeta, "application/json" + asTableAlpha, "application/json;as=Table",
					"application/json;as=Table;v=v2;g=meta.k8s.io", "application/json;as=Other;v=v1;g=meta.k8s.io",
					"application/json" + asTable + ",application/json", "application/json;as=Other;v=v1;g=meta.k8s.io,application/json",
					"application/json" + asPartial, "application/yaml" + asPartial, protobuf + asPartial,
					"application/json" + asPartials, protobuf + asPartials, ";", "json",
				} {
					s.Get(path, story.Accept(accept))
				}
			}
		}},
		{Name: "media/table", Tell: func(s *story.Session) {
			s.Post(pods(s), pod("a", nil))
			for _, query := range []string{"", "?includeObject=None", "?includeObject=Metadata", "?includeObject=Object", "?includeObject=Other", "?limit=1"} {
				s.Get(pods(s)+query, story.Accept("application/json"+asTable))
				s.Get(pods(s)+"/a"+query, story.Accept("application/json"+asTable))
			}
			for _, form := range []string{asTable, asPartials} { // of an empty list
				s.Get(pods(s)+"?labelSelector=none", story.Accept("application/json"+form))
				s.Get(pods(s)+"?labelSelector=none", story.Accept(protobuf+form))
			}
			s.Post(pods(s), pod("b", nil), story.Accept("application/json"+asTable))
			s.Put(pods(s)+"/b", pod("b", object{"new": "label"}), story.Accept("application/json"+asPartial))
			s.Delete(pods(s)+"/b", nil, story.Accept("application/json"+asTable))
		}},
		{Name: "media/content-type", Tell: func(s *story.Session) {
			body := sample.Text(configMap("a", nil))
			for _, contentType := range []string{
				"", "application/json", "application/json; charset=utf-8", "text/json", "text/plain", "application/xml",
				"application/x-www-form-urlencoded", "application/yaml", "text/yaml", protobuf, "application/cbor", "nonsense", ";",
				"application/merge-patch+json",
			} {
				s.Post(configMaps(s)+"?dryRun=All", body, story.ContentType(contentType))
				s.Put(configMaps(s)+"/a?dryRun=All", body, story.ContentType(contentType))
				s.Delete(configMaps(s)+"/a?dryRun=All", `{}`, story.ContentType(contentType))
				s.Patch(configMaps(s)+"/a?dryRun=All", contentType, `{}`)
			}
		}},
		{Name: "media/yaml", Tell: func(s *story.Session) {
			s.Post(configMaps(s), "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  n: \"1\"\n",
				story.ContentType("application/yaml"), story.Accept("application/yaml"))
			s.Put(configMaps(s)+"/a", "metadata:\n  name: a\ndata:\n  n: \"2\"\n", story.ContentType("application/yaml"))
			s.Post(configMaps(s), "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\n---\napiVersion: v1\n", story.ContentType("application/yaml"))
			s.Post(configMaps(s), "a: [", story.ContentType("application/yaml"))
			s.Post(configMaps(s), "data:\n  n: 1\n", story.ContentType("application/yaml"))
			s.Get(configMaps(s)+"/none", story.Accept("application/yaml"))
		}},
		{Name: "media/protobuf", Tell: func(s *story.Session) {
			s.Post(configMaps(s), configMap("a", nil))
			body := s.Get(configMaps(s)+"/a", story.Accept(protobuf)).Body
			s.Put(configMaps(s)+"/a", body, story.ContentType(protobuf), story.Accept(protobuf))
			s.Post(configMaps(s), body, story.ContentType(protobuf))
			s.Post(configMaps(s), body[:max(0, len(body)-9)], story.ContentType(protobuf))
			s.Post(configMaps(s), "k8s\x00", story.ContentType(protobuf))
			s.Post(configMaps(s), "k8s\x00nonsense", story.ContentType(protobuf))
			s.Post(configMaps(s), "nonsense", story.ContentType(protobuf))
			s.Post(pods(s), body, story.ContentType(protobuf))
			s.Get(configMaps(s)+"/none", story.Accept(protobuf))
		}},
		{Name: "media/gzip", Tell: func(s *story.Session) {
			zip := story.Header("Accept-Encoding", "gzip")
			s.Post(configMaps(s), sample.With(configMap("a", nil), strings.Repeat("compressible ", 20000), "data", "key"))
			s.Do("HEAD", configMaps(s)+"/a", nil, zip)
			s.Get(configMaps(s)+"/a", zip)
			s.Get(configMaps(s), zip, story.Accept(protobuf))
			s.Get(configMaps(s), zip, story.Accept("application/json"+asTable))
			s.Get(configMaps(s)+"/a", story.Header("Accept-Encoding", "deflate, br"))
			s.Get("/api/v1/namespaces/default", zip)
		}},
		{Name: "media/too-large", Tell: func(s *story.Session) {
			large := sample.With(configMap("a", nil), strings.Repeat("x", 3<<20), "data", "key")
			s.Post(configMaps(s), large)
			s.Post(configMaps(s), configMap("a", nil))
			s.Put(configMaps(s)+"/a", large)
			s.Patch(configMaps(s)+"/a", story.MergePatch, large)
			s.Delete(configMaps(s)+"/a", `{"kind":"`+strings.Repeat("x", 3<<20)+`"}`)
			s.Post(configMaps(s), sample.With(configMap("b", nil), strings.Repeat("x", 2<<20), "data", "key")) // over a ConfigMap's own limit
		}},
	}
}
