//! The Kubernetes API as a part of `up`.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use xebec_admission::Chain;
use xebec_apiserver::aggregation::Trust;
use xebec_apiserver::api::Api;
use xebec_apiserver::audit::{Audit, Rotation};
use xebec_apiserver::authenticate::Tokens;
use xebec_apiserver::catalog::Catalog;
use xebec_apiserver::cluster_ip::{ClusterIps, Range};
use xebec_apiserver::fairness::Exempt;
use xebec_apiserver::jwt::Signer;
use xebec_apiserver::pki::{Authority, PkiError, write_kubeconfig};
use xebec_apiserver::pods::Pods;
use xebec_apiserver::serve::{serve, tls};
use xebec_apiserver::service::Service;
use xebec_apiserver::storage::Storage;
use xebec_apiserver::usage;
use xebec_apiserver::user::{ADMINISTRATORS, AUTHENTICATED, User};
use xebec_machinery::builtin;
use xebec_store::{Options, Store};

use crate::cli::{Part, UpArgs};
use crate::data_dir::DataDir;
use crate::metrics::Metrics;
use crate::parts::Stage;
use crate::up::bind;

/// The addresses of services: a /16 of private space, as kubeadm has it.
pub(crate) const SERVICES: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 96, 0, 0), 16);

/// How far back lists and watches may begin: five minutes where little is written, less in a storm, since all of it is in memory.
fn history() -> Options {
    Options { keep_revisions: 50_000, keep_bytes: 32 << 20, ..Options::default() }
}

/// The API as the other parts know it.
pub(crate) struct Served {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// By which they reach it without a socket.
    pub(crate) client: kube::Client,
    /// Who signs certificates for clients with one.
    pub(crate) issuer: Arc<Issuer>,
    /// What is told of them.
    pub(crate) api: Api,
}

/// Serves the API and writes the kubeconfig by which it is reached.
pub(crate) async fn start(
    args: &UpArgs,
    data: &DataDir,
    servers: &mut Stage,
    pods: Arc<dyn Pods>,
    metrics: &Arc<Metrics>,
) -> Result<Served> {
    let stop = servers.stop();
    let listener = bind("api", args.api).await?;
    let address = listener.local_addr().context("the API's address cannot be read")?;
    let directory = data.path().join("store");
    let store = tokio::task::spawn_blocking(move || Store::open(&directory, &history()))
        .await
        .context("opening the store failed")??;
    let authority = Authority::open(data.path()).context("the certificate authority cannot be opened")?;
    let host = address.ip().to_string();
    let range = Range::new(SERVICES.0, SERVICES.1).context("the range of service addresses is not one")?;
    let own = range.first().to_string();
    let names = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "127.0.0.1",
        &own,
        &host,
    ];
    let server = authority.server(&names).context("the API's certificate cannot be made")?;
    let tls = tls(&server, authority.certificate())?;

    let mut resources = builtin::resources().to_vec();
    if args.parts().contains(&Part::Node) {
        resources.extend(usage::resources());
    }
    let catalog = Catalog::new(resources);
    let chain = chain(&args.disable_admission_plugins)?;
    let api = Api::new(Storage::new(store.clone()), catalog, ClusterIps::new(range), chain, stop.clone());
    api.set_trust(
        trust(data.path(), &authority).context("the certificates for extension servers cannot be made")?,
    );
    api.prepare(address.port()).await.context("the API's first objects cannot be made")?;

    let mut tokens = Tokens::default();
    let admin = User::new("admin", [ADMINISTRATORS]);
    tokens.add(&token(data.path())?, admin);
    tokens
        .set_signer(Signer::open(data.path()).context("the key of service account tokens cannot be opened")?);
    let reached = reachable(address);
    let service = Service::new(api.clone(), tokens, pods, reached.to_string());
    if let Some(path) = &args.audit {
        let path = if path.as_os_str() == "-" { Path::new("/dev/stdout") } else { path };
        let audit = Audit::open(path, Rotation::default())
            .with_context(|| format!("the audit log {} cannot be opened", path.display()))?;
        service.set_audit(audit).ok().context("there is an audit log already")?;
    }
    let told = metrics.clone();
    service.set_metrics(move || told.text());
    let service = metrics.measure(api.clone(), service);
    let embedded = service.clone();
    let client = kube::Client::new(
        tower::util::MapRequest::new(embedded, |mut request: http::Request<kube::client::Body>| {
            request.extensions_mut().insert(User::new("system:xebec", [ADMINISTRATORS, AUTHENTICATED]));
            request.extensions_mut().insert(Exempt);
            request
        }),
        "default",
    );
    let credential =
        authority.client("admin", ADMINISTRATORS).context("the client's certificate cannot be made")?;
    let kubeconfig = data.path().join("kubeconfig");
    write_kubeconfig(&kubeconfig, &format!("https://{reached}"), &authority, &credential)?;

    let served = api.clone();
    servers.spawn("api", async move {
        let begun = api.clone();
        let upkeep = tokio::spawn(async move {
            tokio::join!(
                api.serve_definitions(),
                api.serve_roles(),
                api.serve_policies(),
                api.serve_flow_control(),
                api.serve_aggregation(),
                api.serve_service(address.port()),
                api.serve_ranges(),
                api.serve_endpoints(address)
            )
        });
        serve(listener, tls, service, stop).await;
        if let Err(error) = upkeep.await {
            tracing::error!(%error, "keeping custom resources and roles in step failed");
        }
        begun.finished().await;
        store.close().await;
    });
    Ok(Served { address, client, issuer: Arc::new(Issuer(authority)), api: served })
}

/// By which certificates the API and the servers behind it know each other. Their authority signs for nobody else: whoever
/// shows a certificate of it speaks for anybody.
fn trust(data: &Path, clients: &Authority) -> Result<Trust, PkiError> {
    let authority = Authority::open(&data.join("front-proxy"))?;
    let proxy = authority.lone_client(Trust::PROXY)?;
    Ok(Trust::new(clients.certificate(), authority.certificate(), proxy))
}

/// The authority that the API and its clients trust, as the controllers know it.
pub(crate) struct Issuer(Authority);

impl Issuer {
    /// The certificate by which clients know the API.
    pub(crate) fn certificate(&self) -> &str {
        self.0.certificate()
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issuer")
    }
}

impl xebec_controllers::certificates::Issuer for Issuer {
    fn issue(&self, request: &[u8], usages: &[String], lifetime: Duration) -> Result<String, String> {
        self.0.issue(request, usages, lifetime, SystemTime::now()).map_err(|error| error.to_string())
    }
}

/// An address that clients on this machine reach: the loopback one where the API listens on all.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        return SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port());
    }
    address
}

/// The administrator's bearer token, made at the first start and readable by its owner alone.
fn token(directory: &Path) -> Result<String> {
    let path = directory.join("token");
    match fs::read_to_string(&path) {
        Ok(token) if !token.trim().is_empty() => return Ok(token.trim().to_owned()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
        _ => {}
    }
    let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(token.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(token)
}

/// The stages of admission without those that are not wanted.
fn chain(disabled: &[String]) -> Result<Chain> {
    let chain = Chain::standard();
    let known = chain.names();
    if let Some(unknown) = disabled.iter().find(|name| !known.contains(name.as_str())) {
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        bail!("--disable-admission-plugins: there is no stage {unknown}; there are {known}");
    }
    Ok(chain.without(disabled))
}
