//! HTTP in front of the verbs: one `tower` service for sockets and for clients within the process.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT, WARNING};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::{Value, json};
use xebec_admission::Operation;
use xebec_machinery::discovery::{self, Root};
use xebec_machinery::negotiation::{self, Endpoint, Media};
use xebec_machinery::pod_part::PodPart;
use xebec_machinery::resource::{Resource, Scale};
use xebec_machinery::status::{Status, deleted};
use xebec_streams::asks_for_websocket;

use crate::api::Api;
use crate::audit::{Audit, Stage};
use crate::authenticate::{Authenticated, Tokens};
use crate::authorizer::Asked;
use crate::call::Call;
use crate::certificates;
use crate::codec::{self, Decoded};
use crate::compression;
use crate::course::Course;
use crate::delete::{DeleteOptions, Deleted};
use crate::fairness::{self, Fairness};
use crate::health;
use crate::impersonation;
use crate::jwt::Signer;
use crate::object;
use crate::openapi::{Document, OpenApi};
use crate::pods::Pods;
use crate::read::Listed;
use crate::release;
use crate::request::{Target, Verb, parse};
use crate::review;
use crate::service_account;
use crate::strategy::Part;
use crate::streams::{self, Stream};
use crate::user::{ANONYMOUS, User};
use crate::view::{self, View};
use crate::write::Written;

/// The body of an answer. It fails where what it comes from does, such as a pod that a request was passed on to.
pub type ResponseBody = UnsyncBoxBody<Bytes, io::Error>;

/// The API over HTTP. Cheap to clone. The user of a request is its extension of type [`User`], which whoever holds the
/// connection sets; a bearer token counts for more.
#[derive(Clone)]
pub struct Service {
    parts: Arc<Parts>,
}

struct Parts {
    api: Api,
    tokens: Tokens,
    pods: Arc<dyn Pods>,
    address: String,
    openapi: OpenApi,
    fairness: Arc<Fairness>,
    audit: Arc<OnceLock<Audit>>,
}

/// An answer before it is HTTP.
enum Answer {
    Object { code: u16, object: Value, warnings: Vec<String> },
    Raw(Response<ResponseBody>),
}

impl Answer {
    fn object(code: u16, object: Value) -> Self {
        Self::Object { code, object, warnings: Vec::new() }
    }
}

impl Service {
    /// The API, who may come in by token, who knows the pods' output, and the address that clients are told.
    pub fn new(api: Api, tokens: Tokens, pods: Arc<dyn Pods>, address: String) -> Self {
        let (openapi, fairness) = (OpenApi::default(), Fairness::new(fairness::Limits::default()));
        let parts = Parts { api, tokens, pods, address, openapi, fairness, audit: Arc::default() };
        Self { parts: Arc::new(parts) }
    }

    /// From now on, each request is told to this log.
    ///
    /// # Errors
    ///
    /// There is a log already; this one is given back.
    pub fn set_audit(&self, audit: Audit) -> Result<(), Audit> {
        self.parts.audit.set(audit)
    }

    /// The verbs beneath.
    pub fn api(&self) -> &Api {
        &self.parts.api
    }

