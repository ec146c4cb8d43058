//! Types of expressions, and when a value of one may stand where another is asked for.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// A type of the language.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// Known at run time only.
    Dyn,
    /// The same, but of no loop: what a message of any type holds.
    Any,
    /// The type of `null`.
    Null,
    /// `bool`.
    Bool,
    /// A signed 64-bit integer.
    Int,
    /// An unsigned 64-bit integer.
    Uint,
    /// A 64-bit float.
    Double,
    /// Unicode text.
    String,
    /// Bytes.
    Bytes,
    /// A point in time.
    Timestamp,
    /// A length of time.
    Duration,
    /// The type of a type.
    Type(Option<Arc<Type>>),
    /// A list of one type.
    List(Arc<Type>),
    /// A map from one type to another.
    Map(Arc<(Type, Type)>),
    /// A type of a library with parameters, such as `optional_type`.
    Opaque(Arc<str>, Arc<[Type]>),
    /// An object with fields.
    Struct(Arc<StructType>),
    /// What a generic function leaves open.
    Param(Arc<str>),
    /// The type of what is wrong; it fits everywhere, so that one mistake is reported once.
    Error,
}

/// A named object type.
#[derive(Debug, Clone, Default)]
pub struct StructType {
    /// Its name.
    pub name: String,
    /// Its fields by the names that expressions use.
    pub fields: BTreeMap<String, Type>,
    /// What is known of the fields that are not named.
    pub known: FieldKnowledge,
}

/// What is known of an object's fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FieldKnowledge {
    /// There are no others.
    #[default]
    All,
    /// None can be selected.
    None,
    /// There may be any, of any type.
    Any,
}

impl PartialEq for StructType {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

const OPTIONAL: &str = "optional_type";

impl Type {
    /// `list(item)`.
    pub fn list(item: Self) -> Self {
        Self::List(Arc::new(item))
    }

    /// `map(key, value)`.
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new((key, value)))
    }

    /// `optional_type(inner)`.
    pub fn optional(inner: Self) -> Self {
        Self::Opaque(OPTIONAL.into(), Arc::new([inner]))
    }

    /// An object type without fields that expressions could select.
    pub fn named(name: &str) -> Self {
        Self::Struct(Arc::new(StructType {
            name: name.to_owned(),
            fields: BTreeMap::new(),
            known: FieldKnowledge::None,
        }))
    }

    /// An object type.
    pub fn structure(name: impl Into<String>, fields: BTreeMap<String, Self>) -> Self {
        Self::Struct(Arc::new(StructType { name: name.into(), fields, known: FieldKnowledge::All }))
    }

    pub(crate) fn opaque(name: &str) -> Self {
        Self::Opaque(name.into(), Arc::new([]))
    }

    pub(crate) fn param(name: &str) -> Self {
        Self::Param(name.into())
    }

    pub(crate) fn type_of(inner: Self) -> Self {
        Self::Type(Some(Arc::new(inner)))
    }

    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn | Self::Any)
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Self::Dyn | Self::Any | Self::Error)
    }

    /// What an optional holds.
    pub(crate) fn optional_inner(&self) -> Option<&Self> {
        match self {
            Self::Opaque(name, params) if &**name == OPTIONAL => params.first(),
            _ => None,
        }
    }

    pub(crate) fn unwrap_optional(&self) -> (&Self, bool) {
        self.optional_inner().map_or((self, false), |inner| (inner, true))
    }

    pub(crate) fn is_scalar(&self) -> bool {
        match self {
            Self::Bool | Self::Double | Self::Duration | Self::Int | Self::Timestamp | Self::Uint => true,
            _ => self.optional_inner().is_some_and(Self::is_scalar),
        }
    }

    /// The name without parameters.
    pub fn name(&self) -> &str {
        match self {
            Self::Dyn => "dyn",
            Self::Any => "google.protobuf.Any",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::Duration => "google.protobuf.Duration",
            Self::Type(_) => "type",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Opaque(name, _) | Self::Param(name) => name,
            Self::Struct(object) => &object.name,
            Self::Error => "error",
        }
    }

    /// The type as it is called at run time.
    pub(crate) fn runtime(&self) -> String {
        let mut params = Vec::new();
        self.for_each_param(&mut |param| params.push(param.runtime()));
        let name = self.name();
        if params.is_empty() { name.to_owned() } else { format!("{name}({})", params.join(", ")) }
    }

    fn for_each_param<'t>(&'t self, visit: &mut dyn FnMut(&'t Self)) {
        match self {
            Self::List(item) => visit(item),
            Self::Map(entry) => {
                visit(&entry.0);
                visit(&entry.1);
            }
            Self::Opaque(_, params) => params.iter().for_each(visit),
            Self::Type(Some(inner)) => visit(inner),
            _ => {}
        }
    }

    /// Whether any part is open.
    pub(crate) fn mentions_param(&self) -> bool {
        if matches!(self, Self::Param(_)) {
            return true;
        }
        let mut found = false;
        self.for_each_param(&mut |param| found |= param.mentions_param());
        found
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => return f.write_str("null"),
            Self::Any => return f.write_str("any"),
            Self::Timestamp => return f.write_str("timestamp"),
            Self::Duration => return f.write_str("duration"),
            Self::Error => return f.write_str("!error!"),
            _ => f.write_str(self.name())?,
        }
        let mut separator = "(";
        let mut outcome = Ok(());
        self.for_each_param(&mut |param| {
            outcome = outcome.and_then(|()| write!(f, "{separator}{param}"));
            separator = ", ";
        });
        outcome?;
        f.write_str(if separator == ", " { ")" } else { "" })
    }
}

