//! Servers on free ports: the API under test, and targets that say what a test wants.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use xebec_metrics::api::{About, Api};
use xebec_metrics::ruler::{Ruler, RulerOptions};
use xebec_metrics::scrape::Scraper;
use xebec_tsdb::{Db, Labels, Options};

/// Serves on a free port for as long as the runtime lives.
pub(crate) async fn serve<F, A>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answering = answer(request);
                    async move { Ok::<_, Infallible>(answering.await) }
                });
                let builder = hyper::server::conn::http1::Builder::new();
                let _ended = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// A target whose body, type and status may be changed, and which keeps the headers that it was sent.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) says: Arc<Mutex<(u16, &'static str, Vec<u8>)>>,
    pub(crate) heard: Arc<Mutex<Vec<(String, http::HeaderMap)>>>,
    pub(crate) address: SocketAddr,
}

impl Target {
    pub(crate) async fn start(body: &str) -> Self {
        let says = Arc::new(Mutex::new((200, "text/plain; version=0.0.4", body.as_bytes().to_vec())));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (own, ears) = (Arc::clone(&says), Arc::clone(&heard));
        let address = serve(move |request| {
            let (status, kind, body) = own.lock().unwrap().clone();
            ears.lock().unwrap().push((request.uri().to_string(), request.headers().clone()));
            let packed = body.starts_with(&[0x1f, 0x8b]);
            let mut response = Response::builder().status(status).header("content-type", kind);
            if packed {
                response = response.header("content-encoding", "gzip");
            }
            std::future::ready(response.body(Full::from(body)).unwrap())
        })
        .await;
        Self { says, heard, address }
    }

    pub(crate) fn say(&self, body: &str) {
        self.says.lock().unwrap().2 = body.as_bytes().to_vec();
    }
}

/// A database with its API.
pub(crate) struct Bench {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) db: Db,
    pub(crate) scraper: Scraper,
    pub(crate) ruler: Ruler,
    pub(crate) address: SocketAddr,
}

impl Bench {
    /// With the configuration of a `prometheus.yml`.
    pub(crate) async fn start(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { sync: false, exemplars: 1000, ..Options::default() };
        let (db, _) = Db::open(&directory.path().join("data"), options).unwrap();
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let scraper = Scraper::new(db.clone(), Some(file), Vec::new(), "tests").unwrap();
        let about = About {
            program: "tests".into(),
            version: "1".into(),
            flags: vec![("a.b".into(), "c".into())],
            retention: "15d".into(),
        };
        let options = RulerOptions { external_url: "http://rules".into(), ..RulerOptions::default() };
        let ruler = Ruler::new(db.clone(), scraper.clone(), options).unwrap();
        let api = Api::new(db.clone(), scraper.clone(), ruler.clone(), about);
        let address = serve(move |request| {
            let api = api.clone();
            async move { api.answer(request).await }
        })
        .await;
        Self { directory, db, scraper, ruler, address }
    }

    /// Writes samples: series as pairs, time in milliseconds, value.
    pub(crate) fn write(&self, series: &[(&str, &str)], samples: impl IntoIterator<Item = (i64, f64)>) {
        let labels = Labels::new(series.iter().copied()).unwrap();
        let mut appender = self.db.appender();
        for (time, value) in samples {
            appender.append(&labels, time, value).unwrap();
        }
        appender.commit().unwrap();
    }

    /// The status, the head and the body of a request written by hand.
    pub(crate) async fn raw(&self, request: &str) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        (head[9..12].parse().unwrap(), head, answer[end + 4..].to_vec())
    }

    /// `GET` below `/api/v1`.
    pub(crate) async fn get(&self, path: &str) -> (u16, serde_json::Value) {
        let request = format!("GET /api/v1/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let (status, _, body) = self.raw(&request).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}
