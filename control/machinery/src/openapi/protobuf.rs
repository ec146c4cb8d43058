//! The protobuf form of a version 2 document (`openapi.v2.Document` of gnostic), which older clients insist on.
//!
//! Extensions and defaults are YAML text in it; JSON is YAML.

use std::sync::LazyLock;

use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// A message in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            // The low seven bits, and the mark that more follow.
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn key(&mut self, number: u32, wire: u64) {
        self.varint(u64::from(number) << 3 | wire);
    }

    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.key(number, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, number: u32, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(number, &inner.0);
    }

    fn text(&mut self, number: u32, text: &str) {
        self.bytes(number, text.as_bytes());
    }

    fn texts(&mut self, number: u32, list: &Value) {
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .for_each(|text| self.text(number, text));
    }

    /// `Any`, whose second field is YAML.
    fn any(&mut self, number: u32, value: &Value) {
        self.message(number, |any| any.text(2, &value.to_string()));
    }

    /// A name and its value, as maps have them.
    fn named(&mut self, number: u32, name: &str, value: impl FnOnce(&mut Self)) {
        self.message(number, |entry| {
            entry.text(1, name);
            entry.message(2, value);
        });
    }

    /// The fields that begin with `x-`.
    fn extensions(&mut self, number: u32, fields: &Fields) {
        for (key, value) in fields.iter().filter(|(key, _)| key.starts_with("x-")) {
            self.named(number, key, |any| any.text(2, &value.to_string()));
        }
    }

    /// The fields of the table that are there.
    fn scalars(&mut self, fields: &Fields, table: &[(&str, u32)]) {
        for (key, number) in table {
            match fields.get(*key) {
                Some(Value::String(text)) => self.text(*number, text),
                Some(Value::Bool(true)) => {
                    self.key(*number, 0);
                    self.varint(1);
                }
                Some(list @ Value::Array(_)) => self.texts(*number, list),
                _ => {}
            }
        }
    }
}

static NOTHING: LazyLock<Fields> = LazyLock::new(Fields::new);

fn fields(value: &Value) -> &Fields {
    value.as_object().unwrap_or(&NOTHING)
}

/// Encodes a document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.scalars(fields(document), &[("swagger", 1)]);
    out.message(2, |info| info.scalars(fields(&document["info"]), &[("title", 1), ("version", 2)]));
    out.message(8, |paths| {
        for (path, item) in fields(&document["paths"]) {
            paths.named(2, path, |out| path_item(out, fields(item)));
        }
    });
    out.message(9, |definitions| {
        for (name, definition) in fields(&document["definitions"]) {
            definitions.named(1, name, |out| schema(out, fields(definition)));
        }
    });
    out.message(13, |definitions| {
        for (name, security) in fields(&document["securityDefinitions"]) {
            definitions.named(1, name, |out| {
                out.message(2, |key| key.scalars(fields(security), &[("type", 1), ("name", 2), ("in", 3)]));
            });
        }
    });
    out.0
}

fn path_item(out: &mut Message, item: &Fields) {
    for (method, number) in [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 8)] {
        if let Some(operation) = item.get(method) {
            out.message(number, |out| self::operation(out, fields(operation)));
        }
    }
    parameters(out, 9, item);
}

fn operation(out: &mut Message, operation: &Fields) {
    out.scalars(operation, &[("tags", 1), ("operationId", 5), ("produces", 6), ("consumes", 7)]);
    parameters(out, 8, operation);
    out.message(9, |responses| {
        for (code, response) in operation.get("responses").map_or(&*NOTHING, fields) {
            responses.named(1, code, |out| {
                out.message(1, |out| {
                    let response = fields(response);
                    out.scalars(response, &[("description", 1)]);
                    if let Some(schema) = response.get("schema") {
                        out.message(2, |item| item.message(1, |out| self::schema(out, fields(schema))));
                    }
                });
            });
        }
    });
    out.scalars(operation, &[("schemes", 10)]);
    out.extensions(13, operation);
}

fn parameters(out: &mut Message, number: u32, of: &Fields) {
    for parameter in of.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        let parameter = fields(parameter);
        out.message(number, |item| item.message(1, |out| self::parameter(out, parameter)));
    }
}

fn parameter(out: &mut Message, parameter: &Fields) {
    match parameter.get("in").and_then(Value::as_str) {
        Some("body") => out.message(1, |body| {
            body.scalars(parameter, &[("name", 2), ("in", 3), ("required", 4)]);
            if let Some(schema) = parameter.get("schema") {
                body.message(5, |out| self::schema(out, fields(schema)));
            }
        }),
        Some("path") => out.message(2, |out| {
            out.message(4, |path| {
                let table = [("required", 1), ("in", 2), ("name", 4), ("type", 5), ("uniqueItems", 18)];
                path.scalars(parameter, &table);
            });
        }),
        _ => out.message(2, |out| {
            out.message(3, |query| {
                query.scalars(parameter, &[("in", 2), ("name", 4), ("type", 6), ("uniqueItems", 20)]);
            });
        }),
    }
}

const SCALARS: &[(&str, u32)] = &[
    ("$ref", 1),
    ("format", 2),
    ("title", 3),
    ("description", 4),
    ("exclusiveMaximum", 8),
    ("exclusiveMinimum", 10),
    ("pattern", 13),
    ("uniqueItems", 16),
    ("required", 19),
];
const DOUBLES: &[(&str, u32)] = &[("multipleOf", 6), ("maximum", 7), ("minimum", 9)];
const WHOLES: &[(&str, u32)] = &[
    ("maxLength", 11),
    ("minLength", 12),
    ("maxItems", 14),
    ("minItems", 15),
    ("maxProperties", 17),
    ("minProperties", 18),
];

