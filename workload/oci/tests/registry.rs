//! The registry as a client sees it: real HTTP over a real socket.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up must fail")]

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use xebec_oci::{Digest, Limits, Registry, Store};

struct Server {
    address: std::net::SocketAddr,
    _folder: tempfile::TempDir,
}

async fn start() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Limits::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Arc::new(Registry::new(Arc::new(store))).serve(listener, std::future::pending()));
    Server { address, _folder: folder }
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
    ] {
        assert_eq!(code(&server.send(method, path, &[], "junk").await), expected, "{method} {path}");
    }
}
