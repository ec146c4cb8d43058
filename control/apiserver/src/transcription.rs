//! Answers in Kubernetes' protobuf, for clients that take nothing else.
//!
//! Objects are JSON within, and JSON is what a client is answered in that takes both. What one asks that takes protobuf alone
//! is answered as if it took JSON, and written anew on its way out. Kinds without messages are left to the refusal of whoever
//! negotiates, before anything is changed.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt as _;
use serde_json::Value;
use xebec_machinery::negotiation::{Endpoint, Media, negotiate};
use xebec_machinery::status::Status;
use xebec_machinery::{builtin, protobuf};

use crate::field_order::Ordered;
use crate::request::{Target, parse};
use crate::service::{ResponseBody, accept_of};

/// What `Content-Type` says of a watch in protobuf.
const STREAM: HeaderValue = HeaderValue::from_static("application/vnd.kubernetes.protobuf;stream=watch");

/// Marks an answer that is a stream of events, a line each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Events;

/// In which bytes an object goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// JSON in a line, which Go ends.
    Line,
    /// JSON to be read, which Go does not end.
    Page,
    /// An envelope of Kubernetes' protobuf.
    Protobuf,
}

impl Form {
    /// The form that a request asks for. One that takes protobuf alone asks for JSON from now on.
    pub(crate) fn asked(head: &mut Parts) -> Self {
        let query = head.uri.query().unwrap_or_default();
        match asks_for_protobuf(head) {
            Some(accept) => {
                head.headers.insert(ACCEPT, accept);
                Self::Protobuf
            }
            None if wants_page(query, &head.headers) => Self::Page,
            None => Self::Line,
        }
    }

    /// An object's bytes; in protobuf a refusal where it is of a kind without messages, such as a table.
    pub(crate) fn bytes(self, object: &Value) -> Result<Vec<u8>, Status> {
        let unwritten = |error: serde_json::Error| Status::internal(&error.to_string());
        match self {
            Self::Page => serde_json::to_vec_pretty(&Ordered(object)).map_err(unwritten),
            Self::Line => {
                let mut line = serde_json::to_vec(&Ordered(object)).map_err(unwritten)?;
                line.push(b'\n');
                Ok(line)
            }
            Self::Protobuf => protobuf::encode(object).map_err(|error| match error {
                protobuf::Error::UnknownKind { .. } => Status::not_acceptable(&[Media::Json.name()]),
                other => Status::internal(&format!("cannot write the object in protobuf: {other}")),
            }),
        }
    }

    /// The media type of the bytes.
    pub(crate) fn media(self) -> HeaderValue {
        let media = if self == Self::Protobuf { Media::Protobuf } else { Media::Json };
        HeaderValue::from_static(media.name())
    }

    /// An answer that was made elsewhere: events are written anew, all else stays as it is.
    pub(crate) fn stream(self, response: Response<ResponseBody>) -> Response<ResponseBody> {
        if self != Self::Protobuf || response.extensions().get::<Events>().is_none() {
            return response;
        }
        let mut response =
            response.map(|body| body.map_frame(|frame| frame.map_data(|line| event(&line))).boxed_unsync());
        response.headers_mut().insert(CONTENT_TYPE, STREAM);
        response
    }
}

/// Whether somebody means to read the answer: they say so, or ask with what people ask with.
fn wants_page(query: &str, headers: &HeaderMap) -> bool {
    let pretty = query.split('&').find_map(|pair| pair.strip_prefix("pretty="));
    if let Some(pretty) = pretty.filter(|value| !value.is_empty()) {
        // Go's notion of what is true.
        return ["1", "t", "T", "TRUE", "true", "True"].contains(&pretty);
    }
    let agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|tool| agent.starts_with(tool.as_bytes()))
}

/// The `Accept` header in terms of JSON, of a request that takes protobuf alone and is about objects that have it.
fn asks_for_protobuf(head: &Parts) -> Option<HeaderValue> {
    let accept = accept_of(&head.headers);
    if !accept.contains(protobuf::MEDIA_TYPE)
        || takes(&accept, Media::Json)
        || !takes(&accept, Media::Protobuf)
    {
        return None;
    }
    let Ok(Target::Resource(asked)) = parse(&head.method, &head.uri) else { return None };
    // What is passed on to pods and nodes is none of the API's own.
    if asked.subresource.as_deref().is_some_and(|part| part == "proxy" || part.starts_with("proxy/")) {
        return None;
    }
    let resource = builtin::find(&asked.group, &asked.resource)?;
    builtin::kind_node(&asked.group, &asked.version, &resource.kind)?;
    accept.replace(protobuf::MEDIA_TYPE, Media::Json.name()).parse().ok()
}

/// Whether a client takes a media type in any of its views.
fn takes(accept: &str, media: Media) -> bool {
    [Endpoint::Object, Endpoint::List].iter().any(|endpoint| negotiate(accept, *endpoint, &[media]).is_ok())
}

/// A line of a stream as a frame.
fn event(line: &Bytes) -> Bytes {
    let event: Value = serde_json::from_slice(line).unwrap_or_default();
    let kind = event["type"].as_str().unwrap_or_default();
    let written = protobuf::event(kind, &event["object"]).or_else(|error| {
        let status = Status::internal(&format!("cannot write an event in protobuf: {error}"));
        protobuf::event("ERROR", &status.to_value())
    });
    written.unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn only_who_takes_protobuf_alone_is_given_it_and_only_of_kinds_with_messages() {
        const ALONE: &str = "application/vnd.kubernetes.protobuf";
        const VIEW: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        for (accept, path, wanted) in [
            (ALONE, "/api/v1/pods", true),
            (VIEW, "/api/v1/namespaces/default/pods/a", true),
            (ALONE, "/apis/apps/v1/namespaces/default/deployments/a/scale", true),
            ("application/vnd.kubernetes.protobuf,application/json", "/api/v1/pods", false),
            ("application/vnd.kubernetes.protobuf, */*", "/api/v1/pods", false),
            ("application/json", "/api/v1/pods", false),
            (ALONE, "/apis/example.com/v1/kites", false),
            (ALONE, "/version", false),
            (ALONE, "/api/v1/namespaces/default/pods/a/proxy/index.html", false),
        ] {
            let request = Request::builder().uri(path).header(ACCEPT, accept).body(()).unwrap();
            let (mut head, ()) = request.into_parts();
            assert_eq!(Form::asked(&mut head) == Form::Protobuf, wanted, "{accept} of {path}");
            let left = head.headers[ACCEPT].to_str().unwrap();
            assert_eq!(left.contains("protobuf"), !wanted && accept.contains("protobuf"), "{left}");
        }
    }

    #[test]
    fn people_get_pages_and_programs_lines() {
        for (query, agent, wanted) in [
            ("", "curl/8.5.0", true),
            ("", "Mozilla/5.0 (X11)", true),
            ("?pretty=false", "curl/8.5.0", false),
            ("?pretty=1", "kubectl/v1.36.0", true),
            ("?limit=5", "kubectl/v1.36.0", false),
        ] {
            let request = Request::builder().uri(format!("/api/v1/pods{query}")).header(USER_AGENT, agent);
            let (mut head, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(Form::asked(&mut head) == Form::Page, wanted, "{agent} {query}");
        }
    }
}
