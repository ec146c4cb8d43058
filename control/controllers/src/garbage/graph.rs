//! Who refers to whom, as the watches show it.

use std::collections::{BTreeSet, HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use xebec_machinery::metadata::{FOREGROUND, ORPHAN};

pub use super::kinds::KindKey;

/// An object's uid.
pub type Uid = String;

/// An object as the collector sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its uid.
    pub uid: Uid,
    /// Its kind.
    pub kind: KindKey,
    /// Its namespace, where it is in one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
    /// Whether it is on its way out.
    pub ending: bool,
    /// Whether it waits for its dependents to go first.
    pub foreground: bool,
    /// Whether it waits for its dependents to be left behind.
    pub orphan: bool,
}

impl Node {
    /// What an object's metadata say. Every stored object has a uid and a name.
    pub fn of(kind: &KindKey, meta: &ObjectMeta) -> Option<Self> {
        let holds = |finalizer: &str| meta.finalizers.iter().flatten().any(|own| own == finalizer);
        Some(Self {
            uid: meta.uid.clone()?,
            kind: kind.clone(),
            namespace: meta.namespace.clone().filter(|namespace| !namespace.is_empty()),
            name: meta.name.clone()?,
            owners: meta.owner_references.clone().unwrap_or_default(),
            ending: meta.deletion_timestamp.is_some(),
            foreground: holds(FOREGROUND),
            orphan: holds(ORPHAN),
        })
    }

    /// Whether it goes after its dependents.
    pub fn awaits_dependents(&self) -> bool {
        self.ending && self.foreground
    }

    /// Whether it goes when its dependents no longer refer to it.
    pub fn leaves_dependents(&self) -> bool {
        self.ending && self.orphan
    }

    /// Whether a reference of an object in a namespace names this object in all its parts, not only by its uid.
    pub fn is_named_by(&self, reference: &OwnerReference, namespace: Option<&str>) -> bool {
        let group = reference.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        reference.uid == self.uid
            && reference.name == self.name
            && reference.kind == self.kind.kind
            && group == self.kind.group
            && self.namespace.as_deref().is_none_or(|own| Some(own) == namespace)
    }

    /// Whether this object keeps the owner of this uid from going, where that goes after its dependents.
    pub fn blocks(&self, owner: &Uid) -> bool {
        self.owners.iter().any(|own| own.uid == *owner && own.block_owner_deletion == Some(true))
    }
}

/// All objects and who refers to them.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<Uid, Node>,
    dependents: HashMap<Uid, BTreeSet<Uid>>,
    kinds: HashMap<KindKey, HashSet<Uid>>,
}

impl Graph {
    /// An object.
    pub fn get(&self, uid: &Uid) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The objects that refer to one.
    pub fn dependents(&self, uid: &Uid) -> impl Iterator<Item = &Node> {
        self.dependents.get(uid).into_iter().flatten().filter_map(|dependent| self.nodes.get(dependent))
    }

    /// All objects of a kind.
    pub fn of_kind(&self, kind: &KindKey) -> Vec<Uid> {
        self.kinds.get(kind).into_iter().flatten().cloned().collect()
    }

