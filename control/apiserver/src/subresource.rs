//! The parts of objects that have URLs of their own.

use serde_json::{Value, json};
use xebec_machinery::resource::Scale;
use xebec_machinery::selector::LabelSelector;
use xebec_machinery::status::{Reason, Status};

use crate::api::Api;
use crate::call::Call;
use crate::codec::Decoded;
use crate::delete::DeleteOptions;
use crate::object::{self, at_path};
use crate::strategy::Part;
use crate::write::{Books, Written};

impl Api {
    /// The `autoscaling/v1` Scale of an object.
    pub fn scale(&self, call: &Call, scale: &Scale) -> Result<Value, Status> {
        Ok(scale_of(&self.read(call)?, scale))
    }

    /// Sets how many replicas are asked for. `change` gets the Scale and gives it back changed.
    pub async fn set_scale(
        &self,
        call: &Call,
        scale: &Scale,
        mut change: impl FnMut(Value) -> Result<Value, Status> + Send,
    ) -> Result<Value, Status> {
        let changed = self
            .change(call, Part::Main, Books::Open, |old| {
                let asked = change(scale_of(old, scale))?;
                let replicas = at_path(&asked, ".spec.replicas").cloned().unwrap_or_else(|| json!(0));
                if replicas.as_i64().is_none_or(|replicas| replicas < 0) {
                    let why = format!(
                        "spec.replicas of the Scale is {replicas}; it must be a whole number, zero or more"
                    );
                    return Err(Status::new(Reason::Invalid, why));
                }
                let mut new = old.clone();
                object::set_path(&mut new, &scale.spec_replicas, replicas);
                object::set_meta(&mut new, "resourceVersion", object::meta(&asked, "resourceVersion"));
                Ok(new)
            })
            .await?;
        Ok(scale_of(&changed.object, scale))
    }

    /// Puts a pod on a node (`pods/binding`).
    pub async fn bind(&self, call: &Call, body: &Decoded) -> Result<Value, Status> {
        let node =
            at_path(&body.object, ".target.name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if node.is_empty() {
            return Err(Status::bad_request("target.name of the Binding is empty; name the node"));
        }
        self.change(call, Part::Binding, Books::Closed, |old| {
            if at_path(old, ".spec.nodeName").is_some_and(|there| *there != "") {
                let why = format!("pod {} is already assigned to a node", call.name());
                return Err(Status::conflict(call.qualified(), call.name(), &why));
            }
            let mut new = old.clone();
            object::set_path(&mut new, ".spec.nodeName", node.clone().into());
            Ok(new)
        })
        .await?;
        Ok(success(201))
    }

    /// Deletes a pod as its eviction asks (`pods/eviction`).
    pub async fn evict(&self, call: &Call, body: &Decoded) -> Result<Value, Status> {
        let options = DeleteOptions::of(call, body.object.get("deleteOptions"))?;
        self.delete(call, &options).await?;
        Ok(success(201))
    }

    /// Replaces the finalizers in a namespace's spec, and lets it go when that was the last thing that held it.
    pub async fn finalize(&self, call: &Call, body: Decoded) -> Result<Written, Status> {
        self.update(call, Part::Finalize, body).await
    }
}

/// `Status` of a success.
pub(crate) fn success(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code})
}

fn scale_of(object: &Value, scale: &Scale) -> Value {
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
