//! Which image a container means, and where on this machine it would be.
//!
//! The built-in registry is a registry like any other, and the store behind it also keeps what was pulled from others. A
//! name that leads elsewhere is kept under the other registry's host as the first part of its repository; it is found there
//! first, then under its own name alone, so that images of any origin can be loaded by hand. A name without a registry is
//! looked for in the built-in one, and otherwise means `docker.io`, as everywhere.

use std::net::SocketAddr;
use std::sync::Arc;

use xebec_oci::image::{Content, Platform, Resolved, resolve};
use xebec_oci::{Reference, RepositoryName, Store};

use crate::Error;

/// The registry that a name without one means, if the built-in one does not have it.
const DOCKER: &str = "docker.io";

/// An image that is in the store.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) name: RepositoryName,
    pub(crate) resolved: Resolved,
    /// `registry/repository@digest`.
    pub(crate) id: String,
}

impl Found {
    pub(crate) fn is_wasm(&self) -> bool {
        matches!(self.resolved.content, Content::Wasm(_))
    }

    /// Bytes of its layers and configuration.
    pub(crate) fn size(&self) -> u64 {
        let manifest = &self.resolved.manifest;
        // The sizes are the image's own claims.
        manifest.layers.iter().chain([&manifest.config]).fold(0, |sum, blob| sum.saturating_add(blob.size))
    }
}

/// When an image is fetched although it may be here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Always,
    IfNotPresent,
    Never,
}

impl Policy {
    /// The policy by its name; without one, a moving tag is asked for each time.
    pub(crate) fn of(text: Option<&str>, wanted: &Wanted) -> Self {
        match text {
            Some("Always") => Self::Always,
            Some("Never") => Self::Never,
            Some(_) => Self::IfNotPresent,
            None if wanted.reference.selector().to_string() == "latest" => Self::Always,
            None => Self::IfNotPresent,
        }
    }
}

/// Where a name leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The built-in registry, and nowhere else.
    Own,
    /// The built-in registry, then Docker's.
    Unnamed,
    /// Another registry.
    Other,
}

/// An image as a container names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) text: String,
    /// With everything filled in that the text leaves out.
    pub(crate) reference: Reference,
    origin: Origin,
    own: Option<SocketAddr>,
    /// The repository as it was written.
    plain: RepositoryName,
}

impl Wanted {
    /// Reads an image's name. `own` is where the built-in registry is reached.
    pub(crate) fn parse(text: &str, own: Option<SocketAddr>) -> Result<Self, Error> {
        let refused = |error: xebec_oci::Error| Error::ImageName {
            image: text.to_owned(),
            detail: format!("invalid reference format: {error}"),
        };
        let mut reference = Reference::parse(text, "").map_err(refused)?;
        let plain = reference.name.clone();
        let origin = match reference.registry.as_str() {
            "" => Origin::Unnamed,
            host if is_own(host, own) => Origin::Own,
            _ => Origin::Other,
        };
        if matches!(reference.registry.as_str(), "" | "index.docker.io" | "registry-1.docker.io") {
            reference.registry = DOCKER.to_owned();
        }
        if reference.registry == DOCKER && !reference.name.as_str().contains('/') {
            reference.name = format!("library/{}", reference.name).parse().map_err(refused)?;
        }
        Ok(Self { text: text.to_owned(), reference, origin, own, plain })
    }

    /// The name in full, as statuses tell it once the image is here.
    pub(crate) fn normal(&self) -> String {
        if self.origin != Origin::Other {
            return self.text.clone();
        }
        let Reference { registry, name, .. } = &self.reference;
        let selector = self.reference.selector().to_string();
        format!("{registry}/{name}{}{selector}", if self.reference.digest.is_some() { "@" } else { ":" })
    }

    /// Whether there is another registry to ask.
    pub(crate) fn has_remote(&self) -> bool {
        self.origin != Origin::Own
    }

    /// Where what was pulled of it is kept.
    pub(crate) fn kept(&self) -> Result<RepositoryName, Error> {
        // A repository's name has no colon.
        let host = self.reference.registry.replace(':', "_").to_lowercase();
        format!("{host}/{}", self.reference.name).parse().map_err(|error: xebec_oci::Error| {
            Error::ImageName { image: self.text.clone(), detail: error.to_string() }
        })
    }

