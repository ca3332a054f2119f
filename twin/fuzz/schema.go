package fuzz

import (
	"encoding/json"
	"fmt"
	"math"
)

// A schema is an OpenAPI schema of a CustomResourceDefinition.
type schema = map[string]any

// formats are those of strings that upstream checks or knows, and some that it does not.
var formats = []string{
	"date-time", "date", "byte", "email", "uuid", "uuid4", "ipv4", "ipv6", "cidr", "mac", "hostname", "uri", "duration", "password",
	"hexcolor", "rgbcolor", "ssn", "isbn", "creditcard", "bsonobjectid", "k8s-short-name", "k8s-long-name", "int64", "other",
}

// formatted are texts that some of the formats allow.
var formatted = []string{
	"2020-01-01T00:00:00Z", "2020-01-01", "aGVsbG8=", "a@example.com", "123e4567-e89b-42d3-a456-426614174000", "10.0.0.1", "fd00::1", "10.0.0.0/8",
	"01:02:03:04:05:06", "example.com", "https://example.com/x", "1h30m", "#ff0000", "rgb(1,2,3)", "111-11-1111", "978-3-16-148410-0", "4111111111111111",
	"507f1f77bcf86cd799439011", "short-name", "a.long.name",
}

var patterns = []string{`^[a-z]*$`, `^a`, `[0-9]+$`, `^.{2,5}$`, `^(a|b|c)?$`, `^\S+$`, `^[a-z]([-a-z0-9]*[a-z0-9])?$`}

// fieldNames are what the fields of schemas are called.
var fieldNames = []string{"a", "b", "c", "name", "size", "items", "kind", "type", "value", "key", "x-y", "a.b", "namespace", "true", "é", "$ref", "if", "a__b"}

// deepest is how many objects and lists a schema has within each other.
const deepest = 4

// schema makes up a structural schema.
func (d *draw) schema(depth int) schema {
	s := d.typed(depth)
	if d.chance(6) {
		s["nullable"] = true
	}
	if d.chance(5) && depth > 0 {
		if value := d.value(s, 0); value != nil || d.chance(3) {
			s["default"] = value
		}
		if d.chance(12) {
			s["default"] = plain(d.anything()) // mostly none that the schema allows
		}
	}
	if d.chance(20) {
		s["description"] = "what it is for"
	}
	return s
}

// typed is a schema of one type, with what that may have.
func (d *draw) typed(depth int) schema {
	kinds := 10
	if depth < deepest {
		kinds = 17
	}
	switch d.IntN(kinds) {
	case 0, 1, 2, 3:
		return d.textSchema()
	case 4, 5:
		return d.ruled(d.numberSchema("integer"), numberRules)
	case 6:
		return d.ruled(d.numberSchema("number"), numberRules)
	case 7:
		return d.ruled(schema{"type": "boolean"}, boolRules)
	case 8:
		s := schema{"x-kubernetes-int-or-string": true}
		if d.chance(3) {
			s["anyOf"] = []any{schema{"type": "integer"}, schema{"type": "string"}}
		}
		if d.chance(3) {
			s["pattern"] = `^[0-9]+%?$`
		}
		return d.ruled(s, eitherRules)
	case 9:
		return d.open()
	case 10, 11:
		return d.mapSchema(depth)
	case 12, 13:
		return d.listSchema(depth)
	}
	return d.objectSchema(depth)
}

func (d *draw) textSchema() schema {
	s := schema{"type": "string", "maxLength": 1 + d.IntN(40)}
	if d.chance(5) {
		delete(s, "maxLength")
	}
	switch d.IntN(7) {
	case 0:
		s["format"] = pick(d, formats)
	case 1:
		s["pattern"] = pick(d, patterns)
	case 2:
		s["enum"] = []any{"a", "b", "c"}[:1+d.IntN(3)]
	case 3:
		s["minLength"] = d.IntN(4)
	case 4:
		s[pick(d, logical)] = []any{schema{"pattern": pick(d, patterns)}, schema{"minLength": d.IntN(4)}, schema{"enum": []any{"a", ""}}}[:1+d.IntN(3)]
	case 5:
		s["not"] = schema{"enum": []any{"a", "bad"}}
	}
	return d.ruled(s, textRules)
}

