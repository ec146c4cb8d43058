//! Gateways with their ListenerSets: which of their listeners can be served, and where.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};
use xebec_api::gateway::{
    FromListenerNamespaces, FrontendValidation, FrontendValidationMode, GROUP, Gateway, ListenerSet,
    SecretReference,
};
use xebec_proxy::config::{Certificate, ClientValidation, TrustRoots};

use crate::Options;
use crate::address::Addresses;
use crate::condition::Verdict;
use crate::grant::{Grants, Referrer};
use crate::listener::{ListenerPlan, Owner, Speaks, settle_conflicts};
use crate::material::{Material, Unusable, Wanted};
use crate::snapshot::Place;
use crate::translation::names;

/// Labels of namespaces.
pub(crate) type Labels<'a> = BTreeMap<&'a str, &'a BTreeMap<String, String>>;

/// What Gateways are looked at with.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) options: &'a Options,
    pub(crate) grants: &'a Grants<'a>,
    pub(crate) material: &'a Material<'a>,
    pub(crate) labels: &'a Labels<'a>,
}

/// A Gateway of ours.
pub(crate) struct GatewayPlan<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) accepted: Verdict,
    /// Of the references of the Gateway itself; none where it has none.
    pub(crate) resolved: Option<Verdict>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) listeners: Vec<ListenerPlan<'a>>,
    pub(crate) sets: Vec<SetPlan<'a>>,
    /// What backends that ask are shown.
    pub(crate) identity: Option<Certificate>,
}

/// A ListenerSet that names a Gateway of ours.
pub(crate) struct SetPlan<'a> {
    pub(crate) set: &'a ListenerSet,
    /// Whether the Gateway lets it join.
    pub(crate) allowed: bool,
}

/// Looks at a Gateway and the sets that name it, the oldest first. `taken` are places of earlier Gateways.
pub(crate) fn plan<'a>(
    gateway: &'a Gateway,
    sets: &[&'a ListenerSet],
    addresses: Addresses,
    taken: &mut BTreeSet<Place>,
    around: Surroundings<'_>,
) -> GatewayPlan<'a> {
    let namespace = names(&gateway.metadata).0;
    let own = gateway.spec.listeners.iter();
    let mut listeners: Vec<_> =
        own.map(|listener| ListenerPlan::new(listener, Owner::Gateway, namespace)).collect();
    let mut joined = Vec::with_capacity(sets.len());
    for (number, set) in sets.iter().enumerate() {
        let from = names(&set.metadata).0;
        let allowed = allows_set(gateway, from, around.labels);
        if allowed {
            let entries = set.spec.listeners.iter();
            let made = |listener| ListenerPlan::new(listener, Owner::Set(number), from);
            listeners.extend(entries.map(made));
        }
        joined.push(SetPlan { set, allowed });
    }
    settle_conflicts(&mut listeners, around.options);
    let mut plan = GatewayPlan {
        gateway,
        accepted: Verdict::yes("Accepted"),
        resolved: None,
        addresses: Vec::new(),
        listeners,
        sets: joined,
        identity: None,
    };
    plan.take_identity(around);
    for listener in &mut plan.listeners {
        take_certificates(listener, around);
        require_clients(listener, gateway, around);
    }
    let whole = match addresses {
        Ok(addresses) => {
            plan.addresses = addresses;
            parameters(gateway)
        }
        Err(verdict) => Some(verdict),
    };
    match whole {
        Some(verdict) => {
            for listener in plan.listeners.iter_mut().filter(|listener| listener.accepted.holds) {
                listener.accepted = Verdict::no("Invalid", verdict.message.clone());
            }
            plan.accepted = verdict;
        }
        None => {
            plan.take_places(taken, around.options);
            plan.accepted = acceptance(plan.listeners.iter().filter(|l| l.owner == Owner::Gateway));
        }
    }
    plan
}

