//! What is to be done about an object, by what became of its owners.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PropagationPolicy;

use super::graph::Uid;

/// What became of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// It is there.
    Solid,
    /// It is there and waits for its dependents to go.
    Waiting,
    /// It is gone.
    Absent,
}

/// What the collector knows about an object that has owners.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Its owners and what became of them.
    pub owners: &'a [(OwnerReference, Owner)],
    /// Whether others refer to it.
    pub has_dependents: bool,
    /// Whether one of those waits for its own dependents to go.
    pub dependent_waits: bool,
    /// Whether its finalizers ask to leave its dependents behind.
    pub orphan: bool,
    /// Whether its finalizers ask for its dependents to go first.
    pub foreground: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It stays as it is.
    Keep,
    /// It stays, without its references to these.
    Disown(Vec<Uid>),
    /// It goes.
    Delete {
        /// What becomes of its own dependents.
        dependents: PropagationPolicy,
        /// Its references no longer block their owners first: one of its dependents waits in a circle with it.
        unblock: bool,
    },
}

/// Judges an object that has owners and is not ending.
pub fn judge(case: Case<'_>) -> Verdict {
    let of = |wanted: Owner| case.owners.iter().filter(move |(_, owner)| *owner == wanted);
    if case.owners.is_empty() {
        return Verdict::Keep;
    }
    if of(Owner::Solid).next().is_some() {
        let rest = case.owners.iter().filter(|(_, owner)| *owner != Owner::Solid);
        let rest: Vec<Uid> = rest.map(|(reference, _)| reference.uid.clone()).collect();
        return if rest.is_empty() { Verdict::Keep } else { Verdict::Disown(rest) };
    }
    if of(Owner::Waiting).next().is_some() && case.has_dependents {
        return Verdict::Delete { dependents: PropagationPolicy::Foreground, unblock: case.dependent_waits };
    }
    let dependents = if case.orphan {
        PropagationPolicy::Orphan
    } else if case.foreground {
        PropagationPolicy::Foreground
    } else {
        PropagationPolicy::Background
    };
    Verdict::Delete { dependents, unblock: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(uid: usize) -> OwnerReference {
        OwnerReference { uid: uid.to_string(), ..OwnerReference::default() }
    }

    fn judged(owners: &[Owner], change: impl FnOnce(&mut Case<'_>)) -> Verdict {
        let owners: Vec<_> = owners.iter().enumerate().map(|(at, owner)| (reference(at), *owner)).collect();
        let mut case = Case {
            owners: &owners,
            has_dependents: false,
            dependent_waits: false,
            orphan: false,
            foreground: false,
        };
        change(&mut case);
        judge(case)
    }

    fn delete(dependents: PropagationPolicy, unblock: bool) -> Verdict {
        Verdict::Delete { dependents, unblock }
    }

    #[test]
    fn one_owner_that_is_there_keeps_an_object() {
        use Owner::{Absent, Solid, Waiting};
        assert_eq!(judged(&[], |_| ()), Verdict::Keep);
        assert_eq!(judged(&[Solid, Solid], |_| ()), Verdict::Keep);
        assert_eq!(judged(&[Absent, Solid, Waiting], |_| ()), Verdict::Disown(vec!["0".into(), "2".into()]));
    }

    #[test]
    fn without_an_owner_it_goes_as_its_finalizers_and_dependents_ask() {
        use Owner::{Absent, Waiting};
        assert_eq!(judged(&[Absent], |_| ()), delete(PropagationPolicy::Background, false));
        assert_eq!(judged(&[Absent], |case| case.orphan = true), delete(PropagationPolicy::Orphan, false));
        assert_eq!(
            judged(&[Absent], |case| case.foreground = true),
            delete(PropagationPolicy::Foreground, false)
        );
        assert_eq!(judged(&[Waiting], |_| ()), delete(PropagationPolicy::Background, false));
        let with_dependents = |case: &mut Case<'_>| case.has_dependents = true;
        assert_eq!(judged(&[Waiting], with_dependents), delete(PropagationPolicy::Foreground, false));
        assert_eq!(judged(&[Absent], with_dependents), delete(PropagationPolicy::Background, false));
        let circle = |case: &mut Case<'_>| (case.has_dependents, case.dependent_waits) = (true, true);
        assert_eq!(judged(&[Waiting, Absent], circle), delete(PropagationPolicy::Foreground, true));
    }
}
