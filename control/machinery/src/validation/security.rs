//! As whom, and with which rights, containers run.

use serde_json::Value;

use super::mount::relative;
use super::{given, invalid, list, names, number, one_of, required, text};
use crate::field::{FieldError, Path};

const ID: &str = "must be between 0 and 2147483647, inclusive";
const SECCOMP: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
const APP_ARMOR_PATH_MAX: usize = 4095;
/// The annotations that were for what is a field now, each with the name of a container.
pub(super) const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const LOCALHOST: &str = "localhost/";

fn is(of: &Value, key: &str, wanted: bool) -> bool {
    of.get(key) == Some(&Value::Bool(wanted))
}

/// Users and groups are numbers of 31 bits.
fn identity(context: &Value, key: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(id) = number(context, key).filter(|id| i32::try_from(*id).is_err() || *id < 0) {
        errors.push(FieldError::invalid(&path.child(key), id, ID));
    }
}

/// All containers of a pod with their places, in the order in which upstream visits them.
fn visit(spec: &Value, path: &Path<'_>, mut visitor: impl FnMut(&Value, &Path<'_>)) {
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        let path = path.child(kind);
        for (at, container) in list(spec, kind).iter().enumerate() {
            visitor(container, &path.index(at));
        }
    }
}

/// `securityContext` of a pod.
pub(super) fn of_pod(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let none = Value::Null;
    let context = given(spec, "securityContext").unwrap_or(&none);
    for key in ["fsGroup", "runAsUser", "runAsGroup"] {
        identity(context, key, path, errors);
    }
    let groups = path.child("supplementalGroups");
    for (at, group) in list(context, "supplementalGroups").iter().enumerate() {
        if let Some(id) = group.as_i64().filter(|id| i32::try_from(*id).is_err() || *id < 0) {
            errors.push(FieldError::invalid(&groups.index(at), id, ID));
        }
    }
    if is(spec, "shareProcessNamespace", true) && is(spec, "hostPID", true) {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(&path.child("shareProcessNamespace"), true, why));
    }
    sysctls(spec, context, path, errors);
    one_of(context, "fsGroupChangePolicy", &["Always", "OnRootMismatch"], path, errors);
    profiles(context, path, errors);
    one_of(context, "supplementalGroupsPolicy", &["Merge", "Strict"], path, errors);
    one_of(context, "seLinuxChangePolicy", &["Recursive"], path, errors);
}

/// The parameters of the kernel that a pod sets for itself.
fn sysctls(spec: &Value, context: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("sysctls");
    let all = list(context, "sysctls");
    for (at, own) in all.iter().enumerate() {
        let (path, name) = (path.index(at), text(own, "name"));
        let place = path.child("name");
        if required(own, "name", &path, errors) {
            let faults = names::sysctl(name);
            if faults.is_empty() && all[..at].iter().any(|other| text(other, "name") == name) {
                errors.push(FieldError::duplicate(&place, name));
            }
            invalid(&place, name, faults, errors);
        }
        let shared = match namespace(name) {
            Some("net") if is(spec, "hostNetwork", true) => "hostNetwork",
            Some("ipc") if is(spec, "hostIPC", true) => "hostIPC",
            _ => continue,
        };
        let why = format!("may not be specified when '{shared}' is true");
        errors.push(FieldError::invalid(&place, name, why));
    }
}

/// Whose a parameter of the kernel is, where not the machine's.
fn namespace(sysctl: &str) -> Option<&'static str> {
    const OF_IPC: [&str; 9] =
        ["sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced", "shm", "msgmax", "msgmnb", "msgmni"];
    let first = sysctl.find(['.', '/']).map(|at| &sysctl[at..=at]);
    let name = if first == Some("/") { sysctl.replace('/', ".") } else { sysctl.to_owned() };
    if name.strip_prefix("kernel.").is_some_and(|name| OF_IPC.contains(&name) || name == "msg")
        || name.starts_with("fs.mqueue.")
    {
        Some("ipc")
    } else if name.starts_with("net.") {
        Some("net")
    } else {
        None
    }
}

/// `securityContext` of a container.
pub(super) fn of_container(context: &Value, pod: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for key in ["runAsUser", "runAsGroup"] {
        identity(context, key, path, errors);
    }
    one_of(context, "procMount", &["Default", "Unmasked"], path, errors);
    if text(context, "procMount") == "Unmasked" && !is(pod, "hostUsers", false) {
        let why = "`hostUsers` must be false to use `Unmasked`";
        errors.push(FieldError::invalid(&path.child("procMount"), "Unmasked", why));
    }
    seccomp(context, path, errors);
    if is(context, "allowPrivilegeEscalation", false) {
        let refused = |what: &str| {
            let why = format!("cannot set `allowPrivilegeEscalation` to false and {what}");
            FieldError::invalid(path, context.clone(), why)
        };
        if is(context, "privileged", true) {
            errors.push(refused("`privileged` to true"));
        }
        let added = given(context, "capabilities").map(|all| list(all, "add")).unwrap_or_default();
        let admins = added.iter().filter(|own| **own == "CAP_SYS_ADMIN");
        errors.extend(admins.map(|_| refused("`capabilities.Add` CAP_SYS_ADMIN")));
    }
    windows(context, path, errors);
    app_armor(context, path, errors);
}

