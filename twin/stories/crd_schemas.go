package stories

import (
	"github.com/knarr-io/knarr/twin/story"
)

// ofSpec is a resource in one version whose spec has the given properties, in YAML.
func ofSpec(properties string) string {
	return `{versions: [{name: v1, properties: {spec: {type: object, properties: {` + properties + `}}}}]}`
}

// withSpecs tries to make an object of each of the specs, for a resource of the given
// properties.
func withSpecs(properties string, specs ...string) func(*story.Session) {
	return withCustom(ofSpec(properties), func(c custom) {
		for _, spec := range specs {
			c.try(`{spec: ` + spec + `}`)
		}
	})
}

// customSchemas tells of what the schema of a definition means for the objects.
func customSchemas() []story.Story {
	return []story.Story{
		{Name: "crd/schema/types", AnyOrder: true, Tell: withSpecs(
			`text: {type: string}, whole: {type: integer}, part: {type: number}, flag: {type: boolean}, list: {type: array, items: {type: string}}, map: {type: object, additionalProperties: {type: integer}}, object: {type: object, properties: {a: {type: string}}}`,
			`{text: a, whole: 1, part: 1.5, flag: true, list: [a, b], map: {a: 1}, object: {a: b}}`,
			`{text: 1}`, `{text: null}`, `{text: []}`, `{whole: "1"}`, `{whole: 1.5}`, `{whole: 1.0}`, `{whole: null}`, `{part: "1"}`, `{part: 1}`, `{flag: "true"}`, `{flag: 0}`,
			`{list: a}`, `{list: [1, a, null]}`, `{list: {}}`, `{list: null}`, `{map: {a: b}}`, `{map: []}`, `{map: {a: null}}`, `{map: null}`, `{object: []}`, `{object: {a: {}}}`,
			`{object: null}`, `[]`, `null`, `text`, `{text: 1, whole: a, part: [], flag: {}, list: 7, map: 8, object: 9}`,
		)},
		{Name: "crd/schema/values", AnyOrder: true, Tell: withSpecs(
			`size: {type: integer, minimum: 1, maximum: 10, exclusiveMaximum: true, multipleOf: 3}, part: {type: number, minimum: 0.5, exclusiveMinimum: true}, `+
				`text: {type: string, minLength: 2, maxLength: 4, pattern: "^[a-z]+$"}, color: {type: string, enum: [red, blue, ""]}, some: {enum: [1, a, {b: c}, null], x-kubernetes-preserve-unknown-fields: true}, `+
				`list: {type: array, minItems: 1, maxItems: 2, items: {type: integer, maximum: 5}}, map: {type: object, minProperties: 1, maxProperties: 2, additionalProperties: {type: string, maxLength: 1}}, `+
				`must: {type: object, required: [a, b], properties: {a: {type: string}, b: {type: object, required: [c], properties: {c: {type: integer}}}}}`,
			`{size: 3}`, `{size: 0}`, `{size: 10}`, `{size: 4}`, `{size: -3}`, `{part: 0.5}`, `{part: 0.6}`, `{text: a}`, `{text: abcde}`, `{text: A1}`, `{text: "éé"}`, `{color: green}`, `{color: ""}`,
			`{some: 1}`, `{some: {b: c}}`, `{some: x}`, `{list: []}`, `{list: [1, 2, 3]}`, `{list: [7]}`, `{map: {}}`, `{map: {a: b, c: d, e: f}}`, `{map: {a: long}}`, `{must: {}}`, `{must: {a: x}}`,
			`{must: {a: x, b: {}}}`, `{must: {a: null, b: {c: 1}}}`, `{must: {a: x, b: {c: 1}}}`, `{size: 11, text: "ABCDEF", color: green, list: [7, 8, 9]}`,
		)},
		{Name: "crd/schema/formats", AnyOrder: true, Tell: withSpecs(
			`time: {type: string, format: date-time}, date: {type: string, format: date}, span: {type: string, format: duration}, ip: {type: string, format: ipv4}, ip6: {type: string, format: ipv6}, cidr: {type: string, format: cidr}, `+
				`uuid: {type: string, format: uuid}, uri: {type: string, format: uri}, mail: {type: string, format: email}, host: {type: string, format: hostname}, bytes: {type: string, format: byte}, mac: {type: string, format: mac}, `+
				`mine: {type: string, format: my-own}, small: {type: integer, format: int32}, large: {type: integer, format: int64}, single: {type: number, format: float}, double: {type: number, format: double}`,
			`{time: "2020-01-02T03:04:05Z"}`, `{time: yesterday}`, `{date: "2020-01-02"}`, `{date: "2020-13-02"}`, `{span: 1h30m}`, `{span: long}`, `{ip: 1.2.3.4}`, `{ip: "::1"}`, `{ip6: "::1"}`, `{ip6: 1.2.3.4}`,
			`{cidr: 10.0.0.0/8}`, `{cidr: 10.0.0.0}`, `{uuid: 00000000-0000-4000-8000-000000000000}`, `{uuid: x}`, `{uri: "https://example.com"}`, `{uri: "::"}`, `{mail: a@example.com}`, `{mail: a}`, `{host: a.b}`, `{host: "a_b!"}`,
			`{bytes: YQ==}`, `{bytes: "?"}`, `{mac: "00:00:5e:00:53:01"}`, `{mac: x}`, `{mine: whatever}`, `{small: 3000000000}`, `{large: 9223372036854775807}`, `{single: 1e300}`, `{double: 1e300}`,
		)},
		{Name: "crd/schema/alternatives", AnyOrder: true, Tell: withCustom(`
versions:
- name: v1
  properties:
    spec:
      type: object
      properties: {a: {type: integer}, b: {type: integer}, c: {type: string, anyOf: [{minLength: 3}, {pattern: "^x"}]}, d: {type: integer, not: {enum: [7, 8]}}, e: {type: string, allOf: [{minLength: 2}, {maxLength: 3}]}}
      oneOf: [{required: [a]}, {required: [b]}]
`, func(c custom) {
			c.try(`{spec: {a: 1}}`, `{spec: {a: 1, b: 2}}`, `{spec: {}}`, `{spec: {a: 1, c: ab}}`, `{spec: {a: 1, c: xb}}`, `{spec: {a: 1, d: 7}}`, `{spec: {a: 1, e: a}}`, `{spec: {a: 1, e: abcd}}`, `{spec: {a: x}}`)
		})},
		{Name: "crd/schema/pruning", Tell: withSpecs(
			`a: {type: string}, object: {type: object, properties: {a: {type: string}}}, list: {type: array, items: {type: object, properties: {a: {type: string}}}}, map: {type: object, additionalProperties: {type: object, properties: {a: {type: string}}}}, empty: {type: object}`,
			`{a: x, b: w}`, `{object: {a: x, b: w}}`, `{list: [{a: x, b: w}, {c: w}, {}]}`, `{map: {k: {a: x, b: w}, b: {b: w}}}`, `{empty: {a: x}}`, `{b: {c: {d: 1}}}`, `{A: x}`,
		)},
		{Name: "crd/schema/pruning-of-the-root", Tell: withCustom(plain, func(c custom) {
			c.try(`{unknown: 1}`, `{unknown: {a: 1}, spec: {size: 1}, metadata: {unknown: 1, labels: {a: b}}}`, `{data: {}, items: []}`)
			c.create("a", `{spec: {size: 1}}`)
			c.replace("a", `{spec: {size: 1, unknown: 2}}`)
			c.merge("a", `{unknown: 2}`, `{spec: {unknown: 2, size: 2}}`)
			c.Patch(c.in("v1")+"/a", story.JSONPatch, `[{"op":"add","path":"/spec/unknown","value":1}]`)
			c.apply("x", "a", `{spec: {unknown: 2}}`)
		})},
		{Name: "crd/schema/preserve", Tell: withSpecs(
			`any: {x-kubernetes-preserve-unknown-fields: true}, object: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {known: {type: object, properties: {a: {type: integer}}}, kept: {type: object, x-kubernetes-preserve-unknown-fields: true}}}, list: {type: array, items: {type: object, x-kubernetes-preserve-unknown-fields: true}}, not: {type: object}`,
			`{any: 1}`, `{any: {a: [1, {b: null}]}}`, `{any: null}`, `{object: {x: {w: 1}, known: {a: 1, b: 2}, kept: {b: 2}}}`, `{object: {known: {a: x}}}`, `{list: [{a: 1}, {b: {c: 2}}]}`, `{not: {a: 1}}`, `{object: null, list: [null]}`,
		)},
		{Name: "crd/schema/preserve-all", Tell: withCustom(anything, func(c custom) {
			c.try(`{}`, `{a: 1, b: {c: [null, {}]}, status: x, spec: null}`, `{metadata: {unknown: 1, labels: {a: b}}}`)
			c.create("a", `{a: 1}`)
			c.merge("a", `{b: {c: d}}`, `{a: null}`)
			c.apply("x", "a", `{b: {e: f}, list: [{name: a}, {name: b}]}`)
			c.apply("w", "a", `{list: [{name: c}]}`)
			c.apply("w", "a", `{b: {g: h}}`)
		})},
		{Name: "crd/schema/int-or-string", AnyOrder: true, Tell: withSpecs(
			`port: {x-kubernetes-int-or-string: true}, other: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}], pattern: "^[a-z]*$", maximum: 10}`,
			`{port: 80}`, `{port: http}`, `{port: 1.5}`, `{port: 1.0}`, `{port: true}`, `{port: null}`, `{port: []}`, `{port: {}}`, `{other: 7}`, `{other: 11}`, `{other: abc}`, `{other: "7"}`,
		)},
		{Name: "crd/schema/embedded", AnyOrder: true, Tell: withSpecs(
			`whole: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}, part: {type: object, x-kubernetes-embedded-resource: true, properties: {spec: {type: object, properties: {a: {type: integer}}}}}, list: {type: array, items: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}}`,
			`{whole: {apiVersion: v1, kind: Pod, metadata: {name: a, labels: {a: b}}, spec: {x: 1}}}`, `{whole: {}}`, `{whole: {apiVersion: v1}}`, `{whole: {kind: Pod}}`, `{whole: {apiVersion: 7, kind: []}}`, `{whole: {apiVersion: a/b/c, kind: Pod}}`,
			`{whole: {apiVersion: v1, kind: "a b"}}`, `{whole: {apiVersion: v1, kind: Pod, metadata: {name: Bad_Name}}}`, `{whole: {apiVersion: v1, kind: Pod, metadata: {labels: {"a b": c}}}}`, `{whole: {apiVersion: v1, kind: Pod, metadata: 7}}`,
			`{whole: {apiVersion: v1, kind: Pod, metadata: {unknown: x, name: a, uid: u, creationTimestamp: null}}}`, `{whole: {apiVersion: v1, kind: Pod, metadata: {labels: 7}}}`, `{whole: {apiVersion: v1, kind: Pod, metadata: {name: a, finalizers: [unqualified], ownerReferences: [{}]}}}`,
			`{part: {apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {a: 1, b: 2}, status: {}}}`, `{part: {apiVersion: v1, kind: Pod, spec: {a: x}}}`, `{list: [{apiVersion: v1, kind: Pod, metadata: {generateName: a-}}, {kind: Pod}]}`, `{whole: null}`,
			`{whole: {apiVersion: v1, kind: Pod, metadata: {creationTimestamp: yesterday}}}`,
		)},
		{Name: "crd/schema/nullable", AnyOrder: true, Tell: withSpecs(
			`maybe: {type: string, nullable: true}, never: {type: string}, object: {type: object, nullable: true, properties: {a: {type: string}}}, list: {type: array, nullable: true, items: {type: string, nullable: true}}, chosen: {type: string, nullable: true, enum: [a, b]}, map: {type: object, additionalProperties: {type: string, nullable: true}}, given: {type: string, nullable: true, default: x}, forced: {type: string, default: x}`,
			`{maybe: null, object: null, list: null}`, `{never: null}`, `{list: [null, a]}`, `{chosen: null}`, `{map: {a: null}}`, `{given: null}`, `{forced: null}`, `{object: {a: null}}`, `{}`,
		)},
		{Name: "crd/schema/lists", AnyOrder: true, Tell: withSpecs(
			`set: {type: array, x-kubernetes-list-type: set, items: {type: string}}, numbers: {type: array, x-kubernetes-list-type: set, items: {type: integer}}, objects: {type: array, x-kubernetes-list-type: set, items: {type: object, x-kubernetes-map-type: atomic, properties: {a: {type: string}}}}, `+
				`map: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name, port], items: {type: object, required: [name], properties: {name: {type: string}, port: {type: integer, default: 80}, value: {type: string}}}}, atomic: {type: array, x-kubernetes-list-type: atomic, items: {type: string}}, bare: {type: array, items: {type: string}}`,
			`{set: [a, b]}`, `{set: [a, a]}`, `{set: [a, b, a, b, a]}`, `{numbers: [1, 2, 1]}`, `{objects: [{a: x}, {a: x}]}`, `{objects: [{a: x}, {}]}`, `{map: [{name: a}, {name: b}]}`, `{map: [{name: a}, {name: a, port: 80}]}`, `{map: [{name: a, port: 1}, {name: a, port: 2}]}`,
			`{map: [{name: a, value: x}, {name: a, value: w}]}`, `{map: [{value: x}]}`, `{map: [7]}`, `{map: [{name: 7}]}`, `{atomic: [a, a]}`, `{bare: [a, a]}`, `{set: null}`, `{set: []}`, `{map: [{name: a}, {name: a}], set: [x, x]}`,
		)},
		{Name: "crd/schema/names", AnyOrder: true, Tell: withCustom(`
versions:
- name: v1
  schema: {openAPIV3Schema: {type: object, required: [spec], properties: {metadata: {type: object, properties: {name: {type: string, maxLength: 5, pattern: "^[a-c]+$"}, generateName: {type: string, maxLength: 2}}}, spec: {type: object}, kind: {type: string}, apiVersion: {type: string}}}}
`, func(c custom) {
			c.create("abc", `{spec: {}}`)
			c.create("abcabc", `{spec: {}}`)
			c.create("xyz", `{spec: {}}`)
			c.create("abc", `{}`)
			c.create("ab", `{spec: null}`)
			c.Post(c.in("v1"), object{"apiVersion": c.group + "/v1", "kind": "Widget", "metadata": object{"generateName": "made-"}, "spec": object{}})
		})},
		{Name: "crd/schema/change", Tell: withCustom(ofSpec(`a: {type: string}, b: {type: string}`), func(c custom) {
			c.create("a", `{spec: {a: x, b: w}}`)
			c.redefine(ofSpec(`a: {type: integer}, c: {type: string}`))
			c.Get(c.in("v1") + "/a") // as it was stored, and without what is not known any more
			c.Get(c.in("v1"))
			c.merge("a", `{metadata: {labels: {a: b}}}`, `{spec: {c: d}}`, `{spec: {a: 7}}`)
			c.redefine(ofSpec(`a: {type: integer}, b: {type: string}, c: {type: string}`))
			c.Get(c.in("v1") + "/a") // b is gone since the last write
		})},
	}
}
