//! The built-in kinds: what the API serves without a CustomResourceDefinition.
//!
//! Two committed tables hold the facts: `types.tbl`, which `tables/generate.py` writes from the Go modules of Kubernetes,
//! and `kinds.tbl`, written by hand. Both are read once, when first asked for.

mod kinds;
mod nodes;
pub(crate) mod types;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::resource::Resource;
use crate::schema::{Node, Ref};
use nodes::Nodes;
use types::Types;

/// The types and, place by place, their nodes.
struct Catalogue {
    types: Types,
    cells: &'static [OnceLock<Node>],
    /// Places by name in OpenAPI.
    names: HashMap<String, usize>,
}

fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(|| {
        let types = Types::read().expect("the committed table of types is sound, as the tests show");
        let cells: Box<[OnceLock<Node>]> = types.messages.iter().map(|_| OnceLock::new()).collect();
        // Leaked on purpose: once a process, so that recursive types refer to each other by place.
        let cells: &'static [OnceLock<Node>] = Box::leak(cells);
        Nodes::new(&types, cells).fill();
        let names = types
            .messages
            .iter()
            .enumerate()
            .map(|(at, message)| (format!("{}.{}", types.packages[message.package].prefix, message.name), at))
            .collect();
        Catalogue { types, cells, names }
    })
}

/// The table of types, for what needs more than the nodes say.
pub(crate) fn types() -> &'static Types {
    &catalogue().types
}

/// Every built-in resource.
pub fn resources() -> &'static [Arc<Resource>] {
    static RESOURCES: OnceLock<Vec<Arc<Resource>>> = OnceLock::new();
    RESOURCES.get_or_init(|| {
        let read = kinds::read().expect("the committed table of kinds is sound, as the tests show");
        read.into_iter().map(Arc::new).collect()
    })
}

/// The resource of this group (empty for core) and plural name.
///
/// ```
/// let pods = xebec_machinery::builtin::find("", "pods").unwrap();
/// assert_eq!(&*pods.kind, "Pod");
/// ```
pub fn find(group: &str, plural: &str) -> Option<&'static Arc<Resource>> {
    resources().iter().find(|resource| &*resource.group == group && &*resource.plural == plural)
}

/// The type of this name in OpenAPI, such as `io.k8s.api.core.v1.Container`.
pub fn type_node(name: &str) -> Option<&'static Node> {
    let catalogue = catalogue();
    catalogue.names.get(name).and_then(|at| catalogue.cells[*at].get())
}

/// Every named type, with its name in OpenAPI.
pub fn definitions() -> impl Iterator<Item = (&'static str, &'static Node)> {
    let catalogue = catalogue();
    catalogue.names.iter().filter_map(|(name, at)| Some((name.as_str(), catalogue.cells[*at].get()?)))
}

/// The name in OpenAPI of the type that a reference speaks of, where it is a named one.
pub fn type_name(of: &Ref) -> Option<&'static str> {
    static NAMES: OnceLock<HashMap<usize, &'static str>> = OnceLock::new();
    let Ref::Builtin(cell) = of else { return None };
    let names = NAMES.get_or_init(|| {
        let catalogue = catalogue();
        let address = |at: usize| std::ptr::from_ref(&catalogue.cells[at]).addr();
        catalogue.names.iter().map(|(name, at)| (address(*at), name.as_str())).collect()
    });
    names.get(&std::ptr::from_ref::<OnceLock<Node>>(cell).addr()).copied()
}

/// The type of objects of a kind. Every group has the kinds of `meta/v1` too, such as `DeleteOptions`.
pub fn kind_node(group: &str, version: &str, kind: &str) -> Option<&'static Node> {
    let catalogue = catalogue();
    catalogue.types.object(group, version, kind).and_then(|at| catalogue.cells[at].get())
}

/// [`kind_node`] as a reference.
pub fn kind_ref(group: &str, version: &str, kind: &str) -> Option<Ref> {
    let catalogue = catalogue();
    catalogue.types.object(group, version, kind).map(|at| Ref::Builtin(&catalogue.cells[at]))
}

#[cfg(test)]
mod tests;
