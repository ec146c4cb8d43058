//! Which requests a webhook or a policy is for: by resource, operation, namespace and labels.

use serde_json::Value;
use xebec_machinery::selector::LabelSelector;
use xebec_machinery::status::Status;

use crate::object;
use crate::request::{Kind, Operation, Request, Resource};
use crate::stage::Case;

const REGISTRATION: &str = "admissionregistration.k8s.io";

/// Operations on resources.
#[derive(Debug, Clone, Default)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
    /// Names of objects; none are all.
    names: Vec<String>,
}

/// What a webhook or a policy says of the requests that it is for.
#[derive(Debug, Clone)]
pub(crate) struct Match {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    /// Whether other versions of the same resource count too.
    equivalent: bool,
    namespaces: Result<LabelSelector, String>,
    objects: Result<LabelSelector, String>,
}

/// As what the object is shown to a webhook or a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) resource: Resource,
    pub(crate) kind: Kind,
}

impl Seen {
    /// As what the request has it.
    pub(crate) fn as_asked(request: &Request) -> Self {
        Self { resource: request.resource.clone(), kind: request.kind.clone() }
    }
}

/// Webhooks and policies cannot lock out those who configure them.
pub(crate) fn is_exempt(request: &Request) -> bool {
    request.resource.group == REGISTRATION
        && matches!(
            request.resource.name.as_str(),
            "validatingwebhookconfigurations"
                | "mutatingwebhookconfigurations"
                | "validatingadmissionpolicies"
                | "validatingadmissionpolicybindings"
                | "mutatingadmissionpolicies"
                | "mutatingadmissionpolicybindings"
        )
}

impl Rule {
    fn of(rule: &Value) -> Self {
        let texts = |field: &str| {
            object::list(rule, &[field]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources"),
            scope: object::text(rule, &["scope"]).to_owned(),
            names: texts("resourceNames"),
        }
    }

    fn matches(&self, request: &Request, resource: &Resource) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|own| own == "*" || own == wanted);
        let is_namespace = request.is_for("", "namespaces");
        let fits_scope = match self.scope.as_str() {
            "Namespaced" => !is_namespace && !request.namespace.is_empty(),
            "Cluster" => is_namespace || request.namespace.is_empty(),
            _ => true,
        };
        let is_resource = |pattern: &String| {
            let (name, part) = pattern.split_once('/').unwrap_or((pattern, ""));
            (name == "*" || name == resource.name) && (part == "*" || part == request.subresource)
        };
        fits_scope
            && has(&self.operations, request.operation.as_str())
            && has(&self.groups, &resource.group)
            && has(&self.versions, &resource.version)
            && self.resources.iter().any(is_resource)
            && (self.names.is_empty() || self.names.contains(&request.name))
    }
}

fn selector(of: &Value, field: &str) -> Result<LabelSelector, String> {
    match object::at(of, &[field]) {
        None => Ok(LabelSelector::everything()),
        Some(selector) => LabelSelector::from_object(selector).map_err(|error| error.to_string()),
    }
}

impl Match {
    /// What a webhook says.
    pub(crate) fn of_webhook(webhook: &Value) -> Self {
        Self::read(webhook, "rules")
    }

    /// What `MatchResources` of a policy or binding say; without any, everything.
    pub(crate) fn of_resources(resources: &Value) -> Self {
        Self::read(resources, "resourceRules")
    }

    fn read(of: &Value, rules: &str) -> Self {
        let read = |field: &str| object::list(of, &[field]).iter().map(Rule::of).collect();
        Self {
            rules: read(rules),
            excluded: read("excludeResourceRules"),
            equivalent: object::text(of, &["matchPolicy"]) != "Exact",
            namespaces: selector(of, "namespaceSelector"),
            objects: selector(of, "objectSelector"),
        }
    }

