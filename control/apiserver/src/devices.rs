//! Who may claim devices in ways that others may not: with an administrator's access, which a namespace must be open to, and
//! by writing down which devices a claim has or what became of them, which takes rights of their own.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use xebec_machinery::field::{FieldError, Path};
use xebec_machinery::status::Status;

use crate::api::Api;
use crate::authorizer::{Asked, Attributes};
use crate::call::Call;
use crate::object;
use crate::strategy::Part;

/// The group of claims.
const GROUP: &str = "resource.k8s.io";
/// The label of namespaces in which administrators' claims may be.
const OPEN: &str = "resource.kubernetes.io/admin-access";
/// Where the token of an account says which node it was made for.
const NODE: &str = "authentication.kubernetes.io/node-name";

impl Api {
    /// What of a claim its writer may not say.
    pub(crate) fn check_devices(
        &self,
        call: &Call,
        old: Option<&Value>,
        new: &Value,
        part: Part,
    ) -> Result<Vec<FieldError>, Status> {
        if &*call.resource.group != GROUP {
            return Ok(Vec::new());
        }
        let at = match &*call.resource.kind {
            "ResourceClaim" => ".spec.devices.requests",
            "ResourceClaimTemplate" => ".spec.spec.devices.requests",
            _ => return Ok(Vec::new()),
        };
        let mut errors = Vec::new();
        match (old, part) {
            (None, _) => {
                let asks = |request: &Value| request.pointer("/exactly/adminAccess") == Some(&true.into());
                if let Some(index) = list(new, at).iter().position(asks) {
                    self.check_open(call, &["spec", "devices", "requests"], index, &mut errors)?;
                }
            }
            (Some(old), Part::Status) => {
                let results = |of: &Value| {
                    let results = list(of, ".status.allocation.devices.results");
                    results.iter().position(|result| result.get("adminAccess") == Some(&true.into()))
                };
                if let (None, Some(index)) = (results(old), results(new)) {
                    let steps = ["status", "allocation", "devices", "results"];
                    self.check_open(call, &steps, index, &mut errors)?;
                }
                self.check_binding_of(call, old, new, &mut errors)?;
                self.check_drivers(call, old, new, &mut errors)?;
            }
            _ => {}
        }
        Ok(errors)
    }

    fn check_open(
        &self,
        call: &Call,
        steps: &[&str],
        index: usize,
        errors: &mut Vec<FieldError>,
    ) -> Result<(), Status> {
        let served = self.catalog().served();
        let name = call.namespace().unwrap_or_default();
        let namespace = match served.find("", "namespaces") {
            Some(resource) => self.storage().find(resource, None, name)?,
            None => None,
        };
        let labels =
            namespace.as_ref().and_then(|stored| object::at_path(&stored.object, ".metadata.labels"));
        if labels.and_then(|labels| labels.get(OPEN)) == Some(&"true".into()) {
            return Ok(());
        }
        let joined = steps.join(".");
        let path = Path::ROOT.child(&joined);
        let path = path.index(index);
        let path = path.child("adminAccess");
        errors.push(match namespace {
            Some(_) => FieldError::forbidden(
                &path,
                format!(
                    "admin access to devices requires the `{OPEN}: true` label on the containing namespace"
                ),
            ),
            None => FieldError::internal(
                &path,
                format!("could not retrieve namespace to verify admin access: namespaces {name:?} not found"),
            ),
        });
        Ok(())
    }

    /// Who says which devices a claim has, and for whom, may do so of every claim.
    fn check_binding_of(
        &self,
        call: &Call,
        old: &Value,
        new: &Value,
        errors: &mut Vec<FieldError>,
    ) -> Result<(), Status> {
        let same = |field: &str| object::at_path(old, field) == object::at_path(new, field);
        if same(".status.allocation") && same(".status.reservedFor") {
            return Ok(());
        }
        let verb = call.request.verb.as_str();
        let asked = attributes(call, verb, "binding");
        if let Some(why) = self.refusal(call, Attributes { namespace: "", name: "", ..asked })? {
            let why = format!(
                "changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", \
                 verb=\"{verb}\" permission: {why}"
            );
            errors.push(FieldError::forbidden(&Path::ROOT.child("status.allocation"), why));
        }
        Ok(())
    }

    /// Who says what became of devices may speak for their drivers, on the claim's node or on all.
    fn check_drivers(
        &self,
        call: &Call,
        old: &Value,
        new: &Value,
        errors: &mut Vec<FieldError>,
    ) -> Result<(), Status> {
        let Some(allocation) = object::at_path(new, ".status.allocation").filter(|of| of.is_object()) else {
            return Ok(());
        };
        let (before, after) = (list(old, ".status.devices"), list(new, ".status.devices"));
        let changed = before.iter().filter(|device| !after.contains(device));
        let changed = changed.chain(after.iter().filter(|device| !before.contains(device)));
        let drivers: BTreeSet<&str> =
            changed.filter_map(|device| device.get("driver").and_then(Value::as_str)).collect();
        let verb = call.request.verb.as_str();
        let mut verbs = vec![format!("arbitrary-node:{verb}")];
        if is_of_node(call, allocation) {
            verbs.insert(0, format!("associated-node:{verb}"));
        }
        for driver in drivers {
            let mut first = None;
            let mut allowed = false;
            for verb in &verbs {
                match self.refusal(call, Attributes { name: driver, ..attributes(call, verb, "driver") })? {
                    None => allowed = true,
                    Some(why) => first = first.or(Some(why)),
                }
            }
            if let (false, Some(why)) = (allowed, first) {
                let why = format!(
                    "changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[{}]\" permission: {why}",
                    verbs.join(" ")
                );
                errors.push(FieldError::forbidden(&Path::ROOT.child("status.devices"), why));
            }
        }
        Ok(())
    }

    fn refusal(&self, call: &Call, asked: Attributes<'_>) -> Result<Option<String>, Status> {
        let asked = Asked::Resource(asked);
        let decision = self.policy().decide(&call.user, &asked)?;
        Ok((!decision.allowed).then(|| asked.refuse(&call.user, &decision.reason).message))
    }
}

fn attributes<'a>(call: &'a Call, verb: &'a str, subresource: &'a str) -> Attributes<'a> {
    Attributes {
        verb,
        group: GROUP,
        resource: "resourceclaims",
        subresource,
        namespace: call.namespace().unwrap_or_default(),
        name: "",
    }
}

fn list<'a>(of: &'a Value, path: &str) -> &'a [Value] {
    object::at_path(of, path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Whether an account's token was made for the one node whose devices these are.
fn is_of_node(call: &Call, allocation: &Value) -> bool {
    let [node] = call.user.extra.get(NODE).map(Vec::as_slice).unwrap_or_default() else { return false };
    let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
    call.user.name.starts_with("system:serviceaccount:")
        && allocation.pointer("/nodeSelector/nodeSelectorTerms") == Some(&json!([{"matchFields": [field]}]))
}
