use super::*;
use crate::sample::{Sample, object as named, request};
use serde_json::json;

fn namespace(labels: Value) -> Value {
    let mut namespace = named("", "default");
    namespace["metadata"]["labels"] = labels;
    namespace
}

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": spec})
}

fn hardened() -> Value {
    let own = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "securityContext": own}],
    })
}

/// What is wrong with a pod by a standard such as `baseline:v1.30`.
fn wrong(standard: &str, spec: Value) -> String {
    let (level, version) = standard.split_once(':').unwrap();
    let labels = json!({"pod-security.kubernetes.io/enforce": level, "pod-security.kubernetes.io/enforce-version": version});
    let (policy, errors) = Policy::of(labels.as_object());
    assert_eq!(errors, []);
    assert_eq!(policy.enforce.to_string(), standard);
    details(&Pod::new(&pod(spec)).judge(policy.enforce))
}

async fn tell(
    sample: &Sample,
    resource: &str,
    group: &str,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), String> {
    let operation = if old.is_some() { Operation::Update } else { Operation::Create };
    let request = request(operation, group, resource);
    let case = Case { old, ..sample.case(&request) };
    assert!(PodSecurity.handles(&request));
    PodSecurity.validate(case, new).await.map_err(|status| status.message)
}

#[test]
fn restricted_tells_all_that_is_missing() {
    assert_eq!(
        wrong("restricted:latest", json!({"containers": [{"name": "a"}, {"name": "b"}]})),
        "allowPrivilegeEscalation != false (containers \"a\", \"b\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (containers \"a\", \"b\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or containers \"a\", \"b\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or containers \"a\", \"b\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    assert_eq!(wrong("restricted:latest", hardened()), "");
}

#[test]
fn each_rule_of_baseline_bites() {
    let container = |more: Value| {
        let mut container = json!({"name": "c"});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"containers": [container]})
    };
    let secure = |context: Value| container(json!({"securityContext": context}));
    for (spec, told) in [
        (json!({"hostPID": true, "hostNetwork": true}), "host namespaces (hostNetwork, hostPID)"),
        (json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), "hostPath volumes (volume \"v\")"),
        (
            container(json!({"ports": [{"containerPort": 1, "hostPort": 80}]})),
            "hostPort (container \"c\" uses hostPort 80)",
        ),
        (
            container(json!({"livenessProbe": {"httpGet": {"host": "example.org"}}})),
            "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"example.org\")",
        ),
        (
            secure(json!({"privileged": true})),
            "privileged (container \"c\" must not set securityContext.privileged=true)",
        ),
        (
            secure(json!({"capabilities": {"add": ["SYS_ADMIN", "CHOWN"]}})),
            "non-default capabilities (container \"c\" must not include \"SYS_ADMIN\" in securityContext.capabilities.add)",
        ),
        (
            secure(json!({"procMount": "Unmasked"})),
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            secure(json!({"seccompProfile": {"type": "Unconfined"}})),
            "seccompProfile (container \"c\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            json!({"securityContext": {"seLinuxOptions": {"type": "spc_t", "user": "u"}}}),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not be set)",
        ),
        (
            json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax"}]}}),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            json!({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}),
            "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
        ),
    ] {
        assert_eq!(wrong("baseline:latest", spec), told);
    }
}

#[test]
fn each_rule_of_restricted_bites() {
    let with = |path: &[&str], value: Value| {
        let mut spec = hardened();
        object::set(&mut spec, path, value);
        wrong("restricted:latest", spec)
    };
    assert_eq!(
        with(&["securityContext", "runAsUser"], json!(0)),
        "runAsUser=0 (pod must not set runAsUser=0)"
    );
    assert_eq!(
        with(&["securityContext", "runAsNonRoot"], json!(false)),
        "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"
    );
    assert_eq!(
        with(
            &["volumes"],
            json!([{"name": "v", "nfs": {"server": "s", "path": "/"}}, {"name": "e", "emptyDir": {}}])
        ),
        "restricted volume types (volume \"v\" uses restricted volume type \"nfs\")"
    );
    assert_eq!(
        with(&["securityContext", "seccompProfile", "type"], json!("Unconfined")),
        "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")"
    );
}