fn profiles(context: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    seccomp(context, path, errors);
    windows(context, path, errors);
    app_armor(context, path, errors);
}

fn seccomp(context: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(profile) = given(context, "seccompProfile") else { return };
    let path = path.child("seccompProfile");
    let place = path.child("type");
    let kind = text(profile, "type");
    match kind {
        "" => errors.push(FieldError::required(&place, "type is required when seccompProfile is set")),
        kind if !SECCOMP.contains(&kind) => errors.push(FieldError::not_supported(&place, kind, &SECCOMP)),
        _ => {}
    }
    let place = path.child("localhostProfile");
    match profile.get("localhostProfile").and_then(Value::as_str) {
        None if kind == "Localhost" => {
            errors.push(FieldError::required(&place, "must be set when seccomp type is Localhost"));
        }
        Some(file) if kind == "Localhost" => relative(file, &place, errors),
        Some(_) => {
            let why = "can only be set when seccomp type is Localhost";
            errors.push(FieldError::invalid(&place, profile.clone(), why));
        }
        None => {}
    }
}

fn app_armor(context: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let Some(profile) = given(context, "appArmorProfile") else { return };
    let path = path.child("appArmorProfile");
    let file = profile.get("localhostProfile").and_then(Value::as_str);
    let (place, kind_place) = (path.child("localhostProfile"), path.child("type"));
    let missing = "must be set when AppArmor type is Localhost";
    match (text(profile, "type"), file) {
        ("Localhost", None | Some("")) => errors.push(FieldError::required(&place, missing)),
        ("Localhost", Some(file)) => {
            if file.trim() != file {
                errors.push(FieldError::invalid(&place, file, "must not be padded with whitespace"));
            }
            if file.len() > APP_ARMOR_PATH_MAX {
                errors.push(FieldError::too_long(&place, APP_ARMOR_PATH_MAX));
            }
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("RuntimeDefault" | "Unconfined", Some(file)) => {
            let why = "can only be set when AppArmor type is Localhost";
            errors.push(FieldError::invalid(&place, file, why));
        }
        ("", _) => {
            errors.push(FieldError::required(&kind_place, "type is required when appArmorProfile is set"));
        }
        (kind, _) => errors.push(FieldError::not_supported(&kind_place, kind, &SECCOMP)),
    }
}

/// What an annotation that is older than the fields says.
pub(super) fn annotation(
    key: &str,
    profile: &str,
    spec: &Value,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
        let path = path.child(key);
        match profile {
            "runtime/default" | "docker/default" | "unconfined" => {}
            profile => match profile.strip_prefix(LOCALHOST) {
                Some(file) => relative(file, &path, errors),
                None => errors.push(FieldError::invalid(&path, profile, "must be a valid seccomp profile")),
            },
        }
    }
    if let Some(name) = key.strip_prefix(APP_ARMOR) {
        let mut is_known = false;
        visit(spec, &Path::ROOT, |container, _| is_known |= text(container, "name") == name);
        if !is_known {
            errors.push(FieldError::invalid(&path.key(key), name, "container not found"));
        }
        if !matches!(profile, "" | "runtime/default" | "unconfined") && !profile.starts_with(LOCALHOST) {
            let why = format!("invalid AppArmor profile name: {profile:?}");
            errors.push(FieldError::invalid(&path.key(key), profile, why));
        }
    }
}

/// What is said to another operating system.
fn windows(context: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    const SPEC_MAX: usize = 64 * 1024;
    let Some(options) = given(context, "windowsOptions") else { return };
    let path = path.child("windowsOptions");
    let part = |key: &str| options.get(key).and_then(Value::as_str);
    if let Some(name) = part("gmsaCredentialSpecName") {
        invalid(&path.child("gmsaCredentialSpecName"), name, names::subdomain(name), errors);
    }
    if let Some(spec) = part("gmsaCredentialSpec") {
        let why = match spec.len() {
            0 => Some("gmsaCredentialSpec cannot be an empty string"),
            length if length > SPEC_MAX => Some("gmsaCredentialSpec size must be under 64 KiB"),
            _ => None,
        };
        let path = path.child("gmsaCredentialSpec");
        errors.extend(why.map(|why| FieldError::invalid(&path, spec, why)));
    }
    if let Some(name) = part("runAsUserName") {
        let path = path.child("runAsUserName");
        errors.extend(user_name(name).into_iter().map(|why| FieldError::invalid(&path, name, why)));
    }
}

