//! Selectors of devices (`resource.k8s.io`): which of the devices that a driver offers may be had.
//!
//! One variable, `device`, has the driver's name, whether several may have the device at once, and its attributes and
//! capacities by domain and name. Attributes are of any type; a domain without any has none, which is no error.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value as Json;

use crate::environment::{CompileError, Environment};
use crate::library::{quantity, semver};
use crate::program::Program;
use crate::schema::{Field, Schema, Shape};
use crate::types::Type;
use crate::value::{Entries, EvaluationError, Map, Value};

/// The longest selector, in bytes.
pub const LONGEST: usize = 10 * 1024;
/// What a selector may cost, at the most that a device can be.
const COST: u64 = 1_000_000;
const DRIVER: u64 = 63;
const DOMAIN: u64 = 63;
const NAME: u64 = 32;
const ATTRIBUTE: u64 = 64;
const ENTRIES: u64 = 32;

/// A selector that was found to be sound.
#[derive(Debug)]
pub struct Selector(Program);

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no expression of the right type.
    #[error("{0}")]
    Invalid(String),
    /// It costs too much.
    #[error("too complex, exceeds cost limit")]
    TooComplex,
    /// It can not be run.
    #[error("{0}")]
    Internal(String),
}

static ENVIRONMENT: LazyLock<Environment> =
    LazyLock::new(|| Environment::kubernetes().bindings().variable("device", DEVICE.cel.clone()));

/// What a device is, and how large.
static DEVICE: LazyLock<Schema> = LazyLock::new(|| {
    let text = |most| Schema::of(Shape::String, most, 2, Type::String, false);
    let map = |key: u64, value: Schema| {
        let t = Type::map(Type::String, value.cel.clone());
        let mut map = Schema::of(Shape::Map(Arc::new(value)), ENTRIES, 2, t, false);
        map.keys = Some(Arc::new(text(key)));
        map
    };
    let by_domain = |value: Schema| map(DOMAIN, map(NAME, value));
    let attribute = Schema::of(Shape::Any, ATTRIBUTE, 1, Type::Any, false);
    let capacity = Schema::of(Shape::IntOrString, 0, 8, Type::named("kubernetes.Quantity"), false);
    let fields = [
        ("allowMultipleAllocations", Schema::of(Shape::Bool, 1, 4, Type::Bool, false)),
        ("attributes", by_domain(attribute)),
        ("capacity", by_domain(capacity)),
        ("driver", text(DRIVER)),
    ];
    let types = fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.cel.clone()));
    let types = Type::structure("kubernetes.DRADevice", types.collect());
    let fields: BTreeMap<String, Field> = fields
        .into_iter()
        .map(|(name, schema)| {
            (name.to_owned(), Field { property: name.to_owned(), schema: Arc::new(schema) })
        })
        .collect();
    Schema::of(Shape::Object(fields), 0, 2, types, false)
});

impl Selector {
    /// Reads a selector.
    ///
    /// ```
    /// use xebec_expressions::devices::Selector;
    /// let selector = Selector::compile("device.attributes['gpu.example.com'].family == 'ada'")?;
    /// let device = serde_json::json!({"name": "gpu-0", "attributes": {"family": {"string": "ada"}}});
    /// assert!(selector.matches("gpu.example.com", &device)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compile(expression: &str) -> Result<Self, Refusal> {
        let program = match ENVIRONMENT.compile(expression) {
            Ok(program) => program,
            Err(CompileError::Issues(issues)) => {
                return Err(Refusal::Invalid(format!("compilation failed: {issues}")));
            }
            Err(CompileError::Program { reason, output }) => {
                typed(&output)?;
                return Err(Refusal::Internal(format!("program instantiation failed: {reason}")));
            }
        };
        typed(program.output_type())?;
        match program.estimate(Some(&DEVICE)) {
            Some(cost) if cost.max > COST => Err(Refusal::TooComplex),
            _ => Ok(Self(program.without_tree())),
        }
    }

    /// Whether the selector takes a device (of a ResourceSlice) of this driver.
    ///
    /// # Errors
    ///
    /// The device has not what the selector asks about, or one of its values is of no type.
    pub fn matches(&self, driver: &str, device: &Json) -> Result<bool, EvaluationError> {
        let value = value_of(driver, device)?;
        match self.0.evaluate(&[Some(value)], COST).result? {
            Value::Bool(matches) => Ok(matches),
            other => Err(EvaluationError::new(format!(
                "CEL result of type {} could not be converted to bool: type conversion error from '{}' to 'bool'",
                other.type_name(),
                other.type_name()
            ))),
        }
    }
}

/// A selector says yes or no, or is an attribute that may.
fn typed(output: &Type) -> Result<(), Refusal> {
    if matches!(output, Type::Bool | Type::Any) {
        return Ok(());
    }
    Err(Refusal::Invalid(format!("must evaluate to bool or the unknown type, not {}", output.runtime())))
}

fn value_of<'a>(driver: &'a str, device: &'a Json) -> Result<Value<'a>, EvaluationError> {
    let mut fields = Entries::default();
    fields.set(Value::text("driver"), Value::text(driver));
    let shared = device.get("allowMultipleAllocations").and_then(Json::as_bool).unwrap_or(false);
    fields.set(Value::text("allowMultipleAllocations"), Value::Bool(shared));
    fields.set(Value::text("attributes"), by_domain(driver, device.get("attributes"), attribute)?);
    fields.set(Value::text("capacity"), by_domain(driver, device.get("capacity"), capacity)?);
    Ok(Value::Map(Map::Entries(fields.into())))
}

