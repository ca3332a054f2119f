package stories

import (
	"strings"

	"github.com/knarr-io/knarr/twin/story"
)

// ruled is a resource whose spec has the given properties and rules, both in YAML.
func ruled(properties, rules string) string {
	return `{versions: [{name: v1, properties: {spec: {type: object, properties: {` + properties + `}, x-kubernetes-validations: [` + rules + `]}}, subresources: {}}]}`
}

// customRules tells of the rules in schemas.
func customRules() []story.Story {
	return []story.Story{
		{Name: "crd/rule/simple", AnyOrder: true, Tell: withCustom(ruled(
			`min: {type: integer, x-kubernetes-validations: [{rule: self >= 0}]}, max: {type: integer}, name: {type: string, maxLength: 100, x-kubernetes-validations: [{rule: "self.startsWith('w')", message: must begin with w}]}, list: {type: array, maxItems: 10, items: {type: object, properties: {a: {type: integer}}, x-kubernetes-validations: [{rule: "self.a > 0", message: must be more}]}}`,
			`{rule: "!has(self.min) || !has(self.max) || self.min <= self.max", message: min must not be above max}`), func(c custom) {
			c.try(`{spec: {min: 1, max: 2}}`, `{spec: {min: 3, max: 2}}`, `{spec: {min: -1}}`, `{spec: {min: -1, max: -2, name: x}}`, `{spec: {name: web}}`, `{spec: {name: ""}}`,
				`{spec: {list: [{a: 1}, {a: 0}, {a: -1}]}}`, `{spec: {list: [{}]}}`, `{spec: {min: x}}`, `{spec: {}}`, `{}`)
		})},
		{Name: "crd/rule/words", AnyOrder: true, Tell: withCustom(ruled(
			`a: {type: integer}, b: {type: string, maxLength: 10}, c: {type: object, properties: {d: {type: integer}, "e-f": {type: string}}}, m: {type: object, maxProperties: 5, additionalProperties: {type: integer}}`,
			`{rule: "!has(self.a) || self.a < 10", messageExpression: "'a is ' + (has(self.b) ? self.b : 'large') + ', not below 10'", message: not seen}, `+
				`{rule: "!has(self.a) || self.a != 7", messageExpression: "['x', 'z'][self.a]", message: seen since the expression fails}, `+
				`{rule: "!has(self.a) || self.a != 8", messageExpression: "['x', 'z'][self.a]"}, `+
				`{rule: "!has(self.a) || self.a != 5", messageExpression: "self.a == 5 ? '  ' : 'x'"}, `+
				`{rule: "!has(self.a) || self.a != 6", messageExpression: "'two\\nlines'"}, `+
				`{rule: "!has(self.b) || self.b != 'bad'", reason: FieldValueForbidden, fieldPath: .b}, `+
				`{rule: "!has(self.b) || self.b != 'dup'", reason: FieldValueDuplicate, fieldPath: .b, message: once is enough}, `+
				`{rule: "!has(self.b) || self.b != 'req'", reason: FieldValueRequired, fieldPath: ".c['e-f']"}, `+
				`{rule: "!has(self.b) || self.b != 'inv'", reason: FieldValueInvalid, fieldPath: .c.d}, `+
				`{rule: "!has(self.m) || !('x' in self.m) || self.m['x'] > 0", fieldPath: .m.x, message: x must be more}`), func(c custom) {
			c.try(`{spec: {a: 1}}`, `{spec: {a: 11}}`, `{spec: {a: 7}}`, `{spec: {a: 8}}`, `{spec: {a: 5}}`, `{spec: {a: 6}}`, `{spec: {b: bad}}`, `{spec: {b: dup}}`, `{spec: {b: req}}`, `{spec: {b: inv, c: {d: 1}}}`, `{spec: {m: {x: 0}}}`,
				`{spec: {a: 11, b: bad}}`)
		})},
		{Name: "crd/rule/changes", AnyOrder: true, Tell: withCustom(ruled(
			`fixed: {type: string, x-kubernetes-validations: [{rule: self == oldSelf, message: fixed may not change}]}, count: {type: integer, x-kubernetes-validations: [{rule: self >= oldSelf}]}, `+
				`set: {type: array, maxItems: 10, x-kubernetes-list-type: set, items: {type: string, maxLength: 10}, x-kubernetes-validations: [{rule: "oldSelf.all(e, e in self)", message: nothing may go}]}, `+
				`map: {type: array, maxItems: 10, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {type: object, required: [name], properties: {name: {type: string, maxLength: 10}, value: {type: integer, x-kubernetes-validations: [{rule: self == oldSelf, message: values may not change}]}}}}, `+
				`labels: {type: object, maxProperties: 10, additionalProperties: {type: string, maxLength: 10, x-kubernetes-validations: [{rule: self == oldSelf}]}}`,
			`{rule: "has(self.fixed) == has(oldSelf.fixed)", message: fixed may not come or go}`), func(c custom) {
			c.create("a", `{spec: {fixed: x, count: 1, set: [a, b], map: [{name: a, value: 1}, {name: b, value: 2}], labels: {a: b}}}`)
			for _, spec := range []string{
				`{fixed: x, count: 2, set: [c, b, a], map: [{name: b, value: 2}, {name: a, value: 1}, {name: c, value: 3}], labels: {a: b, c: d}}`,
				`{fixed: w}`, `{count: 5}`, `{fixed: x, count: 1}`, `{fixed: x, set: [a]}`, `{fixed: x, map: [{name: a, value: 2}]}`, `{fixed: x, labels: {a: c, e: f}}`, `{fixed: x}`, `{fixed: x, count: 0}`,
			} {
				c.replace("a", `{spec: `+spec+`}`)
			}
			c.merge("a", `{spec: {fixed: w}}`, `{spec: {count: -1}}`, `{spec: null}`, `{spec: {fixed: w}}`)
			c.apply("one", "a", `{spec: {fixed: "v"}}`)
			c.create("b", `{}`)
			c.merge("b", `{spec: {fixed: x}}`, `{spec: {fixed: w}}`)
		})},
		{Name: "crd/rule/optional-old-self", AnyOrder: true, Tell: withCustom(ruled(
			`phase: {type: string, maxLength: 10, x-kubernetes-validations: [{rule: "oldSelf.hasValue() || self == 'New'", optionalOldSelf: true, message: must begin as New}, {rule: "!oldSelf.hasValue() || oldSelf.value() != 'Done' || self == 'Done'", optionalOldSelf: true, messageExpression: "'may not become ' + self"}]}`,
			`{rule: "oldSelf.optMap(o, has(o.phase) && !has(self.phase)).orValue(false) == false", optionalOldSelf: true, message: phase may not go}`), func(c custom) {
			c.create("bad", `{spec: {phase: Old}}`)
			c.create("a", `{spec: {phase: New}}`)
			c.merge("a", `{spec: {phase: Old}}`, `{spec: {phase: null}}`, `{spec: {phase: Done}}`, `{spec: {phase: New}}`, `{spec: null}`, `{spec: {phase: Done}}`, `{spec: {phase: New}}`)
		})},
		{Name: "crd/rule/root", AnyOrder: true, Tell: withCustom(`
versions:
- name: v1
  schema:
    openAPIV3Schema:
      type: object
      properties: {spec: {type: object, properties: {a: {type: integer}}}, status: {type: object, properties: {a: {type: integer}}}}
      x-kubernetes-validations:
      - {rule: "self.metadata.name.startsWith('w')", message: the name must begin with w}
      - {rule: "self.kind == 'Widget' && self.apiVersion.endsWith('/v1')"}
      - {rule: "!has(self.status) || !has(self.spec) || self.status.a <= self.spec.a", message: the status is ahead, fieldPath: .status.a}
      - {rule: "!has(self.metadata.generateName) || self.metadata.generateName != 'wrong-'"}
  subresources: {status: {}}
`, func(c custom) {
			c.create("web", `{spec: {a: 2}}`)
			c.create("other", `{spec: {a: 2}}`)
			c.Post(c.in("v1"), object{"apiVersion": c.group + "/v1", "kind": "Widget", "metadata": object{"generateName": "wrong-"}})
			c.Patch(c.in("v1")+"/web/status", story.MergePatch, `{"status":{"a":3}}`)
			c.Patch(c.in("v1")+"/web/status", story.MergePatch, `{"status":{"a":2}}`)
			c.merge("web", `{spec: {a: 1}}`, `{spec: null}`)
		})},
		{Name: "crd/rule/failures", AnyOrder: true, Tell: withCustom(ruled(
			`a: {type: integer}, m: {type: object, maxProperties: 5, additionalProperties: {type: string, maxLength: 5}}, l: {type: array, maxItems: 5, items: {type: integer}}, u: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {k: {type: string}}}, s: {type: string, maxLength: 20}`,
			`{rule: "!has(self.a) || 10 / self.a > 1"}, {rule: "!has(self.m) || self.m['x'] == 'b'"}, {rule: "!has(self.l) || self.l[2] > 1", message: own words}, {rule: "!has(self.s) || self.s.matches('^a+$') || int(self.s) > 3 || timestamp(self.s) > timestamp('2020-01-01T00:00:00Z')"}`), func(c custom) {
			c.try(`{spec: {a: 3}}`, `{spec: {a: 0}}`, `{spec: {a: 20}}`, `{spec: {m: {}}}`, `{spec: {m: {x: c}}}`, `{spec: {l: [1]}}`, `{spec: {l: [1, 2, 3]}}`, `{spec: {s: aaa}}`, `{spec: {s: b}}`, `{spec: {s: "4"}}`, `{spec: {a: 0, m: {}, l: []}}`, `{spec: {a: x}}`)
		})},
		{Name: "crd/rule/budget", AnyOrder: true, Tell: withCustom(ofSpec(
			`l: {type: array, maxItems: 1000, items: {type: array, maxItems: 200, items: {type: string, maxLength: 20}}, x-kubernetes-validations: [`+
				strings.TrimSuffix(strings.Repeat(`{rule: "self.all(a, a.all(b, b != 'x'))", message: no x},`, 20), ",")+`]}, after: {type: integer, x-kubernetes-validations: [{rule: self > 0}]}`), func(c custom) {
			row := "[" + strings.Repeat("a,", 199) + "a]"
			rows := func(count int) string { return strings.Repeat(row+",", count-1) + row }
			c.create("small", `{spec: {l: [[a, x]], after: 0}}`)
			c.create("costly", `{spec: {l: [`+rows(600)+`]}}`, story.Accept("application/json"+asPartial))      // all rules together
			c.create("too-costly", `{spec: {l: [`+rows(1000)+`]}}`, story.Accept("application/json"+asPartial)) // each of them
			c.create("cheap", `{spec: {l: [`+rows(20)+`]}}`, story.Accept("application/json"+asPartial))
		})},
		{Name: "crd/rule/library", AnyOrder: true, Tell: withCustom(ruled(
			`quantity: {type: string, maxLength: 20, x-kubernetes-validations: [{rule: "isQuantity(self) && quantity(self).isLessThan(quantity('1Gi'))"}]}, ip: {type: string, maxLength: 50, x-kubernetes-validations: [{rule: "isIP(self) && ip(self).family() == 4"}]}, `+
				`cidr: {type: string, maxLength: 50, x-kubernetes-validations: [{rule: "cidr(self).containsIP('10.0.0.1')"}]}, url: {type: string, maxLength: 50, x-kubernetes-validations: [{rule: "isURL(self) && url(self).getScheme() == 'https'"}]}, `+
				`found: {type: string, maxLength: 50, x-kubernetes-validations: [{rule: "self.find('[0-9]+') == '7'"}]}, name: {type: string, maxLength: 100, x-kubernetes-validations: [{rule: "!format.dns1123Label().validate(self).hasValue()", message: must be a label}]}, `+
				`time: {type: string, format: date-time, x-kubernetes-validations: [{rule: "self.getFullYear() > 2000"}]}, span: {type: string, format: duration, x-kubernetes-validations: [{rule: "self < duration('1h')"}]}, `+
				`sorted: {type: array, maxItems: 5, items: {type: integer}, x-kubernetes-validations: [{rule: "self.isSorted() && self.sum() < 10"}]}, port: {x-kubernetes-int-or-string: true, x-kubernetes-validations: [{rule: "type(self) == int ? self < 100 : self == 'http'"}]}, `+
				`version: {type: string, maxLength: 20, x-kubernetes-validations: [{rule: "isSemver(self) && semver(self).major() == 1"}]}`, `{rule: "true"}`), func(c custom) {
			c.try(`{spec: {quantity: 1Mi}}`, `{spec: {quantity: 2Gi}}`, `{spec: {quantity: lots}}`, `{spec: {ip: 1.2.3.4}}`, `{spec: {ip: "::1"}}`, `{spec: {cidr: 10.0.0.0/8}}`, `{spec: {cidr: x}}`, `{spec: {url: "https://a"}}`, `{spec: {url: "http://a"}}`,
				`{spec: {found: a7b}}`, `{spec: {found: ab}}`, `{spec: {name: ok}}`, `{spec: {name: Not_Ok}}`, `{spec: {time: "2020-01-01T00:00:00Z"}}`, `{spec: {time: "1999-01-01T00:00:00Z"}}`, `{spec: {span: 1m}}`, `{spec: {span: 2h}}`,
				`{spec: {sorted: [1, 2]}}`, `{spec: {sorted: [2, 1]}}`, `{spec: {port: 80}}`, `{spec: {port: 800}}`, `{spec: {port: http}}`, `{spec: {port: other}}`, `{spec: {version: 1.2.3}}`, `{spec: {version: 2.0.0}}`)
		})},
		{Name: "crd/rule/dry-and-status", AnyOrder: true, Tell: withCustom(`
versions:
- name: v1
  properties:
    spec: {type: object, properties: {a: {type: integer, x-kubernetes-validations: [{rule: self > 0}]}}}
    status: {type: object, properties: {a: {type: integer, x-kubernetes-validations: [{rule: self > 0}]}}}
  subresources: {status: {}}
`, func(c custom) {
			c.Post(c.in("v1")+"?dryRun=All", c.object("v1", "a", `{spec: {a: 0}}`))
			c.create("a", `{spec: {a: 1}, status: {a: 0}}`)
			c.Patch(c.in("v1")+"/a/status", story.MergePatch, `{"status":{"a":0},"spec":{"a":0}}`)
			c.Patch(c.in("v1")+"/a/status", story.MergePatch, `{"status":{"a":1},"spec":{"a":0}}`)
			c.merge("a", `{spec: {a: 0}, status: {a: 0}}`)
			c.apply("one", "a", `{spec: {a: 0}}`)
		})},
	}
}

