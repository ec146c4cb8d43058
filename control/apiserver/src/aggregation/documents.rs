//! What a server behind this one tells of itself: which resources it has, and what they look like. It is asked in this
//! server's own name; what it says is bounded in size and time, and read with care.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use serde_json::Value;
use xebec_machinery::discovery::{Foreign, read_aggregated, read_legacy};

use super::Extension;
use super::passage::name_user;
use crate::api::Api;
use crate::user::{ADMINISTRATORS, User};

/// How long a document may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How large it may be.
const LARGEST: usize = 16 << 20;
/// Who asks, as upstream names it.
const ASKER: &str = "system:kube-aggregator";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// An answer to a question of this server's.
pub(super) struct Answer {
    pub(super) code: StatusCode,
    media: String,
    bytes: Bytes,
}

impl Answer {
    /// How many bytes there are to read.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// What it says as JSON.
    pub(super) fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.bytes).map_err(|error| format!("it is no JSON: {error}"))
    }
}

/// What discovery says of an extension. Whoever told nothing now has told what they told before, if anything.
pub(super) fn foreign(
    extension: &Extension,
    before: &[Foreign],
    told: Option<Result<Vec<Value>, String>>,
) -> Foreign {
    let is_own = |own: &&Foreign| own.group == extension.group && own.version == extension.version;
    let before = before.iter().find(is_own);
    let kept = || before.map(|before| before.resources.clone()).unwrap_or_default();
    let (resources, is_fresh) = match told {
        Some(Ok(resources)) => (resources, true),
        Some(Err(_)) => (kept(), false),
        None => (kept(), before.is_some_and(|before| before.is_fresh)),
    };
    Foreign {
        group: extension.group.clone(),
        version: extension.version.clone(),
        priority: extension.priority,
        resources,
        is_fresh,
    }
}

impl Api {
    /// Asks a server for a document.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub(super) async fn question(
        &self,
        extension: &Extension,
        address: &str,
        path: &str,
        accept: &str,
    ) -> Result<Answer, String> {
        let mut request = Request::get(path);
        if let Some(headers) = request.headers_mut() {
            let accept = HeaderValue::from_str(accept).map_err(|error| error.to_string())?;
            headers.insert(ACCEPT, accept);
            name_user(headers, &User::new(ASKER, [ADMINISTRATORS]))?;
        }
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = request.body(body).map_err(|error| error.to_string())?;
        let answering = async {
            let response = extension.channel.send(self, address, request, false).await?;
            let (head, body) = response.into_parts();
            let media = head.headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok());
            let media = media.unwrap_or_default().to_owned();
            let bytes = Limited::new(body, LARGEST).collect().await;
            let bytes = bytes.map_err(|error| format!("the answer cannot be read: {error}"))?.to_bytes();
            Ok(Answer { code: head.status, media, bytes })
        };
        let timeout = tokio::time::timeout(PATIENCE, answering).await;
        timeout.unwrap_or_else(|_| Err("context deadline exceeded".to_owned()))
    }

    /// The resources of an extension, as its server tells them.
    pub(super) async fn ask_for_resources(
        &self,
        extension: &Extension,
        address: &str,
    ) -> Result<Vec<Value>, String> {
        if !extension.group.is_empty() {
            let answer = self.question(extension, address, "/apis", AGGREGATED).await?;
            let is_aggregated = answer.media.contains("as=APIGroupDiscoveryList");
            if answer.code == StatusCode::SERVICE_UNAVAILABLE {
                return Err("the server is not available".to_owned());
            }
            if answer.code == StatusCode::OK && is_aggregated {
                let mut told = read_aggregated(&answer.json()?)?;
                let own = (extension.group.to_string(), extension.version.to_string());
                // A server that does not speak of it has nothing of it.
                return Ok(told.remove(&own).unwrap_or_default());
            }
        }
        let answer = self.question(extension, address, &extension.root(), "application/json").await?;
        if answer.code != StatusCode::OK {
            return Err(format!("{} was answered with {}", extension.root(), answer.code));
        }
        read_legacy(&answer.json()?, &extension.group, &extension.version)
    }
}
