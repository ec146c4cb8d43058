//! The parameters of policies: other objects, which bindings name or select.

use std::sync::Arc;

use serde_json::Value;
use xebec_machinery::selector::LabelSelector;

use crate::object;
use crate::request::Kind;
use crate::stage::Case;

/// Which objects a binding takes for parameters (`paramRef`).
#[derive(Debug, Clone)]
pub(super) struct Reference {
    name: String,
    namespace: String,
    selector: Option<Result<LabelSelector, String>>,
    /// Whether a request is refused where there are none.
    denies: bool,
}

impl Reference {
    pub(super) fn of(reference: &Value) -> Self {
        let text = |field: &str| object::text(reference, &[field]).to_owned();
        let selector = object::at(reference, &["selector"])
            .map(|selector| LabelSelector::from_object(selector).map_err(|error| error.to_string()));
        Self {
            name: text("name"),
            namespace: text("namespace"),
            selector,
            denies: text("parameterNotFoundAction") == "Deny",
        }
    }
}

/// The parameters of one binding.
pub(super) struct Parameters<'a> {
    pub(super) kind: Option<&'a Kind>,
    pub(super) reference: Option<Reference>,
}

/// Why parameters cannot be found: the policy is wrong, or its binding.
pub(super) enum Fault {
    Policy(String),
    Binding(String),
}

impl Parameters<'_> {
    /// The parameters, one for each run of the policy.
    pub(super) async fn find(&self, case: Case<'_>) -> Result<Vec<Option<Arc<Value>>>, Fault> {
        let (Some(kind), reference) = (self.kind, &self.reference) else { return Ok(vec![None]) };
        let Some(served) = case.world.resource_of(kind) else {
            let why = format!("failed to find resource referenced by paramKind: '{kind}'");
            return Err(Fault::Policy(why));
        };
        let Some(reference) = reference else { return Ok(vec![None]) };
        let refuse = |why: &str| Err(Fault::Binding(why.to_owned()));
        let namespace = match (served.namespaced, reference.namespace.as_str(), &*case.request.namespace) {
            (false, "", _) => "",
            (false, ..) => {
                return refuse("paramRef.namespace must not be provided for a cluster-scoped `paramKind`");
            }
            (true, "", "") => {
                return refuse(
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources",
                );
            }
            (true, "", own) => own,
            (true, named, _) => named,
        };
        let (group, plural) = (&*served.resource.group, &*served.resource.name);
        let failed = |status: xebec_machinery::status::Status| Fault::Binding(status.message);
        let found: Vec<Arc<Value>> = match (reference.name.as_str(), &reference.selector) {
            ("", None) => return refuse("one of name or selector must be provided"),
            ("", Some(Err(why))) => return Err(Fault::Binding(why.clone())),
            ("", Some(Ok(selector))) => {
                let all = case.world.all(group, plural).map_err(failed)?;
                let within = all.iter().filter(|one| object::namespace(one) == namespace);
                within.filter(|one| selector.matches(&object::labels(one))).cloned().collect()
            }
            (_, Some(_)) => return refuse("paramRef.name and paramRef.selector are mutually exclusive"),
            (name, None) => {
                case.world.find(group, plural, namespace, name).map_err(failed)?.into_iter().collect()
            }
        };
        if found.is_empty() && reference.denies {
            return refuse("no params found for policy binding with `Deny` parameterNotFoundAction");
        }
        let mut converted = Vec::with_capacity(found.len());
        for param in found {
            converted.push(Some(if object::text(&param, &["apiVersion"]) == kind.api_version() {
                param
            } else {
                Arc::new(case.world.convert(&param, kind).await.map_err(failed)?)
            }));
        }
        Ok(converted)
    }
}
