//! What is said of built-in types and of their fields, in the documents that clients explain kinds by.
//!
//! The texts stand in tables, one for each package of `builtin/types.tbl`, in its order: `@TYPE TEXT`, then `FIELD TEXT` for
//! each field of that type. Nothing is made of them beforehand, since documents are written rarely: whoever writes one walks
//! over the tables once.

#[cfg(test)]
mod tests;

use crate::builtin::types::{Element, Types};

/// The texts of each package, by its alias.
const TABLES: [(&str, &str); 25] = [
    ("meta", include_str!("descriptions/meta.tbl")),
    ("core", include_str!("descriptions/core.tbl")),
    ("apps", include_str!("descriptions/apps.tbl")),
    ("batch", include_str!("descriptions/batch.tbl")),
    ("discovery", include_str!("descriptions/discovery.tbl")),
    ("networking", include_str!("descriptions/networking.tbl")),
    ("events", include_str!("descriptions/events.tbl")),
    ("coordination", include_str!("descriptions/coordination.tbl")),
    ("rbac", include_str!("descriptions/rbac.tbl")),
    ("node", include_str!("descriptions/node.tbl")),
    ("policy", include_str!("descriptions/policy.tbl")),
    ("autoscaling1", include_str!("descriptions/autoscaling1.tbl")),
    ("autoscaling", include_str!("descriptions/autoscaling.tbl")),
    ("storage", include_str!("descriptions/storage.tbl")),
    ("scheduling", include_str!("descriptions/scheduling.tbl")),
    ("admissionregistration", include_str!("descriptions/admissionregistration.tbl")),
    ("authentication", include_str!("descriptions/authentication.tbl")),
    ("authorization", include_str!("descriptions/authorization.tbl")),
    ("certificates", include_str!("descriptions/certificates.tbl")),
    ("flowcontrol", include_str!("descriptions/flowcontrol.tbl")),
    ("resource", include_str!("descriptions/resource.tbl")),
    ("apiextensions", include_str!("descriptions/apiextensions.tbl")),
    ("apidiscovery", include_str!("descriptions/apidiscovery.tbl")),
    ("apidiscoverybeta", include_str!("descriptions/apidiscoverybeta.tbl")),
    ("apiregistration", include_str!("descriptions/apiregistration.tbl")),
];

/// A walk over the tables: types that are asked for in their order are found without going back.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Texts {
    alias: &'static str,
    /// What comes after the name of the type that was found last.
    rest: &'static str,
}

impl Texts {
    /// What is said of the type at this place.
    pub(super) fn of(&mut self, types: &Types, at: usize) -> Said {
        let message = &types.messages[at];
        let alias = types.packages[message.package].alias;
        let table = TABLES.iter().find(|(name, _)| *name == alias).map_or("", |(_, table)| *table);
        if self.alias != alias {
            *self = Self { alias, rest: table };
        }
        let found = after(self.rest, message.name).or_else(|| after(table, message.name));
        if let Some(rest) = found {
            self.rest = rest;
        }
        Said(found.unwrap_or_default())
    }
}

/// What comes after the name of a type.
fn after(text: &'static str, name: &str) -> Option<&'static str> {
    let mut rest = text;
    loop {
        let (_, next) = rest.split_once("\n@")?;
        match next.strip_prefix(name) {
            Some(said) if said.starts_with(' ') => return Some(said),
            _ => rest = next,
        }
    }
}

/// What is said of one type: the lines from its own text on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said(&'static str);

impl Said {
    /// Of the type as a whole.
    pub(super) fn whole(self) -> Option<&'static str> {
        self.0.lines().next()?.strip_prefix(' ')
    }

    /// Of one of its fields.
    pub(super) fn field(self, name: &str) -> Option<&'static str> {
        let mut lines = self.0.lines().skip(1).take_while(|line| !line.starts_with('@'));
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    }
}

/// A field of every object.
pub(super) fn of_object(field: &str) -> Option<&'static str> {
    Some(match field {
        "apiVersion" => {
            "APIVersion defines the version of the schema that this object is written in. A server turns the schemas that it \
             knows into its own, and may refuse others."
        }
        "kind" => {
            "Kind says which resource this object stands for, in CamelCase. A server may take it from where the object is \
             sent to. It cannot be changed."
        }
        "metadata" => "Standard object's metadata.",
        _ => return None,
    })
}

/// A type with a JSON form of its own.
pub(super) fn of_special(element: Element) -> Option<&'static str> {
    Some(match element {
        Element::Quantity => {
            "An amount: a decimal number, then an optional suffix. `m` is a thousandth; `k`, `M`, `G`, `T`, `P`, `E` are powers \
             of 1000; `Ki`, `Mi`, `Gi`, `Ti`, `Pi`, `Ei` are powers of 1024; `e3` is an exponent of ten. At most three decimal \
             places are kept. The server writes each amount in one canonical form."
        }
        Element::IntOrString => {
            "A number, or a text. What the text may be (a percentage, the name of a port) depends on the field."
        }
        Element::Time => "A moment in RFC 3339 with seconds, such as `2026-01-31T12:00:00Z`.",
        Element::MicroTime => {
            "A moment in RFC 3339 with microseconds, such as `2026-01-31T12:00:00.000000Z`."
        }
        Element::Fields => {
            "A set of fields as a tree: `f:NAME` is a field, `k:{…}` an entry of a list by its keys, `v:VALUE` one by its value, \
             `i:N` one by its place, and `.` the thing itself."
        }
        Element::Raw => "Any object, as it was sent.",
        Element::Json => "Any JSON value.",
        Element::PropsOrArray => "One schema, or a list of schemas.",
        Element::PropsOrBool => "A schema, or `true` or `false`: whether anything at all is taken.",
        Element::PropsOrStrings => "A schema, or a list of names of fields.",
        _ => return None,
    })
}