    /// Whether a request is meant, and as what the object is then shown. `all` if no rules mean every resource.
    pub(crate) fn find(&self, case: Case<'_>, new: &Value, all: bool) -> Result<Option<Seen>, Status> {
        let request = case.request;
        let labels_fit = |selector: &Result<LabelSelector, String>,
                          found: &dyn Fn(&LabelSelector) -> bool| match selector {
            Ok(selector) => Ok(selector.is_everything() || found(selector)),
            Err(why) => Err(Status::internal(why)),
        };
        let object_fits = |selector: &LabelSelector| {
            [Some(new), case.old]
                .into_iter()
                .flatten()
                .filter(|object| object.is_object())
                .any(|object| selector.matches(&object::labels(object)))
        };
        // What cannot be judged is an error for those alone that are otherwise meant.
        let namespace_fits = match &self.namespaces {
            Ok(selector) if selector.is_everything() => Ok(true),
            Ok(selector) => in_namespace(case, new, selector),
            Err(why) => Err(Status::internal(why)),
        };
        let object_fits = labels_fit(&self.objects, &object_fits);
        if matches!(namespace_fits, Ok(false)) || matches!(object_fits, Ok(false)) {
            return Ok(None);
        }
        if self.by_rules(&self.excluded, case).is_some() {
            return Ok(None);
        }
        let seen = if all && self.rules.is_empty() {
            Some(Seen::as_asked(request))
        } else {
            self.by_rules(&self.rules, case)
        };
        if seen.is_some() {
            namespace_fits?;
            object_fits?;
        }
        Ok(seen)
    }

    fn by_rules(&self, rules: &[Rule], case: Case<'_>) -> Option<Seen> {
        let request = case.request;
        if rules.iter().any(|rule| rule.matches(request, &request.resource)) {
            return Some(Seen::as_asked(request));
        }
        if !self.equivalent || rules.is_empty() {
            return None;
        }
        let others = case.world.equivalents(&request.resource, &request.subresource);
        let found = rules
            .iter()
            .find_map(|rule| others.iter().find(|other| rule.matches(request, &other.resource)))?;
        Some(Seen { resource: found.resource.clone(), kind: found.kind.clone() })
    }
}

fn in_namespace(case: Case<'_>, new: &Value, selector: &LabelSelector) -> Result<bool, Status> {
    let request = case.request;
    if request.is_for("", "namespaces") {
        // A namespace is judged by the labels that it is to have.
        let labelled = match request.operation {
            Operation::Create | Operation::Update if request.is_whole() => Some(new),
            _ => case.old,
        };
        if let Some(namespace) = labelled {
            return Ok(selector.matches(&object::labels(namespace)));
        }
    }
    if request.namespace.is_empty() {
        return Ok(true);
    }
    let namespaces = case.world.all("", "namespaces")?;
    match namespaces.get("", &request.namespace) {
        Some(namespace) => Ok(selector.matches(&object::labels(namespace))),
        None => Err(Status::not_found(
            xebec_machinery::status::Qualified::new("", "namespaces"),
            &request.namespace,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Sample, object as named, request};
    use serde_json::json;

    fn webhook(resources: Value, more: Value) -> Match {
        let mut webhook = json!({"rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": resources}]});
        webhook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Match::of_webhook(&webhook)
    }

    #[test]
    fn resources_and_their_parts_are_told_apart() {
        let sample = Sample::default();
        let mut asked = request(Operation::Create, "", "pods");
        for (part, patterns) in [
            (
                "",
                [
                    ("pods", true),
                    ("pods/*", true),
                    ("*", true),
                    ("*/*", true),
                    ("pods/status", false),
                    ("services", false),
                ],
            ),
            (
                "eviction",
                [
                    ("pods", false),
                    ("pods/*", true),
                    ("*", false),
                    ("*/*", true),
                    ("*/eviction", true),
                    ("pods/eviction", true),
                ],
            ),
        ] {
            asked.subresource = part.to_owned();
            for (pattern, meant) in patterns {
                let found =
                    webhook(json!([pattern]), json!({})).find(sample.case(&asked), &Value::Null, false);
                assert_eq!(found.unwrap().is_some(), meant, "{pattern} {part}");
            }
        }
    }

    #[test]
    fn labels_of_the_namespace_and_of_the_object_choose() {
        let mut labelled = named("", "default");
        labelled["metadata"]["labels"] = json!({"team": "a"});
        let sample = Sample::with("", "namespaces", [labelled]);
        let asked = request(Operation::Create, "", "pods");
        let selector = |team: &str| json!({"matchLabels": {"team": team}});
        let found = |more: Value, new: &Value| {
            webhook(json!(["pods"]), more).find(sample.case(&asked), new, false).unwrap().is_some()
        };
        assert!(found(json!({"namespaceSelector": selector("a")}), &Value::Null));
        assert!(!found(json!({"namespaceSelector": selector("b")}), &Value::Null));
        let object = json!({"metadata": {"labels": {"team": "b"}}});
        assert!(found(json!({"objectSelector": selector("b")}), &object));
        assert!(!found(json!({"objectSelector": selector("a")}), &object));
    }
}
