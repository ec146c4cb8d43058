//! What every cluster has from its first moment on.

use serde_json::{Value, json};
use xebec_machinery::status::Status;

use crate::api::Api;
use crate::call::Call;
use crate::codec::Decoded;
use crate::options::Options;
use crate::request::{ResourceRequest, Verb};
use crate::user::{ADMINISTRATORS, User};

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

impl Api {
    /// Reads what is stored into memory and makes what is missing of the things that every cluster has. `port` is where
    /// the API itself is reached.
    pub async fn prepare(&self, port: u16) -> Result<(), Status> {
        self.load_definitions()?;
        self.note_addresses()?;
        for name in NAMESPACES {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            self.ensure("namespaces", None, namespace).await?;
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
        self.ensure("services", Some("default"), service).await
    }

    async fn ensure(&self, plural: &str, namespace: Option<&str>, object: Value) -> Result<(), Status> {
        let request = ResourceRequest {
            verb: Verb::Create,
            group: String::new(),
            version: "v1".to_owned(),
            resource: plural.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: None,
            subresource: None,
            rest: None,
            options: Options::default(),
        };
        let user = User::new("system:apiserver", [ADMINISTRATORS]);
        let call = Call::new(request, &self.catalog().served(), user, "xebec")?;
        match self.create(&call, Decoded { object, doubled: Vec::new() }).await {
            Err(status) if status.code() == 409 => Ok(()),
            // The service's address is the API's own already.
            Err(status) if status.code() == 422 && self.exists(&call, plural, namespace)? => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    fn exists(&self, call: &Call, plural: &str, namespace: Option<&str>) -> Result<bool, Status> {
        Ok(plural == "services" && self.storage().find(&call.resource, namespace, "kubernetes")?.is_some())
    }
}
