//! The functions that put a question to an authorizer.

use std::sync::Arc;

use super::format;
use crate::authorization::{Authorizing, ResourceAccess, Stage};
use crate::function::Function;
use crate::value::{Evaluated, EvaluationError, Library, Value, fail};

fn authorizing<'v, 'a>(value: &'v Value<'a>) -> Evaluated<&'v Authorizing<'a>> {
    match value {
        Value::Library(Library::Authorizing(authorizing)) => Ok(authorizing),
        _ => Err(EvaluationError::no_such_overload()),
    }
}

fn made<'a>(authorizing: Authorizing<'a>) -> Value<'a> {
    Value::Library(Library::Authorizing(Arc::new(authorizing)))
}

/// Puts the question together, or asks it.
pub(crate) fn ask<'a>(function: Function, args: &[Value<'a>]) -> Evaluated<Value<'a>> {
    let [target, rest @ ..] = args else { return Err(EvaluationError::no_such_overload()) };
    if let Value::Library(Library::Decided(decided)) = target {
        return Ok(match function {
            Function::DecisionAllowed => Value::Bool(decided.allowed),
            Function::DecisionErrored => Value::Bool(decided.error.is_some()),
            Function::DecisionError => decided.error.clone().unwrap_or_default().into(),
            Function::DecisionReason => decided.reason.clone().into(),
            _ => return Err(EvaluationError::no_such_overload()),
        });
    }
    let mut asked = authorizing(target)?.clone();
    let text = rest.first().ok_or_else(EvaluationError::no_such_overload)?.str()?.to_owned();
    match (function, &asked.stage) {
        (Function::AuthorizerPath, Stage::Authorizer) => {
            if text.trim().is_empty() {
                fail!("path must not be empty");
            }
            asked.stage = Stage::Path;
            asked.request.path = Some(text);
        }
        (Function::AuthorizerGroup, Stage::Authorizer) => {
            asked.stage = Stage::Group;
            asked.request.resource = Some(ResourceAccess { group: text, ..ResourceAccess::default() });
        }
        (Function::AuthorizerServiceAccount, Stage::Authorizer) => {
            let name = rest.get(1).ok_or_else(EvaluationError::no_such_overload)?.str()?.to_owned();
            let valid = |format_name: &str, text: &str| {
                format::named(format_name).is_some_and(|format| (format.check)(text).is_empty())
            };
            if !valid("dns1123Subdomain", &name) {
                fail!("Invalid service account name");
            }
            if !valid("dns1123Label", &text) {
                fail!("Invalid service account namespace");
            }
            asked.request.service_account = Some((text, name));
        }
        (Function::CheckResource, Stage::Group) => {
            if text.trim().is_empty() {
                fail!("resource must not be empty");
            }
            asked.stage = Stage::Resource;
            asked.request.resource.get_or_insert_default().resource = text;
        }
        (Function::Check, Stage::Path | Stage::Resource) => {
            asked.request.verb = text;
            let decided = asked.authorizer.authorize(&asked.request);
            return Ok(Value::Library(Library::Decided(Arc::new(decided))));
        }
        (_, Stage::Resource) => {
            let resource = asked.request.resource.get_or_insert_default();
            let place = match function {
                Function::CheckSubresource => &mut resource.subresource,
                Function::CheckNamespace => &mut resource.namespace,
                Function::CheckName => &mut resource.name,
                Function::CheckFieldSelector => &mut resource.field_selector,
                Function::CheckLabelSelector => &mut resource.label_selector,
                _ => return Err(EvaluationError::no_such_overload()),
            };
            *place = text;
        }
        _ => return Err(EvaluationError::no_such_overload()),
    }
    Ok(made(asked))
}