var logical = []string{"anyOf", "oneOf", "allOf"}

func (d *draw) numberSchema(kind string) schema {
	s := schema{"type": kind}
	if d.chance(2) {
		s["minimum"] = d.IntN(20) - 10
		s["exclusiveMinimum"] = d.chance(3)
	}
	if d.chance(3) {
		s["maximum"] = 10 + d.IntN(100)
		s["exclusiveMaximum"] = d.chance(3)
	}
	switch d.IntN(8) {
	case 0:
		s["multipleOf"] = pick(d, []any{1, 2, 5, 0.5, json.Number("0.1")})
	case 1:
		s["enum"] = []any{1, 2, 3}
	case 2:
		s["format"] = pick(d, []string{"int32", "int64", "float", "double", "other"})
	case 3:
		s[pick(d, logical)] = []any{schema{"minimum": d.IntN(5)}, schema{"maximum": d.IntN(5)}}
	case 4:
		s["not"] = schema{"minimum": 5, "maximum": 7}
	}
	return s
}

// open is a schema that says little of what there may be.
func (d *draw) open() schema {
	s := schema{"x-kubernetes-preserve-unknown-fields": true}
	switch d.IntN(4) {
	case 0:
		s["type"] = "object"
	case 1:
		s["type"], s["x-kubernetes-embedded-resource"] = "object", true
		if d.chance(3) {
			s["properties"] = schema{"spec": d.schema(deepest), "metadata": schema{"type": "object", "properties": schema{"name": schema{"type": "string", "pattern": pick(d, patterns)}}}}
		}
	case 2:
		s["type"], s["properties"] = "object", schema{"a": d.schema(deepest), "b": d.schema(deepest)}
	}
	return s
}

func (d *draw) mapSchema(depth int) schema {
	s := schema{"type": "object", "additionalProperties": d.schema(depth + 1), "maxProperties": 1 + d.IntN(5)}
	if d.chance(5) {
		s["minProperties"] = d.IntN(3)
	}
	if d.chance(5) {
		s["x-kubernetes-map-type"] = pick(d, []string{"granular", "atomic"})
	}
	if d.chance(20) {
		s["additionalProperties"] = d.chance(2)
	}
	return d.ruled(s, mapRules)
}

func (d *draw) listSchema(depth int) schema {
	s := schema{"type": "array", "items": d.schema(depth + 1), "maxItems": 1 + d.IntN(5)}
	if d.chance(4) {
		s["minItems"] = d.IntN(3)
	}
	rules := listRules
	switch d.IntN(4) {
	case 0:
		s["x-kubernetes-list-type"] = "atomic"
		rules = listRules[:2] // what an item was before is not known
	case 1:
		s["x-kubernetes-list-type"] = "set"
		s["items"] = pick(d, []schema{{"type": "string", "maxLength": 10}, {"type": "integer"}, {"type": "boolean"}, {"type": "object", "x-kubernetes-map-type": "atomic", "properties": schema{"a": schema{"type": "string"}}}})
	case 2:
		item := d.objectSchema(depth + 1)
		delete(item, "nullable")
		properties := item["properties"].(schema)
		properties["key"] = schema{"type": "string", "maxLength": 10}
		keys := []any{"key"}
		required := []any{"key"}
		if d.chance(3) {
			properties["port"], keys = schema{"type": "integer", "default": 80}, append(keys, "port")
		}
		item["required"] = required
		s["items"], s["x-kubernetes-list-type"], s["x-kubernetes-list-map-keys"] = item, "map", keys
	}
	return d.ruled(s, rules)
}

