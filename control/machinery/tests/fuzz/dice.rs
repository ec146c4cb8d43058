//! What is made from chance: objects that are odd.

use serde_json::{Map, Value, json};
use xebec_dice::Dice;
use xebec_machinery::schema::{Node, Shape};

/// What the dice make.
pub(crate) trait Odd {
    /// A value that is seldom what a field wants.
    fn odd(&mut self) -> Value;

    /// An object in the shape of the node, which is odd in some places.
    fn object(&mut self, node: &Node, depth: usize) -> Value;
}

impl Odd for Dice {
    fn odd(&mut self) -> Value {
        match self.below(12) {
            0 => Value::Null,
            1 => true.into(),
            2 => (self.number() as i64).into(),
            3 => 1.5e300.into(),
            4 => "".into(),
            5 => "é/~1\u{0}\"".into(),
            6 => json!([]),
            7 => json!({}),
            8 => json!([null, 1, "x", [], {"a": []}]),
            9 => json!({"name": 1, "$patch": "delete", "": null}),
            10 => json!([{"name": "a"}, {"name": "a"}, {"name": null}, {}]),
            _ => {
                json!({"$retainKeys": ["a"], "$setElementOrder/containers": [{"name": "b"}], "a": {"b": [1]}})
            }
        }
    }

    fn object(&mut self, node: &Node, depth: usize) -> Value {
        if self.once_in(40) {
            return self.odd();
        }
        match &node.shape {
            _ if depth > 9 => Value::Null,
            Shape::Any => json!({"any": [1, null]}),
            Shape::String => (*self.pick(&["", "x", "a", "b", "TCP", "1Gi", "2026-01-01T00:00:00Z"])).into(),
            Shape::Integer | Shape::Number => (self.below(300) as i64 - 100).into(),
            Shape::Boolean => self.once_in(2).into(),
            Shape::IntOrString => {
                if self.once_in(2) {
                    json!(self.below(9000))
                } else {
                    json!("50%")
                }
            }
            Shape::List { items, .. } => {
                (0..self.below(4)).map(|_| self.object(items.node(), depth + 1)).collect()
            }
            Shape::Map { values, .. } => {
                let keys = ["a", "b", "x.example.com/y"];
                keys.iter().map(|key| ((*key).to_owned(), self.object(values.node(), depth + 1))).collect()
            }
            Shape::Struct { fields, .. } => {
                let mut map = Map::new();
                for field in fields {
                    if field.required || self.once_in(3) {
                        map.insert(field.name.to_string(), self.object(field.node.node(), depth + 1));
                    }
                }
                Value::Object(map)
            }
        }
    }
}
