//! In which bytes answers go out: JSON, YAML, or Kubernetes' protobuf.
//!
//! Objects are JSON within, and JSON is what a client is answered in that takes both that and protobuf, whichever it likes
//! better. The form is settled before anything is done, from what the request says and where it goes; whoever negotiates
//! the view of an object later does so in that form.

use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::Value;
use xebec_machinery::negotiation::{Encoding, Endpoint, Media, negotiate, negotiate_as, no_stream};
use xebec_machinery::patch::is_deeper;
use xebec_machinery::status::Status;
use xebec_machinery::{builtin, decoding, protobuf};

use crate::field_order::Ordered;
use crate::request::{ResourceRequest, Target, Verb, parse};
use crate::service::{ResponseBody, accept_of};

/// What `Content-Type` says of a watch in protobuf.
const STREAM: HeaderValue = HeaderValue::from_static("application/vnd.kubernetes.protobuf;stream=watch");

/// In what objects of kinds with messages go out, in the server's own order, and in what all others do.
pub(crate) const MEDIA: [Media; 3] = [Media::Json, Media::Yaml, Media::Protobuf];
const CUSTOM_MEDIA: [Media; 3] = [Media::Json, Media::Yaml, Media::MetadataProtobuf];

/// Nobody reads by its indentation what nests deeper than this. Each line of it would begin with as many spaces, so that few
/// bytes would become very many: it goes out as JSON in a line, which is YAML too.
const LAID_OUT_MAX: usize = 100;

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
    /// YAML.
    Yaml,
    /// An envelope of Kubernetes' protobuf.
    Protobuf,
}

impl Form {
    /// The form that a request asks for.
    pub(crate) fn asked(head: &Parts) -> Self {
        match asked_media(head) {
            Media::Yaml => Self::Yaml,
            Media::Protobuf | Media::MetadataProtobuf => Self::Protobuf,
            _ if wants_page(head.uri.query().unwrap_or_default(), &head.headers) => Self::Page,
            _ => Self::Line,
        }
    }

    /// The form of what is JSON for everybody.
    pub(crate) fn json(self) -> Self {
        if self == Self::Page { Self::Page } else { Self::Line }
    }

    /// What a client is shown of an endpoint in this form, which served is one of.
    pub(crate) fn encoding(
        self,
        accept: &str,
        endpoint: Endpoint,
        served: &[Media],
    ) -> Result<Encoding, Status> {
        if self == Self::Yaml && endpoint == Endpoint::Watch {
            return Err(no_stream(served));
        }
        let own = served.iter().find(|media| media.name() == self.name());
        negotiate_as(own.copied().unwrap_or(Media::Json), accept, endpoint, served)
    }

    /// An object's bytes; in protobuf a refusal where it is of a kind without messages, such as a table.
    pub(crate) fn bytes(self, object: &Value) -> Result<Vec<u8>, Status> {
        let unwritten = |error: serde_json::Error| Status::internal(&error.to_string());
        let is_laid_out = matches!(self, Self::Page | Self::Yaml);
        if is_laid_out && is_deeper(object, LAID_OUT_MAX) {
            return Self::Line.bytes(object);
        }
        match self {
            Self::Page => serde_json::to_vec_pretty(&Ordered(object)).map_err(unwritten),
            Self::Line => {
                let mut line = serde_json::to_vec(&Ordered(object)).map_err(unwritten)?;
                line.push(b'\n');
                Ok(line)
            }
            Self::Yaml => yaml(object),
            Self::Protobuf => protobuf::encode(object).map_err(|error| match error {
                protobuf::Error::UnknownKind { .. } => {
                    Status::not_acceptable(&[Media::Json.name(), Media::Yaml.name()])
                }
                other => Status::internal(&format!("cannot write the object in protobuf: {other}")),
            }),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Line | Self::Page => Media::Json.name(),
            Self::Yaml => Media::Yaml.name(),
            Self::Protobuf => Media::Protobuf.name(),
        }
    }

    /// The media type of the bytes.
    pub(crate) fn media(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    /// An answer that was made elsewhere: events are written anew, all else stays as it is. A stream ends with the first
    /// event that cannot be written, and says why.
    pub(crate) fn stream(self, response: Response<ResponseBody>) -> Response<ResponseBody> {
        if self != Self::Protobuf || response.extensions().get::<Events>().is_none() {
            return response;
        }
        let mut response = response.map(|body| {
            let frames = body.into_data_stream().scan(false, |is_over, line| {
                let written = (!*is_over).then(|| {
                    line.map(|line| {
                        event(&line).unwrap_or_else(|why| {
                            *is_over = true;
                            why
                        })
                    })
                });
                std::future::ready(written.map(|frame| frame.map(Frame::data)))
            });
            StreamBody::new(frames).boxed_unsync()
        });
        response.headers_mut().insert(CONTENT_TYPE, STREAM);
        response
    }
}

/// The media that a resource has, in the server's own order.
pub(crate) fn media_of(group: &str, version: &str, plural: &str) -> &'static [Media] {
    let resource = builtin::find(group, plural);
    let messages = resource.and_then(|resource| builtin::kind_node(group, version, &resource.kind));
    if messages.is_some() { &MEDIA } else { &CUSTOM_MEDIA }
}

