//! Which columns belong to which built-in kind.

use super::{Heading, Kind, Row, cluster, devices, flow, network, pods, storage, workloads};

const fn kind(
    group: &'static str,
    name: &'static str,
    headings: &'static [Heading],
    fill: fn(&mut Row<'_>),
) -> Kind {
    Kind { group, name, headings, fill }
}

/// The kinds without columns of their own.
static PLAIN: Kind = kind("", "", cluster::PLAIN, cluster::plain);

static KINDS: &[Kind] = &[
    kind("", "ComponentStatus", cluster::COMPONENT_STATUS, cluster::component_status),
    kind("", "ConfigMap", cluster::CONFIG_MAP, cluster::config_map),
    kind("", "Endpoints", network::ENDPOINTS, network::endpoints),
    kind("", "Event", cluster::EVENT, cluster::event),
    kind("", "Namespace", cluster::NAMESPACE, cluster::namespace),
    kind("", "Node", cluster::NODE, cluster::node),
    kind("", "PersistentVolume", storage::VOLUME, storage::volume),
    kind("", "PersistentVolumeClaim", storage::CLAIM, storage::claim),
    kind("", "Pod", pods::HEADINGS, pods::fill),
    kind("", "PodTemplate", workloads::POD_TEMPLATE, workloads::pod_template),
    kind("", "ReplicationController", workloads::REPLICA_SET, workloads::replication_controller),
    kind("", "ResourceQuota", cluster::RESOURCE_QUOTA, cluster::resource_quota),
    kind("", "Secret", cluster::SECRET, cluster::secret),
    kind("", "Service", network::SERVICE, network::service),
    kind("", "ServiceAccount", cluster::SERVICE_ACCOUNT, cluster::service_account),
    kind("apps", "ControllerRevision", workloads::CONTROLLER_REVISION, workloads::controller_revision),
    kind("apps", "DaemonSet", workloads::DAEMON_SET, workloads::daemon_set),
    kind("apps", "Deployment", workloads::DEPLOYMENT, workloads::deployment),
    kind("apps", "ReplicaSet", workloads::REPLICA_SET, workloads::replica_set),
    kind("apps", "StatefulSet", workloads::STATEFUL_SET, workloads::stateful_set),
    kind("autoscaling", "HorizontalPodAutoscaler", workloads::AUTOSCALER, workloads::autoscaler),
    kind("autoscaling", "Scale", workloads::SCALE, workloads::scale),
    kind("batch", "CronJob", workloads::CRON_JOB, workloads::cron_job),
    kind("batch", "Job", workloads::JOB, workloads::job),
    kind("policy", "PodDisruptionBudget", workloads::DISRUPTION_BUDGET, workloads::disruption_budget),
    kind("discovery.k8s.io", "EndpointSlice", network::ENDPOINT_SLICE, network::endpoint_slice),
    kind("networking.k8s.io", "Ingress", network::INGRESS, network::ingress),
    kind("networking.k8s.io", "IngressClass", network::INGRESS_CLASS, network::ingress_class),
    kind("networking.k8s.io", "IPAddress", network::IP_ADDRESS, network::ip_address),
    kind("networking.k8s.io", "NetworkPolicy", network::NETWORK_POLICY, network::network_policy),
    kind("networking.k8s.io", "ServiceCIDR", network::SERVICE_CIDR, network::service_cidr),
    kind(
        "certificates.k8s.io",
        "CertificateSigningRequest",
        cluster::SIGNING_REQUEST,
        cluster::signing_request,
    ),
    kind("events.k8s.io", "Event", cluster::EVENT, cluster::event),
    kind("coordination.k8s.io", "Lease", cluster::LEASE, cluster::lease),
    kind("rbac.authorization.k8s.io", "ClusterRoleBinding", cluster::ROLE_BINDING, cluster::role_binding),
    kind("rbac.authorization.k8s.io", "RoleBinding", cluster::ROLE_BINDING, cluster::role_binding),
    kind("node.k8s.io", "RuntimeClass", cluster::RUNTIME_CLASS, cluster::runtime_class),
    kind("scheduling.k8s.io", "PriorityClass", cluster::PRIORITY_CLASS, cluster::priority_class),
    kind("storage.k8s.io", "CSIDriver", storage::CSI_DRIVER, storage::csi_driver),
    kind("storage.k8s.io", "CSINode", storage::CSI_NODE, storage::csi_node),
    kind("storage.k8s.io", "CSIStorageCapacity", storage::CSI_CAPACITY, storage::csi_capacity),
    kind("storage.k8s.io", "StorageClass", storage::CLASS, storage::storage_class),
    kind("storage.k8s.io", "VolumeAttachment", storage::ATTACHMENT, storage::attachment),
    kind("storage.k8s.io", "VolumeAttributesClass", storage::ATTRIBUTES_CLASS, storage::attributes_class),
    kind(
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicy",
        cluster::MUTATING_POLICY,
        cluster::mutating_policy,
    ),
    kind(
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicyBinding",
        cluster::POLICY_BINDING,
        cluster::policy_binding,
    ),
    kind(
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        cluster::WEBHOOKS,
        cluster::webhooks,
    ),
    kind(
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicy",
        cluster::VALIDATING_POLICY,
        cluster::validating_policy,
    ),
    kind(
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
        cluster::POLICY_BINDING,
        cluster::policy_binding,
    ),
    kind(
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        cluster::WEBHOOKS,
        cluster::webhooks,
    ),
    kind("flowcontrol.apiserver.k8s.io", "FlowSchema", flow::SCHEMA, flow::schema),
    kind("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", flow::LEVEL, flow::level),
    kind("resource.k8s.io", "DeviceClass", devices::NAMED, devices::named),
    kind("resource.k8s.io", "ResourceClaim", devices::CLAIM, devices::claim),
    kind("resource.k8s.io", "ResourceClaimTemplate", devices::NAMED, devices::named),
    kind("resource.k8s.io", "ResourceSlice", devices::SLICE, devices::slice),
    kind("apiregistration.k8s.io", "APIService", cluster::API_SERVICE, cluster::api_service),
];

/// The table of a built-in kind; one without columns of its own shows its name and when it was made.
pub(super) fn find(group: &str, name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.group == group && kind.name == name).unwrap_or(&PLAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;
    use serde_json::{Value, json};

    #[test]
    fn every_row_has_a_cell_for_each_heading_whatever_the_object_is() {
        for kind in KINDS.iter().chain([&PLAIN]) {
            for object in [json!({}), json!(null), json!({"spec": [], "status": 3, "metadata": "x"})] {
                let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
                let mut row = Row { object: &object, now, cells: Vec::new(), conditions: None };
                (kind.fill)(&mut row);
                assert_eq!(row.cells.len(), kind.headings.len(), "{}", kind.name);
                let flat = |cell: &Value| !cell.is_object() && !cell.is_array();
                assert!(row.cells.iter().all(flat), "{}", kind.name);
            }
        }
    }

    #[test]
    fn every_kind_of_the_table_is_a_built_in_one() {
        let built_in = crate::builtin::resources();
        for kind in KINDS.iter().filter(|kind| kind.name != "Scale") {
            let found = built_in.iter().any(|one| *one.group == *kind.group && *one.kind == *kind.name);
            assert!(found, "{} {}", kind.group, kind.name);
        }
    }
}