func (d *draw) objectSchema(depth int) schema {
	properties := schema{}
	var names []any
	for range 1 + d.IntN(5) {
		name := fieldNames[d.IntN(len(fieldNames))]
		if d.chance(2) {
			name = fieldNames[d.IntN(4)]
		}
		if _, found := properties[name]; !found {
			properties[name], names = d.schema(depth+1), append(names, name)
		}
	}
	s := schema{"type": "object", "properties": properties}
	if d.chance(3) {
		s["required"] = names[:1]
	}
	one := fmt.Sprint(pick(d, names))
	switch d.IntN(12) {
	case 0:
		s["minProperties"] = d.IntN(3)
	case 1:
		s["maxProperties"] = 1 + d.IntN(4)
	case 2:
		s[pick(d, logical)] = []any{schema{"required": []any{one}}, schema{"required": names[:1]}}
	case 3:
		s["not"] = schema{"required": names}
	case 4:
		s[pick(d, logical)] = []any{schema{"properties": schema{one: d.limits(properties[one].(schema))}}, schema{"required": []any{one}}}
	case 5:
		s["x-kubernetes-map-type"] = pick(d, []string{"granular", "atomic"})
	case 6:
		s["x-kubernetes-preserve-unknown-fields"] = true
	}
	return d.objectRules(s, one)
}

// limits say something of the values of a schema, and nothing of their type.
func (d *draw) limits(of schema) schema {
	switch of["type"] {
	case "string":
		return schema{"pattern": pick(d, patterns)}
	case "integer", "number":
		return schema{"minimum": d.IntN(5)}
	case "array":
		return schema{"minItems": d.IntN(3)}
	case "object":
		return schema{"minProperties": d.IntN(3)}
	}
	return schema{"enum": []any{true, "a", 1}}
}

// Rules in CEL, by what they are about. The last ones of each look at what was before.
var (
	textRules = []string{
		"self.size() < 5", "self.startsWith('a')", "self != 'b'", "self.matches('^[a-z]*$')", "self.lowerAscii() == self", "isURL(self)", "self.split(',').all(x, x != 'c')",
		"self == oldSelf", "self.size() >= oldSelf.size()",
	}
	numberRules = []string{"self >= 0", "self < 100", "self != 7", "string(self).size() < 4", "self >= oldSelf", "self == oldSelf || self > oldSelf"}
	boolRules   = []string{"self", "!self", "self || !oldSelf", "self == oldSelf"}
	eitherRules = []string{"type(self) == int || self.endsWith('%')", "type(self) == string ? self != '' : self > 0"}
	mapRules    = []string{"self.all(k, k.size() < 6)", "!('a' in self)", "size(self) > 0", "oldSelf.all(k, k in self)", "size(self) >= size(oldSelf)"}
	listRules   = []string{"self.all(x, x == x)", "size(self) != 2", "self.exists_one(x, true)", "size(self) >= size(oldSelf)"}
)

// ruled gives a schema a rule now and then.
func (d *draw) ruled(s schema, rules []string) schema {
	if d.chance(5) {
		s["x-kubernetes-validations"] = []any{d.rule(pick(d, rules))}
	}
	return s
}

// rule completes a rule.
func (d *draw) rule(text string) schema {
	r := schema{"rule": text}
	switch d.IntN(4) {
	case 0:
		r["message"] = "must be so"
	case 1:
		r["messageExpression"] = pick(d, []string{"'no ' + string(1 + 1)", "''", "'it is ' + (has(self.a) ? 'there' : 'not')", "'a\\nb'"})
	}
	if d.chance(6) {
		r["reason"] = pick(d, []string{"FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"})
	}
	if d.chance(10) {
		r["optionalOldSelf"], r["rule"] = true, pick(d, []string{"!oldSelf.hasValue() || oldSelf.value() == self", "oldSelf.hasValue() || self == self"})
	}
	return r
}

// objectRules gives an object rules about one of its fields.
func (d *draw) objectRules(s schema, name string) schema {
	if !d.chance(4) || name != "a" && name != "b" && name != "c" && name != "name" {
		return s
	}
	field := "self." + name
	r := d.rule(pick(d, []string{
		"has(" + field + ")", "!has(" + field + ")", "!has(" + field + ") || " + field + " == " + field, "has(" + field + ") == has(oldSelf." + name + ")",
		"!has(" + field + ") || !has(oldSelf." + name + ") || " + field + " == oldSelf." + name, "self == oldSelf",
		"has(" + field + ") ? " + field + " != null : true", "string(" + field + ") != ''", "size(" + field + ") > 0",
	}))
	if d.chance(4) {
		r["fieldPath"] = "." + name
	}
	s["x-kubernetes-validations"] = []any{r}
	return s
}