impl GatewayPlan<'_> {
    fn take_identity(&mut self, around: Surroundings<'_>) {
        let tls = self.gateway.spec.tls.as_ref();
        let Some(reference) =
            tls.and_then(|tls| tls.backend.as_ref()).and_then(|tls| tls.client_certificate_ref.as_ref())
        else {
            return;
        };
        let namespace = names(&self.gateway.metadata).0;
        let from = Referrer { kind: "Gateway", namespace };
        let found = around.material.certificate(from, secret(reference, namespace), around.grants);
        self.resolved = Some(match found {
            Ok(certificate) => {
                self.identity = Some(certificate);
                Verdict::yes("ResolvedRefs")
            }
            Err(Unusable::NotPermitted(message)) => Verdict::no("RefNotPermitted", message),
            Err(unusable) => Verdict::no("InvalidClientCertificateRef", unusable.into_message()),
        });
    }

    fn take_places(&mut self, taken: &mut BTreeSet<Place>, options: &Options) {
        let mut own = BTreeSet::<Place>::new();
        for listener in &mut self.listeners {
            listener.place(&self.addresses, options);
            if let Some(place) = listener.places.iter().find(|place| taken.contains(place)) {
                let message = format!(
                    "another Gateway is served at {}; ask for another address or port",
                    place.address
                );
                listener.accepted = Verdict::no("PortUnavailable", message);
                listener.places.clear();
            }
            own.extend(&listener.places);
        }
        taken.extend(own);
    }
}

/// The acceptance of an object by its listeners.
pub(crate) fn acceptance<'a>(listeners: impl Iterator<Item = &'a ListenerPlan<'a>> + Clone) -> Verdict {
    if listeners.clone().all(|listener| listener.accepted.holds) {
        return Verdict::yes("Accepted");
    }
    Verdict {
        holds: listeners.clone().any(|listener| listener.accepted.holds),
        reason: "ListenersNotValid",
        message: "some listeners are not accepted; see their conditions".to_owned(),
    }
}

/// No settings of the controller's own are known.
fn parameters(gateway: &Gateway) -> Option<Verdict> {
    let reference = gateway.spec.infrastructure.as_ref()?.parameters_ref.as_ref()?;
    let message = format!(
        "{}.{} {:?} holds no settings of this controller; remove parametersRef",
        reference.kind, reference.group, reference.name
    );
    Some(Verdict::no("InvalidParameters", message))
}

fn allows_set(gateway: &Gateway, from: &str, labels: &Labels<'_>) -> bool {
    let Some(allowed) = &gateway.spec.allowed_listeners else { return false };
    match allowed.namespaces.from {
        FromListenerNamespaces::All => true,
        FromListenerNamespaces::None => false,
        FromListenerNamespaces::Same => names(&gateway.metadata).0 == from,
        FromListenerNamespaces::Selector => selects(allowed.namespaces.selector.as_ref(), from, labels),
    }
}

