//! Images from and to other registries.
//!
//! Blobs stream between the network and the store. What the store has is not fetched, what the other registry has is not
//! sent, and everything that arrives is checked against its digest before it shows.

use std::{fmt, io, sync::Arc, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _};
use oci_client::{
    Client as OciClient, Reference as OciReference, RegistryOperation,
    client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    secrets::RegistryAuth,
};
use tokio::sync::mpsc;

use crate::{
    Digest, Error, Reference, RepositoryName, Selector, Store, Tag,
    image::{Descriptor, Index, Manifest, Platform, is_index},
    media_type,
};

mod listing;

pub use listing::{Kind, Listed};

const CONNECT: Duration = Duration::from_secs(10);
/// How long another registry may say nothing.
const SILENCE: Duration = Duration::from_secs(60);
/// Pieces of a blob on their way to the disk.
const PIECES: usize = 16;
const PIECE_BYTES: usize = 256 << 10;
/// Attempts at a blob. Networks break, wrong content does not mend.
const ATTEMPTS: u32 = 3;
const MANIFESTS: [&str; 4] =
    [media_type::OCI_MANIFEST, media_type::OCI_INDEX, media_type::DOCKER_MANIFEST, media_type::DOCKER_LIST];

/// Who asks.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Anyone.
    #[default]
    Anonymous,
    /// A user with a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// Who holds a token.
    Token(String),
}

impl fmt::Debug for Credentials {
    /// Secrets do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Password { .. } => "Password",
            Self::Token(_) => "Token",
        })
    }
}

/// How to reach other registries.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// Who asks.
    pub credentials: Credentials,
    /// `host[:port]` of registries that speak HTTP without TLS. Those on this machine's loopback always may.
    pub plain_http: Vec<String>,
    /// Certificate authorities beside the system's, as PEM.
    pub authorities: Vec<Vec<u8>>,
}

/// How far a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The blob.
    pub digest: Digest,
    /// Bytes done.
    pub bytes: u64,
    /// Bytes in all.
    pub total: u64,
}

/// What is told of progress.
pub type Watcher = Arc<dyn Fn(Progress) + Send + Sync>;

/// A client of other registries.
#[derive(Clone)]
pub struct Client {
    options: ClientOptions,
    watcher: Watcher,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.options).finish_non_exhaustive()
    }
}

/// One image of another registry.
struct Remote {
    client: OciClient,
    auth: RegistryAuth,
    registry: String,
    name: String,
    watcher: Watcher,
}

impl Client {
    /// A client that tells nobody of its progress.
    #[must_use]
    pub fn new(options: ClientOptions) -> Self {
        Self::with_watcher(options, Arc::new(|_| {}))
    }

    /// A client whose progress `watcher` is told.
    #[must_use]
    pub fn with_watcher(options: ClientOptions, watcher: Watcher) -> Self {
        Self { options, watcher }
    }

    /// Fetches an image into a repository of the store and tags it. Of an index only the manifest for `platform` comes
    /// along, or all when there is none given. Returns the digest of what the reference means.
    ///
    /// # Errors
    /// When the other registry does not have or give it, the content is not what its digests say, or the store refuses.
    pub async fn pull(
        &self,
        from: &Reference,
        store: &Arc<Store>,
        name: &RepositoryName,
        tag: Option<&Tag>,
        platform: Option<&Platform>,
    ) -> Result<Digest, Error> {
        let remote = self.remote(from)?;
        let limit = store.limits().manifest_bytes;
        let failed = |what: &str| format!("{what} {from}");
        let (kind, content) = remote.manifest(&from.selector(), limit, &failed("fetching")).await?;
        if !is_index(&kind) {
            return remote.fetch(store, name, tag, &kind, content).await;
        }
        let index = Index::parse(&content)?;
        let mut found = false;
        for child in &index.manifests {
            let wanted = match (platform, &child.platform) {
                (Some(platform), Some(image)) => platform.runs(image) || image.architecture == "wasm",
                (Some(_), None) => false,
                (None, _) => true,
            };
            if wanted {
                found = true;
                let selector = Selector::Digest(child.digest);
                let (kind, content) =
                    remote.manifest(&selector, limit, &failed("fetching a manifest of")).await?;
                if is_index(&kind) {
                    let reason = "an index leads to another index".to_owned();
                    return Err(Error::ManifestInvalid { reason });
                }
                remote.fetch(store, name, None, &kind, content).await?;
            }
        }
        if let (false, Some(platform)) = (found, platform) {
            return Err(Error::NoPlatform {
                image: from.to_string(),
                wanted: format!("{}/{}", platform.os, platform.architecture),
            });
        }
        put(store, name, tag, &kind, content).await
    }

