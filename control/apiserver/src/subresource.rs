//! The parts of objects that have URLs of their own.

use serde_json::{Value, json};
use xebec_admission::Operation;
use xebec_machinery::field::{FieldError, Path};
use xebec_machinery::resource::Scale;
use xebec_machinery::selector::LabelSelector;
use xebec_machinery::status::{Qualified, Status};
use xebec_machinery::{builtin, decoding, metadata, patch as machinery};

use crate::api::Api;
use crate::call::Call;
use crate::codec::{self, Decoded};
use crate::object::{self, at_path};
use crate::patch;
use crate::strategy::{self, Part};
use crate::write::{Books, Written, check_uid};

impl Api {
    /// The `autoscaling/v1` Scale of an object.
    pub async fn scale(&self, call: &Call, scale: &Scale) -> Result<Value, Status> {
        Ok(scale_of(&self.read(call).await?, scale))
    }

    /// Sets how many replicas are asked for. `change` gets the Scale and gives it back changed.
    pub async fn set_scale(
        &self,
        call: &Call,
        scale: &Scale,
        mut change: impl FnMut(Value) -> Result<Value, Status> + Send,
    ) -> Result<Value, Status> {
        let changed = self
            .change(call, Part::Scale, Books::Open, |old| {
                let asked = change(scale_of(old, scale))?;
                let replicas = replicas(call, &asked)?.unwrap_or(0);
                let mut new = old.clone();
                object::set_path(&mut new, &scale.spec_replicas, replicas.into());
                let wanted = object::meta(&asked, "resourceVersion");
                if !wanted.is_empty() {
                    object::set_meta(&mut new, "resourceVersion", wanted);
                }
                Ok(new)
            })
            .await?;
        Ok(scale_of(&changed.object, scale))
    }

    /// Changes by a patch how many replicas are asked for.
    pub async fn patch_scale(
        &self,
        call: &Call,
        scale: &Scale,
        media: &str,
        body: &[u8],
    ) -> Result<Value, Status> {
        patch::check_force(call, media)?;
        match media {
            "application/apply-patch+yaml" => self.apply_scale(call, scale, body).await,
            "application/json-patch+json" => {
                codec::operations(body)?;
                let change = |old: Value| machinery::json(&old, body).map_err(|error| error.status());
                self.set_scale(call, scale, change).await
            }
            "application/merge-patch+json" => {
                let Decoded { object: given, doubled, .. } = codec::patch(body, "error decoding patch: ")?;
                patch::check_doubled(call, &given, doubled)?;
                let change = |mut old: Value| {
                    machinery::merge(&mut old, given.clone()).map_err(|error| error.status())?;
                    Ok(old)
                };
                self.set_scale(call, scale, change).await
            }
            "application/strategic-merge-patch+json" if !call.resource.custom => {
                let Decoded { object: given, doubled, .. } = codec::patch(body, "")?;
                patch::check_doubled(call, &given, doubled)?;
                let node = builtin::kind_node("autoscaling", "v1", "Scale");
                let node = node.ok_or_else(|| Status::internal("the kind Scale is not known"))?;
                let change = |old: Value| {
                    machinery::strategic(old, given.clone(), node).map_err(|error| error.status())
                };
                self.set_scale(call, scale, change).await
            }
            _ => Err(patch::not_understood(call)),
        }
    }

    /// Applies a Scale: its manager owns the number of replicas in the object then.
    async fn apply_scale(&self, call: &Call, scale: &Scale, body: &[u8]) -> Result<Value, Status> {
        patch::check_manager(call)?;
        let Decoded { object: asked, doubled, .. } = codec::yaml(body)?;
        patch::check_applied(call, doubled)?.into_iter().for_each(|warning| call.notes.warn(warning));
        let told = |field: &str| asked.get(field).and_then(Value::as_str).unwrap_or_default();
        if (told("apiVersion"), told("kind")) != ("autoscaling/v1", "Scale") {
            let why = "what is applied to a scale must be a Scale of autoscaling/v1; set apiVersion and kind";
            return Err(Status::bad_request(why));
        }
        metadata::match_request(&mut asked.clone(), call.namespace(), Some(call.name()))?;
        let mut applied = json!({
            "apiVersion": call.api_version(),
            "kind": &*call.resource.kind,
            "metadata": {"name": call.name()},
        });
        if let Some(namespace) = call.namespace() {
            object::set_meta(&mut applied, "namespace", namespace);
        }
        if let Some(replicas) = replicas(call, &asked)? {
            object::set_path(&mut applied, &scale.spec_replicas, replicas.into());
        }
        let wanted = object::meta(&asked, "resourceVersion");
        let changed = self
            .change(call, Part::Scale, Books::Closed, |old| {
                if !wanted.is_empty() && wanted != object::meta(old, "resourceVersion") {
                    return Err(Status::modified(call.qualified(), call.name()));
                }
                strategy::server_side_apply(call, Some(old), &applied, Part::Scale)
            })
            .await?;
        Ok(scale_of(&changed.object, scale))
    }

