//! Flow schemas: which requests are of one kind, told apart by what, and served by which priority level.

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use xebec_admission::user::SERVICE_ACCOUNT;

use crate::authorizer::Asked;
use crate::object;
use crate::user::User;

/// What tells the requests of a schema apart from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Distinguisher {
    Nothing,
    User,
    Namespace,
}

/// A FlowSchema.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(super) name: Arc<str>,
    pub(super) uid: Box<str>,
    /// The priority level.
    pub(super) level: Box<str>,
    pub(super) level_uid: Box<str>,
    precedence: i64,
    distinguisher: Distinguisher,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    paths: Vec<PathRule>,
}

/// Who asks; `*` is anybody.
#[derive(Debug)]
enum Subject {
    User(Box<str>),
    Group(Box<str>),
    Account { namespace: Box<str>, name: Box<str> },
}

#[derive(Debug)]
struct ResourceRule {
    verbs: Names,
    groups: Names,
    resources: Names,
    namespaces: Names,
    cluster: bool,
}

#[derive(Debug)]
struct PathRule {
    verbs: Names,
    urls: Vec<Box<str>>,
}

/// Some names, or `*` for all.
#[derive(Debug)]
enum Names {
    All,
    Some(Vec<Box<str>>),
}

impl Names {
    fn read(of: &Value, key: &str) -> Self {
        let names = texts(of, key);
        if names.iter().any(|name| **name == *"*") { Self::All } else { Self::Some(names) }
    }

    fn hold(&self, fits: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::All => true,
            Self::Some(names) => names.iter().any(|name| fits(name)),
        }
    }
}

fn items<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text(of: &Value, key: &str) -> Box<str> {
    of.get(key).and_then(Value::as_str).unwrap_or_default().into()
}

fn texts(of: &Value, key: &str) -> Vec<Box<str>> {
    items(of, key).iter().filter_map(Value::as_str).map(Into::into).collect()
}

impl Flow {
    /// Reads a stored schema, which the API has judged.
    pub(super) fn read(schema: &Value) -> Self {
        let none = Value::Null;
        let spec = schema.get("spec").unwrap_or(&none);
        let inner =
            |key: &str, field: &str| spec.get(key).map(|inner| text(inner, field)).unwrap_or_default();
        Self {
            name: object::name(schema).into(),
            uid: object::meta(schema, "uid").into(),
            level: inner("priorityLevelConfiguration", "name"),
            level_uid: "".into(),
            precedence: spec.get("matchingPrecedence").and_then(Value::as_i64).unwrap_or_default(),
            distinguisher: match &*inner("distinguisherMethod", "type") {
                "ByUser" => Distinguisher::User,
                "ByNamespace" => Distinguisher::Namespace,
                _ => Distinguisher::Nothing,
            },
            rules: items(spec, "rules").iter().map(Rule::read).collect(),
        }
    }

    /// In which order schemas are tried.
    pub(super) fn order(&self) -> (i64, &str) {
        (self.precedence, &self.name)
    }

    /// Whether a request is one of these.
    pub(super) fn matches(&self, user: &User, asked: &Asked<'_>) -> bool {
        self.rules.iter().any(|rule| rule.matches(user, asked))
    }

    /// What tells this request from others of the schema.
    pub(super) fn distinguisher<'a>(&self, user: &'a User, asked: &Asked<'a>) -> &'a str {
        match (self.distinguisher, asked) {
            (Distinguisher::User, _) => &user.name,
            (Distinguisher::Namespace, Asked::Resource(asked)) => asked.namespace,
            _ => "",
        }
    }

    /// A number for the requests of a schema that are not told apart.
    pub(super) fn hash(&self, distinguisher: &str) -> u64 {
        let mut digest = Sha256::new();
        // A zero byte is in no name.
        digest.update(&*self.name);
        digest.update([0]);
        digest.update(distinguisher);
        let digest = digest.finalize();
        u64::from_le_bytes(std::array::from_fn(|at| digest[at]))
    }
}

impl Rule {
    fn read(rule: &Value) -> Self {
        Self {
            subjects: items(rule, "subjects").iter().filter_map(Subject::read).collect(),
            resources: items(rule, "resourceRules").iter().map(ResourceRule::read).collect(),
            paths: items(rule, "nonResourceRules")
                .iter()
                .map(|rule| PathRule {
                    verbs: Names::read(rule, "verbs"),
                    urls: texts(rule, "nonResourceURLs"),
                })
                .collect(),
        }
    }

    fn matches(&self, user: &User, asked: &Asked<'_>) -> bool {
        if !self.subjects.iter().any(|subject| subject.is(user)) {
            return false;
        }
        match asked {
            Asked::Resource(asked) => self.resources.iter().any(|rule| {
                let named = |name: &str| match name.split_once('/') {
                    Some((resource, part)) => (resource, part) == (asked.resource, asked.subresource),
                    None => asked.subresource.is_empty() && name == asked.resource,
                };
                rule.verbs.hold(|verb| verb == asked.verb)
                    && rule.resources.hold(named)
                    && rule.groups.hold(|group| group == asked.group)
                    && match asked.namespace {
                        "" => rule.cluster,
                        namespace => rule.namespaces.hold(|own| own == namespace),
                    }
            }),
            Asked::Path { verb, path } => self.paths.iter().any(|rule| {
                rule.verbs.hold(|own| own == *verb) && rule.urls.iter().any(|url| within(url, path))
            }),
        }
    }
}

