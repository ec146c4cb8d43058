//! How servers behind this one know that a request comes from it, and whom it is for: a ConfigMap that all of them read.

use serde_json::{Value, json};
use xebec_machinery::status::Status;

use crate::api::Api;
use crate::backoff::Backoff;
use crate::call::Call;
use crate::codec::Decoded;
use crate::follow::Followed;
use crate::key;
use crate::pki::Credential;
use crate::request::Verb;
use crate::storage;
use crate::strategy::Part;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";
/// The name on the certificate under which requests are passed on.
pub(crate) const FRONT_PROXY: &str = "front-proxy-client";

/// The certificates by which this server and those behind it know each other, and those by which clients are known.
#[derive(Clone)]
pub struct Trust {
    client_authority: String,
    proxy_authority: String,
    pub(super) proxy: Credential,
}

impl Trust {
    /// The name that the certificate of [`Trust::new`]'s `proxy` must be for.
    pub const PROXY: &str = FRONT_PROXY;

    /// The authority that signs for clients, the one that signs for nobody but this server as the one who passes requests
    /// on, and what that one has signed.
    pub fn new(client_authority: &str, proxy_authority: &str, proxy: Credential) -> Self {
        Self {
            client_authority: client_authority.to_owned(),
            proxy_authority: proxy_authority.to_owned(),
            proxy,
        }
    }

    /// What the ConfigMap says. Lists are JSON within text, as upstream has it.
    fn data(&self) -> Value {
        json!({
            "client-ca-file": self.client_authority,
            "requestheader-allowed-names": format!("[{FRONT_PROXY:?}]"),
            "requestheader-client-ca-file": self.proxy_authority,
            "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
            "requestheader-group-headers": "[\"X-Remote-Group\"]",
            "requestheader-uid-headers": "[\"X-Remote-Uid\"]",
            "requestheader-username-headers": "[\"X-Remote-User\"]",
        })
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trust")
    }
}

/// The ConfigMap.
struct Told<'a>(&'a Api);

impl Followed for Told<'_> {
    const NAME: &'static str = "the ConfigMap for extension servers";

    async fn follow(&mut self, backoff: &mut Backoff) -> Result<(), Status> {
        let api = self.0;
        let served = api.catalog().served();
        let Some(maps) = served.find("", "configmaps") else { return Ok(()) };
        let key = key::object("", "configmaps", Some(NAMESPACE), NAME);
        let mut watch = api.storage().watch(maps, &key, Some(api.storage().revision()))?;
        loop {
            api.tell_trust().await?;
            backoff.reset();
            if !api.changed(&mut watch, maps).await? {
                return Ok(());
            }
        }
    }
}

impl Api {
    /// From now on, requests to other servers are passed on under these certificates. To be called before
    /// [`Api::prepare`].
    pub fn set_trust(&self, trust: Trust) {
        self.aggregation().set_trust(trust);
    }

    /// Keeps what servers behind this one know it by, until the API stops.
    pub(super) async fn keep_trust(&self) {
        self.keep_following(Told(self)).await;
    }

    pub(crate) async fn tell_trust(&self) -> Result<(), Status> {
        let Some(trust) = self.aggregation().trust() else { return Ok(()) };
        let making = self.own_call("", "v1", "configmaps", Some(NAMESPACE))?;
        let mut wanted = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "data": trust.data(),
        });
        let Some(found) = self.storage().find(&making.resource, Some(NAMESPACE), NAME)? else {
            return self.ensure(&making, wanted).await;
        };
        if found.object.get("data") == wanted.get("data") {
            return Ok(());
        }
        wanted["metadata"] = found.object["metadata"].clone();
        let call = Call::own(making.resource, Verb::Update, Some(NAMESPACE), NAME);
        storage::unless_late(self.update(&call, Part::Main, Decoded::own(wanted)).await).map(drop)
    }
}
