//! The JSONPath of printer columns: `.spec.names[0]`, `.status.conditions[?(@.type=="Ready")].status`, `.items[*].name`.
//!
//! A subset of JSONPath as Kubernetes has it for columns: fields by a dot or in brackets, positions, slices, any element, and
//! filters that compare a field with a literal. Braces round the whole and a leading `$` may be left out.

use serde_json::Value;

/// The longest path that is read.
const LENGTH_MAX: usize = 4096;

/// How many filters may stand within each other.
const DEPTH_MAX: usize = 8;

/// Why a path cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the JSONPath {path:?} cannot be read at byte {at}: {what}; write it like .status.conditions[?(@.type==\"Ready\")].status"
)]
pub struct JsonPathError {
    path: String,
    at: usize,
    what: &'static str,
}

/// A path that has been read.
///
/// ```
/// use xebec_machinery::table::json_path::JsonPath;
/// let path = JsonPath::parse(r#".status.conditions[?(@.type=="Ready")].status"#)?;
/// let object = serde_json::json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
/// assert_eq!(path.first(&object), Some(&"True".into()));
/// # Ok::<(), xebec_machinery::table::json_path::JsonPathError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    /// From the end where negative.
    Index(i64),
    Slice {
        from: Option<i64>,
        to: Option<i64>,
    },
    Any,
    Filter(Filter),
}

#[derive(Debug, Clone, PartialEq)]
struct Filter {
    left: Vec<Step>,
    /// Nothing asks whether the field is there.
    compare: Option<(Comparison, Operand)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Literal(Value),
    Path(Vec<Step>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Reads a path.
    pub fn parse(path: &str) -> Result<Self, JsonPathError> {
        let mut reader = Reader { text: path, at: 0, depth: 0 };
        let steps = reader.whole().map_err(|what| {
            let cut: String = path.chars().take(200).collect();
            JsonPathError { path: cut, at: reader.at, what }
        })?;
        Ok(Self { steps })
    }

    /// The values that the path leads to.
    pub fn find<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        walk(&self.steps, object)
    }

    /// The first value that the path leads to.
    pub fn first<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.find(object).into_iter().next()
    }
}

fn walk<'a>(steps: &[Step], object: &'a Value) -> Vec<&'a Value> {
    let mut found = vec![object];
    for step in steps {
        let mut next = Vec::new();
        for value in found {
            step.take(value, &mut next);
        }
        found = next;
    }
    found
}

impl Step {
    fn take<'a>(&self, value: &'a Value, into: &mut Vec<&'a Value>) {
        match (self, value) {
            (Self::Field(name), Value::Object(fields)) => into.extend(fields.get(name)),
            (Self::Index(index), Value::Array(items)) => {
                into.extend(place(*index, items.len()).and_then(|at| items.get(at)));
            }
            (Self::Slice { from, to }, Value::Array(items)) => {
                let bound = |index: i64| place(index, items.len()).unwrap_or(0).min(items.len());
                let (from, to) = (from.map_or(0, bound), to.map_or(items.len(), bound));
                into.extend(items.get(from..to.max(from)).unwrap_or_default());
            }
            (Self::Any, Value::Array(items)) => into.extend(items),
            (Self::Any, Value::Object(fields)) => into.extend(fields.values()),
            (Self::Filter(filter), Value::Array(items)) => {
                into.extend(items.iter().filter(|item| filter.keeps(item)))
            }
            _ => {}
        }
    }
}

/// A position counted from the end where it is negative.
fn place(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(i64::try_from(length).ok()?)? } else { index };
    usize::try_from(index).ok()
}