// value is one that the schema allows, as far as that is easily said.
func (d *draw) value(s schema, depth int) any {
	if given, ok := s["enum"].([]any); ok && len(given) > 0 {
		return clonePlain(pick(d, given))
	}
	if s["nullable"] == true && d.chance(6) {
		return nil
	}
	switch s["type"] {
	case "string":
		return d.textOf(s)
	case "integer":
		return d.numberOf(s)
	case "number":
		if d.chance(3) {
			return json.Number(fmt.Sprint(float64(d.numberOf(s)) + 0.5))
		}
		return d.numberOf(s)
	case "boolean":
		return d.chance(2)
	case "array":
		return d.listOf(s, depth)
	case "object":
		return d.objectOf(s, depth)
	}
	if s["x-kubernetes-int-or-string"] == true {
		return pick(d, []any{1, 80, "50%", "http", "7"})
	}
	return plain(d.anything())
}

func (d *draw) textOf(s schema) any {
	text := pick(d, []string{"a", "abc", "b", "c", "ab1", "zz"})
	if s["format"] != nil {
		text = pick(d, formatted)
	}
	if s["pattern"] != nil && d.chance(3) {
		text = pick(d, []string{"a1", "abc", "12", "b"})
	}
	return text
}

func (d *draw) numberOf(s schema) int {
	low, high := limitOf(s["minimum"], -10), limitOf(s["maximum"], 60)
	if high < low {
		high = low
	}
	return low + d.IntN(high-low+1)
}

// limitOf is a limit of a schema, wherever that came from.
func limitOf(value any, otherwise int) int {
	n := float64(otherwise)
	switch v := value.(type) {
	case int:
		n = float64(v)
	case int64:
		n = float64(v)
	case float64:
		n = v
	}
	return int(math.Max(-1e6, math.Min(1e6, n)))
}

func (d *draw) listOf(s schema, depth int) any {
	items, _ := s["items"].(schema)
	list := []any{}
	if items == nil || depth > 8 {
		return list
	}
	least, most := max(0, limitOf(s["minItems"], 0)), min(4, limitOf(s["maxItems"], 3))
	for i := range max(least, d.IntN(max(1, most)+1)) {
		item := d.value(items, depth+1)
		if o, ok := item.(map[string]any); ok && s["x-kubernetes-list-type"] == "map" {
			for _, key := range listOfAny(s["x-kubernetes-list-map-keys"]) {
				if _, text := o[fmt.Sprint(key)].(string); text && !d.chance(8) {
					o[fmt.Sprint(key)] = fmt.Sprint("k", i)
				}
			}
		}
		list = append(list, item)
	}
	return list
}

func listOfAny(v any) []any {
	list, _ := v.([]any)
	return list
}

func (d *draw) objectOf(s schema, depth int) any {
	o := map[string]any{}
	if depth > 8 {
		return o
	}
	if s["x-kubernetes-embedded-resource"] == true {
		o["apiVersion"], o["kind"], o["metadata"] = "v1", "Pod", map[string]any{"name": "a", "labels": map[string]any{"a": "b"}}
	}
	needed := map[string]bool{}
	for _, name := range listOfAny(s["required"]) {
		needed[fmt.Sprint(name)] = true
	}
	properties, _ := s["properties"].(schema)
	for _, name := range sortedKeys(properties) {
		own, ok := properties[name].(schema)
		if ok && (needed[name] || depth < 2 && !d.chance(5) || d.chance(3)) && o[name] == nil {
			o[name] = d.value(own, depth+1)
		}
	}
	if more, ok := s["additionalProperties"].(schema); ok {
		for range d.IntN(1 + min(3, limitOf(s["maxProperties"], 3))) {
			o[pick(d, fieldNames)] = d.value(more, depth+1)
		}
	}
	if s["x-kubernetes-preserve-unknown-fields"] == true && d.chance(2) {
		o[d.key()] = plain(d.anything())
	}
	return o
}

func clonePlain(v any) any { return plain(clone(v)) }
