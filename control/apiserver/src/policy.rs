//! Who may do what: until roles are looked at, administrators everything and others what everyone may.

use serde_json::{Value, json};
use xebec_machinery::status::Status;

use crate::authorizer::{Asked, Decision};
use crate::user::{AUTHENTICATED, User};

/// Who may do what.
#[derive(Debug, Default)]
pub struct Policy;

impl Policy {
    /// Whether the user may do what is asked for.
    ///
    /// # Errors
    ///
    /// The rules cannot be read.
    pub fn decide(&self, user: &User, asked: &Asked<'_>) -> Result<Decision, Status> {
        let allowed = user.is_administrator()
            || match asked {
                Asked::Path { verb, .. } => *verb == "get",
                Asked::Resource(asked) => {
                    user.is_in(AUTHENTICATED)
                        && asked.verb == "create"
                        && matches!(asked.group, "authentication.k8s.io" | "authorization.k8s.io")
                        && asked.resource.starts_with("selfsubject")
                }
            };
        Ok(Decision { allowed, reason: String::new() })
    }

    /// What the user may do in a namespace, as the status of a `SelfSubjectRulesReview`.
    ///
    /// # Errors
    ///
    /// The rules cannot be read.
    pub fn rules(&self, user: &User, _namespace: &str) -> Result<Value, Status> {
        let reviews = json!([
            {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]},
            {
                "verbs": ["create"],
                "apiGroups": ["authorization.k8s.io"],
                "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
            },
        ]);
        Ok(if user.is_administrator() {
            json!({
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": false,
            })
        } else {
            json!({
                "resourceRules": reviews,
                "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["*"]}],
                "incomplete": false,
            })
        })
    }
}
