//! The formats of values: what a schema says of a text or number, and what it says of types that other crates own.
//!
//! Nothing here is ever made. A field names a format with `#[schemars(with = "…")]` and keeps its own type.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

/// One label of a domain name: RFC 1123, in lower case.
macro_rules! label {
    () => {
        "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    };
}

/// A domain name: RFC 1123, in lower case.
macro_rules! domain {
    () => {
        concat!($crate::gateway::format::label!(), r"(\.", $crate::gateway::format::label!(), ")*")
    };
}

/// A domain name of which the first label may be `*`.
macro_rules! wildcard_domain {
    () => {
        concat!(r"(\*\.)?", $crate::gateway::format::domain!())
    };
}

/// The last part of a label's or annotation's key.
macro_rules! key_name {
    () => {
        "([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]"
    };
}

/// What may stand in a path: RFC 3986, unreserved characters, sub-delimiters, `/`, `:` and `%`.
macro_rules! path_characters {
    () => {
        r"[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+"
    };
}

pub(super) use {domain, key_name, label, wildcard_domain};

/// Formats, each with what a schema says of it.
macro_rules! formats {
    ($($(#[$meta:meta])* $name:ident { $($key:literal: $value:expr),* $(,)? })*) => {
        $(
            $(#[$meta])*
            #[derive(Serialize)]
            pub(super) struct $name;

            impl JsonSchema for $name {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({ $($key: $value),* })
                }
            }
        )*
    };
}

formats! {
    /// An API group, or `""` for the core group.
    Group { "type": "string", "maxLength": 253, "pattern": concat!("^$|^", domain!(), "$") }

    /// A kind.
    Kind {
        "type": "string", "minLength": 1, "maxLength": 63,
        "pattern": "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$",
    }

    /// An object's name; what more is true of it, its kind says.
    Name { "type": "string", "minLength": 1, "maxLength": 253 }

    /// A namespace.
    Namespace { "type": "string", "minLength": 1, "maxLength": 63, "pattern": concat!("^", label!(), "$") }

    /// A domain name, or the name of a part of an object, which looks like one.
    Domain { "type": "string", "minLength": 1, "maxLength": 253, "pattern": concat!("^", domain!(), "$") }

    /// A domain name, perhaps with a `*.` prefix.
    Hostname {
        "type": "string", "minLength": 1, "maxLength": 253,
        "pattern": concat!("^", wildcard_domain!(), "$"),
    }

    /// A port.
    Port { "type": "integer", "format": "int32", "minimum": 1, "maximum": 65535 }

    /// A controller's name: a domain and a path.
    ControllerName {
        "type": "string", "minLength": 1, "maxLength": 253,
        "pattern": concat!("^", domain!(), r"\/", path_characters!(), "$"),
    }

    /// A time: up to four numbers with their units (GEP-2257).
    Duration { "type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$" }

    /// A header's or query parameter's name: a token of RFC 9110.
    Token {
        "type": "string", "minLength": 1, "maxLength": 256,
        "pattern": r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$",
    }

    /// A method of HTTP.
    Method {
        "type": "string",
        "enum": ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"],
    }

    /// A method of HTTP, or `*` for every one.
    AnyMethod {
        "type": "string",
        "enum": ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"],
    }

    /// An origin of the Fetch standard, perhaps with wildcards, or `*` for every one.
    Origin {
        "type": "string", "minLength": 1, "maxLength": 253,
        "pattern": concat!(
            r"(^\*$)|(^(http(s)?):\/\/(((\*\.)?([a-zA-Z0-9\-]+\.)*[a-zA-Z0-9-]+|\*)",
            r"(:([0-9]{1,5}))?)$)",
        ),
    }

    /// The scheme of a redirect.
    Scheme { "type": "string", "enum": ["http", "https"] }

    /// The status of a redirect.
    RedirectStatus { "type": "integer", "enum": [301, 302, 303, 307, 308] }

    /// The protocol of a listener.
    Protocol {
        "type": "string", "minLength": 1, "maxLength": 255,
        "pattern": concat!("^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$|", domain!(), r"\/[A-Za-z0-9]+$"),
    }

    /// The type of an address.
    AddressType {
        "type": "string", "minLength": 1, "maxLength": 253,
        "pattern": concat!("^Hostname|IPAddress|NamedAddress|", domain!(), r"\/", path_characters!(), "$"),
    }

    /// An annotation's value.
    AnnotationValue { "type": "string", "maxLength": 4096 }

    /// A label's value.
    LabelValue {
        "type": "string", "maxLength": 63,
        "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
    }

    /// A URI with its scheme: RFC 3986, appendix B.
    Uri {
        "type": "string", "minLength": 1, "maxLength": 253,
        "pattern": r"^(([^:/?#]+):)(//([^/?#]*))([^?#]*)(\?([^#]*))?(#(.*))?",
    }

    /// Certificate authorities that a gateway knows.
    WellKnownAuthorities {
        "type": "string", "minLength": 1, "maxLength": 253,
        "pattern": concat!("^(System|(", domain!(), "/", key_name!(), "))$"),
    }

    /// Whether a condition holds.
    ConditionStatus { "type": "string", "enum": ["True", "False", "Unknown"] }

    /// A condition's reason.
    ConditionReason {
        "type": "string", "minLength": 1, "maxLength": 1024,
        "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
    }

    /// A condition's type.
    ConditionType {
        "type": "string", "maxLength": 316,
        "pattern": concat!("^(", domain!(), "/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"),
    }
}

/// One thing that a controller says of an object.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    /// What is spoken of.
    #[serde(rename = "type")]
    #[schemars(with = "ConditionType")]
    type_: String,
    /// Whether it holds.
    #[schemars(with = "ConditionStatus")]
    status: String,
    /// Why, for programs.
    #[schemars(with = "ConditionReason")]
    reason: String,
    /// Why, for people.
    #[schemars(length(max = 32768))]
    message: String,
    /// Since when.
    last_transition_time: Time,
    /// The generation of the object that is spoken of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    observed_generation: Option<i64>,
}

/// Which objects are meant, by their labels; written as a whole.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub(super) struct LabelSelector {
    /// Labels that they have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    match_labels: BTreeMap<String, String>,
    /// What more is true of their labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    match_expressions: Vec<LabelSelectorRequirement>,
}

/// What is true of one label.
#[derive(Serialize, JsonSchema)]
struct LabelSelectorRequirement {
    /// The label.
    key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    operator: String,
    /// The values for `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
}