    /// Takes up an object as it is now. Gives those that are worth a look because of it.
    pub fn observe(&mut self, node: Node) -> BTreeSet<Uid> {
        let uid = node.uid.clone();
        let before = self.nodes.insert(uid.clone(), node.clone());
        if before.as_ref() == Some(&node) {
            return BTreeSet::new();
        }
        self.kinds.entry(node.kind.clone()).or_default().insert(uid.clone());
        let mut worth = BTreeSet::new();
        for owner in before.iter().flat_map(|before| &before.owners) {
            self.unlink(&owner.uid, &uid);
            worth.extend(self.waiting(&owner.uid));
        }
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.clone());
            worth.extend(self.waiting(&owner.uid));
        }
        if node.ending {
            // Dependents go before or with an owner that is ending, or are left behind by it.
            worth.extend(self.dependents.get(&uid).into_iter().flatten().cloned());
        }
        if !node.owners.is_empty() || node.awaits_dependents() || node.leaves_dependents() {
            worth.insert(uid);
        }
        worth
    }

    /// Takes out an object that is gone. Gives those that are worth a look because of it.
    pub fn depart(&mut self, uid: &Uid) -> BTreeSet<Uid> {
        let Some(node) = self.nodes.remove(uid) else { return BTreeSet::new() };
        if let Some(all) = self.kinds.get_mut(&node.kind) {
            all.remove(uid);
        }
        let mut worth = BTreeSet::new();
        for owner in &node.owners {
            self.unlink(&owner.uid, uid);
            worth.extend(self.waiting(&owner.uid));
        }
        worth.extend(self.dependents.get(uid).into_iter().flatten().cloned());
        worth
    }

    fn unlink(&mut self, owner: &Uid, dependent: &Uid) {
        if let Some(all) = self.dependents.get_mut(owner) {
            all.remove(dependent);
            if all.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }

    /// An owner, if it waits for something to become of its dependents.
    fn waiting(&self, uid: &Uid) -> Option<Uid> {
        let owner = self.nodes.get(uid)?;
        (owner.awaits_dependents() || owner.leaves_dependents()).then(|| uid.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(uid: &str, owners: &[&str]) -> Node {
        let reference = |owner: &&str| OwnerReference {
            uid: (*owner).to_owned(),
            name: (*owner).to_owned(),
            kind: "Thing".to_owned(),
            api_version: "v1".to_owned(),
            block_owner_deletion: Some(true),
            controller: None,
        };
        Node {
            uid: uid.to_owned(),
            kind: KindKey { group: String::new(), kind: "Thing".to_owned() },
            namespace: Some("a".to_owned()),
            name: uid.to_owned(),
            owners: owners.iter().map(reference).collect(),
            ending: false,
            foreground: false,
            orphan: false,
        }
    }

    fn worth(uids: BTreeSet<Uid>) -> Vec<Uid> {
        uids.into_iter().collect()
    }

    #[test]
    fn dependents_are_worth_a_look_when_their_owner_ends_or_goes() {
        let mut graph = Graph::default();
        assert!(graph.observe(node("owner", &[])).is_empty());
        assert_eq!(worth(graph.observe(node("one", &["owner"]))), ["one"]);
        assert_eq!(worth(graph.observe(node("two", &["owner"]))), ["two"]);
        assert!(graph.observe(node("two", &["owner"])).is_empty(), "nothing changed");
        let ending = Node { ending: true, foreground: true, ..node("owner", &[]) };
        assert_eq!(worth(graph.observe(ending)), ["one", "owner", "two"]);
        assert_eq!(worth(graph.depart(&"one".into())), ["owner"], "the owner waits for it");
        assert_eq!(worth(graph.depart(&"owner".into())), ["two"]);
        assert_eq!(graph.of_kind(&node("", &[]).kind), ["two"]);
    }

    #[test]
    fn an_owner_that_waits_is_worth_a_look_when_a_dependent_lets_go_of_it() {
        let mut graph = Graph::default();
        graph.observe(Node { ending: true, orphan: true, ..node("owner", &[]) });
        graph.observe(node("one", &["owner"]));
        assert_eq!(worth(graph.observe(node("one", &[]))), ["owner"]);
        assert_eq!(graph.dependents(&"owner".into()).count(), 0);
    }

    #[test]
    fn a_reference_names_an_object_in_all_its_parts() {
        let owner = node("owner", &[]);
        let reference = node("one", &["owner"]).owners.remove(0);
        assert!(owner.is_named_by(&reference, Some("a")));
        assert!(!owner.is_named_by(&reference, Some("b")));
        assert!(!owner.is_named_by(&reference, None));
        assert!(!owner.is_named_by(&OwnerReference { name: "other".into(), ..reference.clone() }, Some("a")));
        let clustered = Node { namespace: None, ..owner };
        assert!(clustered.is_named_by(&reference, Some("b")));
    }
}
