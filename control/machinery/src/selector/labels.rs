//! Label selectors: what a requirement is and when labels meet it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::{Error, parser};
use crate::field::{FieldError, Path};
use crate::label;

/// Labels that can be looked up by key.
pub trait Labels {
    /// The value of a label, where there is one.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

/// `metadata.labels` as it stands in an object.
impl Labels for Map<String, Value> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }
}

/// An object without labels has none.
impl<L: Labels + ?Sized> Labels for Option<&L> {
    fn label(&self, key: &str) -> Option<&str> {
        self.and_then(|labels| labels.label(key))
    }
}

/// How a requirement relates a key and its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `key in (a,b)`
    In,
    /// `key notin (a,b)`
    NotIn,
    /// `key=a`
    Equals,
    /// `key==a`
    DoubleEquals,
    /// `key!=a`
    NotEquals,
    /// `key`
    Exists,
    /// `!key`
    DoesNotExist,
    /// `key>1`
    GreaterThan,
    /// `key<1`
    LessThan,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    key: Box<str>,
    operator: Operator,
    /// Sorted, without duplicates.
    values: Vec<Box<str>>,
}

impl Requirement {
    /// A requirement, where key, operator and values go together.
    pub fn new<S: Into<Box<str>>>(
        key: &str,
        operator: Operator,
        values: impl IntoIterator<Item = S>,
    ) -> Result<Self, Error> {
        let values: Vec<Box<str>> = values.into_iter().map(Into::into).collect();
        let mut errors = Vec::new();
        let problems = label::key_problems(key);
        let root = Path::ROOT;
        if !problems.is_empty() {
            errors.push(FieldError::invalid(&root.child("key"), key, problems.join("; ")));
        }
        let path = root.child("values");
        let count = match operator {
            Operator::In | Operator::NotIn => {
                values.is_empty().then_some("for 'in', 'notin' operators, values set can't be empty")
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals => {
                (values.len() != 1).then_some("exact-match compatibility requires one single value")
            }
            Operator::Exists | Operator::DoesNotExist => {
                (!values.is_empty()).then_some("values set must be empty for exists and does not exist")
            }
            Operator::GreaterThan | Operator::LessThan => {
                (values.len() != 1).then_some("for 'Gt', 'Lt' operators, exactly one value is required")
            }
        };
        if let Some(rule) = count {
            let all: Vec<Value> = values.iter().map(|value| Value::from(&**value)).collect();
            errors.push(FieldError::invalid(&path, all, rule));
        }
        for (index, value) in values.iter().enumerate() {
            let at = path.index(index);
            let integer = value.parse::<i64>().is_ok();
            if matches!(operator, Operator::GreaterThan | Operator::LessThan) && !integer {
                let rule = "for 'Gt', 'Lt' operators, the value must be an integer";
                errors.push(FieldError::invalid(&at, &**value, rule));
            }
            let problems = label::value_problems(value);
            if !problems.is_empty() {
                errors.push(FieldError::invalid(&at.key(key), &**value, problems.join("; ")));
            }
        }
        if !errors.is_empty() {
            return Err(Error::Invalid(errors));
        }
        let mut values = values;
        values.sort_unstable();
        values.dedup();
        Ok(Self { key: key.into(), operator, values })
    }

    /// The label that it is about.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How key and values relate.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The values, sorted.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &str> {
        self.values.iter().map(|value| &**value)
    }

    fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        let value = labels.label(&self.key);
        let listed = |value: &str| self.values.binary_search_by(|one| (**one).cmp(value)).is_ok();
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => value.is_some_and(listed),
            Operator::NotIn | Operator::NotEquals => value.is_none_or(|value| !listed(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compare(value).is_some_and(|(label, bound)| label > bound),
            Operator::LessThan => self.compare(value).is_some_and(|(label, bound)| label < bound),
        }
    }

    fn compare(&self, value: Option<&str>) -> Option<(i64, i64)> {
        Some((value?.parse().ok()?, self.values.first()?.parse().ok()?))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, between, after) = match self.operator {
            Operator::Exists => return f.write_str(&self.key),
            Operator::DoesNotExist => return write!(f, "!{}", self.key),
            Operator::Equals => ("", "=", ""),
            Operator::DoubleEquals => ("", "==", ""),
            Operator::NotEquals => ("", "!=", ""),
            Operator::GreaterThan => ("", ">", ""),
            Operator::LessThan => ("", "<", ""),
            Operator::In => ("", " in (", ")"),
            Operator::NotIn => ("", " notin (", ")"),
        };
        write!(f, "{before}{}{between}{}{after}", self.key, self.values.join(","))
    }
}

/// Conditions on labels that all must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSelector {
    /// Sorted by key; `None` selects nothing, an empty list everything.
    requirements: Option<Vec<Requirement>>,
}

impl LabelSelector {
    /// Selects every object.
    pub fn everything() -> Self {
        Self { requirements: Some(Vec::new()) }
    }

    /// Selects no object.
    pub fn nothing() -> Self {
        Self { requirements: None }
    }

    /// Conditions that all must hold.
    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements: Some(requirements) }
    }

    /// Reads a selector such as `app=web,tier in (a,b),!old`.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use xebec_machinery::selector::LabelSelector;
    ///
    /// let selector = LabelSelector::parse("app=web,tier notin (test)")?;
    /// let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
    /// assert!(selector.matches(&labels));
    /// # Ok::<(), xebec_machinery::selector::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, Error> {
        parser::parse(text).map(Self::new)
    }

    /// Reads a `LabelSelector` of `meta/v1`: `null` selects nothing, an empty object everything.
    pub fn from_object(object: &Value) -> Result<Self, Error> {
        let object = match object {
            Value::Null => return Ok(Self::nothing()),
            Value::Object(object) => object,
            _ => return Err(Error::Shape("the whole")),
        };
        let mut requirements = Vec::new();
        match object.get("matchLabels") {
            None | Some(Value::Null) => {}
            Some(Value::Object(labels)) => {
                for (key, value) in labels {
                    let value = value.as_str().ok_or(Error::Shape("matchLabels"))?;
                    requirements.push(Requirement::new(key, Operator::Equals, [value])?);
                }
            }
            Some(_) => return Err(Error::Shape("matchLabels")),
        }
        match object.get("matchExpressions") {
            None | Some(Value::Null) => {}
            Some(Value::Array(expressions)) => {
                for expression in expressions {
                    requirements.push(expression_of(expression)?);
                }
            }
            Some(_) => return Err(Error::Shape("matchExpressions")),
        }
        Ok(Self::new(requirements))
    }

    /// Whether labels meet every condition.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        self.requirements.as_ref().is_some_and(|all| all.iter().all(|one| one.matches(labels)))
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        self.requirements.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether no object is selected, whatever its labels.
    pub fn is_nothing(&self) -> bool {
        self.requirements.is_none()
    }

    /// The conditions, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        self.requirements.as_deref().unwrap_or_default()
    }
}

fn expression_of(expression: &Value) -> Result<Requirement, Error> {
    let text = |name| match expression.get(name) {
        None | Some(Value::Null) => Ok(""),
        Some(value) => value.as_str().ok_or(Error::Shape("matchExpressions")),
    };
    let operator = match text("operator")? {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        other => return Err(Error::Operator(other.to_owned())),
    };
    let values = match expression.get("values") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(values)) => values
            .iter()
            .map(|value| value.as_str().ok_or(Error::Shape("matchExpressions")))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(Error::Shape("matchExpressions")),
    };
    Requirement::new(text("key")?, operator, values)
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements().iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl std::str::FromStr for LabelSelector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}
