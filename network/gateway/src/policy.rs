//! BackendTLSPolicies: how the endpoints of Services are spoken to under TLS.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use xebec_api::gateway::{BackendTLSPolicy, SubjectAltNameType};
use xebec_proxy::config::{BackendTls, Certificate, SubjectName, TrustRoots};

use crate::Snapshot;
use crate::address::Key;
use crate::condition::Verdict;
use crate::grant::{Grants, Referrer};
use crate::material::{Material, Unusable, Wanted};
use crate::translation::names;

/// A Service's namespace and name, and the name of one of its ports.
type Target<'a> = (&'a str, &'a str, Option<&'a str>);

/// The policies, and who has used them.
pub(crate) struct Policies<'a> {
    plans: Vec<PolicyPlan<'a>>,
    targets: HashMap<Target<'a>, usize>,
    /// Which Gateways came by which policy.
    used: RefCell<Vec<BTreeSet<Key<'a>>>>,
    /// The policies of each target that came too late for it.
    late: HashMap<Target<'a>, Vec<usize>>,
}

/// A policy and what can be said of it.
pub(crate) struct PolicyPlan<'a> {
    pub(crate) policy: &'a BackendTLSPolicy,
    pub(crate) accepted: Verdict,
    pub(crate) resolved: Verdict,
    roots: Option<TrustRoots>,
}

impl<'a> Policies<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, material: &Material<'_>, grants: &Grants<'_>) -> Self {
        let mut policies: Vec<_> = snapshot.policies.iter().map(|policy| &**policy).collect();
        policies.sort_by_key(|policy| (policy.metadata.creation_timestamp.clone(), names(&policy.metadata)));
        let mut targets = HashMap::new();
        let mut late = HashMap::<_, Vec<_>>::new();
        let mut plans = Vec::with_capacity(policies.len());
        for (number, policy) in policies.into_iter().enumerate() {
            let mut plan = judge(policy, snapshot, material, grants);
            let namespace = names(&policy.metadata).0;
            for target in &policy.spec.target_refs {
                if !target.group.is_empty() || target.kind != "Service" {
                    continue;
                }
                let target = (namespace, target.name.as_str(), target.section_name.as_deref());
                let owner = *targets.entry(target).or_insert(number);
                if owner != number {
                    let (namespace, name, _) = target;
                    let message = format!("an older policy targets Service {namespace}/{name}; delete one");
                    plan.accepted = Verdict::no("Conflicted", message);
                    late.entry(target).or_default().push(number);
                }
            }
            plans.push(plan);
        }
        let used = RefCell::new(vec![BTreeSet::new(); plans.len()]);
        Self { plans, targets, used, late }
    }

    /// How a Service's port is spoken to for a Gateway; the error says that its policy is of no use.
    pub(crate) fn tls(
        &self,
        (namespace, name): (&str, &str),
        port: Option<&str>,
        gateway: Key<'a>,
        identity: Option<&Certificate>,
    ) -> Result<Option<Arc<BackendTls>>, String> {
        let of_port = port.map(|port| (namespace, name, Some(port)));
        let mut found = None;
        for target in of_port.into_iter().chain([(namespace, name, None)]) {
            let owner = self.targets.get(&target).copied();
            let mut used = self.used.borrow_mut();
            for number in self.late.get(&target).into_iter().flatten().copied().chain(owner) {
                if let Some(used) = used.get_mut(number) {
                    used.insert(gateway);
                }
            }
            found = found.or(owner);
        }
        let Some(plan) = found.and_then(|number| self.plans.get(number)) else { return Ok(None) };
        let Some(roots) = plan.roots.clone().filter(|_| plan.accepted.holds) else {
            return Err(format!("the BackendTLSPolicy of Service {namespace}/{name} is not valid"));
        };
        let validation = &plan.policy.spec.validation;
        let subject_names = validation.subject_alt_names.iter().filter_map(|name| match name.type_ {
            SubjectAltNameType::Hostname => name.hostname.clone().map(SubjectName::Host),
            SubjectAltNameType::Uri => name.uri.clone().map(SubjectName::Uri),
        });
        BackendTls::new(&validation.hostname, subject_names.collect(), roots, identity.cloned())
            .map(|tls| Some(Arc::new(tls)))
            .map_err(|error| error.to_string())
    }

    /// Every policy with the Gateways that came by it.
    pub(crate) fn plans(&self) -> impl Iterator<Item = (&PolicyPlan<'a>, BTreeSet<Key<'a>>)> {
        self.plans.iter().zip(self.used.take())
    }
}

fn judge<'a>(
    policy: &'a BackendTLSPolicy,
    snapshot: &Snapshot,
    material: &Material<'_>,
    grants: &Grants<'_>,
) -> PolicyPlan<'a> {
    let validation = &policy.spec.validation;
    let namespace = names(&policy.metadata).0;
    let from = Referrer { kind: "BackendTLSPolicy", namespace };
    let (mut pem, mut resolved) = (Vec::new(), Verdict::yes("ResolvedRefs"));
    for reference in &validation.ca_certificate_refs {
        let wanted =
            Wanted { group: &reference.group, kind: &reference.kind, namespace, name: &reference.name };
        match material.authorities(from, wanted, grants) {
            Ok(text) => {
                pem.extend(text);
                pem.push(b'\n');
            }
            Err(_) if !resolved.holds => {}
            Err(Unusable::Kind(message)) => resolved = Verdict::no("InvalidKind", message),
            Err(unusable) => {
                resolved = Verdict::no("InvalidCACertificateRef", unusable.into_message());
            }
        }
    }
    let refused = |reason, message: &str| (None, Verdict::no(reason, message));
    let (roots, accepted) = match validation.well_known_ca_certificates.as_deref() {
        None | Some("") => match TrustRoots::from_pem(&pem) {
            Ok(roots) => (Some(roots), Verdict::yes("Accepted")),
            Err(_) => refused("NoValidCACertificate", "no reference gives authorities; see ResolvedRefs"),
        },
        Some("System") => match &snapshot.system_roots {
            Some(roots) => (Some(roots.clone()), Verdict::yes("Accepted")),
            None => refused("Invalid", "this machine has no list of authorities; name a ConfigMap"),
        },
        Some(_) => refused("Invalid", "of wellKnownCACertificates only System is known"),
    };
    PolicyPlan { policy, accepted, resolved, roots }
}
