//! HTTP in front of the verbs: one `tower` service for sockets and for clients within the process.

mod parts;
mod resource;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, Response};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use serde_json::Value;
use xebec_machinery::discovery::{self, Directory, Root};
use xebec_machinery::negotiation::{self, Endpoint};
use xebec_machinery::resource::Resource;
use xebec_machinery::status::Status;

use crate::api::Api;
use crate::audit::{Audit, Stage};
use crate::authenticate::Tokens;
use crate::authorizer::Asked;
use crate::bodies::Bodies;
use crate::call::Call;
use crate::compression;
use crate::course::Course;
use crate::fairness::Dump;
use crate::health;
use crate::impersonation;
use crate::jwt::Signer;
use crate::openapi::OpenApi;
use crate::pods::Pods;
use crate::release;
use crate::reply::{self, document_response, finished, plain_text, warn, written};
use crate::request::{Target, Verb, group_version, nothing_at, parse, parse_passed_on};
use crate::serve::Introduction;
use crate::service_account;
use crate::transcription::{Form, MEDIA};
use crate::upgrades;
use crate::user::{ANONYMOUS, User};

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
    audit: Arc<OnceLock<Audit>>,
    metrics: OnceLock<Metrics>,
    bodies: Arc<Bodies>,
}

/// Tells everything that is counted.
type Metrics = Box<dyn Fn() -> String + Send + Sync>;