#[test]
fn a_version_of_the_standards_stays_what_it_was() {
    let bare = json!({"containers": [{"name": "c"}]});
    assert_eq!(
        wrong("restricted:v1.7", bare),
        "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)"
    );
    let reserved = json!({"securityContext": {"sysctls": [{"name": "net.ipv4.ip_local_reserved_ports"}]}});
    assert_eq!(
        wrong("baseline:v1.26", reserved.clone()),
        "forbidden sysctls (net.ipv4.ip_local_reserved_ports)"
    );
    assert_eq!(wrong("baseline:v1.27", reserved), "");
    let mut windows = hardened();
    windows["os"] = json!({"name": "windows"});
    windows["containers"] = json!([{"name": "c"}]);
    assert_eq!(wrong("restricted:v1.25", windows.clone()), "");
    assert!(wrong("restricted:v1.24", windows).contains("allowPrivilegeEscalation"));
    let mut own = hardened();
    own["hostUsers"] = json!(false);
    own["securityContext"]["runAsNonRoot"] = json!(false);
    assert_eq!(wrong("restricted:latest", own.clone()), "");
    assert!(wrong("restricted:v1.34", own).starts_with("runAsNonRoot"));
}

#[tokio::test]
async fn pods_are_refused_and_those_who_make_pods_are_warned() {
    let labels = json!({"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "baseline"});
    let sample = Sample::with("", "namespaces", [namespace(labels)]);
    let spec = json!({"containers": [{"name": "c"}], "hostNetwork": true});
    assert_eq!(
        tell(&sample, "pods", "", None, &pod(spec.clone())).await.unwrap_err(),
        "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork)"
    );
    assert!(sample.notes.warnings().is_empty());
    let job =
        json!({"metadata": {"name": "j"}, "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}});
    assert_eq!(tell(&sample, "cronjobs", "batch", None, &job).await, Ok(()));
    assert_eq!(
        sample.notes.warnings(),
        ["would violate PodSecurity \"baseline:latest\": host namespaces (hostNetwork)"]
    );
}

#[tokio::test]
async fn a_pod_that_was_let_in_may_change_in_what_does_not_matter() {
    let labels = json!({"pod-security.kubernetes.io/enforce": "baseline"});
    let sample = Sample::with("", "namespaces", [namespace(labels)]);
    let old = pod(json!({"containers": [{"name": "c", "image": "a"}], "hostNetwork": true}));
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(tell(&sample, "pods", "", Some(&old), &new).await, Ok(()));
    new["spec"]["containers"][0]["image"] = json!("b");
    assert!(tell(&sample, "pods", "", Some(&old), &new).await.is_err());
}

#[tokio::test]
async fn labels_must_be_understood_and_stricter_ones_tell_of_the_pods_that_are_there() {
    let mut sample = Sample::default();
    let unknown = namespace(json!({"pod-security.kubernetes.io/enforce": "strict"}));
    assert_eq!(
        tell(&sample, "namespaces", "", None, &unknown).await.unwrap_err(),
        "Namespace \"default\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": \
         must be one of privileged, baseline, restricted"
    );
    assert_eq!(tell(&sample, "namespaces", "", Some(&unknown), &unknown).await, Ok(()));
    let bad = |name: &str| {
        let mut bad = named("default", name);
        bad["spec"] = json!({"hostPID": true});
        bad
    };
    sample.add("", "pods", [bad("b"), bad("a"), bad("c")]);
    let new = namespace(json!({"pod-security.kubernetes.io/enforce": "baseline"}));
    assert_eq!(tell(&sample, "namespaces", "", Some(&namespace(json!({}))), &new).await, Ok(()));
    assert_eq!(
        sample.notes.warnings(),
        [
            "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "a (and 2 other pods): host namespaces",
        ]
    );
}
