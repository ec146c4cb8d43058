//! Expressions of webhooks and policies: compiled once, run with what there is to know of a request.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use xebec_expressions::authorization::{AccessRequest, Authorizer, Authorizing, Decided, ResourceAccess};
use xebec_expressions::{CALL_LIMIT, Environment, Fields, Library, Program, Value as Cel};
use xebec_machinery::status::Status;

use crate::matching::Seen;
use crate::object;
use crate::stage::Case;
use crate::user::User;
use crate::world::World;

/// What is said when all expressions together cost too much.
pub(crate) const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// An expression, or why there is none.
#[derive(Debug)]
pub(crate) struct Expression {
    pub(crate) text: String,
    pub(crate) program: Result<Program, String>,
}

/// Why an expression has no value that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It failed itself.
    Expression(String),
    /// All together cost too much.
    Budget,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expression(why) => f.write_str(why),
            Self::Budget => f.write_str(OUT_OF_BUDGET),
        }
    }
}

impl Expression {
    /// Compiles an expression.
    pub(crate) fn compile(text: &str, environment: &Environment) -> Self {
        let program = environment.compile(text).map(Program::without_tree).map_err(|error| error.to_string());
        Self { text: text.to_owned(), program }
    }

    /// Runs the expression, and takes its cost from the budget.
    pub(crate) fn run<'a>(&self, bindings: &[Option<Cel<'a>>], budget: &mut u64) -> Result<Cel<'a>, Failure> {
        let program = match &self.program {
            Ok(program) => program,
            Err(why) => {
                return Err(Failure::Expression(format!("compilation error: compilation failed: {why}")));
            }
        };
        let evaluation = program.evaluate(bindings, CALL_LIMIT);
        match budget.checked_sub(evaluation.cost) {
            Some(rest) => *budget = rest,
            None => {
                *budget = 0;
                return Err(Failure::Budget);
            }
        }
        evaluation.result.map_err(|error| {
            Failure::Expression(format!("expression '{}' resulted in error: {error}", self.text))
        })
    }
}

/// Answers expressions that ask who may do what.
pub(crate) struct Asking<'a> {
    pub(crate) world: &'a dyn World,
    pub(crate) user: &'a User,
}

impl fmt::Debug for Asking<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").field("user", self.user).finish_non_exhaustive()
    }
}

impl Authorizer for Asking<'_> {
    fn authorize(&self, request: &AccessRequest) -> Decided {
        self.world.authorize(self.user, request)
    }
}

/// What expressions can know of one request.
pub(crate) struct Knowledge<'a> {
    pub(crate) new: &'a Value,
    pub(crate) old: &'a Value,
    request: Value,
    namespace: Option<Arc<Value>>,
    asking: Asking<'a>,
    resource: ResourceAccess,
}

impl<'a> Knowledge<'a> {
    /// Gathers it. The objects are those that the webhook or policy sees.
    pub(crate) fn gather(
        case: Case<'a>,
        seen: &Seen,
        new: &'a Value,
        old: &'a Value,
    ) -> Result<Self, Status> {
        let request = case.request;
        let namespaces = case.world.all("", "namespaces")?;
        let namespace = namespaces.get("", &request.namespace).cloned();
        let namespace = namespace.filter(|_| !request.is_for("", "namespaces"));
        let resource = ResourceAccess {
            group: request.resource.group.clone(),
            resource: request.resource.name.clone(),
            subresource: request.subresource.clone(),
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            ..ResourceAccess::default()
        };
        let asking = Asking { world: case.world, user: &request.user };
        Ok(Self { new, old, request: review(case, seen, ""), namespace, asking, resource })
    }

    /// The values of the variables that every expression has; `params` and the policy's own variables where it has those.
    pub(crate) fn bindings<'b>(
        &'b self,
        params: Option<&'b Value>,
        has_authorizer: bool,
        variables: Option<&'b dyn Fields>,
    ) -> Vec<Option<Cel<'b>>> {
        let null = || Cel::Null;
        let namespace = self.namespace.as_deref().map_or_else(null, Cel::from_json);
        let mut all = vec![
            Some(Cel::from_json(self.new)),
            Some(Cel::from_json(self.old)),
            Some(namespace),
            Some(Cel::from_json(&self.request)),
        ];
        all.extend(params.map(|params| Some(Cel::from_json(params))));
        if has_authorizer {
            let asking = Authorizing::new(&self.asking);
            let own = Authorizing::for_resource(&self.asking, self.resource.clone());
            for check in [asking, own] {
                all.push(Some(Cel::Library(Library::Authorizing(check))));
            }
        }
        all.extend(variables.map(|variables| Some(Cel::Fields(variables))));
        all
    }
}

/// The `AdmissionRequest` of a request without its objects.
pub(crate) fn review(case: Case<'_>, seen: &Seen, uid: &str) -> Value {
    let request = case.request;
    let kind = |kind: &crate::request::Kind| json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    let resource = |resource: &crate::request::Resource| json!({"group": resource.group, "version": resource.version, "resource": resource.name});
    let mut review = Map::new();
    let mut put = |field: &str, value: Value| drop(review.insert(field.to_owned(), value));
    if !uid.is_empty() {
        put("uid", uid.into());
    }
    put("kind", kind(&seen.kind));
    put("resource", resource(&seen.resource));
    put("requestKind", kind(&request.kind));
    put("requestResource", resource(&request.resource));
    if !request.subresource.is_empty() {
        put("subResource", request.subresource.clone().into());
        put("requestSubResource", request.subresource.clone().into());
    }
    for (field, text) in [("name", &request.name), ("namespace", &request.namespace)] {
        if !text.is_empty() {
            put(field, text.clone().into());
        }
    }
    put("operation", request.operation.as_str().into());
    put("userInfo", request.user.info());
    put("dryRun", request.dry_run.into());
    if !request.options.is_null() {
        put("options", request.options.clone());
    }
    review.into()
}

/// The text of a message that an expression made, if it can be shown.
pub(crate) fn shown_message(value: &Cel<'_>) -> Option<String> {
    const LONGEST: usize = 5 * 1024;
    let text = value.as_str()?.trim();
    (!text.is_empty() && text.len() <= LONGEST && !text.contains(['\n', '\r'])).then(|| text.to_owned())
}

/// Named conditions that all must hold (`matchConditions`).
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) all: Vec<(String, Expression)>,
}

impl Conditions {
    /// Compiles the conditions of a webhook or policy.
    pub(crate) fn compile(list: &[Value], environment: &Environment) -> Self {
        let one = |condition: &Value| {
            let text = object::text(condition, &["expression"]);
            (object::name_of(condition).to_owned(), Expression::compile(text, environment))
        };
        Self { all: list.iter().map(one).collect() }
    }

    /// Whether all hold. One that does not decides, also where others fail.
    ///
    /// # Errors
    ///
    /// None is false and some failed; the text says how.
    pub(crate) fn hold(&self, bindings: &[Option<Cel<'_>>], mut budget: u64) -> Result<bool, String> {
        let mut errors = Vec::new();
        for (_, condition) in &self.all {
            match condition.run(bindings, &mut budget) {
                Ok(Cel::Bool(false)) => return Ok(false),
                Ok(_) => {}
                Err(Failure::Budget) => return Err(OUT_OF_BUDGET.to_owned()),
                Err(failure) => errors.push(failure.to_string()),
            }
        }
        match errors.as_slice() {
            [] => Ok(true),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }
}