/// Whether a selector picks a namespace; one that cannot be read picks none.
pub(crate) fn selects(selector: Option<&LabelSelector>, namespace: &str, labels: &Labels<'_>) -> bool {
    let (Some(selector), Some(labels)) = (selector, labels.get(namespace)) else { return false };
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

fn secret<'a>(reference: &'a SecretReference, namespace: &'a str) -> Wanted<'a> {
    let namespace = reference.namespace.as_deref().unwrap_or(namespace);
    Wanted { group: &reference.group, kind: &reference.kind, namespace, name: &reference.name }
}

/// The certificates that a listener shows; the first reference that gives none is told.
fn take_certificates(listener: &mut ListenerPlan<'_>, around: Surroundings<'_>) {
    if !listener.speaks.is_some_and(Speaks::ends_tls) {
        return;
    }
    let kind = if listener.owner == Owner::Gateway { "Gateway" } else { "ListenerSet" };
    let from = Referrer { kind, namespace: listener.namespace };
    let references = listener.entry.tls.as_ref().map(|tls| &tls.certificate_refs[..]).unwrap_or_default();
    if references.is_empty() {
        let message = "the listener ends TLS and names no certificate; give it certificateRefs";
        listener.resolved = Verdict::no("InvalidCertificateRef", message);
    }
    for reference in references {
        let wanted = secret(reference, listener.namespace);
        match around.material.certificate(from, wanted, around.grants) {
            Ok(certificate) => listener.tls.certificates.push(certificate),
            Err(_) if !listener.resolved.holds => {}
            Err(Unusable::NotPermitted(message)) => {
                listener.resolved = Verdict::no("RefNotPermitted", message);
            }
            Err(unusable) => {
                listener.resolved = Verdict::no("InvalidCertificateRef", unusable.into_message());
            }
        }
    }
}

/// What the Gateway asks of the listener's clients.
fn require_clients(listener: &mut ListenerPlan<'_>, gateway: &Gateway, around: Surroundings<'_>) {
    let Some(frontend) = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref()) else { return };
    if listener.speaks != Some(Speaks::Https) {
        return;
    }
    let of_port = frontend.per_port.iter().find(|own| own.port == listener.entry.port).map(|own| &own.tls);
    let Some(validation) = &of_port.unwrap_or(&frontend.default).validation else { return };
    let namespace = names(&gateway.metadata).0;
    match authorities(validation, Referrer { kind: "Gateway", namespace }, around) {
        (Some(roots), None) => listener.tls.clients = clients(validation, roots),
        (Some(roots), Some(verdict)) => {
            listener.tls.clients = clients(validation, roots);
            listener.resolved = verdict;
        }
        (None, verdict) => {
            let verdict = verdict.unwrap_or_else(|| {
                Verdict::no("InvalidCACertificateRef", "no authorities are named; name a ConfigMap")
            });
            listener.accepted = Verdict::no("NoValidCACertificate", verdict.message.clone());
            listener.resolved = verdict;
        }
    }
}

fn clients(validation: &FrontendValidation, roots: TrustRoots) -> ClientValidation {
    match validation.mode {
        FrontendValidationMode::AllowValidOnly => ClientValidation::Required(roots),
        FrontendValidationMode::AllowInsecureFallback => ClientValidation::Asked,
    }
}

/// The authorities that can be used, and the first reference that gives none.
fn authorities(
    validation: &FrontendValidation,
    from: Referrer<'_>,
    around: Surroundings<'_>,
) -> (Option<TrustRoots>, Option<Verdict>) {
    let (mut pem, mut wrong) = (Vec::new(), None);
    for reference in &validation.ca_certificate_refs {
        let namespace = reference.namespace.as_deref().unwrap_or(from.namespace);
        let wanted =
            Wanted { group: &reference.group, kind: &reference.kind, namespace, name: &reference.name };
        match around.material.authorities(from, wanted, around.grants) {
            Ok(text) => {
                pem.extend(text);
                pem.push(b'\n');
            }
            Err(unusable) => {
                wrong.get_or_insert_with(|| match unusable {
                    Unusable::Kind(message) => Verdict::no("InvalidCACertificateKind", message),
                    Unusable::NotPermitted(message) => Verdict::no("RefNotPermitted", message),
                    Unusable::Content(message) => Verdict::no("InvalidCACertificateRef", message),
                });
            }
        }
    }
    (TrustRoots::from_pem(&pem).ok(), wrong)
}

/// Whether a ListenerSet names this Gateway.
pub(crate) fn names_gateway(set: &ListenerSet, gateway: &Gateway) -> bool {
    let parent = &set.spec.parent_ref;
    let own = names(&set.metadata).0;
    parent.group == GROUP
        && parent.kind == "Gateway"
        && (parent.namespace.as_deref().unwrap_or(own), &*parent.name) == names(&gateway.metadata)
}