    /// The image, if it is here. `fresh` leaves out what was pulled before, since it may have changed.
    pub(crate) fn find(&self, store: &Arc<Store>, fresh: bool) -> Result<Option<Found>, Error> {
        let own = (self.origin != Origin::Other).then(|| self.plain.clone());
        let by_hand = (self.origin == Origin::Other && !fresh).then(|| self.plain.clone());
        let kept = (self.origin != Origin::Own && !fresh).then(|| self.kept()).transpose()?;
        for name in own.into_iter().chain(kept).chain(by_hand) {
            if let Some(found) = self.look(store, &name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The image in this repository of the store.
    pub(crate) fn look(&self, store: &Arc<Store>, name: &RepositoryName) -> Result<Option<Found>, Error> {
        let refused =
            |error: xebec_oci::Error| Error::Image { image: self.text.clone(), detail: error.to_string() };
        let selector = self.reference.selector();
        let resolved = match resolve(store, name, &selector, &Platform::host()) {
            Err(xebec_oci::Error::ManifestUnknown { .. }) => return Ok(None),
            resolved => resolved.map_err(refused)?,
        };
        let (digest, ..) = store.manifest(name, &selector).map_err(refused)?;
        let id = match (self.origin, self.own) {
            (Origin::Other, _) => format!("{}/{}@{digest}", self.reference.registry, self.reference.name),
            _ if *name != self.plain => {
                format!("{}/{}@{digest}", self.reference.registry, self.reference.name)
            }
            (_, Some(own)) => format!("{own}/{name}@{digest}"),
            (_, None) => format!("{name}@{digest}"),
        };
        Ok(Some(Found { name: name.clone(), resolved, id }))
    }
}

/// Whether a host means the built-in registry: this machine, and its port or none.
fn is_own(host: &str, own: Option<SocketAddr>) -> bool {
    if own.is_some_and(|own| own.to_string() == host) {
        return true;
    }
    let (name, port) = host.rsplit_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let is_here = name == "localhost" || name == "127.0.0.1";
    is_here && port.is_none_or(|port| own.is_some_and(|own| own.port().to_string() == port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    const OWN: Option<SocketAddr> =
        Some(SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5000));

    #[test]
    fn names_are_filled_in_as_everywhere() {
        for (text, registry, name, selector) in [
            ("redis", "docker.io", "library/redis", "latest"),
            ("demo/hello:v1", "docker.io", "demo/hello", "v1"),
            ("docker.io/redis:7", "docker.io", "library/redis", "7"),
            ("index.docker.io/a/b", "docker.io", "a/b", "latest"),
            ("quay.io/a/b:c", "quay.io", "a/b", "c"),
            ("127.0.0.1:5001/x", "127.0.0.1:5001", "x", "latest"),
        ] {
            let wanted = Wanted::parse(text, OWN).unwrap();
            let found = &wanted.reference;
            assert_eq!(
                (found.registry.as_str(), found.name.as_str(), found.selector().to_string().as_str()),
                (registry, name, selector),
                "{text}"
            );
        }
        assert_eq!(Wanted::parse("quay.io/a/b", OWN).unwrap().normal(), "quay.io/a/b:latest");
        assert_eq!(Wanted::parse("docker.io/redis:7", OWN).unwrap().normal(), "docker.io/library/redis:7");
        assert_eq!(Wanted::parse("demo/hello:v1", OWN).unwrap().normal(), "demo/hello:v1");
    }

    #[test]
    fn what_is_no_name_is_refused_as_the_kubelet_does() {
        for text in ["", "UPPER", "a//b", "a:b:c", "a@sha256:1"] {
            let refused = Wanted::parse(text, OWN).unwrap_err();
            assert_eq!(refused.reason(), "InvalidImageName", "{text}");
            let begins = format!(
                "Failed to apply default image tag {text:?}: couldn't parse image name {text:?}: invalid reference format"
            );
            assert!(refused.to_string().starts_with(&begins), "{refused}");
        }
    }

    #[test]
    fn the_built_in_registry_is_known_by_its_address() {
        for (text, has_remote) in [
            ("localhost:5000/a", false),
            ("127.0.0.1:5000/a", false),
            ("localhost/a", false),
            ("localhost:5001/a", true),
            ("a", true),
        ] {
            assert_eq!(Wanted::parse(text, OWN).unwrap().has_remote(), has_remote, "{text}");
        }
    }

    #[test]
    fn a_moving_tag_is_asked_for_each_time() {
        let policy = |text: &str, own| Policy::of(own, &Wanted::parse(text, OWN).unwrap());
        assert_eq!(policy("a", None), Policy::Always);
        assert_eq!(policy("a:v1", None), Policy::IfNotPresent);
        assert_eq!(policy("a:latest", Some("IfNotPresent")), Policy::IfNotPresent);
        assert_eq!(policy("a:v1", Some("Never")), Policy::Never);
    }
}