// customRatchets tells of objects that were there before a rule was, which may stay as
// wrong as they are.
func customRatchets() []story.Story {
	return []story.Story{
		{Name: "crd/ratchet/values", AnyOrder: true, Tell: withCustom(
			ofSpec(`text: {type: string}, whole: {type: integer}, list: {type: array, items: {type: string}}, map: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {type: object, required: [name], properties: {name: {type: string}, value: {type: string}}}}, object: {type: object, properties: {a: {type: string}, b: {type: string}}}`),
			func(c custom) {
				c.create("a", `{spec: {text: LOUD, whole: 100, list: [LOUD, b], map: [{name: a, value: LOUD}, {name: b, value: x}], object: {a: LOUD}}}`)
				c.redefine(ofSpec(`text: {type: string, pattern: "^[a-z]*$"}, whole: {type: integer, maximum: 10}, list: {type: array, items: {type: string, pattern: "^[a-z]*$"}}, map: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {type: object, required: [name], properties: {name: {type: string}, value: {type: string, pattern: "^[a-z]*$"}}}}, object: {type: object, required: [b], properties: {a: {type: string, maxLength: 2}, b: {type: string}}}`))
				c.Get(c.in("v1") + "/a")
				c.merge("a", `{metadata: {labels: {a: b}}}`, `{spec: {text: LOUDER}}`, `{spec: {whole: 101}}`, `{spec: {whole: 9}}`, `{spec: {whole: 100}}`, `{spec: {list: [LOUD, b, c]}}`, `{spec: {list: [LOUD, c]}}`,
					`{spec: {map: [{name: c, value: ok}, {name: a, value: LOUD}]}}`, `{spec: {map: [{name: a, value: LOUDER}]}}`, `{spec: {object: {a: LOUDER}}}`, `{spec: {object: {a: LOUD, c: d}}}`, `{spec: {object: {b: x}}}`, `{spec: {text: null}}`, `{spec: {text: LOUD}}`)
				c.create("b", `{spec: {text: LOUD}}`)
				c.apply("one", "a", `{spec: {text: LOUDEST}}`)
			})},
		{Name: "crd/ratchet/rules", AnyOrder: true, Tell: withCustom(ruled(`a: {type: integer}, b: {type: integer}, inner: {type: object, properties: {c: {type: integer}, d: {type: integer}}}`, `{rule: "true"}`), func(c custom) {
			c.create("a", `{spec: {a: -1, b: 1, inner: {c: -1}}}`)
			c.redefine(ruled(`a: {type: integer, x-kubernetes-validations: [{rule: self > 0}, {rule: "self > oldSelf - 10", message: not so far}]}, b: {type: integer}, inner: {type: object, properties: {c: {type: integer}, d: {type: integer}}, x-kubernetes-validations: [{rule: self.c > 0}]}`, `{rule: "self.a + self.b > 5", message: too little}`))
			c.merge("a", `{metadata: {labels: {a: b}}}`, `{spec: {b: 2}}`, `{spec: {a: -2, b: 20}}`, `{spec: {inner: {d: 1}, b: 20}}`, `{spec: {b: 20}}`, `{spec: {a: 3}}`, `{spec: {a: -1}}`, `{spec: {a: -20, b: 90}}`, `{spec: {inner: {c: 1}}}`, `{spec: {inner: {c: -1}}}`)
		})},
		{Name: "crd/ratchet/sets", AnyOrder: true, Tell: withCustom(ofSpec(`set: {type: array, items: {type: string}}, size: {type: integer}`), func(c custom) {
			c.create("a", `{spec: {set: [a, a, b]}}`)
			c.redefine(ofSpec(`set: {type: array, x-kubernetes-list-type: set, items: {type: string}}, size: {type: integer}`))
			c.merge("a", `{metadata: {labels: {a: b}}}`, `{spec: {size: 1}}`, `{spec: {set: [a, a, b, c]}}`, `{spec: {set: [b, a, a]}}`, `{spec: {set: [a, b]}}`, `{spec: {set: [a, a, b]}}`)
			c.apply("one", "a", `{spec: {set: [a, d]}}`)
		})},
		{Name: "crd/ratchet/required", AnyOrder: true, Tell: withCustom(ofSpec(`a: {type: string}, b: {type: string}`), func(c custom) {
			c.create("a", `{spec: {a: x}}`)
			c.redefine(`{versions: [{name: v1, properties: {spec: {type: object, required: [b], properties: {a: {type: string, enum: [w]}, b: {type: string}}}}}]}`)
			c.merge("a", `{metadata: {labels: {a: b}}}`, `{spec: {a: w}}`, `{spec: {b: x}}`, `{spec: {a: w}}`, `{spec: {a: "v"}}`)
		})},
		{Name: "crd/ratchet/status", AnyOrder: true, Tell: withCustom(scaled, func(c custom) {
			c.create("a", `{spec: {replicas: 1, color: LOUD}}`)
			c.Patch(c.in("v1")+"/a/status", story.MergePatch, `{"status":{"phase":"Old"}}`)
			c.redefine(strings.NewReplacer("[New, Old]", "[New]", "color: {type: string}", `color: {type: string, pattern: "^[a-z]*$"}`).Replace(scaled))
			c.merge("a", `{spec: {replicas: 2}}`, `{spec: {color: LOUDER}}`)
			c.Patch(c.in("v1")+"/a/status", story.MergePatch, `{"status":{"replicas":2}}`)
			c.Patch(c.in("v1")+"/a/status", story.MergePatch, `{"status":{"phase":"Older"}}`)
			c.Patch(c.in("v1")+"/a/scale", story.MergePatch, `{"spec":{"replicas":3}}`)
		})},
	}
}
