//! What comes from outside at run time: an authorizer, and fields that are worked out when they are asked for.

use std::sync::atomic::{AtomicUsize, Ordering};

use xebec_expressions::authorization::{AccessRequest, Authorizer, Authorizing, Decided, ResourceAccess};
use xebec_expressions::{CALL_LIMIT, Environment, EvaluationError, Fields, Library, Type, Value};

/// Allows reading pods, and remembers nothing.
#[derive(Debug)]
struct Readers;

impl Authorizer for Readers {
    fn authorize(&self, request: &AccessRequest) -> Decided {
        let pods = request.resource.as_ref().is_some_and(|resource| resource.resource == "pods");
        let allowed = request.verb == "get" && (pods || request.path.as_deref() == Some("/healthz"));
        let reason = match &request.service_account {
            Some((namespace, name)) => format!("{namespace}/{name}"),
            None => format!("{:?}", request.resource.as_ref().map(|resource| resource.namespace.as_str())),
        };
        Decided { allowed, reason, error: None }
    }
}

fn ask(expression: &str) -> (Result<String, String>, u64) {
    let environment = Environment::kubernetes()
        .variable("authorizer", Type::named("kubernetes.authorization.Authorizer"))
        .variable("check", Type::named("kubernetes.authorization.ResourceCheck"));
    let program = environment.compile(expression).unwrap();
    let resource = ResourceAccess { resource: "pods".to_owned(), ..ResourceAccess::default() };
    let bindings = [
        Some(Value::Library(Library::Authorizing(Authorizing::new(&Readers)))),
        Some(Value::Library(Library::Authorizing(Authorizing::for_resource(&Readers, resource)))),
    ];
    let evaluation = program.evaluate(&bindings, CALL_LIMIT);
    (evaluation.result.map(|value| value.to_string()).map_err(|err| err.to_string()), evaluation.cost)
}

#[test]
fn an_authorizer_is_asked_what_the_expression_puts_together() {
    let (answer, cost) = ask("authorizer.group('').resource('pods').namespace('a').check('get').allowed()");
    assert_eq!(answer, Ok("true".to_owned()));
    assert_eq!(cost, 350_005);
    assert_eq!(
        ask("authorizer.group('').resource('nodes').check('get').allowed()").0,
        Ok("false".to_owned())
    );
    assert_eq!(ask("authorizer.path('/healthz').check('get').allowed()").0, Ok("true".to_owned()));
    assert_eq!(ask("check.check('get').allowed()").0, Ok("true".to_owned()));
    assert_eq!(
        ask("authorizer.serviceAccount('ns', 'robot').group('').resource('pods').check('get').reason()").0,
        Ok("ns/robot".to_owned())
    );
}

#[test]
fn questions_that_make_no_sense_are_errors() {
    assert_eq!(
        ask("authorizer.path(' ').check('get').allowed()").0,
        Err("path must not be empty".to_owned())
    );
    assert_eq!(
        ask("authorizer.group('').resource('').check('get').allowed()").0,
        Err("resource must not be empty".to_owned())
    );
    assert_eq!(
        ask("authorizer.serviceAccount('NS', 'x').path('/').check('get').allowed()").0,
        Err("Invalid service account namespace".to_owned())
    );
}

#[test]
fn three_questions_of_one_expression_cost_too_much() {
    let one = "authorizer.path('/x').check('get').allowed()";
    let (answer, _) = ask(&[one; 3].join(" || "));
    assert_eq!(answer, Err("operation cancelled: actual cost limit exceeded".to_owned()));
}

/// Works out a field and counts how often.
#[derive(Debug, Default)]
struct Worked(AtomicUsize);

impl Fields for Worked {
    fn field<'v>(&'v self, name: &str) -> Option<Result<Value<'v>, EvaluationError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        match name {
            "limit" => Some(Ok(Value::Int(5))),
            "broken" => Some(Err(EvaluationError::new("division by zero"))),
            _ => None,
        }
    }

    fn type_name(&self) -> &str {
        "variables"
    }
}

#[test]
fn fields_are_worked_out_only_when_they_are_read() {
    let environment = Environment::kubernetes().variable("n", Type::Int).variable("variables", Type::Dyn);
    let worked = Worked::default();
    let run = |expression: &str, n: i64| {
        let program = environment.compile(expression).unwrap();
        let bindings = [Some(Value::Int(n)), Some(Value::Fields(&worked))];
        let result = program.evaluate(&bindings, CALL_LIMIT).result;
        result.map(|value| value.to_string()).map_err(|err| err.to_string())
    };
    assert_eq!(run("n > 3 || n > variables.limit", 4), Ok("true".to_owned()));
    assert_eq!(worked.0.load(Ordering::Relaxed), 0);
    assert_eq!(run("n > 3 || n > variables.limit", 3), Ok("false".to_owned()));
    assert_eq!(worked.0.load(Ordering::Relaxed), 1);
    assert_eq!(run("variables.broken > n", 1), Err("division by zero".to_owned()));
    assert_eq!(run("variables.missing > n", 1), Err("no such key: missing".to_owned()));
    assert_eq!(run("has(variables.missing)", 1), Ok("false".to_owned()));
    assert_eq!(run("n > 0 || variables.broken", 1), Ok("true".to_owned()));
}
