//! Objects in the version that a client speaks, and back in the one in which they rest.
//!
//! Most kinds differ from version to version in their `apiVersion` alone ([`convert`]); the definition of a custom
//! resource may name a webhook that knows more, which is asked for all objects of a page at once.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;
use xebec_admission::Client;
use xebec_machinery::crd::{Conversion, Task, Webhook};
use xebec_machinery::decoding;
use xebec_machinery::resource::Resource;
use xebec_machinery::status::{Reason, Status};

use crate::api::Api;
use crate::call::Call;
use crate::convert;

/// How long a webhook may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer: a page of large objects.
const LARGEST: usize = 64 << 20;

impl Api {
    /// A stored object as the client sees it.
    pub(crate) async fn present(&self, call: &Call, stored: Value) -> Result<Value, Status> {
        let mut shown = vec![stored];
        self.present_all(call, &mut shown, None).await?;
        shown.pop().ok_or_else(|| Status::internal("an object was lost in its conversion"))
    }

    /// The stored objects of a list as the client sees them.
    pub(crate) async fn present_list(&self, call: &Call, stored: &mut [Value]) -> Result<(), Status> {
        self.present_all(call, stored, Some(&call.resource.list_kind)).await
    }

    async fn present_all(&self, call: &Call, stored: &mut [Value], list: Option<&str>) -> Result<(), Status> {
        let resource = &call.resource;
        if let Conversion::Webhook(webhook) = &resource.conversion {
            self.ask_to_convert(resource, webhook, stored, &call.api_version(), list).await?;
        }
        for object in stored {
            convert::from_storage(resource, call.version(), object);
        }
        Ok(())
    }

    /// Turns an object of a served version into the form in which it is stored.
    pub(crate) async fn settle_version(&self, resource: &Resource, object: &mut Value) -> Result<(), Status> {
        if let Conversion::Webhook(webhook) = &resource.conversion {
            let wanted = resource.api_version(&resource.storage);
            self.ask_to_convert(resource, webhook, std::slice::from_mut(object), &wanted, None).await?;
        }
        convert::to_rest(resource, object)
    }

    /// Has a webhook convert those objects that are not of the `wanted` version.
    pub(crate) async fn ask_to_convert(
        &self,
        resource: &Resource,
        webhook: &Webhook,
        objects: &mut [Value],
        wanted: &str,
        list: Option<&str>,
    ) -> Result<(), Status> {
        let others = objects.iter_mut().enumerate();
        let others = others.filter(|(_, object)| object.get("apiVersion").is_none_or(|own| own != wanted));
        let (places, asked): (Vec<usize>, Vec<Value>) =
            others.map(|(place, object)| (place, object.take())).unzip();
        if places.is_empty() {
            return Ok(());
        }
        let uid = Uuid::new_v4().to_string();
        let task = Task { objects: &asked, wanted, uid: &uid, list };
        let answer = self.ask(webhook, &task).await.map_err(|why| failed(resource, &task.failed(&why)))?;
        let converted = webhook.answered(answer, &task).map_err(|why| failed(resource, &why))?;
        for (place, object) in places.into_iter().zip(converted) {
            if let Some(at) = objects.get_mut(place) {
                *at = object;
            }
        }
        Ok(())
    }
}

impl Api {
    async fn ask(&self, webhook: &Webhook, task: &Task<'_>) -> Result<Value, String> {
        let client = Client::of(&webhook.client, LARGEST)?;
        let bytes = client.post(self, &webhook.ask(task), PATIENCE).await?;
        let parsed = decoding::parse(&bytes).map(|(answer, _)| answer);
        parsed.map_err(|why| format!("couldn't get version/kind; json parse error: {why}"))
    }
}

/// A webhook's failure has no name of its own upstream.
fn failed(resource: &Resource, why: &str) -> Status {
    tracing::warn!(kind = %resource.kind, why, "objects could not be converted");
    Status::new(Reason::Unknown, why)
}