/// Whether a path is one of those that a rule names: itself, or what is below it.
fn within(url: &str, path: &str) -> bool {
    if url == "*" || url == path {
        return true;
    }
    let above = url.trim_end_matches('*').trim_end_matches('/');
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

impl ResourceRule {
    fn read(rule: &Value) -> Self {
        Self {
            verbs: Names::read(rule, "verbs"),
            groups: Names::read(rule, "apiGroups"),
            resources: Names::read(rule, "resources"),
            namespaces: Names::read(rule, "namespaces"),
            cluster: rule.get("clusterScope").and_then(Value::as_bool).unwrap_or_default(),
        }
    }
}

impl Subject {
    fn read(subject: &Value) -> Option<Self> {
        let field = |of: &str, key: &str| subject.get(of).map(|of| text(of, key));
        Some(match subject.get("kind")?.as_str()? {
            "User" => Self::User(field("user", "name")?),
            "Group" => Self::Group(field("group", "name")?),
            "ServiceAccount" => Self::Account {
                namespace: field("serviceAccount", "namespace")?,
                name: field("serviceAccount", "name")?,
            },
            _ => return None,
        })
    }

    fn is(&self, user: &User) -> bool {
        match self {
            Self::User(name) => **name == *"*" || **name == *user.name,
            Self::Group(name) => **name == *"*" || user.is_in(name),
            Self::Account { namespace, name } => {
                let account = user.name.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':'));
                account.is_some_and(|(own_namespace, own)| {
                    own_namespace == &**namespace && (**name == *"*" || own == &**name)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorizer::Attributes;
    use crate::user::{ADMINISTRATORS, AUTHENTICATED};
    use serde_json::json;
    use xebec_machinery::flow;

    fn asked<'a>(verb: &'a str, group: &'a str, resource: &'a str, namespace: &'a str) -> Asked<'a> {
        Asked::Resource(Attributes { verb, group, resource, namespace, ..Attributes::default() })
    }

    fn flow_of(user: &User, asked: &Asked<'_>) -> String {
        let mut flows: Vec<Flow> = flow::schemas().iter().map(|(_, schema)| Flow::read(schema)).collect();
        flows.sort_by(|left, right| left.order().cmp(&right.order()));
        flows.iter().find(|flow| flow.matches(user, asked)).map(|flow| flow.name.to_string()).unwrap()
    }

    #[test]
    fn a_request_goes_where_the_first_schema_that_is_for_it_says() {
        let jane = User::new("jane", [AUTHENTICATED]);
        let pods = asked("list", "", "pods", "shop");
        assert_eq!(flow_of(&jane, &pods), "global-default");
        assert_eq!(flow_of(&User::new("root", [ADMINISTRATORS]), &pods), "exempt");
        assert_eq!(flow_of(&User::service_account("shop", "web"), &pods), "service-accounts");
        assert_eq!(
            flow_of(&User::service_account("kube-system", "web"), &pods),
            "kube-system-service-accounts"
        );
        let lease = asked("update", "coordination.k8s.io", "leases", "kube-system");
        assert_eq!(flow_of(&User::service_account("kube-system", "web"), &lease), "system-leader-election");
        let node = User::new("system:node:a", ["system:nodes", AUTHENTICATED]);
        let status =
            Attributes { verb: "patch", resource: "nodes", subresource: "status", ..Attributes::default() };
        assert_eq!(flow_of(&node, &Asked::Resource(status)), "system-node-high");
        assert_eq!(flow_of(&node, &asked("get", "", "secrets", "shop")), "system-nodes");
        let path = |path| Asked::Path { verb: "get", path };
        assert_eq!(flow_of(&User::anonymous(), &path("/livez")), "probes");
        assert_eq!(flow_of(&User::anonymous(), &path("/version")), "global-default");
    }

    #[test]
    fn what_is_not_of_a_namespace_needs_a_rule_that_says_so() {
        let rule = |cluster: bool, namespaces: Value| {
            Flow::read(&json!({"metadata": {"name": "x"}, "spec": {"rules": [{
                "subjects": [{"kind": "User", "user": {"name": "*"}}],
                "resourceRules": [{
                    "verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"],
                    "namespaces": namespaces, "clusterScope": cluster,
                }],
            }]}}))
        };
        let jane = User::new("jane", []);
        assert!(!rule(false, json!(["*"])).matches(&jane, &asked("get", "", "pods", "")));
        assert!(rule(true, json!([])).matches(&jane, &asked("get", "", "pods", "")));
        assert!(rule(false, json!(["shop"])).matches(&jane, &asked("get", "", "pods", "shop")));
        assert!(!rule(false, json!(["shop"])).matches(&jane, &asked("get", "", "pods", "other")));
        let log = Attributes {
            verb: "get",
            resource: "pods",
            subresource: "log",
            namespace: "shop",
            ..Attributes::default()
        };
        assert!(rule(false, json!(["shop"])).matches(&jane, &Asked::Resource(log)));
        let exec = Attributes { subresource: "exec", ..log };
        assert!(!rule(false, json!(["shop"])).matches(&jane, &Asked::Resource(exec)));
    }

    #[test]
    fn a_path_is_meant_with_what_is_below_it() {
        for (url, path, is) in [
            ("*", "/a", true),
            ("/a", "/a", true),
            ("/a", "/a/b", true),
            ("/a/*", "/a/b", true),
            ("/a", "/ab", false),
            ("/a/*", "/b", false),
        ] {
            assert_eq!(within(url, path), is, "{url} {path}");
        }
    }
}
