//! Which resources are served: the built-in ones and those of CustomResourceDefinitions.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;
use xebec_machinery::resource::{Resource, Version};

/// Everything that is served at one moment. Never changes; a new definition makes a new one.
#[derive(Debug)]
pub struct Served {
    generation: u64,
    resources: Vec<Arc<Resource>>,
    /// Where a resource stands, by group and plural name.
    places: HashMap<Box<str>, HashMap<Box<str>, usize>>,
}

impl Served {
    fn new(generation: u64, resources: Vec<Arc<Resource>>) -> Self {
        let mut places: HashMap<Box<str>, HashMap<Box<str>, usize>> = HashMap::new();
        for (at, resource) in resources.iter().enumerate() {
            places.entry(resource.group.clone()).or_default().insert(resource.plural.clone(), at);
        }
        Self { generation, resources, places }
    }

    /// How many changes there were before this one.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// All resources, the built-in ones first.
    pub fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// The resource of a group with this plural name.
    pub fn find(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        let at = self.places.get(group)?.get(plural)?;
        self.resources.get(*at)
    }

    /// The resource and its version of a kind.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<(&Arc<Resource>, &Version)> {
        let found =
            self.resources.iter().find(|resource| &*resource.group == group && &*resource.kind == kind)?;
        Some((found, found.version(version)?))
    }
}

/// Leave to store a new object of a definition: while one is held, the definition does not go.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    _retired: tokio::sync::RwLockReadGuard<'a, HashSet<Box<str>>>,
}

/// Which state of a definition a resource was compiled from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The definition's `metadata.uid`.
    pub uid: Box<str>,
    /// Its `metadata.generation`.
    pub generation: i64,
}

type Custom = HashMap<Box<str>, (Origin, Arc<Resource>)>;

/// The served resources, and their changes.
#[derive(Debug)]
pub struct Catalog {
    built_in: Vec<Arc<Resource>>,
    custom: RwLock<Custom>,
    served: watch::Sender<Arc<Served>>,
    /// The definitions that go. Read-locked while an object is stored that its definition must outlive.
    retired: tokio::sync::RwLock<HashSet<Box<str>>>,
}

impl Catalog {
    /// A catalog of built-in resources alone.
    pub fn new(built_in: Vec<Arc<Resource>>) -> Self {
        let (served, _) = watch::channel(Arc::new(Served::new(0, built_in.clone())));
        Self { built_in, custom: RwLock::default(), served, retired: Default::default() }
    }

    /// What is served now.
    pub fn served(&self) -> Arc<Served> {
        self.served.borrow().clone()
    }

    /// What is served, now and after each change.
    pub fn changes(&self) -> watch::Receiver<Arc<Served>> {
        self.served.subscribe()
    }

    /// The resource of the definition of this name, if it is served as it was compiled from this state of it.
    pub fn compiled(&self, definition: &str, origin: &Origin) -> Option<Arc<Resource>> {
        let custom = self.custom.read().unwrap_or_else(PoisonError::into_inner);
        custom.get(definition).filter(|(own, _)| own == origin).map(|(_, resource)| resource.clone())
    }

    /// Serves the resource of the definition of this name, in the place of what it stood for before.
    pub fn install(&self, definition: &str, origin: Origin, resource: Arc<Resource>) {
        let mut custom = self.custom.write().unwrap_or_else(PoisonError::into_inner);
        let before = custom.insert(definition.into(), (origin, resource.clone()));
        if before.is_none_or(|(_, before)| !Arc::ptr_eq(&before, &resource)) {
            self.publish(&custom);
        }
    }

    /// Serves the resource of the definition of this name no longer.
    pub async fn remove(&self, definition: &str) {
        {
            let mut custom = self.custom.write().unwrap_or_else(PoisonError::into_inner);
            if custom.remove(definition).is_some() {
                self.publish(&custom);
            }
        }
        self.retired.write().await.remove(definition);
    }

    /// Lets no new objects of a definition in, which is on its way out. When this returns, none is under way.
    pub(crate) async fn retire(&self, definition: &str) {
        self.retired.write().await.insert(definition.into());
    }

    /// A pass to store a new object of a definition, to be held until it is stored; nothing where the definition goes.
    pub(crate) async fn pass(&self, definition: &str) -> Option<Pass<'_>> {
        let retired = self.retired.read().await;
        (!retired.contains(definition)).then(|| Pass { _retired: retired })
    }

    fn publish(&self, custom: &Custom) {
        let mut added: Vec<_> = custom.values().map(|(_, resource)| resource.clone()).collect();
        added.sort_by(|left, right| (&left.group, &left.plural).cmp(&(&right.group, &right.plural)));
        self.served.send_modify(|served| {
            let resources = self.built_in.iter().cloned().chain(added).collect();
            *served = Arc::new(Served::new(served.generation + 1, resources));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xebec_machinery::resource::Scope;
    use xebec_machinery::schema::{Node, Shape};

    fn resource(group: &str, plural: &str) -> Arc<Resource> {
        let version = Version::new("v1", Node::new(Shape::Any).into());
        let resource = Resource::new(group, "Thing", plural, Scope::Namespaced, version);
        Arc::new(Resource { custom: true, ..resource })
    }

    #[tokio::test]
    async fn a_definition_is_served_until_it_is_removed() {
        let catalog = Catalog::new(vec![resource("", "pods")]);
        let origin = Origin { uid: "u".into(), generation: 1 };
        let things = resource("example.org", "things");
        catalog.install("things.example.org", origin.clone(), things.clone());
        catalog.install("things.example.org", origin.clone(), things);
        assert_eq!(catalog.served().generation(), 1, "nothing changed");
        assert!(catalog.compiled("things.example.org", &origin).is_some());
        let newer = Origin { generation: 2, ..origin };
        assert!(catalog.compiled("things.example.org", &newer).is_none());
        let served = catalog.served();
        assert!(served.find("example.org", "things").is_some());
        assert!(served.kind("example.org", "v1", "Thing").is_some());
        catalog.remove("things.example.org").await;
        assert!(catalog.served().find("example.org", "things").is_none());
        assert!(served.find("example.org", "things").is_some(), "a snapshot does not change");
        assert_eq!(catalog.served().generation(), 2);
    }
}
