//! Nobody hands out rights that they do not hold.
//!
//! Whoever writes a role must hold its rules or may `escalate` it; whoever writes a binding must hold the rules of its
//! role or may `bind` it.

use serde_json::Value;
use xebec_machinery::status::{Qualified, Status};

use crate::api::Api;
use crate::authorizer::{Asked, Attributes};
use crate::call::Call;
use crate::object;
use crate::policy::everything;
use crate::rbac::book::RoleRef;
use crate::rbac::{self, Rule};
use crate::request::Verb;

impl Api {
    /// Refuses a role or binding that would give more than its writer has.
    pub(crate) fn check_grants(&self, call: &Call, old: Option<&Value>, new: &Value) -> Result<(), Status> {
        if &*call.resource.group != rbac::GROUP || call.user.is_administrator() {
            return Ok(());
        }
        match &*call.resource.kind {
            "Role" | "ClusterRole" => self.check_role(call, old, new),
            _ => self.check_binding(call, new),
        }
    }

    /// Refuses what comes to a creation of what the call names, where its sender may do other things and not that.
    pub(crate) fn check_creation(&self, call: &Call) -> Result<(), Status> {
        if call.request.verb == Verb::Create {
            return Ok(());
        }
        let asked = Asked::Resource(Attributes {
            verb: "create",
            group: &call.resource.group,
            resource: &call.resource.plural,
            subresource: call.request.subresource.as_deref().unwrap_or_default(),
            namespace: call.namespace().unwrap_or_default(),
            name: call.name(),
        });
        let decision = self.policy().decide(&call.user, &asked)?;
        if decision.allowed { Ok(()) } else { Err(asked.refuse(&call.user, &decision.reason)) }
    }

    fn check_role(&self, call: &Call, old: Option<&Value>, new: &Value) -> Result<(), Status> {
        let part = |of: &Value, key: &str| of.get(key).cloned().unwrap_or_default();
        let same = |key: &str| old.is_some_and(|old| part(old, key) == part(new, key));
        if same("rules") && same("aggregationRule") {
            return Ok(());
        }
        if self.may(call, "escalate", &call.resource.plural, call.name())? {
            return Ok(());
        }
        let rules: Vec<Rule> =
            new.get("rules").and_then(Value::as_array).into_iter().flatten().map(Rule::read).collect();
        self.check_held(call, new, &rules)?;
        if new.get("aggregationRule").is_some_and(|rule| !rule.is_null())
            && !self.lacking(call, &everything())?.is_empty()
        {
            let why = "must have cluster-admin privileges to use an aggregationRule";
            return Err(Status::forbidden(call.qualified(), object::name(new), why));
        }
        Ok(())
    }

    fn check_binding(&self, call: &Call, new: &Value) -> Result<(), Status> {
        let role = RoleRef::of(new);
        let plural = format!("{}s", role.kind.to_lowercase());
        if self.may(call, "bind", &plural, &role.name)? {
            return Ok(());
        }
        let namespace = call.namespace().unwrap_or_default();
        let Some(rules) = self.policy().role(&role, namespace)? else {
            return Err(Status::not_found(Qualified::new(rbac::GROUP, &plural), &role.name));
        };
        self.check_held(call, new, &rules)
    }

    fn may(&self, call: &Call, verb: &str, resource: &str, name: &str) -> Result<bool, Status> {
        let namespace = call.namespace().unwrap_or_default();
        let asked =
            Attributes { verb, group: rbac::GROUP, resource, namespace, name, ..Attributes::default() };
        Ok(self.policy().decide(&call.user, &Asked::Resource(asked))?.allowed)
    }

    fn lacking(&self, call: &Call, rules: &[Rule]) -> Result<Vec<Rule>, Status> {
        let held = self.policy().rules_for(&call.user, call.namespace().unwrap_or_default())?;
        Ok(rbac::missing(&held, rules))
    }

    fn check_held(&self, call: &Call, new: &Value, rules: &[Rule]) -> Result<(), Status> {
        let lacking = self.lacking(call, rules)?;
        if lacking.is_empty() {
            return Ok(());
        }
        let mut lines: Vec<String> = rbac::compact(lacking).iter().map(ToString::to_string).collect();
        lines.sort();
        lines.dedup();
        let why = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            call.user.name,
            rbac::quoted(&call.user.groups),
            lines.join("\n")
        );
        Err(Status::forbidden(call.qualified(), object::name(new), &why))
    }
}