    /// Puts a pod on a node (`pods/binding`).
    pub async fn bind(&self, call: &Call, body: Decoded) -> Result<Value, Status> {
        let binding = self.admit(call, Operation::Create, body.object).await?;
        let node = at_path(&binding, ".target.name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if node.is_empty() {
            return Err(Status::bad_request("target.name of the Binding is empty; name the node"));
        }
        self.change(call, Part::Binding, Books::Closed, |old| {
            check_uid(call, old, &binding)?;
            let wanted = object::meta(&binding, "resourceVersion");
            if !wanted.is_empty() && wanted != object::meta(old, "resourceVersion") {
                return Err(Status::modified(call.qualified(), call.name()));
            }
            if let Some(why) = unbindable(old) {
                let why = format!("pod {} {why}", call.name());
                return Err(Status::conflict(Qualified::new("", "pods/binding"), call.name(), &why));
            }
            let mut new = old.clone();
            object::set_path(&mut new, ".spec.nodeName", node.clone().into());
            object::section_mut(&mut new, "status").remove("nominatedNodeName");
            for part in ["annotations", "labels"] {
                let said = at_path(&binding, &format!(".metadata.{part}")).and_then(Value::as_object);
                let Some(said) = said.filter(|said| !said.is_empty()) else { continue };
                let own = object::meta_mut(&mut new).entry(part).or_insert_with(|| json!({}));
                if let Value::Object(own) = own {
                    own.extend(said.clone());
                }
            }
            let condition = json!({"type": "PodScheduled", "status": "True"});
            object::set_condition(&mut new, condition, &call.timestamp());
            Ok(new)
        })
        .await?;
        Ok(success(201))
    }

    /// Replaces the finalizers in a namespace's spec, and lets it go when that was the last thing that held it.
    pub async fn finalize(&self, call: &Call, body: Decoded) -> Result<Written, Status> {
        self.update(call, Part::Finalize, body).await
    }
}

/// How many replicas a Scale asks for, where it says.
fn replicas(call: &Call, asked: &Value) -> Result<Option<i32>, Status> {
    decoding::check("autoscaling", "v1", "Scale", asked)
        .map_err(|why| decoding::unfit("v1", "Scale", &why))?;
    let replicas = at_path(asked, ".spec.replicas").and_then(Value::as_i64);
    if let Some(replicas) = replicas.filter(|replicas| *replicas < 0) {
        let spec = Path::ROOT.child("spec");
        let why = "must be greater than or equal to 0";
        let error = FieldError::invalid(&spec.child("replicas"), replicas, why);
        return Err(Status::invalid(Qualified::new("autoscaling", "Scale"), call.name(), &[error]));
    }
    Ok(replicas.and_then(|replicas| replicas.try_into().ok()))
}

/// Why a pod cannot be put on a node, if so (upstream's `setPodNodeAndMetadata`).
fn unbindable(pod: &Value) -> Option<String> {
    if object::deleting(pod) {
        return Some("is being deleted, cannot be assigned to a host".to_owned());
    }
    let node = at_path(pod, ".spec.nodeName").and_then(Value::as_str).unwrap_or_default();
    if !node.is_empty() {
        return Some(format!("is already assigned to node {node:?}"));
    }
    let gates = at_path(pod, ".spec.schedulingGates").and_then(Value::as_array);
    let is_gated = gates.is_some_and(|gates| !gates.is_empty());
    is_gated.then(|| "has non-empty .spec.schedulingGates".to_owned())
}

/// `Status` of a success.
pub(crate) fn success(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code})
}

pub(crate) fn scale_of(object: &Value, scale: &Scale) -> Value {
    let number = |path: &str| at_path(object, path).and_then(Value::as_i64).unwrap_or(0);
    let mut status = json!({"replicas": number(&scale.status_replicas)});
    let selector = scale.selector.as_deref().and_then(|path| at_path(object, path));
    let selector = match selector {
        Some(Value::String(text)) => Some(text.clone()),
        Some(selector @ Value::Object(_)) => {
            LabelSelector::from_object(selector).ok().map(|read| read.to_string())
        }
        _ => None,
    };
    if let Some(selector) = selector {
        status["selector"] = selector.into();
    }
    let meta =
        |field: &str| object.get("metadata").and_then(|meta| meta.get(field)).cloned().unwrap_or_default();
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta("name"),
            "namespace": meta("namespace"),
            "uid": meta("uid"),
            "resourceVersion": meta("resourceVersion"),
            "creationTimestamp": meta("creationTimestamp"),
        },
        "spec": {"replicas": number(&scale.spec_replicas)},
        "status": status,
    })
}