/// What the open types stand for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Substitution(HashMap<String, Type>);

impl Substitution {
    /// A key for `t`, which need not be a parameter: the reference implementation keeps all kinds under their text.
    fn find(&self, t: &Type) -> Option<&Type> {
        match t {
            Type::Param(name) => self.0.get(&**name),
            _ => None,
        }
    }

    pub(crate) fn set(&mut self, param: &str, t: Type) {
        self.0.insert(param.to_owned(), t);
    }

    /// `t` with what is known put in; what stays open becomes dyn if `close`.
    pub(crate) fn apply(&self, t: &Type, close: bool) -> Type {
        if let Some(found) = self.find(t) {
            return self.apply(found, close);
        }
        match t {
            Type::Param(_) if close => Type::Dyn,
            Type::List(item) => Type::list(self.apply(item, close)),
            Type::Map(entry) => Type::map(self.apply(&entry.0, close), self.apply(&entry.1, close)),
            Type::Opaque(name, params) => {
                Type::Opaque(name.clone(), params.iter().map(|param| self.apply(param, close)).collect())
            }
            Type::Type(Some(inner)) => Type::type_of(self.apply(inner, close)),
            _ => t.clone(),
        }
    }

    /// Whether a `from` may stand where `to` is asked for; learns what open types must be, or leaves all as it was.
    pub(crate) fn assign(&mut self, to: &Type, from: &Type) -> bool {
        self.assign_all(std::slice::from_ref(to), std::slice::from_ref(from))
    }

    /// Like [`Self::assign`] for several at once.
    pub(crate) fn assign_all(&mut self, to: &[Type], from: &[Type]) -> bool {
        let mut attempt = self.clone();
        let fits = to.len() == from.len() && to.iter().zip(from).all(|(to, from)| attempt.fit(to, from));
        if fits {
            *self = attempt;
        }
        fits
    }

    fn fit(&mut self, t1: &Type, t2: &Type) -> bool {
        if matches!(t2, Type::Param(_)) {
            let (valid, bound) = self.bind(t1, t2);
            if valid || bound {
                return valid;
            }
        }
        if matches!(t1, Type::Param(_)) {
            return self.bind(t2, t1).0;
        }
        if t1.is_dyn_or_error() || t2.is_dyn_or_error() {
            return true;
        }
        match (t1, t2) {
            (Type::Null, other) | (other, Type::Null) => {
                matches!(
                    other,
                    Type::Null | Type::Opaque(..) | Type::Struct(_) | Type::Duration | Type::Timestamp
                )
            }
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(a), Type::List(b)) => self.fit(a, b),
            (Type::Map(a), Type::Map(b)) => self.fit(&a.0, &b.0) && self.fit(&a.1, &b.1),
            (Type::Opaque(a, a_params), Type::Opaque(b, b_params)) => {
                a == b
                    && a_params.len() == b_params.len()
                    && a_params.iter().zip(b_params.iter()).all(|(a, b)| self.fit(a, b))
            }
            _ => t1 == t2,
        }
    }

    /// Tries to let the open `param` be `t`: whether it may, and whether it was something already.
    fn bind(&mut self, t: &Type, param: &Type) -> (bool, bool) {
        if t == param {
            return (true, true);
        }
        let Type::Param(name) = param else { return (false, false) };
        if let Some(known) = self.find(param).cloned() {
            if t == &known {
                return (true, true);
            }
            if self.fit(t, &known) {
                let general = if less_specific(t, &known) { t.clone() } else { known };
                if self.free_of(param, &general) {
                    self.set(name, general);
                }
                return (true, true);
            }
            return (false, true);
        }
        if self.free_of(param, t) {
            self.set(name, t.clone());
            return (true, false);
        }
        (false, false)
    }

    fn free_of(&self, param: &Type, within: &Type) -> bool {
        if param == within {
            return false;
        }
        if let Type::Param(_) = within {
            return self.find(within).is_none_or(|found| self.free_of(param, found));
        }
        let mut free = true;
        within.for_each_param(&mut |inner| free = free && self.free_of(param, inner));
        free
    }
}

/// The one of two types that the other fits into.
pub(crate) fn most_general(t1: &Type, t2: &Type) -> Type {
    if less_specific(t1, t2) { t1.clone() } else { t2.clone() }
}

fn less_specific(t1: &Type, t2: &Type) -> bool {
    if t1.is_dyn() || matches!(t1, Type::Param(_)) {
        return true;
    }
    if t2.is_dyn() || matches!(t2, Type::Param(_)) {
        return false;
    }
    match (t1, t2) {
        (Type::List(a), Type::List(b)) => less_specific(a, b),
        (Type::Map(a), Type::Map(b)) => less_specific(&a.0, &b.0) && less_specific(&a.1, &b.1),
        (Type::Opaque(a, a_params), Type::Opaque(b, b_params)) => {
            a == b
                && a_params.len() == b_params.len()
                && a_params.iter().zip(b_params.iter()).all(|(a, b)| less_specific(a, b))
        }
        (Type::Type(_), Type::Type(_)) => true,
        _ => t1 == t2,
    }
}