impl Filter {
    fn keeps(&self, item: &Value) -> bool {
        let found = walk(&self.left, item);
        let (Some(left), Some((comparison, operand))) = (found.first(), &self.compare) else {
            return self.compare.is_none() && !found.is_empty();
        };
        match operand {
            Operand::Literal(right) => comparison.holds(left, right),
            Operand::Path(path) => {
                walk(path, item).first().is_some_and(|right| comparison.holds(left, right))
            }
        }
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = match (left, right) {
            (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
            (Value::Number(left), Value::Number(right)) => {
                left.as_f64().zip(right.as_f64()).and_then(|(left, right)| left.partial_cmp(&right))
            }
            _ => (left == right).then_some(Equal),
        };
        match self {
            Self::Equal => order == Some(Equal),
            Self::NotEqual => order != Some(Equal),
            Self::Less => order == Some(Less),
            Self::LessOrEqual => matches!(order, Some(Less | Equal)),
            Self::Greater => order == Some(Greater),
            Self::GreaterOrEqual => matches!(order, Some(Greater | Equal)),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

type Read<T> = Result<T, &'static str>;

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// The text as long as `allowed`.
    fn word(&mut self, allowed: impl Fn(char) -> bool) -> String {
        let rest = self.rest();
        let word = rest[..rest.find(|letter| !allowed(letter)).unwrap_or(rest.len())].to_owned();
        self.at += word.len();
        word
    }

    fn whole(&mut self) -> Read<Vec<Step>> {
        if self.text.len() > LENGTH_MAX {
            return Err("it is longer than 4096 bytes");
        }
        let braced = self.eat("{");
        self.eat("$");
        let steps = self.steps()?;
        if braced && !self.eat("}") {
            return Err("a } is missing");
        }
        if self.rest().is_empty() { Ok(steps) } else { Err("a field begins with a dot or a bracket") }
    }

    fn steps(&mut self) -> Read<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            if self.eat("..") {
                return Err("searching at any depth is not allowed in a column");
            } else if self.eat(".") {
                steps.extend(self.dotted()?);
            } else if self.eat("[") {
                steps.push(self.bracketed()?);
            } else {
                return Ok(steps);
            }
        }
    }

    /// A field after a dot, whose own dots are escaped by backslashes; nothing where a bracket or the end follows.
    fn dotted(&mut self) -> Read<Option<Step>> {
        if self.eat("*") {
            return Ok(Some(Step::Any));
        }
        let mut name = String::new();
        loop {
            name += &self.word(|letter| {
                !matches!(
                    letter,
                    '.' | '[' | ']' | '{' | '}' | '\\' | '(' | ')' | '=' | '!' | '<' | '>' | ' '
                )
            });
            if !self.eat("\\") {
                break;
            }
            let Some(letter) = self.rest().chars().next() else {
                return Err("nothing follows the backslash");
            };
            name.push(letter);
            self.at += letter.len_utf8();
        }
        Ok((!name.is_empty()).then_some(Step::Field(name)))
    }

    fn bracketed(&mut self) -> Read<Step> {
        self.space();
        let step = if self.eat("?(") {
            let filter = self.filter()?;
            self.space();
            if !self.eat(")") {
                return Err("a filter ends with )");
            }
            Step::Filter(filter)
        } else if self.eat("*") {
            Step::Any
        } else if let Some(name) = self.quoted()? {
            Step::Field(name)
        } else {
            let from = self.number()?;
            if self.eat(":") {
                Step::Slice { from, to: self.number()? }
            } else {
                Step::Index(from.ok_or("a bracket holds a position, *, a quoted field or a filter")?)
            }
        };
        self.space();
        if self.eat("]") { Ok(step) } else { Err("a ] is missing") }
    }

    fn number(&mut self) -> Read<Option<i64>> {
        let text = self.word(|letter| letter == '-' || letter.is_ascii_digit());
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| "the position is no number")
    }

    /// A text in single or double quotes, where one stands here.
    fn quoted(&mut self) -> Read<Option<String>> {
        let Some(quote) = ['\'', '"'].into_iter().find(|quote| self.rest().starts_with(*quote)) else {
            return Ok(None);
        };
        self.at += 1;
        let mut text = String::new();
        let mut escaped = false;
        for letter in self.text[self.at..].chars() {
            self.at += letter.len_utf8();
            match letter {
                '\\' if !escaped => escaped = true,
                _ if letter == quote && !escaped => return Ok(Some(text)),
                _ => {
                    escaped = false;
                    text.push(letter);
                }
            }
        }
        Err("the quoted text does not end")
    }

    fn filter(&mut self) -> Read<Filter> {
        if self.depth == DEPTH_MAX {
            return Err("more than eight filters stand within each other");
        }
        self.space();
        if !self.eat("@") {
            return Err("a filter begins with @");
        }
        self.depth += 1;
        let left = self.steps()?;
        self.space();
        let operators = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let Some((_, comparison)) = operators.into_iter().find(|(token, _)| self.eat(token)) else {
            self.depth -= 1;
            return Ok(Filter { left, compare: None });
        };
        self.space();
        let operand =
            if self.eat("@") { Operand::Path(self.steps()?) } else { Operand::Literal(self.literal()?) };
        self.depth -= 1;
        Ok(Filter { left, compare: Some((comparison, operand)) })
    }

    fn literal(&mut self) -> Read<Value> {
        if let Some(text) = self.quoted()? {
            return Ok(text.into());
        }
        let word = self.word(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '+' | '.'));
        serde_json::from_str(&word)
            .map_err(|_| "a filter compares with a quoted text, a number, true or false")
    }
}

#[cfg(test)]
mod tests;