    async fn answer<B>(self, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let pretty =
            request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "pretty=true"));
        let gzip = compression::accepted(request.headers());
        let (head, body) = request.into_parts();
        let mut course = Course::begin(&head, self.parts.audit.clone(), self.parts.api.clone());
        let answer = self.route(Request::from_parts(head, body), &mut course).await;
        let notes = &course.notes;
        let is_stream = course.event.object.is_some() && matches!(answer, Ok(Answer::Raw(_)));
        let failure = answer.as_ref().err().cloned();
        let mut response = match answer {
            Ok(Answer::Raw(mut response)) => {
                warn(response.headers_mut(), &notes.warnings());
                response
            }
            Ok(Answer::Object { code, object, warnings }) => {
                warnings.into_iter().for_each(|warning| notes.warn(warning));
                written(code, &object, &notes.warnings(), pretty)
            }
            Err(status) => {
                let mut response = written(status.code(), &status.to_value(), &notes.warnings(), pretty);
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                if seconds > 0 {
                    response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
                }
                response
            }
        };
        if gzip {
            response = compression::packed(response).await;
        }
        if course.event.user.as_ref().is_some_and(|user| user.name != ANONYMOUS) {
            response.extensions_mut().insert(Authenticated);
        }
        let stage = if is_stream { Stage::Started } else { Stage::Complete };
        course.tell(stage, response.status().as_u16(), failure.as_ref()).await;
        response
    }

    async fn route<B>(&self, request: Request<B>, course: &mut Course) -> Result<Answer, Status>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let certificate = request.extensions().get::<User>();
        let own = [service_account::ISSUER.to_owned()];
        let signed = |token: &str| self.bearer(token, &own).map(|(user, _)| user);
        let user = self.parts.tokens.user(request.headers(), certificate, signed)?;
        course.event.user = Some(user.clone());
        let policy = self.api().policy();
        let user = impersonation::acting(user, request.headers(), |user, asked| policy.decide(user, asked))?;
        let method = request.method().as_str().to_ascii_lowercase();
        let path = request.uri().path();
        let target = parse(request.method(), request.uri());
        if course.event.user.as_ref() != Some(&user) {
            course.event.acting = Some(user.clone());
        }
        if let Ok(Target::Resource(asked)) = &target {
            course.event.concerns(asked);
        }
        // Who may not ask for a path does not learn whether there is such a one.
        let asked = target
            .as_ref()
            .map_or(Asked::Path { verb: &method, path }, |target| Asked::of(&method, path, target));
        let decision = policy.decide(&user, &asked)?;
        course.event.decision = Some(decision.clone());
        if !decision.allowed {
            return Err(asked.refuse(&user, &decision.reason));
        }
        let target = target.map_err(|error| Status::from(&error))?;
        let served = self.api().catalog().served();
        let accept = accept_of(request.headers());
        let resources = served.resources();
        let found = |document: Option<Value>| document.ok_or_else(Status::no_such_resource);
        let document = match target {
            Target::Health { of, check } => {
                let query = request.uri().query().unwrap_or_default();
                return Ok(Answer::Raw(health::answer(self.api(), of, check.as_deref(), query)?));
            }
            Target::Version => release::version(),
            Target::Issuer => service_account::discovery(self.signer()?, &self.parts.address),
            Target::Keys => {
                let mut response = written(200, &self.signer()?.key_set(), &[], false);
                let media = HeaderValue::from_static("application/jwk-set+json");
                response.headers_mut().insert(CONTENT_TYPE, media);
                return Ok(Answer::Raw(response));
            }
            Target::OpenApi(path) => {
                let api = self.api();
                let published = |resource: &Resource, version: &str| api.published(resource, version);
                let document = self.parts.openapi.document(&served, &published, &path, &accept)?;
                return Ok(Answer::Raw(document_response(&document)));
            }
            Target::CoreVersions => match discover(&accept, resources, Root::Core)? {
                Some(answer) => return Ok(answer),
                None => discovery::api_versions(resources, &self.parts.address),
            },
            Target::Groups => match discover(&accept, resources, Root::Named)? {
                Some(answer) => return Ok(answer),
                None => discovery::group_list(resources),
            },
            Target::Group(group) => found(discovery::group(resources, &group))?,
            Target::GroupVersion { group, version } => {
                found(discovery::resource_list(resources, &group, &version))?
            }
            Target::Resource(asked) => {
                let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
                let mut call = Call::new(*asked, &served, user, agent.unwrap_or_default())?;
                call.notes = course.notes.clone();
                drop(served);
                if let Some(deprecated) = &call.version().deprecation {
                    call.notes.warn(deprecated.to_string());
                }
                return self.resource(call, request, course).await;
            }
        };
        Ok(Answer::object(200, document))
    }

    /// The user of a bearer token, and for whom of `audiences` the token is. One that is held here is for the API itself.
    fn bearer(&self, token: &str, audiences: &[String]) -> Result<(User, Vec<String>), Status> {
        match self.parts.tokens.bearer(token) {
            Some(user) if audiences.iter().any(|audience| audience == service_account::ISSUER) => {
                Ok((user, vec![service_account::ISSUER.to_owned()]))
            }
            Some(_) => Err(Status::unauthorized()),
            None => {
                let signer = self.parts.tokens.signer().ok_or_else(Status::unauthorized)?;
                self.api().token_user(signer, token, audiences)
            }
        }
    }

    fn signer(&self) -> Result<&Signer, Status> {
        let missing =
            || Status::unavailable("this server has no key to sign the tokens of service accounts with");
        self.parts.tokens.signer().ok_or_else(missing)
    }

    async fn resource<B>(
        &self,
        call: Call,
        request: Request<B>,
        course: &mut Course,
    ) -> Result<Answer, Status>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = call.request.subresource.as_deref().filter(|_| is_pod(&call)).and_then(Stream::of);
        if let Some(stream) = stream {
            // A stream that begins with a GET, as one over a WebSocket does, does as much as one that begins with a POST.
            self.api().check_creation(&call)?;
            let pod = self.api().read(&call).await?;
            self.api().admit_connection(&call, request.uri()).await?;
            return streams::begin(self.api(), stream, pod, self.parts.pods.clone(), request)
                .await
                .map(Answer::Raw);
        }
        let is_log = call.request.subresource.as_deref() == Some("log") && is_pod(&call);
        if is_log && call.request.verb == Verb::Get && asks_for_websocket(request.headers()) {
            let pod = self.api().read(&call).await?;
            return streams::log(self.api(), &pod, &*self.parts.pods, request).await.map(Answer::Raw);
        }
        if call.request.subresource.as_deref() == Some("proxy") && can_relay(&call) {
            self.api().admit_connection(&call, request.uri()).await?;
            return self.api().relay(&call, request).await.map(Answer::Raw);
        }
        let (head, body) = request.into_parts();
        let accept = accept_of(&head.headers);
        let include = parameter(head.uri.query().unwrap_or_default(), "includeObject");
        let api = self.api();
        if call.request.subresource.is_some() {
            let bytes = codec::read(&head.headers, body).await?;
            self.seat(&call, course).await?;
            let view = |scale: bool| View::subresource(&call, &accept, &include, scale);
            return self.subresource(&call, &head.headers, &bytes, head.uri.query(), view).await;
        }
        let verb = call.request.verb;
        if !call.resource.verbs.iter().any(|own| **own == *verb.as_str()) {
            return Err(Status::method_not_allowed(call.qualified(), verb.as_str()));
        }
        // Whoever is slow to send keeps no seat from others.
        let bytes = match verb {
            Verb::Get | Verb::List | Verb::Watch => Bytes::new(),
            _ => codec::read(&head.headers, body).await?,
        };
        self.seat(&call, course).await?;
        match verb {
            Verb::Get => {
                let mut view = View::negotiate(&call, &accept, &include, Endpoint::Object)?;
                Ok(Answer::object(200, view.object(api.read_any(&call, &*self.parts.pods).await?)))
            }
            Verb::List => {
                let view = View::negotiate(&call, &accept, &include, Endpoint::List)?;
                Ok(Answer::object(200, view.list(&call, api.list_any(&call, &*self.parts.pods).await?)))
            }
            Verb::Watch => {
                let view = View::negotiate(&call, &accept, &include, Endpoint::Watch)?;
                let frames = api.watch(&call, view)?.map(|line| line.map(Frame::data));
                let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Ok(Answer::Raw(response))
            }
            Verb::Create => {
                let decoded = codec::decode(codec::media_type(&head.headers), &bytes, &call.resource.kind)?;
                if review::is_review(&call) {
                    // A review is no object of which there could be a table.
                    negotiation::negotiate(&accept, Endpoint::Plain, &[Media::Json])?;
                    let authenticate = |token: &str, audiences: &[String]| self.bearer(token, audiences);
                    let (object, warnings) =
                        review::answer(&call, self.api().policy(), authenticate, decoded)?;
                    return Ok(Answer::Object { code: 201, object, warnings });
                }
                let view = View::negotiate(&call, &accept, &include, Endpoint::Object)?;
                Ok(shown(view, api.create(&call, decoded).await?))
            }
            Verb::Update => {
                let decoded = codec::decode(codec::media_type(&head.headers), &bytes, &call.resource.kind)?;
                let view = View::negotiate(&call, &accept, &include, Endpoint::Object)?;
                Ok(shown(view, api.update(&call, Part::Main, decoded).await?))
            }
            Verb::Patch => {
                let view = View::negotiate(&call, &accept, &include, Endpoint::Object)?;
                let media = codec::media_type(&head.headers);
                Ok(shown(view, api.patch(&call, Part::Main, media, &bytes).await?))
            }
            Verb::Delete | Verb::DeleteCollection => {
                let options = delete_options(&call, &head.headers, &bytes)?;
                self.delete(&call, &options).await
            }
        }
    }

    /// Waits for its turn.
    async fn seat(&self, call: &Call, course: &mut Course) -> Result<(), Status> {
        if !course.is_exempt {
            let width = fairness::width(&call.request);
            course.seat = Some(self.parts.fairness.enter(&call.user.name, width).await?);
        }
        Ok(())
    }

    async fn delete(&self, call: &Call, options: &DeleteOptions) -> Result<Answer, Status> {
        if call.request.verb == Verb::DeleteCollection {
            let items = self.api().delete_collection(call, options).await?;
            let metadata = json!({"resourceVersion": self.api().storage().revision().to_string()});
            return Ok(Answer::object(200, view::whole_list(call, Listed { items, metadata })));
        }
        Ok(match self.api().delete(call, options).await? {
            Deleted::Going(object) => Answer::object(200, object),
            Deleted::Gone(object) if &*call.resource.plural == "pods" => Answer::object(200, object),
            Deleted::Gone(object) => {
                let status = deleted(call.qualified(), object::name(&object), object::meta(&object, "uid"));
                Answer::object(200, status)
            }
        })
    }

    async fn subresource(
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
        let body = |kind: &str| codec::decode(codec::media_type(headers), bytes, kind);
        let refused = || Status::method_not_allowed(call.qualified(), verb.as_str());
        let scale = call.version().scale.clone();
        match (name, verb) {
            (_, _) if let Some(part) = whole_part(call, name) => {
                let mut view = view(false)?;
                match verb {
                    Verb::Get => Ok(Answer::object(200, view.object(api.read(call).await?))),
                    Verb::Update => {
                        Ok(shown(view, api.update(call, part, body(&call.resource.kind)?).await?))
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
                Ok(plainly(api.finalize(call, body("Namespace")?).await?))
            }
            ("log", Verb::Get) if is_pod(call) => {
                let pod = api.read(call).await?;
                self.parts.pods.logs(&pod, query.unwrap_or_default()).await.map(Answer::Raw)
            }
            ("token", Verb::Create) if &*call.resource.plural == "serviceaccounts" => {
                let mut request = body("TokenRequest")?;
                request.object = api.admit(call, Operation::Create, request.object).await?;
                Ok(Answer::object(201, api.request_token(call, self.signer()?, request)?))
            }
            ("binding", Verb::Create) if is_pod(call) => {
                Ok(Answer::object(201, api.bind(call, body("Binding")?).await?))
            }
            ("eviction", Verb::Create) if is_pod(call) => {
                Ok(Answer::object(201, api.evict(call, body("Eviction")?).await?))
            }
            _ if call.version().subresources.iter().any(|own| *own.name == *name) => Err(refused()),
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
                let asked = codec::decode(media, bytes, "Scale")?.object;
                self.api().set_scale(call, scale, |_| Ok(asked.clone())).await
            }
            Verb::Patch => self.api().patch_scale(call, scale, media, bytes).await,
            _ => Err(Status::method_not_allowed(call.qualified(), call.request.verb.as_str())),
        }
    }
}

