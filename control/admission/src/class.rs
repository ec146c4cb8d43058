//! `DefaultStorageClass`, `DefaultIngressClass` and `PersistentVolumeClaimResize`: the classes of claims and ingresses.

use serde_json::Value;
use xebec_machinery::quantity::Quantity;
use xebec_machinery::status::Status;

use crate::object;
use crate::passes::Passes;
use crate::request::{Operation, Request};
use crate::stage::{Case, Mutation, Outcome, Validation, now};

/// Annotations that name the class of a claim or an ingress, from before there was a field for it.
const CLAIM_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const INGRESS_CLASS: &str = "kubernetes.io/ingress.class";
/// Annotations of the class of those that name none.
const DEFAULT_STORAGE: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const DEFAULT_INGRESS: [&str; 1] = ["ingressclass.kubernetes.io/is-default-class"];

pub(crate) struct DefaultStorageClass;
pub(crate) struct DefaultIngressClass;
pub(crate) struct PersistentVolumeClaimResize;

impl Mutation for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn handles(&self, request: &Request) -> bool {
        creates(request) && request.is_for("", "persistentvolumeclaims")
    }

    fn mutate<'a>(&'a self, case: Case<'a>, object: &'a mut Value, _passes: &'a Passes) -> Outcome<'a> {
        if object::annotation(object, CLAIM_CLASS).is_some() {
            return now(Ok(()));
        }
        let classes = ("storage.k8s.io", "storageclasses", &DEFAULT_STORAGE[..]);
        now(choose(case, object, "storageClassName", classes))
    }
}

impl Mutation for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn handles(&self, request: &Request) -> bool {
        creates(request) && request.is_for("networking.k8s.io", "ingresses")
    }

    fn mutate<'a>(&'a self, case: Case<'a>, object: &'a mut Value, _passes: &'a Passes) -> Outcome<'a> {
        if object::annotation(object, INGRESS_CLASS).is_some() {
            return now(Ok(()));
        }
        let classes = ("networking.k8s.io", "ingressclasses", &DEFAULT_INGRESS[..]);
        now(choose(case, object, "ingressClassName", classes))
    }
}

fn creates(request: &Request) -> bool {
    request.is_whole() && request.operation == Operation::Create
}

/// Names the default class in a field of the spec that names none.
fn choose(
    case: Case<'_>,
    new: &mut Value,
    field: &str,
    (group, resource, marks): (&str, &str, &[&str]),
) -> Result<(), Status> {
    if object::at(new, &["spec", field]).is_some() {
        return Ok(());
    }
    let classes = case.world.all(group, resource)?;
    let is_default = |class: &Value| marks.iter().any(|mark| object::annotation(class, mark) == Some("true"));
    // The newest, and of those the first by name. Moments are written so that their texts sort like them.
    let newest = classes.iter().filter(|class| is_default(class)).min_by(|one, other| {
        let born = |class: &Value| object::meta(class, "creationTimestamp").to_owned();
        born(other).cmp(&born(one)).then_with(|| object::name(one).cmp(object::name(other)))
    });
    if let Some(class) = newest {
        object::set(new, &["spec", field], object::name(class).into());
    }
    Ok(())
}

impl Validation for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn handles(&self, request: &Request) -> bool {
        request.is_whole()
            && request.operation == Operation::Update
            && request.is_for("", "persistentvolumeclaims")
    }

    fn validate<'a>(&'a self, case: Case<'a>, object: &'a Value) -> Outcome<'a> {
        now(resize(case, object))
    }
}

fn resize(case: Case<'_>, new: &Value) -> Result<(), Status> {
    let Some(old) = case.old else { return Ok(()) };
    let size = |claim: &Value| {
        let text = object::text(claim, &["spec", "resources", "requests", "storage"]);
        Quantity::parse(text).map_or(0, |size| size.nanos())
    };
    if size(new) <= size(old) {
        return Ok(());
    }
    if object::text(old, &["status", "phase"]) != "Bound" {
        return Err(case.forbidden(new, "Only bound persistent volume claims can be expanded"));
    }
    let class = |claim: &Value| {
        let annotated = object::annotation(claim, CLAIM_CLASS);
        annotated.unwrap_or_else(|| object::text(claim, &["spec", "storageClassName"])).to_owned()
    };
    let (before, after) = (class(old), class(new));
    let classes = case.world.all("storage.k8s.io", "storageclasses")?;
    let grows = !before.is_empty()
        && before == after
        && classes.get("", &after).and_then(|class| class.get("allowVolumeExpansion")?.as_bool())
            == Some(true);
    if grows {
        return Ok(());
    }
    let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must \
               support resize";
    Err(case.forbidden(new, why))
}