type Read<'a> = fn(&str, &'a Json) -> Result<Value<'a>, EvaluationError>;

/// What has no domain of its own is of the driver's.
fn by_domain<'a>(
    driver: &'a str,
    of: Option<&'a Json>,
    read: Read<'a>,
) -> Result<Value<'a>, EvaluationError> {
    let mut domains: BTreeMap<&str, Entries<'a>> = BTreeMap::new();
    for (qualified, value) in of.and_then(Json::as_object).into_iter().flatten() {
        let (domain, name) = qualified.split_once('/').unwrap_or((driver, qualified));
        domains.entry(domain).or_default().set(Value::text(name), read(qualified, value)?);
    }
    let mut all = Entries::default();
    for (domain, entries) in domains {
        all.set(Value::text(domain), Value::Map(Map::Entries(entries.into())));
    }
    Ok(Value::Map(Map::Defaulted(all.into())))
}

fn attribute<'a>(name: &str, of: &'a Json) -> Result<Value<'a>, EvaluationError> {
    let fail = |why: String| EvaluationError::new(format!("attribute {name}: {why}"));
    for key in ["int", "bool", "string"] {
        if let Some(value) = of.get(key).filter(|value| !value.is_null()) {
            return Ok(Value::from_json(value));
        }
    }
    match of.get("version").and_then(Json::as_str) {
        Some(version) => semver::parse(version)
            .map(Value::semver)
            .map_err(|why| fail(format!("parse semantic version: {why}"))),
        None => Err(fail("unsupported attribute value".to_owned())),
    }
}

fn capacity<'a>(name: &str, of: &'a Json) -> Result<Value<'a>, EvaluationError> {
    let text = of.get("value").and_then(Json::as_str).unwrap_or("0");
    let quantity = quantity::parse(text);
    quantity.map(Value::quantity).map_err(|why| EvaluationError::new(format!("capacity {name}: {why}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn device() -> Json {
        json!({
            "name": "gpu-0",
            "attributes": {
                "family": {"string": "ada"}, "other.com/fast": {"bool": true}, "driverVersion": {"version": "1.2.3"},
                "index": {"int": 3},
            },
            "capacity": {"memory": {"value": "16Gi"}},
        })
    }

    #[test]
    fn selectors_are_read_as_upstream_reads_them() {
        for expression in [
            "true",
            "device.driver == 'a'",
            "device.attributes['a.com'].fast",
            "device.capacity['a.com'].memory.compareTo(quantity('1Gi')) >= 0",
            "cel.bind(d, device.attributes['a.com'], d.a && d.b)",
            "device.allowMultipleAllocations",
            "device.attributes['a.com'].name.matches('^a+$')",
            "device.attributes['a.com'].version.isGreaterThan(semver('1.0.0'))",
        ] {
            assert!(
                Selector::compile(expression).is_ok(),
                "{expression}: {:?}",
                Selector::compile(expression)
            );
        }
        for (expression, why) in [
            ("device.driver", "must evaluate to bool or the unknown type, not string"),
            ("device.nope", "compilation failed: ERROR: <input>:1:7: undefined field 'nope'"),
            ("device.attributes['a'].all(x, x)", "compilation failed: "),
            ("device.attributes['a'].b.all(x, x)", "compilation failed: "),
            ("nope", "compilation failed: ERROR: <input>:1:1: undeclared reference to 'nope'"),
        ] {
            match Selector::compile(expression) {
                Err(Refusal::Invalid(text)) if text.starts_with(why) => {}
                other => panic!("{expression}: {other:?}"),
            }
        }
        let far = "device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, \
                   device.attributes.all(d, device.attributes[a].x == device.attributes[b].x))))";
        assert_eq!(Selector::compile(far).err(), Some(Refusal::TooComplex));
    }

    #[test]
    fn a_device_is_what_its_driver_says() {
        let matches = |expression: &str| {
            Selector::compile(expression)
                .unwrap()
                .matches("gpu.com", &device())
                .map_err(|err| err.to_string())
        };
        for (expression, wanted) in [
            ("device.driver == 'gpu.com' && !device.allowMultipleAllocations", true),
            ("device.attributes['gpu.com'].family == 'ada'", true),
            ("device.attributes['other.com'].fast", true),
            ("has(device.attributes['none.com'].x)", false),
            ("'none.com' in device.attributes", false),
            ("device.attributes['gpu.com'].index > 3", false),
            ("device.attributes['gpu.com'].driverVersion.compareTo(semver('1.2.0')) > 0", true),
            ("device.capacity['gpu.com'].memory.isGreaterThan(quantity('8Gi'))", true),
            ("cel.bind(d, device.attributes['gpu.com'], d.family == 'ada' && d.index == 3)", true),
        ] {
            assert_eq!(matches(expression), Ok(wanted), "{expression}");
        }
        assert_eq!(matches("device.attributes['none.com'].x"), Err("no such key: x".to_owned()));
    }
}
