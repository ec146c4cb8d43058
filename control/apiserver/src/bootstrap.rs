//! What every cluster has from its first moment on.

use serde_json::{Value, json};
use xebec_machinery::status::Status;

use crate::api::Api;
use crate::backoff::Backoff;
use crate::call::Call;
use crate::codec::Decoded;
use crate::follow::Followed;
use crate::key;
use crate::options::Options;
use crate::request::{ResourceRequest, Verb};
use crate::user::{ADMINISTRATORS, SERVER, User};

/// Who owns the fields of what the API makes itself, as upstream names it.
const MANAGER: &str = "kube-apiserver";
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// The priorities of what the cluster itself cannot do without.
const PRIORITY_CLASSES: [(&str, u32, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "For pods that the cluster cannot do without, on whatever node.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "For pods that their node cannot do without, and that stay on it.",
    ),
];

/// The Service under which the API itself is reached.
struct OwnService<'a> {
    api: &'a Api,
    port: u16,
}

impl Followed for OwnService<'_> {
    const NAME: &'static str = "the API's own Service";

    async fn follow(&mut self, backoff: &mut Backoff) -> Result<(), Status> {
        let Self { api, port } = *self;
        let served = api.catalog().served();
        let Some(services) = served.find("", "services") else { return Ok(()) };
        let prefix = key::prefix("", "services", Some("default"));
        let mut watch = api.storage().watch(services, &prefix, Some(api.storage().revision()))?;
        loop {
            api.ensure_service(port).await?;
            backoff.reset();
            if !api.changed(&mut watch, services).await? {
                return Ok(());
            }
        }
    }
}

impl Api {
    /// Reads what is stored into memory and makes what is missing of the things that every cluster has. `port` is where
    /// the API itself is reached.
    pub async fn prepare(&self, port: u16) -> Result<(), Status> {
        self.load_definitions()?;
        self.note_addresses()?;
        self.prepare_ip_addresses().await?;
        let namespaces = self.own_call("", "v1", "namespaces", None)?;
        for name in NAMESPACES {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            self.ensure(&namespaces, namespace).await?;
        }
        // Each takes some ways to the disk, which they share.
        let flows = async {
            self.prepare_flow_control().await?;
            self.begin_flow_control().await
        };
        tokio::try_join!(self.prepare_roles(), flows, self.register_built_in())?;
        self.tell_trust().await?;
        let classes = self.own_call("scheduling.k8s.io", "v1", "priorityclasses", None)?;
        for (name, value, description) in PRIORITY_CLASSES {
            let class = json!({
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": name},
                "value": value,
                "description": description,
            });
            self.ensure(&classes, class).await?;
        }
        self.ensure_service_cidr().await?;
        self.ensure_service(port).await
    }

    /// Keeps the Service under which the API itself is reached, until the API stops.
    pub async fn serve_service(&self, port: u16) {
        self.keep_following(OwnService { api: self, port }).await;
    }

    async fn ensure_service(&self, port: u16) -> Result<(), Status> {
        let services = self.own_call("", "v1", "services", Some("default"))?;
        if self.storage().find(&services.resource, Some("default"), "kubernetes")?.is_some() {
            return Ok(());
        }
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "kubernetes",
                "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "clusterIP": self.cluster_ips().range().first().to_string(),
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
            },
        });
        self.ensure(&services, service).await
    }

    /// A creation by the API itself.
    pub(crate) fn own_call(
        &self,
        group: &str,
        version: &str,
        plural: &str,
        namespace: Option<&str>,
    ) -> Result<Call, Status> {
        let request = ResourceRequest {
            verb: Verb::Create,
            group: group.to_owned(),
            version: version.to_owned(),
            resource: plural.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: None,
            subresource: None,
            options: Options::default(),
        };
        let user = User::new(SERVER, [ADMINISTRATORS]);
        Call::new(request, &self.catalog().served(), user, MANAGER)
    }

    /// Makes an object that may be there already.
    pub(crate) async fn ensure(&self, call: &Call, object: Value) -> Result<(), Status> {
        match self.create(call, Decoded::own(object)).await {
            Err(status) if status.code() == 409 => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}
