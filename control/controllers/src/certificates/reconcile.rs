//! The loop of CertificateSigningRequests.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::stream;
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{Patch, PostParams};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::decision::{Step, decide};
use super::subject;
use crate::Error;
use crate::drive::{AGAIN, drive};
use crate::owner::{changing, delete, is_ending, unless_gone};
use crate::rights::{READ, Right};
use crate::run::World;

const GROUP: &str = "certificates.k8s.io";

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(READ, GROUP, &["certificatesigningrequests"]),
    Right::to(&["delete"], GROUP, &["certificatesigningrequests"]),
    Right::to(
        &["patch"],
        GROUP,
        &["certificatesigningrequests/approval", "certificatesigningrequests/status"],
    ),
    Right::to(&["approve", "sign"], GROUP, &["signers"]),
    Right::to(&["create"], "authorization.k8s.io", &["subjectaccessreviews"]),
];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    drive(world, |_| stream::pending(), reconcile).await;
}

async fn reconcile(request: Arc<CertificateSigningRequest>, world: Arc<World>) -> Result<Action, Error> {
    if is_ending(&*request) {
        return Ok(Action::await_change());
    }
    let requests: Api<CertificateSigningRequest> = Api::all(world.client.clone());
    let (der, subject) = subject::read(&request.spec.request.0).unzip();
    match decide(&request, subject.as_ref(), Timestamp::now()) {
        Step::Wait(left) => {
            return Ok(left.map_or(Action::await_change(), |left| Action::requeue(left.min(AGAIN))));
        }
        Step::Forget => delete(&requests, &request).await?,
        Step::Ask(parts) => {
            for (part, text) in parts {
                if may_have(&world, &request, part).await? {
                    let condition = condition("Approved", "AutoApproved", text);
                    change(
                        &requests,
                        &request,
                        "approval",
                        json!({"conditions": added(&request, condition)?}),
                    )
                    .await?;
                    break;
                }
            }
            return Ok(Action::requeue(AGAIN));
        }
        Step::Fail(why) => {
            let condition = condition("Failed", "SignerValidationFailure", &why);
            change(&requests, &request, "status", json!({"conditions": added(&request, condition)?})).await?;
        }
        Step::Sign(lifetime) => {
            // Without the key, others may sign.
            let (Some(issuer), Some(der)) = (&world.settings.issuer, der) else {
                return Ok(Action::requeue(AGAIN));
            };
            let usages = request.spec.usages.clone().unwrap_or_default();
            let certificate = issuer.issue(&der, &usages, lifetime).map_err(Error::Unsigned)?;
            let certificate = STANDARD.encode(certificate);
            change(&requests, &request, "status", json!({"certificate": certificate})).await?;
        }
    }
    Ok(Action::await_change())
}

fn condition(kind: &str, reason: &str, text: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": reason, "message": text})
}

/// The conditions with one more.
fn added(request: &CertificateSigningRequest, condition: Value) -> Result<Value, Error> {
    let conditions = request.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut list = serde_json::to_value(conditions.cloned().unwrap_or_default())?;
    if let Value::Array(list) = &mut list {
        list.push(condition);
    }
    Ok(list)
}

/// Writes a part of the status, if nobody wrote in between.
async fn change(
    requests: &Api<CertificateSigningRequest>,
    request: &CertificateSigningRequest,
    part: &str,
    status: Value,
) -> Result<(), Error> {
    let meta = json!({"uid": request.uid(), "resourceVersion": request.resource_version()});
    let patch = Patch::Merge(json!({"metadata": meta, "status": status}));
    unless_gone(requests.patch_subresource(part, &request.name_any(), &changing(), &patch).await).map(drop)
}

/// Whether the sender of a request may have what this subresource stands for.
async fn may_have(world: &World, request: &CertificateSigningRequest, part: &str) -> Result<bool, Error> {
    let spec = &request.spec;
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: Some(GROUP.to_owned()),
                version: Some("*".to_owned()),
                resource: Some("certificatesigningrequests".to_owned()),
                subresource: Some(part.to_owned()),
                verb: Some("create".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(world.client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
