//! Values of expressions. Those of an object under judgement are read from its JSON where they are asked for; nothing is
//! copied before.

mod collection;
mod conversion;
mod equality;
mod render;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

pub(crate) use collection::{Entries, Key};
pub use collection::{List, Map};
pub(crate) use conversion::double_to_int;
pub(crate) use equality::{compare, equal};

use crate::authorization::{Authorizing, Decided};
use crate::library::{format::NamedFormat, network, quantity::Quantity, semver::Semver, url::Url};
use crate::schema::Schema;
use crate::timestamp::Timestamp;
use crate::types::Type;

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvaluationError {
    message: Cow<'static, str>,
    cancelled: bool,
}

impl EvaluationError {
    /// An error with this text.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), cancelled: false }
    }

    pub(crate) fn no_such_overload() -> Self {
        Self::new("no such overload")
    }

    /// The same text, but final: nothing more is said of the arguments.
    pub(crate) fn refused() -> Self {
        Self::new("no such overload".to_owned())
    }

    pub(crate) fn is_no_such_overload(&self) -> bool {
        matches!(self.message, Cow::Borrowed("no such overload"))
    }

    pub(crate) fn over_limit() -> Self {
        Self { message: "operation cancelled: actual cost limit exceeded".into(), cancelled: true }
    }

    /// Whether the evaluation was stopped because it cost too much; no operator absorbs such an error.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// The text.
    pub fn message(&self) -> &str {
        &self.message
    }
}

pub(crate) type Evaluated<T> = Result<T, EvaluationError>;

/// Fails with a formatted message.
macro_rules! fail {
    ($($arg:tt)*) => { return Err($crate::value::EvaluationError::new(format!($($arg)*))) };
}
pub(crate) use fail;

/// Text, borrowed where possible.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// Of the object or its owner.
    Borrowed(&'a str),
    /// Made by the expression.
    Shared(Arc<str>),
}

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self::Shared(text.into())
    }
}

/// Something with fields that are worked out when they are asked for, such as a policy's variables.
pub trait Fields: fmt::Debug + Sync {
    /// The value of `name`; none if there is no such field.
    fn field<'v>(&'v self, name: &str) -> Option<Result<Value<'v>, EvaluationError>>;

    /// The name of its type.
    fn type_name(&self) -> &str;
}

