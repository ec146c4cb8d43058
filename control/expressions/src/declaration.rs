//! What functions there are: every operator and library function of Kubernetes' environment with its overloads.

mod kubernetes;
mod standard;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::function::Function;
use crate::types::Type;

/// One signature of a function.
#[derive(Debug)]
pub(crate) struct Overload {
    /// Its name, by which costs are told.
    pub(crate) id: &'static str,
    /// Called on its first argument with a dot.
    pub(crate) member: bool,
    pub(crate) params: Vec<Type>,
    pub(crate) result: Type,
    /// Whether some of its types are open.
    pub(crate) generic: bool,
}

/// A function with its signatures.
#[derive(Debug)]
pub(crate) struct Declaration {
    pub(crate) name: &'static str,
    pub(crate) function: Function,
    pub(crate) overloads: Vec<Overload>,
}

/// The functions by name.
#[derive(Debug, Default)]
pub(crate) struct Declarations(HashMap<&'static str, Declaration>);

impl Declarations {
    pub(crate) fn find(&self, name: &str) -> Option<&Declaration> {
        self.0.get(name.strip_prefix('.').unwrap_or(name))
    }

    fn add(
        &mut self,
        name: &'static str,
        function: Function,
        member: bool,
        overloads: &[(&'static str, &str)],
    ) {
        let declaration =
            self.0.entry(name).or_insert_with(|| Declaration { name, function, overloads: Vec::new() });
        for (id, signature) in overloads {
            let (params, result) = signature.split_once("->").unwrap_or((signature, "dyn"));
            let params: Vec<Type> = list_of_types(params);
            let result = read_type(result.trim());
            let generic = result.mentions_param() || params.iter().any(Type::mentions_param);
            declaration.overloads.push(Overload { id, member, params, result, generic });
        }
    }

    fn call(&mut self, name: &'static str, function: Function, overloads: &[(&'static str, &str)]) {
        self.add(name, function, false, overloads);
    }

    fn method(&mut self, name: &'static str, function: Function, overloads: &[(&'static str, &str)]) {
        self.add(name, function, true, overloads);
    }
}

/// Kubernetes' functions.
pub(crate) fn kubernetes() -> &'static Declarations {
    static ALL: LazyLock<Declarations> = LazyLock::new(|| {
        let mut all = Declarations::default();
        standard::declare(&mut all);
        kubernetes::declare(&mut all);
        all
    });
    &ALL
}

/// The types that have a name in expressions.
pub(crate) fn named_type(name: &str) -> Option<Type> {
    Some(match name.strip_prefix('.').unwrap_or(name) {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "string" => Type::String,
        "null_type" => Type::Null,
        "type" => Type::Type(None),
        "list" => Type::list(Type::param("A")),
        "map" => Type::map(Type::param("A"), Type::param("B")),
        "google.protobuf.Timestamp" => Type::Timestamp,
        "google.protobuf.Duration" => Type::Duration,
        "optional_type" => Type::optional(Type::param("V")),
        "net.IP" | "net.CIDR" => Type::opaque(name.strip_prefix('.').unwrap_or(name)),
        _ => return None,
    })
}

fn list_of_types(text: &str) -> Vec<Type> {
    let mut types = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                types.push(read_type(text[start..at].trim()));
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = text[start..].trim();
    if !last.is_empty() {
        types.push(read_type(last));
    }
    types
}

/// Reads the notation of the tables: a capital letter is an open type, a dotted name a library's object.
fn read_type(text: &str) -> Type {
    if let Some((name, inner)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let mut params = list_of_types(inner).into_iter();
        let first = params.next().unwrap_or(Type::Dyn);
        return match name {
            "list" => Type::list(first),
            "map" => Type::map(first, params.next().unwrap_or(Type::Dyn)),
            "type" => Type::type_of(first),
            _ => Type::optional(first),
        };
    }
    match text {
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "dyn" => Type::Dyn,
        _ if text.len() == 1 => Type::Param(Arc::from(text)),
        _ => named_type(text).unwrap_or_else(|| Type::named(text)),
    }
}