/// An answer before it is HTTP.
enum Answer {
    Object {
        code: u16,
        object: Value,
        warnings: Vec<String>,
    },
    /// An object's JSON.
    Text(Bytes),
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
        let openapi = OpenApi::default();
        let (audit, metrics, bodies) = (Arc::default(), OnceLock::new(), Arc::default());
        Self { parts: Arc::new(Parts { api, tokens, pods, address, openapi, audit, metrics, bodies }) }
    }

    /// From now on, `/metrics` tells this. It may block.
    pub fn set_metrics(&self, metrics: impl Fn() -> String + Send + Sync + 'static) {
        // There is one program about this.
        let _first_stays = self.parts.metrics.set(Box::new(metrics));
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
        let (gzip, is_head) = (compression::accepted(request.headers()), request.method() == Method::HEAD);
        let (mut head, body) = request.into_parts();
        let mut course = Course::begin(&mut head, self.parts.audit.clone(), self.parts.api.clone());
        let answer = self.route(Request::from_parts(head, body), &mut course).await;
        let (notes, form) = (&course.notes, course.form);
        let is_stream =
            course.event.object.is_some() && !course.is_passed_on && matches!(answer, Ok(Answer::Raw(_)));
        let failure = answer.as_ref().err().cloned();
        let mut response = match answer {
            Ok(Answer::Raw(mut response)) => {
                warn(response.headers_mut(), &notes.warnings());
                form.stream(response)
            }
            Ok(Answer::Text(json)) => finished(200, json, Form::Line.media(), &notes.warnings()),
            Ok(Answer::Object { code, object, warnings }) => {
                warnings.into_iter().for_each(|warning| notes.warn(warning));
                written(code, &object, &notes.warnings(), form)
            }
            Err(status) if status.is_page_not_found() => reply::page_not_found(),
            Err(status) => {
                let mut response = written(status.code(), &status.to_value(), &notes.warnings(), form);
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
        if is_head {
            response = reply::headed(response);
        }
        if let Some(place) = &course.place {
            place.tell(response.headers_mut());
        }
        let stage = if is_stream { Stage::Started } else { Stage::Complete };
        course.tell(stage, response.status().as_u16(), failure.as_ref()).await;
        if let Some(seat) = course.seat.take().filter(|_| reply::is_large(&response)) {
            // Others may not have as many of its kind held in memory before its client has taken this one.
            response = response.map(|body| reply::with(body, seat));
        }
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
        if let Some(stranger) = request.extensions().get::<Introduction>().filter(|_| user.name != ANONYMOUS)
        {
            stranger.introduce();
        }
        course.event.user = Some(user.clone());
        let policy = self.api().policy();
        let user = impersonation::acting(user, request.headers(), |user, asked| policy.decide(user, asked))?;
        let method = request.method().as_str().to_ascii_lowercase();
        let path = request.uri().path();
        let extension = match group_version(path) {
            Some((group, version)) => self.api().aggregation().find(group, version)?,
            None => None,
        };
        // What stands behind the version of a group that another server has, that server alone knows.
        let read = if extension.is_some() { parse_passed_on } else { parse };
        let target = read(request.method(), request.uri());
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
        if !course.is_exempt && !is_long(&asked) {
            course.place = self.api().fairness().place(&user, &asked);
        }
        let decision = policy.decide(&user, &asked)?;
        course.event.decision = Some(decision.clone());
        if !decision.allowed {
            return Err(asked.refuse(&user, &decision.reason));
        }
        let target = target.map_err(|error| Status::from(&error))?;
        // What is asked for of objects may have a body first, which is not waited for in a seat.
        if !matches!(target, Target::Resource(_) | Target::Health { .. }) {
            self.seat(1, course).await?;
        }
        if let Some(extension) = extension {
            if matches!(target, Target::Resource(_)) {
                self.seat(1, course).await?;
            }
            course.is_passed_on = !matches!(&target, Target::Resource(asked) if asked.verb == Verb::Watch);
            let permit = upgrades::permit(&request, &user)?;
            return Ok(Answer::Raw(self.api().pass_on(&extension, &user, request, permit).await));
        }
        let served = self.api().catalog().served();
        let accept = accept_of(request.headers());
        let resources = served.resources();
        let known = self.api().aggregation().known()?;
        let directory = Directory::new(resources).with(&known.foreign);
        let document = match target {
            Target::Health { of, check } => {
                let query = request.uri().query().unwrap_or_default();
                return Ok(Answer::Raw(health::answer(self.api(), of, check.as_deref(), query)?));
            }
            Target::Index => return Ok(in_json(&directory.index(), course.form)),
            Target::Version => return Ok(in_json(&release::version(), course.form)),
            Target::Metrics => return Ok(Answer::Raw(plain_text(self.metrics().await))),
            Target::Fairness(what) => {
                let dump = Dump::named(&what).ok_or_else(Status::page_not_found)?;
                return Ok(Answer::Raw(plain_text(self.api().fairness().dump(dump))));
            }
            Target::Issuer => {
                let document = service_account::discovery(self.signer()?, &self.parts.address);
                return Ok(in_json(&document, course.form));
            }
            Target::Keys => {
                let mut response = written(200, &self.signer()?.key_set(), &[], Form::Line);
                let media = HeaderValue::from_static("application/jwk-set+json");
                response.headers_mut().insert(CONTENT_TYPE, media);
                return Ok(Answer::Raw(response));
            }
            Target::OpenApi(path) => {
                let api = self.api();
                if let Some((group, version)) = path.strip_prefix("v3/").and_then(group_version)
                    && let Some(extension) = api.aggregation().find(group, version)?
                {
                    return Ok(Answer::Raw(api.pass_on(&extension, &user, request, None).await));
                }
                let published = |resource: &Resource, version: &str| api.published(resource, version);
                let document = self.parts.openapi.document(&served, &known, &published, &path, &accept)?;
                return Ok(Answer::Raw(document_response(&document)));
            }
            Target::CoreVersions => match discover((&accept, course.form), directory, Root::Core)? {
                Some(answer) => return Ok(answer),
                None => directory.api_versions(&self.parts.address),
            },
            Target::Groups => match discover((&accept, course.form), directory, Root::Named)? {
                Some(answer) => return Ok(answer),
                None => directory.group_list(),
            },
            Target::Group(group) => {
                course.form.encoding(&accept, Endpoint::Plain, &MEDIA)?;
                directory.group(&group).ok_or_else(|| nothing_at(Some(&group)))?
            }
            Target::GroupVersion { group, version } => {
                course.form.encoding(&accept, Endpoint::Plain, &MEDIA)?;
                let list = discovery::resource_list(resources, &group, &version);
                list.ok_or_else(|| nothing_at(Some(&group)))?
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

    /// Waits for its turn.
    async fn seat(&self, width: u32, course: &mut Course) -> Result<(), Status> {
        if let Some(place) = &course.place {
            course.seat = Some(self.api().fairness().enter(place, width).await?);
        }
        Ok(())
    }

    async fn metrics(&self) -> String {
        let service = self.clone();
        let told = tokio::task::spawn_blocking(move || match service.parts.metrics.get() {
            Some(metrics) => metrics(),
            None => service.api().metrics(),
        });
        told.await.unwrap_or_default()
    }
}

/// Whether a request lasts as long as its client wants, and is therefore not waited for in a seat.
fn is_long(asked: &Asked<'_>) -> bool {
    const PARTS: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];
    matches!(asked, Asked::Resource(asked) if PARTS.contains(&asked.subresource))
}

fn is_pod(call: &Call) -> bool {
    (&*call.resource.group, &*call.resource.plural) == ("", "pods")
}

/// All `Accept` headers as one.
pub(crate) fn accept_of(headers: &HeaderMap) -> String {
    let values: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

fn parameter(query: &str, name: &str) -> String {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(own, _)| *own == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
}

/// A document that has no other form.
fn in_json(document: &Value, form: Form) -> Answer {
    Answer::Raw(written(200, document, &[], form.json()))
}

/// Discovery of all groups at once, where the client knows that form.
fn discover(
    (accept, form): (&str, Form),
    directory: Directory<'_>,
    root: Root,
) -> Result<Option<Answer>, Status> {
    let encoding = form.encoding(accept, Endpoint::Discovery, &MEDIA)?;
    let negotiation::View::Aggregated(version) = encoding.view else { return Ok(None) };
    let document = directory.aggregated(root, version);
    let form = if form == Form::Page { Form::Line } else { form };
    let mut response = written(200, &document, &[], form);
    if let Ok(value) = encoding.content_type().parse() {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    Ok(Some(Answer::Raw(response)))
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