/// A value.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A float.
    Double(f64),
    /// Text.
    String(Text<'a>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A point in time.
    Timestamp(Timestamp),
    /// A length of time in nanoseconds.
    Duration(i64),
    /// A list.
    List(List<'a>),
    /// A map or an object.
    Map(Map<'a>),
    /// A type.
    Type(Arc<Type>),
    /// An optional value.
    Optional(Option<Arc<Value<'a>>>),
    /// A value of a library.
    Library(Library<'a>),
    /// Something whose fields are worked out when asked for.
    Fields(&'a dyn Fields),
}

/// A value of one of Kubernetes' libraries.
#[derive(Debug, Clone)]
pub enum Library<'a> {
    /// A URL.
    Url(Arc<Url>),
    /// An IP address.
    Ip(std::net::IpAddr),
    /// A network.
    Cidr(network::Cidr),
    /// A quantity.
    Quantity(Arc<Quantity>),
    /// A semantic version.
    Semver(Arc<Semver>),
    /// A named format.
    Format(&'static NamedFormat),
    /// An authorizer or a check that it is asked for.
    Authorizing(Arc<Authorizing<'a>>),
    /// What an authorizer said.
    Decided(Arc<Decided>),
}

impl<'a> Value<'a> {
    /// The value of `json` where no schema is known.
    pub fn from_json(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => {
                number.as_i64().map_or_else(|| Self::Double(number.as_f64().unwrap_or(f64::NAN)), Self::Int)
            }
            Json::String(text) => Self::String(Text::Borrowed(text)),
            Json::Array(items) => Self::List(List::Json(items)),
            Json::Object(entries) => Self::Map(Map::Json(entries)),
        }
    }

    /// The value of `json` as `schema` describes it.
    pub fn typed(json: &'a Json, schema: &'a Schema) -> Result<Self, EvaluationError> {
        conversion::typed(json, schema)
    }

    /// Text that is borrowed.
    pub fn text(text: &'a str) -> Self {
        Self::String(Text::Borrowed(text))
    }

    /// Text that the value owns.
    pub fn owned_text(text: impl Into<Arc<str>>) -> Self {
        Self::String(Text::Shared(text.into()))
    }

    pub(crate) fn list(values: Vec<Self>) -> Self {
        Self::List(List::Values(Arc::new(values)))
    }

    pub(crate) fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    pub(crate) fn url(url: Url) -> Self {
        Self::Library(Library::Url(Arc::new(url)))
    }

    pub(crate) fn quantity(quantity: Quantity) -> Self {
        Self::Library(Library::Quantity(Arc::new(quantity)))
    }

    pub(crate) fn semver(semver: Semver) -> Self {
        Self::Library(Library::Semver(Arc::new(semver)))
    }

    /// The text, if it is that.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// The text, or no overload fits.
    pub(crate) fn str(&self) -> Evaluated<&str> {
        self.as_str().ok_or_else(EvaluationError::no_such_overload)
    }

    pub(crate) fn int(&self) -> Evaluated<i64> {
        match self {
            Self::Int(value) => Ok(*value),
            _ => Err(EvaluationError::no_such_overload()),
        }
    }

    pub(crate) fn bool(&self) -> Evaluated<bool> {
        match self {
            Self::Bool(value) => Ok(*value),
            _ => Err(EvaluationError::no_such_overload()),
        }
    }

    pub(crate) fn as_list(&self) -> Evaluated<&List<'a>> {
        match self {
            Self::List(list) => Ok(list),
            _ => Err(EvaluationError::no_such_overload()),
        }
    }

    /// The name of the type at run time.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::List(_) => "list",
            Self::Map(map) => map.type_name(),
            Self::Type(_) => "type",
            Self::Optional(_) => "optional_type",
            Self::Library(library) => library.type_name(),
            Self::Fields(fields) => fields.type_name(),
        }
    }

    /// The type at run time.
    pub(crate) fn runtime_type(&self) -> Type {
        match self {
            Self::Library(_) | Self::Fields(_) => Type::named(self.type_name()),
            Self::Map(map) if map.type_name() != "map" => Type::named(map.type_name()),
            _ => crate::declaration::named_type(self.type_name()).unwrap_or(Type::Dyn),
        }
    }

    /// The size that costs are counted by.
    pub(crate) fn size(&self) -> u64 {
        self.sized().unwrap_or(1)
    }

    /// The size, if such values have one.
    pub(crate) fn sized(&self) -> Option<u64> {
        Some(match self {
            Self::String(text) => {
                let text = text.as_str();
                if text.is_ascii() { text.len() as u64 } else { text.chars().count() as u64 }
            }
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::List(list) => list.len() as u64,
            Self::Map(map) => map.len() as u64,
            Self::Library(Library::Ip(ip)) => {
                if ip.is_ipv4() {
                    4
                } else {
                    16
                }
            }
            Self::Library(Library::Cidr(cidr)) => u64::from(cidr.bits).div_ceil(8),
            _ => return None,
        })
    }

    /// Whether `optional.ofNonZeroValue` leaves it out.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::Duration(value) => *value == 0,
            Self::String(text) => text.as_str().is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            // What a schema describes does not tell whether it is zero.
            Self::List(List::Typed(..)) | Self::Map(Map::Typed(..)) => false,
            Self::List(list) => list.is_empty(),
            Self::Map(map) => map.is_empty(),
            Self::Timestamp(time) => *time == Timestamp::ZERO,
            Self::Optional(_) | Self::Type(_) | Self::Library(_) | Self::Fields(_) => false,
        }
    }

    /// The JSON of a value that has one; costs a copy.
    pub fn to_json(&self) -> Option<Json> {
        render::to_json(self)
    }
}

impl Library<'_> {
    fn type_name(&self) -> &str {
        match self {
            Self::Url(_) => "kubernetes.URL",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Authorizing(authorizing) => authorizing.type_name(),
            Self::Decided(_) => "kubernetes.authorization.Decision",
        }
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}
