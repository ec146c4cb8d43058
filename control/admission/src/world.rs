//! What stages can look up.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use serde_json::Value;
use xebec_expressions::authorization::{AccessRequest, Decided};
use xebec_machinery::status::Status;

use crate::request::{Kind, Resource};
use crate::user::User;

/// How many changes there were to any listing.
static CHANGES: AtomicU64 = AtomicU64::new(1);

/// All objects of a resource, parsed.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Changes whenever an object does; two listings of one resource with the same version are the same.
    pub version: u64,
    objects: BTreeMap<Place, Arc<Value>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    namespace: Box<str>,
    name: Box<str>,
}

impl Listing {
    /// Puts an object in the place of the one of its name.
    pub fn put(&mut self, object: Value) {
        self.version = CHANGES.fetch_add(1, Ordering::Relaxed);
        self.objects.insert(Place::of(&object), object.into());
    }

    /// Takes the object of this name out.
    pub fn remove(&mut self, object: &Value) {
        self.version = CHANGES.fetch_add(1, Ordering::Relaxed);
        self.objects.remove(&Place::of(object));
    }

    /// All objects, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.objects.values()
    }

    /// The objects of a namespace, by name.
    pub fn within<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Value>> {
        let first = Place { namespace: namespace.into(), name: "".into() };
        self.objects
            .range(first..)
            .take_while(move |(place, _)| *place.namespace == *namespace)
            .map(|(_, object)| object)
    }

    /// The object of this name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.objects.get(&Place { namespace: namespace.into(), name: name.into() })
    }
}

impl Place {
    fn of(object: &Value) -> Self {
        Self { namespace: crate::object::namespace(object).into(), name: crate::object::name(object).into() }
    }
}

/// A version in which a resource can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The resource in that version.
    pub resource: Resource,
    /// The kind of its objects, or of what the subresource takes.
    pub kind: Kind,
    /// Whether its objects live within namespaces.
    pub namespaced: bool,
}

/// What stages can look up. Everything is as it was when the last answered write was stored.
pub trait World: Send + Sync {
    /// All objects of a resource of which there are few and that are asked for often: they are kept, parsed.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    fn all(&self, group: &str, resource: &str) -> Result<Arc<Listing>, Status>;

    /// One object, as it is stored. The namespace is empty beside the namespaces.
    ///
    /// # Errors
    ///
    /// It cannot be read. That it is not there is no error.
    fn find(
        &self,
        group: &str,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Value>>, Status>;

    /// The objects of a resource in a namespace, or all of them where that is empty; as they are stored, read anew.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    fn list(&self, group: &str, resource: &str, namespace: &str) -> Result<Vec<Arc<Value>>, Status>;

    /// The resource of a kind; nothing where it is not served.
    fn resource_of(&self, kind: &Kind) -> Option<Served>;

    /// What a resource is in a version; nothing where it is not served.
    fn served(&self, resource: &Resource) -> Option<Served>;

    /// The group and version combinations under which the same objects are served, other than `resource` itself.
    fn equivalents(&self, resource: &Resource, subresource: &str) -> Vec<Served>;

    /// The object in another version of its kind. It may take a webhook to convert it.
    ///
    /// # Errors
    ///
    /// It cannot be converted.
    fn convert<'a>(&'a self, object: &'a Value, to: &'a Kind) -> BoxFuture<'a, Result<Value, Status>>;

    /// Completes an object of a kind with its defaults, and drops what the kind does not know.
    ///
    /// # Errors
    ///
    /// It is no object of the kind; the text says why.
    fn complete(&self, kind: &Kind, object: &mut Value) -> Result<(), String>;

    /// Applies `applied` to `object` as server-side apply does, and gives what comes of it.
    ///
    /// # Errors
    ///
    /// It does not fit the kind; the text says why.
    fn merge(&self, kind: &Kind, object: &Value, applied: &Value) -> Result<Value, String>;

    /// Where a port of a service is reached, as `ADDRESS:PORT`.
    ///
    /// # Errors
    ///
    /// Nothing is ready there; the text says so.
    fn endpoint(&self, namespace: &str, service: &str, port: u16) -> Result<String, String>;

    /// The OpenAPI schema of a kind with all that it refers to in its place, where one is known.
    fn schema(&self, kind: &Kind) -> Option<Arc<Value>>;

    /// Whether somebody may do something.
    fn authorize(&self, user: &User, asked: &AccessRequest) -> Decided;
}

impl fmt::Debug for dyn World + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_listing_knows_its_namespaces_apart() {
        let object =
            |namespace: &str, name: &str| json!({"metadata": {"namespace": namespace, "name": name}});
        let mut listing = Listing::default();
        for (namespace, name) in [("a", "2"), ("b", "1"), ("a", "1"), ("ab", "1")] {
            listing.put(object(namespace, name));
        }
        let names: Vec<_> = listing.within("a").map(|object| crate::object::name(object)).collect();
        assert_eq!(names, ["1", "2"]);
        let before = listing.version;
        listing.remove(&object("a", "1"));
        assert!(listing.get("a", "1").is_none() && listing.get("b", "1").is_some());
        assert_ne!(listing.version, before);
    }
}
