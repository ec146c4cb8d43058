use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::format;

/// Lets objects of other namespaces refer to objects in this one.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    annotation("api-approved.kubernetes.io", "https://github.com/kubernetes-sigs/gateway-api/pull/4530"),
    annotation("gateway.networking.k8s.io/bundle-version", "v1.6.1"),
    annotation("gateway.networking.k8s.io/channel", "standard"),
    group = "gateway.networking.k8s.io",
    version = "v1beta1",
    kind = "ReferenceGrant",
    namespaced,
    shortname = "refgrant",
    category = "gateway-api",
    derive = "PartialEq",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct ReferenceGrantSpec {
    /// Who may refer.
    #[schemars(length(min = 1, max = 16))]
    pub from: Vec<ReferenceGrantFrom>,
    /// To what.
    #[schemars(length(min = 1, max = 16))]
    pub to: Vec<ReferenceGrantTo>,
}

/// Objects that may refer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ReferenceGrantFrom {
    /// Their API group; `""` is the core group.
    #[schemars(with = "format::Group")]
    pub group: String,
    /// Their kind.
    #[schemars(with = "format::Kind")]
    pub kind: String,
    /// Their namespace.
    #[schemars(with = "format::Namespace")]
    pub namespace: String,
}

/// Objects that may be referred to, in the grant's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ReferenceGrantTo {
    /// Their API group; `""` is the core group.
    #[schemars(with = "format::Group")]
    pub group: String,
    /// Their kind.
    #[schemars(with = "format::Kind")]
    pub kind: String,
    /// One of them; all of the kind where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "format::Name")]
    pub name: Option<String>,
}

impl ReferenceGrantSpec {
    /// Whether objects of (`group`, `kind`) in `namespace` may refer to the object `name` of (`to_group`, `to_kind`).
    pub fn permits(&self, from: &ReferenceGrantFrom, to_group: &str, to_kind: &str, name: &str) -> bool {
        self.from.contains(from)
            && self.to.iter().any(|to| {
                to.group == to_group
                    && to.kind == to_kind
                    && to.name.as_deref().is_none_or(|only| only == name)
            })
    }
}
