//! `xebec why URL`: what the gateway of a running instance would do with a request, and what other routes lack. The
//! instance is asked at its console's address, and its engine answers from the very tables that serve requests.

mod description;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::console::text;
use crate::data_dir::endpoints_of;
use crate::gateway::port_served;
use crate::metrics::Metrics;
use crate::output::OutputArgs;

/// Where the console answers.
pub(crate) const PATH: &str = "/gateway/why";
/// The largest question.
const QUESTION: usize = 64 * 1024;
/// The largest answer; a longer one breaks off.
const ANSWER: u64 = 64 << 20;
/// How long an instance may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `why` takes.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The request's URL, such as http://shop.example/cart?q=1. A host that is an IP address asks of the listeners there,
    /// any other of all that serve the port.
    #[arg(value_name = "URL")]
    url: Uri,
    /// The request's method.
    #[arg(short = 'X', long = "request", value_name = "METHOD", default_value = "GET")]
    method: Method,
    /// A header of the request; `Host: NAME` replaces the URL's host.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The data directory of the instance.
    #[arg(long, value_name = "DIR", default_value = ".xebec")]
    data: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// What the console is asked.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Question {
    url: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
}

/// A question that was understood.
struct Understood {
    request: Parts,
    tls: bool,
    address: Option<IpAddr>,
    port: u16,
}

impl Question {
    fn understood(&self) -> Result<Understood> {
        let url: Uri = self.url.parse().with_context(|| format!("{:?} is not a URL", self.url))?;
        let authority = url.authority().ok_or_else(|| {
            anyhow!("{:?} names no host: write the whole URL, such as http://shop.example/", self.url)
        })?;
        let tls = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => bail!("{:?} begins with neither http:// nor https://", self.url),
        };
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let method = self.method.as_deref().unwrap_or("GET");
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, authority.as_str())
            .body(())
            .context("the request is malformed")?
            .into_parts()
            .0;
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name).with_context(|| format!("{name:?} is no header's name"))?;
            let value = HeaderValue::try_from(value)
                .with_context(|| format!("the value of header {name} has bytes that none may have"))?;
            if name == HOST {
                request.headers.insert(name, value);
            } else {
                request.headers.append(name, value);
            }
        }
        let address = authority.host().trim_matches(['[', ']']).parse().ok();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Understood { request, tls, address, port })
    }
}

/// Answers a question of the console's client.
pub(crate) async fn answer(request: Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let refused = |status, reason: String| text(status, format!("{reason}\n"));
    if request.method() != Method::POST {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "POST a question, as `xebec why` does".to_owned());
    }
    // Pages of other sites can send no such type unasked.
    if request.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != "application/json") {
        return refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the question must be application/json".to_owned(),
        );
    }
    let Some(explainer) = metrics.explainer() else {
        return refused(StatusCode::NOT_FOUND, "this instance runs no gateway".to_owned());
    };
    let reading = timeout(PATIENCE, Limited::new(request.into_body(), QUESTION).collect());
    let Ok(Ok(body)) = reading.await else {
        return refused(
            StatusCode::BAD_REQUEST,
            format!("the question did not come, or has over {QUESTION} bytes"),
        );
    };
    let question = serde_json::from_slice::<Question>(&body.to_bytes()).map_err(anyhow::Error::from);
    let understood = match question.and_then(|question| question.understood()) {
        Ok(understood) => understood,
        Err(error) => return refused(StatusCode::BAD_REQUEST, format!("{error:#}")),
    };
    let Understood { request, tls, address, port } = understood;
    let asked = |at: SocketAddr| {
        (at.port() == port || at.port() == port_served(port)) && address.is_none_or(|ip| at.ip() == ip)
    };
    let explained = explainer.explain(asked, tls, &request);
    let listeners: Vec<_> = explained.iter().map(description::of).collect();
    let mut response = text(StatusCode::OK, json!({ "listeners": listeners }).to_string());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Asks and prints.
pub(crate) async fn run(args: &WhyArgs) -> Result<()> {
    let question = Question {
        url: args.url.to_string(),
        method: Some(args.method.to_string()),
        headers: args.headers.clone(),
    };
    // What cannot be understood is said without an instance.
    let Understood { tls, port, .. } = question.understood()?;
    let endpoints = endpoints_of(&args.data)?;
    let console = endpoints.get("console").ok_or_else(|| {
        anyhow!("the instance of {} runs without its console: leave it in", args.data.display())
    })?;
    let answer = timeout(PATIENCE, ask(*console, &question)).await;
    let answer = answer.map_err(io::Error::from).map_err(anyhow::Error::from).flatten();
    let answer = answer.with_context(|| format!("the console at {console} did not answer"))?;
    let listeners = answer["listeners"].as_array().cloned().unwrap_or_default();
    if listeners.is_empty() {
        let scheme = if tls { "https" } else { "http" };
        bail!("no listener serves port {port} over {scheme} there: see `kubectl get gateways -A`");
    }
    args.output.print(&answer, || {
        let request = format!("{} {}\n", args.method, args.url);
        request + &listeners.iter().map(description::shown).collect::<Vec<_>>().join("")
    })
}

async fn ask(console: SocketAddr, question: &Question) -> Result<Value> {
    let body = serde_json::to_string(question)?;
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nhost: {console}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(console).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| anyhow!("its answer breaks off"))?;
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("{}", body.trim());
    }
    serde_json::from_str(body).context("its answer is not JSON")
}
