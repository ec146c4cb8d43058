//! Changing objects in part: JSON patch, merge patch, strategic merge patch and server-side apply.

use serde_json::Value;
use xebec_machinery::patch;
use xebec_machinery::status::Status;

use crate::api::Api;
use crate::call::Call;
use crate::codec;
use crate::object;
use crate::strategy::{self, Part};
use crate::write::{Books, Written};

/// The media types of patches.
const UNDERSTOOD: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

impl Api {
    /// Changes an object, or a part of it, by a patch.
    pub async fn patch(&self, call: &Call, part: Part, media: &str, body: &[u8]) -> Result<Written, Status> {
        match media {
            "application/apply-patch+yaml" | "application/apply-patch+cbor" => {
                self.apply(call, part, body).await
            }
            "application/json-patch+json" => {
                let change = |old: &Value| patch::json(old, body).map_err(|error| error.status());
                self.patch_with(call, part, change).await
            }
            "application/merge-patch+json" => {
                let given = codec::decode("application/json", body)?.object;
                let change = |old: &Value| {
                    let mut new = old.clone();
                    patch::merge(&mut new, given.clone()).map_err(|error| error.status())?;
                    Ok(new)
                };
                self.patch_with(call, part, change).await
            }
            "application/strategic-merge-patch+json" if !call.resource.custom => {
                let given = codec::decode("application/json", body)?.object;
                let node = call.version().schema.node();
                let change = |old: &Value| {
                    patch::strategic(old.clone(), given.clone(), node).map_err(|error| error.status())
                };
                self.patch_with(call, part, change).await
            }
            _ => Err(Status::unsupported_media_type(&UNDERSTOOD)),
        }
    }

    async fn patch_with(
        &self,
        call: &Call,
        part: Part,
        mut patch: impl FnMut(&Value) -> Result<Value, Status> + Send,
    ) -> Result<Written, Status> {
        let mut warnings = Vec::new();
        let object = self
            .change(call, part, Books::Open, |old| {
                let mut new = patch(old)?;
                warnings = strategy::admit_fields(call, &mut new, &[])?;
                strategy::check_type(call, &new)?;
                Ok(new)
            })
            .await?;
        Ok(Written { object, created: false, warnings })
    }

    async fn apply(&self, call: &Call, part: Part, body: &[u8]) -> Result<Written, Status> {
        if call.options().field_manager.is_none() {
            return Err(Status::bad_request(
                "fieldManager is required for apply patch; add ?fieldManager=NAME",
            ));
        }
        let decoded = codec::yaml(body)?;
        let mut applied = decoded.object;
        let warnings = strategy::admit_fields(call, &mut applied, &decoded.duplicates)?;
        strategy::check_type(call, &applied)?;
        strategy::check_place(call, &mut applied)?;
        match object::name(&applied) {
            "" => object::set_meta(&mut applied, "name", call.name()),
            same if same == call.name() => {}
            _ => {
                return Err(Status::bad_request("the name of the object does not match the name on the URL"));
            }
        }
        let there = self.storage().find(&call.resource, call.namespace(), call.name())?.is_some();
        if !there && part == Part::Main {
            if !object::meta(&applied, "uid").is_empty() {
                let why = "Precondition failed: the object that is applied has a UID and does not exist";
                return Err(Status::conflict(call.qualified(), call.name(), why));
            }
            self.check_namespace(call)?;
            let new = strategy::server_side_apply(call, None, &applied, part)?;
            match self.create_prepared(call, new, Books::Closed).await {
                // Someone made it in between: apply to that.
                Err(status) if status.code() == 409 => {}
                outcome => return Ok(Written { warnings, ..outcome? }),
            }
        }
        let object = self
            .change(call, part, Books::Closed, |old| {
                strategy::server_side_apply(call, Some(old), &applied, part)
            })
            .await?;
        Ok(Written { object, created: false, warnings })
    }
}