fn schema(out: &mut Message, schema: &Fields) {
    out.scalars(schema, SCALARS);
    for (key, number) in DOUBLES {
        if let Some(value) = schema.get(*key).and_then(Value::as_f64) {
            out.key(*number, 1);
            out.0.extend_from_slice(&value.to_le_bytes());
        }
    }
    for (key, number) in WHOLES {
        if let Some(value) = schema.get(*key).and_then(Value::as_u64) {
            out.key(*number, 0);
            out.varint(value);
        }
    }
    if let Some(default) = schema.get("default") {
        out.any(5, default);
    }
    for value in schema.get("enum").and_then(Value::as_array).into_iter().flatten() {
        out.any(20, value);
    }
    match schema.get("additionalProperties") {
        Some(Value::Object(values)) => {
            out.message(21, |item| item.message(1, |out| self::schema(out, values)))
        }
        Some(Value::Bool(allowed)) => out.message(21, |item| {
            item.key(2, 0);
            item.varint(u64::from(*allowed));
        }),
        _ => {}
    }
    if let Some(Value::String(kind)) = schema.get("type") {
        out.message(22, |item| item.text(1, kind));
    }
    if let Some(Value::Object(items)) = schema.get("items") {
        out.message(23, |item| item.message(1, |out| self::schema(out, items)));
    }
    if let Some(Value::Object(properties)) = schema.get("properties") {
        out.message(25, |out| {
            for (name, property) in properties {
                out.named(1, name, |out| self::schema(out, fields(property)));
            }
        });
    }
    if let Some(example) = schema.get("example") {
        out.any(30, example);
    }
    out.extensions(31, schema);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The fields of a message: number and bytes, or the number itself.
    fn read(mut bytes: &[u8]) -> Vec<(u32, Result<&[u8], u64>)> {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let mut number = 0;
            for place in 0.. {
                let byte = bytes[0];
                *bytes = &bytes[1..];
                number |= u64::from(byte & 0x7f) << (7 * place);
                if byte < 0x80 {
                    break;
                }
            }
            number
        }
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let number = u32::try_from(key >> 3).unwrap();
            let length = match key & 7 {
                0 => {
                    found.push((number, Err(varint(&mut bytes))));
                    continue;
                }
                1 => 8,
                2 => usize::try_from(varint(&mut bytes)).unwrap(),
                wire => panic!("wire type {wire}"),
            };
            let (value, rest) = bytes.split_at(length);
            found.push((number, Ok(value)));
            bytes = rest;
        }
        found
    }

    /// Follows field numbers inwards, taking the first of each.
    fn at<'a>(bytes: &'a [u8], path: &[u32]) -> &'a [u8] {
        path.iter().fold(bytes, |bytes, number| {
            let found = read(bytes).into_iter().find(|(one, _)| one == number);
            found.unwrap_or_else(|| panic!("no field {number} of {path:?}")).1.unwrap()
        })
    }

    #[test]
    fn a_document_has_every_part_in_its_place() {
        let bytes = encode(&json!({
            "swagger": "2.0", "info": {"title": "T", "version": "v"},
            "paths": {"/a": {
                "get": {
                    "operationId": "readA", "produces": ["p"], "x-kubernetes-action": "get",
                    "parameters": [{"in": "body", "name": "body", "required": true, "schema": {"$ref": "#/definitions/A"}}],
                    "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/A"}}},
                },
                "parameters": [{"in": "path", "name": "name", "required": true, "type": "string", "uniqueItems": true}],
            }},
            "definitions": {"A": {
                "type": "object", "required": ["b"], "x-kubernetes-group-version-kind": [{"kind": "A"}],
                "properties": {"b": {"type": "array", "items": {"type": "string"}, "maxItems": 300, "minimum": 1.5, "default": []}},
                "additionalProperties": false,
            }},
        }));
        assert_eq!(at(&bytes, &[1]), b"2.0");
        assert_eq!(at(&bytes, &[2, 1]), b"T");
        assert_eq!(at(&bytes, &[8, 2, 1]), b"/a");
        assert_eq!(at(&bytes, &[8, 2, 2, 2, 5]), b"readA");
        assert_eq!(at(&bytes, &[8, 2, 2, 2, 8, 1, 1, 5, 1]), b"#/definitions/A");
        assert_eq!(at(&bytes, &[8, 2, 2, 2, 9, 1, 2, 1, 2, 1, 1]), b"#/definitions/A");
        assert_eq!(at(&bytes, &[8, 2, 2, 2, 13, 2, 2]), b"\"get\"");
        assert_eq!(at(&bytes, &[8, 2, 2, 9, 1, 2, 4, 4]), b"name");
        let definition = [9, 1, 2];
        assert_eq!(at(&bytes, &[9, 1, 1]), b"A");
        assert_eq!(at(&bytes, &[&definition[..], &[22, 1]].concat()), b"object");
        assert_eq!(at(&bytes, &[&definition[..], &[31, 2, 2]].concat()), br#"[{"kind":"A"}]"#);
        assert_eq!(read(at(&bytes, &[&definition[..], &[21]].concat())), [(2, Err(0))]);
        let property = at(&bytes, &[&definition[..], &[25, 1, 2]].concat());
        assert_eq!(at(property, &[23, 1, 22, 1]), b"string");
        assert_eq!(at(property, &[5, 2]), b"[]");
        assert_eq!(at(property, &[9]), 1.5f64.to_le_bytes());
        assert!(read(property).contains(&(14, Err(300))), "a number of two bytes");
    }
}
