//! The verbs of resources, from the request to the answer.

use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use xebec_machinery::negotiation::Endpoint;
use xebec_machinery::status::{Status, deleted};
use xebec_streams::asks_for_websocket;

use super::{Answer, Service, accept_of, is_pod, parameter};
use crate::call::Call;
use crate::codec::{self, Decoded};
use crate::course::Course;
use crate::delete::{DeleteOptions, Deleted};
use crate::request::Verb;
use crate::strategy::Part;
use crate::streams::{self, Stream};
use crate::transcription::{Events, Form, MEDIA};
use crate::view::View;
use crate::write::Written;
use crate::{fairness, log_options, object, review, upgrades};

impl Service {
    pub(super) async fn resource<B>(
        &self,
        mut call: Call,
        request: Request<B>,
        course: &mut Course,
    ) -> Result<Answer, Status>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = call.request.subresource.as_deref().filter(|_| is_pod(&call)).and_then(Stream::of);
        if let Some(stream) = stream {
            let permit = upgrades::permit(&request, &call.user)?;
            // A stream that begins with a GET, as one over a WebSocket does, does as much as one that begins with a POST.
            self.api().check_creation(&call)?;
            let pod = self.api().read(&call).await?;
            self.api().admit_connection(&call, request.uri()).await?;
            return streams::begin(self.api(), stream, pod, self.parts.pods.clone(), (request, permit))
                .await
                .map(Answer::Raw);
        }
        let is_log = call.request.subresource.as_deref() == Some("log") && is_pod(&call);
        if is_log && call.request.verb == Verb::Get {
            log_options::check(call.name(), request.uri().query().unwrap_or_default())?;
            if asks_for_websocket(request.headers()) {
                let permit = upgrades::permit(&request, &call.user)?;
                let pod = self.api().read(&call).await?;
                let (api, pods) = (self.api(), &*self.parts.pods);
                return streams::log(api, &pod, pods, (request, permit)).await.map(Answer::Raw);
            }
        }
        if call.request.subresource.as_deref() == Some("proxy") && can_relay(&call) {
            self.api().admit_connection(&call, request.uri()).await?;
            return self.api().relay(&call, request).await.map(Answer::Raw);
        }
        let (head, body) = request.into_parts();
        let accept = accept_of(&head.headers);
        let accept = (&*accept, course.form);
        let include = parameter(head.uri.query().unwrap_or_default(), "includeObject");
        let api = self.api();
        if call.request.subresource.is_some() {
            let bytes = self.body(&call, &head.headers, body, course).await?;
            call.weight = bytes.len();
            self.seat(1, course).await?;
            let view = |scale: bool| View::subresource(&call, accept, &include, scale);
            return self.subresource(&call, &head.headers, &bytes, head.uri.query(), view).await;
        }
        let verb = call.request.verb;
        if !call.resource.verbs.iter().any(|own| **own == *verb.as_str()) {
            return Err(Status::method_not_allowed(call.qualified(), verb.as_str()));
        }
        // Whoever is slow to send keeps no seat from others.
        let bytes = match verb {
            Verb::Get | Verb::List | Verb::Watch => Bytes::new(),
            _ => self.body(&call, &head.headers, body, course).await?,
        };
        call.weight = bytes.len();
        self.seat(fairness::width(&call.request, |most| api.count(&call, most)), course).await?;
        match verb {
            Verb::Get => {
                let mut view = View::negotiate(&call, accept, &include, Endpoint::Object)?;
                if course.form == Form::Line
                    && let Some(head) = view.head(&call)
                    && let Some(json) = api.read_raw(&call, &head)?
                {
                    return Ok(Answer::Text(json));
                }
                Ok(Answer::object(200, view.object(api.read_any(&call, &*self.parts.pods).await?)))
            }
            Verb::List => {
                let view = View::negotiate(&call, accept, &include, Endpoint::List)?;
                if course.form == Form::Line
                    && let Some(head) = view.list_head(&call)
                    && let Some(json) = api.list_raw(&call, &head).await?
                {
                    return Ok(Answer::Text(json));
                }
                Ok(Answer::object(200, view.list(&call, api.list_any(&call, &*self.parts.pods).await?)))
            }
            Verb::Watch => {
                let view = View::negotiate(&call, accept, &include, Endpoint::Watch)?;
                let frames = api.watch(&call, view).await?.map(|line| line.map(Frame::data));
                let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
                response.extensions_mut().insert(Events);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Ok(Answer::Raw(response))
            }
            Verb::Create => {
                let decoded = self.decoded(&head.headers, &bytes, &call.resource.kind).await?;
                if review::is_review(&call) {
                    // A review is no object of which there could be a table.
                    course.form.encoding(accept.0, Endpoint::Plain, &MEDIA)?;
                    let authenticate = |token: &str, audiences: &[String]| self.bearer(token, audiences);
                    let (object, warnings) =
                        review::answer(&call, self.api().policy(), authenticate, decoded)?;
                    return Ok(Answer::Object { code: 201, object, warnings });
                }
                let view = View::negotiate(&call, accept, &include, Endpoint::Object)?;
                Ok(shown(view, api.create(&call, decoded).await?))
            }
            Verb::Update => {
                let decoded = self.decoded(&head.headers, &bytes, &call.resource.kind).await?;
                let view = View::negotiate(&call, accept, &include, Endpoint::Object)?;
                Ok(shown(view, api.update(&call, Part::Main, decoded).await?))
            }
            Verb::Patch => {
                let view = View::negotiate(&call, accept, &include, Endpoint::Object)?;
                let media = codec::media_type(&head.headers);
                Ok(shown(view, api.patch(&call, Part::Main, media, &bytes).await?))
            }
            Verb::Delete => {
                let view = View::negotiate(&call, accept, &include, Endpoint::Object)?;
                let options = self.delete_options(&call, &head.headers, &bytes).await?;
                self.delete(&call, &options, view).await
            }
            Verb::DeleteCollection => {
                let view = View::negotiate(&call, accept, &include, Endpoint::List)?;
                let options = self.delete_options(&call, &head.headers, &bytes).await?;
                self.delete_collection(&call, &options, (view, course.form)).await
            }
            // The verbs of a resource were looked at above, and nobody has this one.
            Verb::Unnamed => Err(Status::method_not_allowed(call.qualified(), head.method.as_str())),
        }
    }

    async fn body<B>(
        &self,
        call: &Call,
        headers: &HeaderMap,
        body: B,
        course: &mut Course,
    ) -> Result<Bytes, Status>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (bytes, room) = codec::read(headers, body, (&self.parts.bodies, &call.user.name)).await?;
        course.room = room;
        Ok(bytes)
    }

    pub(super) async fn decoded(
        &self,
        headers: &HeaderMap,
        bytes: &Bytes,
        kind: &str,
    ) -> Result<Decoded, Status> {
        let decode = || codec::decode(codec::media_type(headers), bytes, kind);
        self.api().labour().done(bytes.len(), decode).await
    }

    async fn delete_options(
        &self,
        call: &Call,
        headers: &HeaderMap,
        bytes: &Bytes,
    ) -> Result<DeleteOptions, Status> {
        if bytes.is_empty() {
            return DeleteOptions::of(call, None);
        }
        let Decoded { object, .. } = self.decoded(headers, bytes, "DeleteOptions").await?;
        DeleteOptions::of(call, Some(&object))
    }

    async fn delete_collection(
        &self,
        call: &Call,
        options: &DeleteOptions,
        (view, form): (View, Form),
    ) -> Result<Answer, Status> {
        let api = self.api();
        let deleted = api.delete_collection(call, options).await?;
        if form == Form::Line
            && let Some(head) = view.list_head(call)
            && let Some(json) = api.selected_raw(call, &head, &deleted).await
        {
            return Ok(Answer::Text(json));
        }
        Ok(Answer::object(200, view.list(call, api.listed(call, deleted).await?)))
    }

    async fn delete(&self, call: &Call, options: &DeleteOptions, mut view: View) -> Result<Answer, Status> {
        Ok(match self.api().delete(call, options).await? {
            Deleted::Going(object) => Answer::object(200, view.object(object)),
            Deleted::Gone(object) if tells_deleted(call) => Answer::object(200, view.object(object)),
            Deleted::Gone(object) => {
                let status = deleted(call.qualified(), object::name(&object), object::meta(&object, "uid"));
                Answer::object(200, status)
            }
        })
    }
}

/// Whether a deletion is answered with the object that is gone, where most are with a word about it: upstream's stores with
/// `ReturnDeletedObject`.
fn tells_deleted(call: &Call) -> bool {
    let core = |plural: &str| {
        matches!(
            plural,
            "namespaces" | "persistentvolumeclaims" | "persistentvolumes" | "pods" | "podtemplates"
        ) || matches!(plural, "resourcequotas" | "serviceaccounts" | "services")
    };
    match (&*call.resource.group, &*call.resource.plural) {
        ("", plural) => core(plural),
        ("resource.k8s.io", _) => true,
        ("storage.k8s.io", plural) => plural != "csistoragecapacities",
        _ => false,
    }
}

fn can_relay(call: &Call) -> bool {
    matches!((&*call.resource.group, &*call.resource.plural), ("", "pods" | "services"))
}

pub(super) fn shown(mut view: View, done: Written) -> Answer {
    let code = if done.created { 201 } else { 200 };
    Answer::Object { code, object: view.object(done.object), warnings: done.warnings }
}