fn document_response(document: &Document) -> Response<ResponseBody> {
    let mut response = Response::new(whole(document.bytes.clone()));
    response.extensions_mut().insert(compression::Own);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(document.media));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", document.fingerprint)) {
        headers.insert(http::header::ETAG, tag);
    }
    response
}

fn can_relay(call: &Call) -> bool {
    matches!((&*call.resource.group, &*call.resource.plural), ("", "pods" | "services"))
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

fn is_pod(call: &Call) -> bool {
    (&*call.resource.group, &*call.resource.plural) == ("", "pods")
}

fn shown(mut view: View, done: Written) -> Answer {
    let code = if done.created { 201 } else { 200 };
    Answer::Object { code, object: view.object(done.object), warnings: done.warnings }
}

fn plainly(done: Written) -> Answer {
    Answer::Object { code: 200, object: done.object, warnings: done.warnings }
}

fn delete_options(call: &Call, headers: &HeaderMap, bytes: &Bytes) -> Result<DeleteOptions, Status> {
    if bytes.is_empty() {
        return DeleteOptions::of(call, None);
    }
    let Decoded { object, .. } = codec::decode(codec::media_type(headers), bytes, "DeleteOptions")?;
    DeleteOptions::of(call, Some(&object))
}

/// All `Accept` headers as one.
fn accept_of(headers: &HeaderMap) -> String {
    let values: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

fn parameter(query: &str, name: &str) -> String {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(own, _)| *own == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
}

/// Discovery of all groups at once, where the client knows that form.
fn discover(accept: &str, resources: &[Arc<Resource>], root: Root) -> Result<Option<Answer>, Status> {
    let encoding = negotiation::negotiate(accept, Endpoint::Discovery, &[Media::Json])?;
    let negotiation::View::Aggregated(version) = encoding.view else { return Ok(None) };
    let document = discovery::aggregated(resources, root, version);
    let mut response = written(200, &document, &[], false);
    if let Ok(value) = encoding.content_type().parse() {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    Ok(Some(Answer::Raw(response)))
}

/// A body that is there already.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A warning as a header. It may have letters of any script, and no line ends.
fn warned(text: &str) -> Option<HeaderValue> {
    let plain: String = text.chars().filter(|letter| !letter.is_control()).collect();
    let text = plain.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::from_bytes(format!("299 - \"{text}\"").as_bytes()).ok()
}

fn written(code: u16, object: &Value, warnings: &[String], pretty: bool) -> Response<ResponseBody> {
    // Go ends a line of JSON, and not a page of it.
    let bytes = match pretty {
        true => serde_json::to_vec_pretty(object),
        false => serde_json::to_vec(object).map(|mut line| {
            line.push(b'\n');
            line
        }),
    };
    let mut response = Response::new(whole(bytes.unwrap_or_default()));
    response.extensions_mut().insert(compression::Own);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(HeaderName::from_static("cache-control"), HeaderValue::from_static("no-cache, private"));
    warn(headers, warnings);
    response
}

fn warn(headers: &mut HeaderMap, warnings: &[String]) {
    for value in warnings.iter().filter_map(|warning| warned(warning)) {
        headers.append(WARNING, value);
    }
}

impl<B> tower::Service<Request<B>> for Service
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}
