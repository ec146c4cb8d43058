//! Which kinds judge the metadata of a changed object again, beside what all kinds do: upstream tells a fault as often as
//! it finds it.

/// What is judged again of the metadata of a changed object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Again {
    /// How it changed.
    pub change: bool,
    /// What it is.
    pub whole: bool,
}

/// What this kind judges again.
pub fn again(group: &str, kind: &str) -> Again {
    let both = Again { change: true, whole: true };
    let change = Again { change: true, whole: false };
    let whole = Again { change: false, whole: true };
    match (group, kind) {
        ("", "LimitRange" | "PodTemplate")
        | ("events.k8s.io" | "admissionregistration.k8s.io" | "flowcontrol.apiserver.k8s.io", _) => whole,
        ("", "Service" | "ResourceQuota" | "ReplicationController")
        | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("batch", "CronJob")
        | ("networking.k8s.io", "NetworkPolicy" | "ServiceCIDR")
        | ("storage.k8s.io", "CSIDriver" | "CSINode" | "VolumeAttachment")
        | ("resource.k8s.io", "ResourceSlice")
        | ("autoscaling" | "scheduling.k8s.io" | "coordination.k8s.io" | "discovery.k8s.io", _) => change,
        ("", "Event") => Again::default(),
        ("" | "apps" | "batch" | "networking.k8s.io" | "storage.k8s.io", _)
        | ("node.k8s.io" | "rbac.authorization.k8s.io" | "resource.k8s.io", _) => both,
        _ => Again::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_judge_metadata_as_often_as_upstream() {
        assert_eq!(again("", "Pod"), Again { change: true, whole: true });
        assert_eq!(again("", "Service"), Again { change: true, whole: false });
        assert_eq!(again("", "LimitRange"), Again { change: false, whole: true });
        assert_eq!(again("policy", "PodDisruptionBudget"), Again::default());
    }
}