/// The medium of an answer to a request: the one that its client likes best, but JSON before protobuf.
fn asked_media(head: &Parts) -> Media {
    let accept = accept_of(&head.headers);
    if !accept.contains(protobuf::MEDIA_TYPE) && !accept.contains("yaml") {
        return Media::Json;
    }
    let (endpoint, served) = match parse(&head.method, &head.uri) {
        Ok(Target::Resource(asked)) => {
            (endpoint_of(&asked), media_of(&asked.group, &asked.version, &asked.resource))
        }
        Ok(Target::CoreVersions | Target::Groups) => (Endpoint::Discovery, &MEDIA[..]),
        _ => (Endpoint::Plain, &MEDIA[..]),
    };
    // Discovery is asked for in the one as the whole, and in the other in parts.
    let takes_json =
        || endpoint != Endpoint::Discovery && negotiate(&accept, endpoint, &[Media::Json]).is_ok();
    match negotiate(&accept, endpoint, served).map(|encoding| encoding.media) {
        Ok(Media::Protobuf | Media::MetadataProtobuf) if takes_json() => Media::Json,
        Ok(media) => media,
        Err(_) => Media::Json,
    }
}

fn endpoint_of(asked: &ResourceRequest) -> Endpoint {
    match asked.verb {
        Verb::List => Endpoint::List,
        Verb::Watch => Endpoint::Watch,
        _ => Endpoint::Object,
    }
}

/// An object in YAML, with its fields in the order of the alphabet, as upstream has them.
fn yaml(object: &Value) -> Result<Vec<u8>, Status> {
    // A line that is folded is one of those that people do not read either.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    let written = serde_saphyr::to_string_with_options(object, options);
    let text =
        written.map_err(|error| Status::internal(&format!("cannot write the object in YAML: {error}")));
    text.map(String::into_bytes)
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

/// A line of a stream as a frame; as an error the last frame of the stream, which says why this one cannot be written.
fn event(line: &Bytes) -> Result<Bytes, Bytes> {
    let written = decoding::own(line).and_then(|event| {
        let kind = event["type"].as_str().unwrap_or_default();
        protobuf::event(kind, &event["object"]).map_err(|error| error.to_string())
    });
    written.map(Bytes::from).map_err(|why| {
        let status = Status::internal(&format!("cannot write an event in protobuf: {why}"));
        // A status has nothing but what its message has.
        protobuf::event("ERROR", &status.to_value()).unwrap_or_default().into()
    })
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http::header::ACCEPT;

    use super::*;

    #[test]
    fn each_client_gets_the_form_that_it_takes_and_that_there_is() {
        const ALONE: &str = "application/vnd.kubernetes.protobuf";
        const VIEW: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        const DISCOVERY: &str =
            "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        for (accept, path, wanted) in [
            (ALONE, "/api/v1/pods", Form::Protobuf),
            (VIEW, "/api/v1/namespaces/default/pods/a", Form::Protobuf),
            (VIEW, "/apis/example.com/v1/namespaces/default/kites/a", Form::Protobuf),
            (ALONE, "/apis/apps/v1/namespaces/default/deployments/a/scale", Form::Protobuf),
            (DISCOVERY, "/apis", Form::Protobuf),
            (ALONE, "/apis/apps", Form::Protobuf),
            ("application/vnd.kubernetes.protobuf,application/json", "/api/v1/pods", Form::Line),
            ("application/vnd.kubernetes.protobuf, */*", "/api/v1/pods", Form::Line),
            ("application/json", "/api/v1/pods", Form::Line),
            (ALONE, "/apis/example.com/v1/kites", Form::Line),
            ("application/yaml", "/apis/example.com/v1/kites", Form::Yaml),
            ("application/yaml, application/json", "/api/v1/pods", Form::Yaml),
            ("application/json, application/yaml", "/api/v1/pods", Form::Line),
            ("application/yaml;q=0.5, */*", "/api/v1/pods", Form::Line),
            ("application/vnd.kubernetes.protobuf, application/yaml", "/api/v1/pods", Form::Protobuf),
            ("application/yaml;as=Table;g=meta.k8s.io;v=v1", "/api/v1/pods", Form::Yaml),
            ("application/yaml", "/apis", Form::Yaml),
        ] {
            let request = Request::builder().uri(path).header(ACCEPT, accept).body(()).unwrap();
            assert_eq!(Form::asked(&request.into_parts().0), wanted, "{accept} of {path}");
        }
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_event_that_cannot_be_written() {
        let line = |kind: &str| {
            let object = serde_json::json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}});
            Bytes::from(serde_json::json!({"type": "ADDED", "object": object}).to_string())
        };
        let lines = [line("ConfigMap"), line("Kite"), line("ConfigMap")];
        let frames = futures::stream::iter(lines).map(|line| Ok(Frame::data(line)));
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        response.extensions_mut().insert(Events);
        let body = Form::Protobuf.stream(response).into_body();
        let frames: Vec<Bytes> = body.into_data_stream().map(|frame| frame.unwrap()).collect().await;
        let kinds: Vec<&[u8]> = frames.iter().map(|frame| &frame[6..11]).collect();
        assert_eq!(kinds, [b"ADDED", b"ERROR"]);
        let told = String::from_utf8_lossy(&frames[1]).into_owned();
        assert!(told.contains("no kind \"Kite\" is registered for version \"v1\""), "{told}");
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
            let (head, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(Form::asked(&head) == Form::Page, wanted, "{agent} {query}");
        }
    }
}