    /// Sends an image of the store to another registry. Of an index the manifests go first that the store has.
    ///
    /// # Errors
    /// When the store does not have it, or the other registry does not take it.
    pub async fn push(
        &self,
        store: &Arc<Store>,
        name: &RepositoryName,
        selector: &Selector,
        to: &Reference,
    ) -> Result<Digest, Error> {
        let remote = self.remote(to)?;
        remote.sign_in(to).await?;
        let (digest, kind, content) = manifest(store, name, selector).await?;
        if is_index(&kind) {
            for child in Index::parse(&content)?.manifests {
                let selector = Selector::Digest(child.digest);
                match manifest(store, name, &selector).await {
                    Ok((_, kind, content)) => {
                        remote.send(store, name, &selector, &kind, content).await?;
                    }
                    // One platform's manifests may be all that was ever fetched.
                    Err(Error::ManifestUnknown { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        remote.send(store, name, &to.selector(), &kind, content).await?;
        Ok(digest)
    }

    fn remote(&self, image: &Reference) -> Result<Remote, Error> {
        // Whoever was first in the process has chosen; it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let registry = image.registry.clone();
        let host = registry.rsplit_once(':').map_or(registry.as_str(), |(host, _)| host);
        let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let plain = local || self.options.plain_http.contains(&registry);
        let authorities = self.options.authorities.iter();
        let config = ClientConfig {
            protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
            extra_root_certificates: authorities
                .map(|pem| Certificate { encoding: CertificateEncoding::Pem, data: pem.clone() })
                .collect(),
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            user_agent: concat!("xebec/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = OciClient::try_from(config).map_err(|error| remote_error("preparing TLS", error))?;
        let auth = match &self.options.credentials {
            Credentials::Anonymous => RegistryAuth::Anonymous,
            Credentials::Password { user, password } => RegistryAuth::Basic(user.clone(), password.clone()),
            Credentials::Token(token) => RegistryAuth::Bearer(token.clone()),
        };
        // Docker's own registry keeps its one-word names below `library`.
        let name = if registry == "docker.io" && !image.name.as_str().contains('/') {
            format!("library/{}", image.name)
        } else {
            image.name.to_string()
        };
        Ok(Remote { client, auth, registry, name, watcher: Arc::clone(&self.watcher) })
    }
}

impl Remote {
    fn reference(&self, selector: &Selector) -> OciReference {
        let (registry, name) = (self.registry.clone(), self.name.clone());
        match selector {
            Selector::Tag(tag) => OciReference::with_tag(registry, name, tag.to_string()),
            Selector::Digest(digest) => OciReference::with_digest(registry, name, digest.to_string()),
        }
    }

    async fn sign_in(&self, image: &Reference) -> Result<(), Error> {
        let reference = self.reference(&image.selector());
        let what = format!("signing in to {}", self.registry);
        self.client
            .auth(&reference, &self.auth, RegistryOperation::Push)
            .await
            .map(drop)
            .map_err(|error| remote_error(&what, error))
    }

    /// A manifest's type and bytes, checked if it was asked for by digest.
    async fn manifest(
        &self,
        selector: &Selector,
        limit: u64,
        what: &str,
    ) -> Result<(String, Vec<u8>), Error> {
        let reference = self.reference(selector);
        let (content, _) = self
            .client
            .pull_manifest_raw(&reference, &self.auth, &MANIFESTS)
            .await
            .map_err(|error| remote_error(what, error))?;
        if content.len() as u64 > limit {
            return Err(Error::TooLarge { what: "the manifest", limit });
        }
        if let Selector::Digest(expected) = selector {
            check(*expected, Digest::of(&content))?;
        }
        // The answer's own type is not told; documents of today carry it, and the others can be told apart.
        let kind = serde_json::from_slice::<serde_json::Value>(&content).ok();
        let kind = kind.and_then(|document| Some(document.get("mediaType")?.as_str()?.to_owned()));
        let kind = kind.unwrap_or_else(|| {
            let index = Index::parse(&content).is_ok();
            (if index { media_type::OCI_INDEX } else { media_type::OCI_MANIFEST }).to_owned()
        });
        Ok((kind, content.to_vec()))
    }

    async fn fetch(
        &self,
        store: &Arc<Store>,
        name: &RepositoryName,
        tag: Option<&Tag>,
        kind: &str,
        content: Vec<u8>,
    ) -> Result<Digest, Error> {
        let manifest = Manifest::parse(&content)?;
        for blob in manifest.blobs() {
            let (held, target, digest) = (Arc::clone(store), name.clone(), blob.digest);
            if !blocking(move || held.adopt(&target, digest)).await? {
                self.fetch_blob(store, name, blob).await?;
            }
            (self.watcher)(Progress { digest, bytes: blob.size, total: blob.size });
        }
        put(store, name, tag, kind, content).await
    }

    async fn fetch_blob(
        &self,
        store: &Arc<Store>,
        name: &RepositoryName,
        blob: &Descriptor,
    ) -> Result<(), Error> {
        let mut attempt = 1;
        loop {
            match self.try_fetch_blob(store, name, blob).await {
                Err(Error::Remote { .. }) if attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_millis(300) * attempt).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    async fn try_fetch_blob(
        &self,
        store: &Arc<Store>,
        name: &RepositoryName,
        blob: &Descriptor,
    ) -> Result<(), Error> {
        let what = format!("fetching blob {} of {}/{}", blob.digest, self.registry, self.name);
        let (digest, total) = (blob.digest, blob.size);
        let reference = self.reference(&Selector::Digest(digest));
        let (pieces, mut arriving) = mpsc::channel::<bytes::Bytes>(PIECES);
        let (kept, target) = (Arc::clone(store), name.clone());
        let writing = blocking(move || {
            let mut writer = kept.stage()?;
            while let Some(piece) = arriving.blocking_recv() {
                io::Write::write_all(&mut writer, &piece).map_err(|error| disk(digest, error))?;
            }
            let staged = writer.finish()?;
            check(digest, staged.digest)?;
            kept.keep(&target, staged)
        });
        let receiving = async {
            let remote = |error: OciDistributionError| remote_error(&what, error);
            let text = digest.to_string();
            let mut stream = self.client.pull_blob_stream(&reference, text.as_str()).await.map_err(remote)?;
            let mut bytes = 0;
            while let Some(piece) = stream.next().await {
                let piece = piece.map_err(|error| remote_error(&what, error.into()))?;
                bytes += piece.len() as u64;
                if bytes > total {
                    return Err(Error::TooLarge { what: "the blob", limit: total });
                }
                (self.watcher)(Progress { digest, bytes, total });
                if pieces.send(piece).await.is_err() {
                    // The writer has stopped and says why.
                    break;
                }
            }
            drop(pieces);
            Ok(())
        };
        let (received, written) = tokio::join!(receiving, writing);
        received.and(written)
    }

    async fn send(
        &self,
        store: &Arc<Store>,
        name: &RepositoryName,
        selector: &Selector,
        kind: &str,
        content: Vec<u8>,
    ) -> Result<(), Error> {
        let what = format!("sending {}/{}:{selector}", self.registry, self.name);
        let reference = self.reference(selector);
        let remote = |error: OciDistributionError| remote_error(&what, error);
        if !is_index(kind) {
            let manifest = Manifest::parse(&content)?;
            for blob in manifest.blobs() {
                let digest = blob.digest.to_string();
                if !self.client.blob_exists(&reference, &digest).await.map_err(remote)? {
                    self.send_blob(store, name, blob, &reference).await?;
                }
                (self.watcher)(Progress { digest: blob.digest, bytes: blob.size, total: blob.size });
            }
        }
        let kind =
            kind.parse().map_err(|error| Error::Remote { what: what.clone(), source: Box::new(error) })?;
        self.client.push_manifest_raw(&reference, content, kind).await.map(drop).map_err(remote)
    }

    async fn send_blob(
        &self,
        store: &Arc<Store>,
        name: &RepositoryName,
        blob: &Descriptor,
        reference: &OciReference,
    ) -> Result<(), Error> {
        let what = format!("sending blob {} to {}/{}", blob.digest, self.registry, self.name);
        let (held, source, digest, total) = (Arc::clone(store), name.clone(), blob.digest, blob.size);
        let file = blocking(move || held.open_blob(&source, digest)).await?;
        let stream =
            tokio_util::io::ReaderStream::with_capacity(tokio::fs::File::from_std(file), PIECE_BYTES);
        let (watcher, mut bytes) = (Arc::clone(&self.watcher), 0);
        let stream = stream.map_err(OciDistributionError::from).inspect_ok(move |piece| {
            bytes += piece.len() as u64;
            watcher(Progress { digest, bytes, total });
        });
        let digest = digest.to_string();
        let sent = self.client.push_blob_stream(reference, stream, &digest, Some(total));
        sent.await.map(drop).map_err(|error| remote_error(&what, error))
    }
}

async fn put(
    store: &Arc<Store>,
    name: &RepositoryName,
    tag: Option<&Tag>,
    kind: &str,
    content: Vec<u8>,
) -> Result<Digest, Error> {
    let (store, name, tag, kind) = (Arc::clone(store), name.clone(), tag.cloned(), kind.to_owned());
    blocking(move || store.put_manifest(&name, tag.as_ref(), &kind, &content)).await
}

async fn manifest(
    store: &Arc<Store>,
    name: &RepositoryName,
    selector: &Selector,
) -> Result<(Digest, String, Vec<u8>), Error> {
    let (store, name, selector) = (Arc::clone(store), name.clone(), selector.clone());
    blocking(move || store.manifest(&name, &selector)).await
}

fn check(expected: Digest, found: Digest) -> Result<(), Error> {
    if found == expected { Ok(()) } else { Err(Error::DigestMismatch { expected, found }) }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::Remote { what: "a task".to_owned(), source: error.into() }),
    }
}

fn disk(digest: Digest, source: io::Error) -> Error {
    match source.downcast::<Error>() {
        Ok(ours) => ours,
        Err(source) => Error::Disk { path: digest.to_string().into(), source },
    }
}

fn remote_error(what: &str, error: OciDistributionError) -> Error {
    let source = match error {
        // The registry's own words tell users more than the library's about them.
        OciDistributionError::RegistryError { envelope, .. }
            if envelope.errors.iter().any(|one| !one.message.is_empty()) =>
        {
            let said: Vec<_> = envelope.errors.into_iter().map(|one| one.message).collect();
            said.join("; ").into()
        }
        OciDistributionError::ServerError { code, ref message, .. } => match words(message) {
            Some(said) => said.into(),
            None => format!("the registry answered with status {code}").into(),
        },
        other => with_causes(&other).into(),
    };
    Error::Remote { what: what.to_owned(), source }
}

/// What a registry says in the specification's form of errors ("Error Codes").
fn words(body: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    let said = body.get("errors")?.as_array()?.iter().filter_map(|error| error.get("message")?.as_str());
    let said: Vec<_> = said.filter(|message| !message.is_empty()).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// An error with what caused it: why a connection failed is told by none but the last.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.map(ToString::to_string).fold(error.to_string(), |text, cause| {
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_registrys_words_and_not_in_json() {
        let refused = |message: &str| {
            let (message, url) = (message.to_owned(), "http://r.test/v2/".to_owned());
            remote_error("push", OciDistributionError::ServerError { code: 500, url, message }).to_string()
        };
        let body = r#"{"errors": [{"code": "UNKNOWN", "message": "no space"}, {"message": "at all"}]}"#;
        assert_eq!(refused(body), "push: no space; at all");
        for other in ["", "<html>", "{}", r#"{"errors": [{}]}"#] {
            assert_eq!(refused(other), "push: the registry answered with status 500");
        }
    }

    #[test]
    fn the_last_cause_is_told_too() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);
        assert_eq!(with_causes(&Outer(io::Error::other("inner"))), "outer: inner");
        let quoted = Error::Disk { path: "x".into(), source: io::Error::other("inner") };
        assert_eq!(with_causes(&quoted).matches("inner").count(), 1);
    }
}