/// What is wrong with the name of a user, after a domain and `\` or not.
fn user_name(name: &str) -> Vec<&'static str> {
    const DOMAIN_MAX: usize = 256;
    const USER_MAX: usize = 104;
    if name.is_empty() {
        return vec!["runAsUserName cannot be an empty string"];
    }
    if name.chars().any(|letter| letter.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters"];
    }
    let parts: Vec<&str> = name.split('\\').collect();
    let (domain, user) = match parts.as_slice() {
        [user] => (None, *user),
        [domain, user] => (Some(*domain), *user),
        _ => return vec!["runAsUserName cannot contain more than one backslash"],
    };
    let mut found = Vec::new();
    if let Some(domain) = domain {
        if domain.len() >= DOMAIN_MAX {
            found.push("runAsUserName's Domain length must be under 256 characters");
        }
        let letters = domain.chars().count();
        let is_net = (1..=15).contains(&letters)
            && !domain.starts_with('.')
            && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|']);
        let is_label = |label: &str| {
            let bytes = label.as_bytes();
            (1..=63).contains(&bytes.len())
                && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if !is_net && !domain.split('.').all(is_label) {
            found.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
        }
    }
    if user.is_empty() {
        found.push("runAsUserName's User cannot be empty");
    } else if user.len() > USER_MAX {
        found.push("runAsUserName's User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|letter| matches!(letter, '.' | ' ')) {
        found.push("runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        found.push("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
    found
}

/// Of containers that are processes of the machine, a pod has all or none.
pub(super) fn host_processes(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let own = |of: &Value| of.pointer("/securityContext/windowsOptions/hostProcess").and_then(Value::as_bool);
    let of_pod = own(spec);
    let (mut count, mut all) = (0, 0);
    visit(spec, path, |container, path| {
        all += 1;
        let of_container = own(container);
        if let (Some(of_pod), Some(of_container)) = (of_pod, of_container)
            && of_pod != of_container
        {
            let path = path.child("securityContext");
            let path = path.child("windowsOptions");
            let why = format!("pod hostProcess value must be identical if both are specified, was {of_pod}");
            errors.push(FieldError::invalid(&path.child("hostProcess"), of_container, why));
        }
        count += usize::from(of_container.or(of_pod) == Some(true));
    });
    if count == 0 {
        return;
    }
    if count != all {
        let why =
            "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.push(FieldError::invalid(path, "", why));
    }
    if !is(spec, "hostNetwork", true) {
        let why = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.push(FieldError::invalid(&path.child("hostNetwork"), false, why));
    }
}

/// A pod with users of its own shares nothing with the machine that knows users.
pub(super) fn own_users(spec: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if !is(spec, "hostUsers", false) {
        return;
    }
    let why = "when `hostUsers` is false";
    for (key, told) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if is(spec, key, true) {
            errors.push(FieldError::forbidden(&path.child(told), why));
        }
    }
    visit(spec, path, |container, path| {
        if !list(container, "volumeDevices").is_empty() {
            errors.push(FieldError::forbidden(&path.child("volumeDevices"), why));
        }
    });
}

/// What makes no sense for pods of an operating system.
pub(super) fn of_system(spec: &Value, system: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    /// With whether they are in the pod's context.
    const OF_POD: [(bool, &str); 15] = [
        (true, "appArmorProfile"),
        (true, "seLinuxOptions"),
        (false, "hostUsers"),
        (false, "hostPID"),
        (false, "hostIPC"),
        (true, "seccompProfile"),
        (true, "fsGroup"),
        (true, "fsGroupChangePolicy"),
        (true, "sysctls"),
        (false, "shareProcessNamespace"),
        (true, "runAsUser"),
        (true, "runAsGroup"),
        (true, "supplementalGroups"),
        (true, "supplementalGroupsPolicy"),
        (true, "seLinuxChangePolicy"),
    ];
    const OF_CONTAINER: [&str; 10] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
        "runAsGroup",
    ];
    let place = path.child("os");
    let inner = path.child("securityContext");
    let context = spec.get("securityContext").unwrap_or(&Value::Null);
    let refuse = |of: &Value, key: &str, path: &Path<'_>, errors: &mut Vec<FieldError>| {
        let is_set = given(of, key)
            .is_some_and(|value| *value != Value::Bool(false) || !matches!(key, "hostPID" | "hostIPC"));
        if is_set && (key != "sysctls" || !list(of, key).is_empty()) {
            errors.push(FieldError::forbidden(&path.child(key), "cannot be set for a windows pod"));
        }
    };
    match text(system, "name") {
        "" => errors.push(FieldError::required(&place.child("name"), "")),
        "linux" => {
            let why = "windows options cannot be set for a linux pod";
            if given(context, "windowsOptions").is_some() {
                errors.push(FieldError::forbidden(&inner.child("windowsOptions"), why));
            }
            visit(spec, path, |container, path| {
                if container.pointer("/securityContext/windowsOptions").is_some_and(|own| !own.is_null()) {
                    let path = path.child("securityContext");
                    errors.push(FieldError::forbidden(&path.child("windowsOptions"), why));
                }
            });
        }
        "windows" => {
            for (of_context, key) in OF_POD {
                if of_context {
                    refuse(context, key, &inner, errors);
                } else {
                    refuse(spec, key, path, errors);
                }
            }
            visit(spec, path, |container, path| {
                let context = container.get("securityContext").unwrap_or(&Value::Null);
                let path = path.child("securityContext");
                OF_CONTAINER.iter().for_each(|key| refuse(context, key, &path, errors));
            });
        }
        other => errors.push(FieldError::not_supported(&place, other, &["linux", "windows"])),
    }
}
