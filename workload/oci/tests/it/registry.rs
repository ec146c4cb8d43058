//! The registry as a client sees it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use xebec_oci::{Digest, Limits, Registry, RegistryLimits, Store};

struct Server {
    address: std::net::SocketAddr,
    folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<()>,
}

async fn start() -> Server {
    start_with(RegistryLimits::default()).await
}

async fn start_with(limits: RegistryLimits) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Limits::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let registry = Arc::new(Registry::with_limits(Arc::new(store), limits));
    let ended = tokio::spawn(registry.serve(listener, async { drop(stopped.await) }));
    Server { address, folder, stop: Some(stop), ended }
}

impl Server {
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Bytes> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "registry.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    async fn put_blob(&self, content: &str) -> Digest {
        let digest = Digest::of(content.as_bytes());
        let path = format!("/v2/a/b/blobs/uploads/?digest={digest}");
        assert_eq!(self.send("POST", &path, &[], content).await.status(), 201);
        digest
    }
}

fn code(response: &Response<Bytes>) -> String {
    let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    body["errors"][0]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn chunks_must_continue_where_the_last_one_ended() {
    let server = start().await;
    let begun = server.send("POST", "/v2/a/b/blobs/uploads/", &[], "").await;
    assert_eq!(begun.status(), 202);
    let path = begun.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(server.send("PATCH", &path, &[("content-range", "0-4")], "hello").await.status(), 202);
    let gap = server.send("PATCH", &path, &[("content-range", "9-10")], "xx").await;
    assert_eq!((gap.status().as_u16(), code(&gap).as_str()), (416, "BLOB_UPLOAD_INVALID"));
    assert_eq!(server.send("GET", &path, &[], "").await.headers()["range"], "0-4");
    let digest = Digest::of(b"hello world");
    let done = server.send("PUT", &format!("{path}?digest={digest}"), &[], " world").await;
    assert_eq!(done.status(), 201);
    let blob = format!("/v2/a/b/blobs/{digest}");
    assert_eq!(server.send("GET", &blob, &[], "").await.body(), "hello world");
    let part = server.send("GET", &blob, &[("range", "bytes=6-7")], "").await;
    assert_eq!((part.status().as_u16(), part.body().as_ref()), (206, b"wo".as_slice()));
    assert_eq!(part.headers()["content-range"], "bytes 6-7/11");
    let end = server.send("GET", &blob, &[("range", "bytes=-5")], "").await;
    assert_eq!((end.status().as_u16(), end.body().as_ref()), (206, b"world".as_slice()));
    assert_eq!(server.send("GET", &blob, &[("range", "bytes=11-")], "").await.status(), 416);
    assert_eq!(server.send("DELETE", &blob, &[], "").await.status(), 202);
    assert_eq!(code(&server.send("GET", &blob, &[], "").await), "BLOB_UNKNOWN");
}

#[tokio::test]
async fn manifests_are_pushed_tagged_paged_and_deleted() {
    let server = start().await;
    let config = Digest::of(b"{}");
    let manifest = format!(r#"{{"config":{{"digest":"{config}","size":2}},"layers":[]}}"#);
    let early = server.send("PUT", "/v2/a/b/manifests/v1", &[], &manifest).await;
    assert_eq!(code(&early), "MANIFEST_BLOB_UNKNOWN");
    server.put_blob("{}").await;
    for tag in ["v1", "v2", "v3"] {
        let path = format!("/v2/a/b/manifests/{tag}");
        assert_eq!(server.send("PUT", &path, &[], &manifest).await.status(), 201);
    }
    let page = server.send("GET", "/v2/a/b/tags/list?n=2", &[], "").await;
    assert_eq!(page.body(), r#"{"name":"a/b","tags":["v1","v2"]}"#);
    assert!(page.headers()["link"].to_str().unwrap().contains("last=v2"));
    let rest = server.send("GET", "/v2/a/b/tags/list?n=2&last=v2", &[], "").await;
    assert_eq!(rest.body(), r#"{"name":"a/b","tags":["v3"]}"#);
    let got = server.send("GET", "/v2/a/b/manifests/v1", &[], "").await;
    assert_eq!(got.body(), manifest.as_bytes());
    let digest = Digest::of(manifest.as_bytes()).to_string();
    assert_eq!(got.headers()["docker-content-digest"], digest.as_str());
    let path = format!("/v2/a/b/manifests/{digest}");
    assert_eq!(server.send("DELETE", &path, &[], "").await.status(), 202);
    assert_eq!(code(&server.send("GET", &path, &[], "").await), "MANIFEST_UNKNOWN");
    // The tags that meant it went with it.
    assert_eq!(server.send("GET", "/v2/a/b/tags/list", &[], "").await.body(), r#"{"name":"a/b","tags":[]}"#);
}

#[tokio::test]
async fn referrers_are_listed_and_filtered() {
    let server = start().await;
    let subject = Digest::of(b"to come");
    let listing = format!("/v2/a/b/referrers/{subject}");
    let none = server.send("GET", &listing, &[], "").await;
    assert_eq!(none.headers()["content-type"], "application/vnd.oci.image.index.v1+json");
    assert!(manifests(&none).is_empty());
    for kind in ["test/sbom", "test/signature"] {
        let manifest = format!(
            r#"{{"artifactType":"{kind}","annotations":{{"for":"test"}},"subject":{{"digest":"{subject}","size":7}}}}"#
        );
        let path = format!("/v2/a/b/manifests/{}", Digest::of(manifest.as_bytes()));
        let pushed = server.send("PUT", &path, &[], &manifest).await;
        assert_eq!(pushed.headers()["oci-subject"], subject.to_string().as_str());
    }
    let all = manifests(&server.send("GET", &listing, &[], "").await);
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|one| one["annotations"]["for"] == "test" && one["size"].as_u64() > Some(100)));
    let filtered = server.send("GET", &format!("{listing}?artifactType=test%2Fsbom"), &[], "").await;
    assert_eq!(filtered.headers()["oci-filters-applied"], "artifactType");
    let filtered = manifests(&filtered);
    assert_eq!((filtered.len(), filtered[0]["artifactType"].as_str()), (1, Some("test/sbom")));
}

fn manifests(response: &Response<Bytes>) -> Vec<serde_json::Value> {
    let index: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    index["manifests"].as_array().unwrap().clone()
}

#[tokio::test]
async fn repositories_are_listed_and_share_blobs_by_mount() {
    let server = start().await;
    let digest = server.put_blob("shared").await;
    let mounted =
        server.send("POST", &format!("/v2/c/blobs/uploads/?mount={digest}&from=a/b"), &[], "").await;
    assert_eq!(mounted.status(), 201);
    assert_eq!(server.send("GET", &format!("/v2/c/blobs/{digest}"), &[], "").await.body(), "shared");
    let absent = Digest::of(b"absent");
    let begun = server.send("POST", &format!("/v2/d/blobs/uploads/?mount={absent}&from=a/b"), &[], "").await;
    assert_eq!(begun.status(), 202);
    // An upload belongs to the repository that it was begun in.
    let elsewhere = begun.headers()["location"].to_str().unwrap().replace("/v2/d/", "/v2/c/");
    assert_eq!(code(&server.send("PATCH", &elsewhere, &[], "x").await), "BLOB_UPLOAD_UNKNOWN");
    let page = server.send("GET", "/v2/_catalog?n=2", &[], "").await;
    assert_eq!(page.body(), r#"{"repositories":["a/b","c"]}"#);
    assert!(page.headers()["link"].to_str().unwrap().contains("/v2/_catalog?n=2&last=c"));
    assert_eq!(server.send("GET", "/v2/_catalog?last=c", &[], "").await.body(), r#"{"repositories":["d"]}"#);
}

#[tokio::test]
async fn a_blob_that_the_disk_spoiled_never_arrives_whole() {
    let server = start().await;
    let digest = server.put_blob("content").await;
    let path = server.folder.path().join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex());
    std::fs::write(path, "c0ntent").unwrap();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /v2/a/b/blobs/{digest} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(!answer.contains("c0ntent"), "{answer}");
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up_and_its_connection_freed() {
    let limits =
        RegistryLimits { idle: Duration::from_millis(100), connections: 1, ..RegistryLimits::default() };
    let server = start_with(limits).await;
    let mut stalled = TcpStream::connect(server.address).await.unwrap();
    let head = "PUT /v2/a/manifests/v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{";
    stalled.write_all(head.as_bytes()).await.unwrap();
    // There is one place, so the second client is served when the first one is given up.
    let second = timeout(Duration::from_secs(5), server.send("GET", "/v2/", &[], "")).await.unwrap();
    assert_eq!(second.status(), 200);
    let mut answer = String::new();
    stalled.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_stops_reading_is_given_up() {
    let limits =
        RegistryLimits { idle: Duration::from_millis(300), connections: 1, ..RegistryLimits::default() };
    let server = start_with(limits).await;
    let digest = server.put_blob(&"x".repeat(32 << 20)).await;
    let mut deaf = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /v2/a/b/blobs/{digest} HTTP/1.1\r\nhost: x\r\n\r\n");
    deaf.write_all(request.as_bytes()).await.unwrap();
    let next = timeout(Duration::from_secs(30), server.send("GET", "/v2/", &[], "")).await.unwrap();
    assert_eq!(next.status(), 200);
    drop(deaf);
}

#[tokio::test]
async fn the_end_waits_for_requests_but_not_for_ever() {
    let limits = RegistryLimits { drain: Duration::from_millis(200), ..RegistryLimits::default() };
    let mut server = start_with(limits).await;
    let mut busy = TcpStream::connect(server.address).await.unwrap();
    let head = "PUT /v2/a/manifests/v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{";
    busy.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(server.send("GET", "/v2/", &[], "").await.status(), 200);
    server.stop.take().unwrap().send(()).unwrap();
    timeout(Duration::from_secs(5), &mut server.ended).await.unwrap().unwrap();
    let mut answer = Vec::new();
    let cut_off = timeout(Duration::from_secs(5), busy.read_to_end(&mut answer)).await.unwrap();
    assert!(cut_off.is_err() || answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn bad_requests_name_the_specifications_code() {
    let server = start().await;
    let wrong = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(b"other"));
    for (method, path, expected) in [
        ("POST", wrong.as_str(), "DIGEST_INVALID"),
        ("GET", "/v2/A/tags/list", "NAME_INVALID"),
        ("GET", "/v2/a/blobs/sha256:1", "DIGEST_INVALID"),
        ("GET", "/v2/a/blobs/uploads/nothing", "BLOB_UPLOAD_UNKNOWN"),
        ("PUT", "/v2/a/manifests/v1", "MANIFEST_INVALID"),
        ("POST", "/v2/a/tags/list", "UNSUPPORTED"),
        ("GET", "/v2/nothing", "NAME_UNKNOWN"),
        ("GET", "/v2/never/pushed/tags/list", "NAME_UNKNOWN"),
        ("GET", "/v2/a/manifests/.malformed", "MANIFEST_UNKNOWN"),
        ("PUT", "/v2/a/manifests/.malformed", "MANIFEST_INVALID"),
        ("DELETE", "/v2/_catalog", "UNSUPPORTED"),
    ] {
        assert_eq!(code(&server.send(method, path, &[], "junk").await), expected, "{method} {path}");
    }
}

#[tokio::test]
async fn a_manifest_that_is_too_large_is_refused_aloud() {
    let server = start().await;
    // More than the buffers between the two hold: a sender that is cut off would not hear why.
    let body = "x".repeat(30 << 20);
    let answer = server.send("PUT", "/v2/a/b/manifests/v1", &[], &body).await;
    assert_eq!(answer.status(), 413);
    assert!(String::from_utf8_lossy(answer.body()).contains("larger than the limit"), "{answer:?}");
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let head = "PUT /v2/a/b/manifests/v1 HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 31457280\r\n\r\n";
    writer.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(Duration::from_secs(10), reader.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}
