//! The parts of objects that have paths of their own, some of which take bodies of kinds of their own.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use xebec_admission::Operation;
use xebec_machinery::pod_part::PodPart;
use xebec_machinery::resource::Scale;
use xebec_machinery::status::Status;

use super::resource::shown;
use super::{Answer, Service, is_pod};
use crate::call::Call;
use crate::request::Verb;
use crate::strategy::Part;
use crate::view::View;
use crate::write::Written;
use crate::{certificates, codec, intake};

impl Service {
    pub(super) async fn subresource(
        &self,
        call: &Call,
        headers: &HeaderMap,
        bytes: &Bytes,
        query: Option<&str>,
        view: impl Fn(bool) -> Result<View, Status> + Send,
    ) -> Result<Answer, Status> {
        let name = call.request.subresource.as_deref().unwrap_or_default();
        let api = self.api();
        let verb = call.request.verb;
        let body = async |kind: &str| self.decoded(headers, bytes, kind).await;
        let own = async |group: &str, kind: &str| {
            intake::admit_part(call, (group, "v1", kind), self.decoded(headers, bytes, kind).await?)
        };
        let refused = || Status::method_not_allowed(call.qualified(), verb.as_str());
        let scale = call.version().scale.clone();
        match (name, verb) {
            (_, _) if let Some(part) = whole_part(call, name) => {
                let mut view = view(false)?;
                match verb {
                    Verb::Get => Ok(Answer::object(200, view.object(api.read(call).await?))),
                    Verb::Update => {
                        Ok(shown(view, api.update(call, part, body(&call.resource.kind).await?).await?))
                    }
                    Verb::Patch => {
                        let media = codec::media_type(headers);
                        Ok(shown(view, api.patch(call, part, media, bytes).await?))
                    }
                    _ => Err(refused()),
                }
            }
            ("scale", _) if scale.is_some() => {
                let mut view = view(true)?;
                let object = self.scale(call, &scale.ok_or_else(refused)?, headers, bytes).await?;
                Ok(Answer::object(200, view.object(object)))
            }
            ("finalize", Verb::Update) if &*call.resource.plural == "namespaces" => {
                Ok(plainly(api.finalize(call, body("Namespace").await?).await?))
            }
            ("log", Verb::Get) if is_pod(call) => {
                let pod = api.read(call).await?;
                self.parts.pods.logs(&pod, query.unwrap_or_default()).await.map(Answer::Raw)
            }
            ("token", Verb::Create) if &*call.resource.plural == "serviceaccounts" => {
                let mut request = own("authentication.k8s.io", "TokenRequest").await?;
                request.object = api.admit(call, Operation::Create, request.object).await?;
                Ok(Answer::object(201, api.request_token(call, self.signer()?, request)?))
            }
            ("binding", Verb::Create) if is_pod(call) => {
                Ok(Answer::object(201, api.bind(call, own("", "Binding").await?).await?))
            }
            ("eviction", Verb::Create) if is_pod(call) => {
                Ok(Answer::object(201, api.evict(call, own("policy", "Eviction").await?).await?))
            }
            _ if call.version().subresources.iter().any(|own| *own.name == *name) => Err(refused()),
            // Upstream's custom resources have a router of their own.
            _ if call.resource.custom => Err(Status::not_found(call.qualified(), call.name())),
            _ => Err(Status::no_such_resource()),
        }
    }

    async fn scale(
        &self,
        call: &Call,
        scale: &Scale,
        headers: &HeaderMap,
        bytes: &Bytes,
    ) -> Result<Value, Status> {
        let media = codec::media_type(headers);
        match call.request.verb {
            Verb::Get => self.api().scale(call, scale).await,
            Verb::Update => {
                let asked = self.decoded(headers, bytes, "Scale").await?;
                let asked = intake::admit_part(call, ("autoscaling", "v1", "Scale"), asked)?.object;
                self.api().set_scale(call, scale, |_| Ok(asked.clone())).await
            }
            Verb::Patch => self.api().patch_scale(call, scale, media, bytes).await,
            _ => Err(Status::method_not_allowed(call.qualified(), call.request.verb.as_str())),
        }
    }
}

/// The subresource of this name, where it is read and written as the whole object.
fn whole_part(call: &Call, name: &str) -> Option<Part> {
    match name {
        "status" => call.version().status.then_some(Part::Status),
        "approval" => certificates::concerns(call).then_some(Part::Approval),
        "ephemeralcontainers" => is_pod(call).then_some(Part::OfPod(PodPart::EphemeralContainers)),
        "resize" => is_pod(call).then_some(Part::OfPod(PodPart::Resources)),
        _ => None,
    }
}

fn plainly(done: Written) -> Answer {
    Answer::Object { code: 200, object: done.object, warnings: done.warnings }
}
