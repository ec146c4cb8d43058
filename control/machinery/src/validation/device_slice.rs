//! What drivers offer: slices of pools of devices.

use std::cmp::Ordering;

use serde_json::Value;

use super::devices::{self, each, each_once, label};
use super::{IMMUTABLE, driver, entries, given, invalid, list, names, number, resources, scheduling, text};
use crate::field::{FieldError, Path};
use crate::quantity::Quantity;

const DEVICES_MAX: usize = 128;
/// How many devices there are where one of them has taints or takes from counters.
const DEVICES_MAX_ADVANCED: usize = 64;
const POOL_MAX: usize = 253;
const SETS_MAX: usize = 8;
const COUNTERS_MAX: usize = 32;
const TAKEN_MAX: usize = 2;
const TAINTS_MAX: usize = 16;
const CONDITIONS_MAX: usize = 4;
const VALUES_MAX: usize = 10;
const PROPERTIES_MAX: usize = 32;
const ATTRIBUTE_MAX: usize = 64;
const ATTRIBUTES_MAX: usize = 48;
/// How much of a key is told: a domain, `/` and a name.
const KEY_TOLD: usize = 63 + 1 + 32;
const ONE_PLACE: &str =
    "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
const ONE_PLACE_EACH: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
                              `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
const NO_PLACE_EACH: &str = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set \
                             to true in the ResourceSlice spec";
const TRUE_OR_NOT: &str = "must be either unset or set to true";
const NANO: i128 = 1_000_000_000;
const VERSION: &str = "must be a string compatible with semver.org spec 2.0.0";

type Errors = Vec<FieldError>;

/// A ResourceSlice.
pub(super) fn slice(old: Option<&Value>, slice: &Value, errors: &mut Errors) {
    let path = Path::ROOT.child("spec");
    let spec = slice.get("spec").unwrap_or(&Value::Null);
    let before = old.and_then(|old| given(old, "spec"));
    driver::name(spec, "driver", &path, errors);
    pool(spec.get("pool").unwrap_or(&Value::Null), &path.child("pool"), errors);
    if let Some(before) = before {
        fixed(before, spec, &path, errors);
    }
    place(spec, &path, errors);
    let all = list(spec, "devices");
    let sets = list(spec, "sharedCounters");
    if !sets.is_empty() && !all.is_empty() {
        let why = "only one of `sharedCounters` or `devices` is allowed";
        errors.push(FieldError::invalid(&path, "", why));
    }
    let advanced = |of: &Value| ["taints", "consumesCounters"].iter().any(|key| !list(of, key).is_empty());
    let most = if all.iter().any(advanced) { DEVICES_MAX_ADVANCED } else { DEVICES_MAX };
    let each_placed = spec.get("perDeviceNodeSelection") == Some(&Value::Bool(true));
    let by_name = |of: &Value| text(of, "name").into();
    each_once(all, most, &path.child("devices"), errors, by_name, |of, path, errors| {
        let named = |was: &&Value| text(was, "name") == text(of, "name");
        let old = before.and_then(|before| list(before, "devices").iter().find(named));
        device(of, old, each_placed, path, errors);
    });
    each_once(sets, SETS_MAX, &path.child("sharedCounters"), errors, by_name, |of, path, errors| {
        counters(of, "name", path, errors);
    });
}

/// Drivers should not have capitals in their names.
pub(super) fn warnings(slice: &Value) -> Vec<String> {
    let driver = slice.get("spec").map(|spec| text(spec, "driver")).unwrap_or_default();
    if driver == driver.to_lowercase() {
        return Vec::new();
    }
    let why = "driver names should be lowercase";
    vec![format!("spec.driver: {why}; {} contains uppercase characters", Value::from(driver))]
}

/// The name of a pool, which may have several steps.
pub(super) fn pool_name(name: &str, path: &Path<'_>, errors: &mut Errors) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if name.len() > POOL_MAX {
        errors.push(FieldError::too_long(path, POOL_MAX));
    }
    for step in name.split('/') {
        invalid(path, step, names::subdomain(step), errors);
    }
}

fn pool(of: &Value, path: &Path<'_>, errors: &mut Errors) {
    pool_name(text(of, "name"), &path.child("name"), errors);
    let count = number(of, "resourceSliceCount").unwrap_or_default();
    if count <= 0 {
        let path = path.child("resourceSliceCount");
        errors.push(FieldError::invalid(&path, count, "must be greater than zero"));
    }
    let generation = number(of, "generation").unwrap_or_default();
    if generation < 0 {
        let why = "must be greater than or equal to zero";
        errors.push(FieldError::invalid(&path.child("generation"), generation, why));
    }
}

/// A slice stays one of its pool, driver and node.
fn fixed(old: &Value, new: &Value, path: &Path<'_>, errors: &mut Errors) {
    let pool = path.child("pool");
    let name = |of: &Value| of.get("pool").and_then(|pool| given(pool, "name")).cloned().unwrap_or_default();
    let field = |of: &Value, key: &str| given(of, key).cloned().unwrap_or_default();
    for (path, before, after) in [
        (pool.child("name"), name(old), name(new)),
        (path.child("driver"), field(old, "driver"), field(new, "driver")),
        (path.child("nodeName"), field(old, "nodeName"), field(new, "nodeName")),
    ] {
        if before != after {
            errors.push(FieldError::invalid(&path, after, IMMUTABLE));
        }
    }
}

fn node_name(of: &Value, empty: &str, path: &Path<'_>, errors: &mut Errors) -> bool {
    let Some(name) = given(of, "nodeName").and_then(Value::as_str) else { return false };
    let path = path.child("nodeName");
    if name.is_empty() {
        errors.push(FieldError::invalid(&path, name, empty));
    } else {
        invalid(&path, name, names::subdomain(name), errors);
    }
    !name.is_empty()
}

fn flag(of: &Value, key: &str, path: &Path<'_>, errors: &mut Errors) -> bool {
    match given(of, key) {
        Some(Value::Bool(true)) => true,
        Some(value) => {
            errors.push(FieldError::invalid(&path.child(key), value.clone(), TRUE_OR_NOT));
            false
        }
        None => false,
    }
}

/// Where the devices of a slice are.
fn place(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let mut set = Vec::new();
    if node_name(spec, "must be either unset or set to a non-empty string", path, errors) {
        set.push("`nodeName`");
    }
    if let Some(of) = given(spec, "nodeSelector") {
        set.push("`nodeSelector`");
        let path = path.child("nodeSelector");
        scheduling::node_selector(of, &path, errors);
        if list(of, "nodeSelectorTerms").len() != 1 {
            let terms = of.get("nodeSelectorTerms").cloned().unwrap_or_default();
            let why = "must have exactly one node selector term";
            errors.push(FieldError::invalid(&path.child("nodeSelectorTerms"), terms, why));
        }
    }
    for (key, told) in [("allNodes", "`allNodes`"), ("perDeviceNodeSelection", "`perDeviceNodeSelection`")] {
        if flag(spec, key, path, errors) {
            set.push(told);
        }
    }
    match set.len() {
        0 => errors.push(FieldError::required(path, ONE_PLACE)),
        1 => {}
        _ => {
            let why = format!("{ONE_PLACE}, but multiple fields are set");
            errors.push(FieldError::invalid(path, format!("{{{}}}", set.join(", ")), why));
        }
    }
}

/// The place of a device of a slice whose devices have places of their own.
fn place_of_device(of: &Value, path: &Path<'_>, errors: &mut Errors) {
    let mut set = Vec::new();
    if node_name(of, "must not be empty", path, errors) {
        set.push("`nodeName`");
    }
    if let Some(of) = given(of, "nodeSelector") {
        set.push("`nodeSelector`");
        scheduling::node_selector(of, &path.child("nodeSelector"), errors);
    }
    if flag(of, "allNodes", path, errors) {
        set.push("`allNodes`");
    }
    match set.len() {
        0 => errors.push(FieldError::required(path, ONE_PLACE_EACH)),
        1 => {}
        _ => errors.push(FieldError::invalid(path, format!("{{{}}}", set.join(", ")), ONE_PLACE_EACH)),
    }
}

fn device(of: &Value, old: Option<&Value>, placed: bool, path: &Path<'_>, errors: &mut Errors) {
    label(text(of, "name"), &path.child("name"), errors);
    let attributes = entries(of, "attributes").count();
    let count = attributes + entries(of, "capacity").count();
    if count > PROPERTIES_MAX {
        let why = format!("the total number of attributes and capacities must not exceed {PROPERTIES_MAX}");
        errors.push(FieldError::invalid(path, count, why));
    }
    if attributes > ATTRIBUTES_MAX {
        let why = format!("the total number of attribute values must not exceed {ATTRIBUTES_MAX}");
        errors.push(FieldError::invalid(path, attributes, why));
    }
    let place = path.child("attributes");
    for (name, of) in entries(of, "attributes") {
        devices::qualified(name, &place, errors);
        attribute(of, &place.key(&told(name, KEY_TOLD)), errors);
    }
    let shared = of.get("allowMultipleAllocations") == Some(&Value::Bool(true));
    let place = path.child("capacity");
    for (name, of) in entries(of, "capacity") {
        devices::qualified(name, &place, errors);
        let Some(policy) = given(of, "requestPolicy") else { continue };
        let told = told(name, KEY_TOLD);
        let place = place.key(&told);
        let place = place.child("requestPolicy");
        if shared {
            request_policy(text(of, "value"), policy, &place, errors);
        } else {
            errors.push(FieldError::forbidden(&place, "allowMultipleAllocations must be true"));
        }
    }
    if old.is_none_or(|old| list(old, "taints") != list(of, "taints")) {
        each(list(of, "taints"), TAINTS_MAX, &path.child("taints"), errors, devices::taint);
    }
    let by_set = |of: &Value| text(of, "counterSet").into();
    let taken = list(of, "consumesCounters");
    each_once(taken, TAKEN_MAX, &path.child("consumesCounters"), errors, by_set, |of, path, errors| {
        counters(of, "counterSet", path, errors);
    });
    if placed {
        place_of_device(of, path, errors);
    } else if ["nodeName", "nodeSelector", "allNodes"].iter().any(|key| given(of, key).is_some()) {
        errors.push(FieldError::invalid(path, Value::Null, NO_PLACE_EACH));
    }
    conditions(of, path, errors);
}

/// Conditions that a device waits for before a pod is bound, and those that end the waiting.
pub(super) fn conditions(of: &Value, path: &Path<'_>, errors: &mut Errors) {
    const BOTH: [&str; 2] = ["bindingConditions", "bindingFailureConditions"];
    for kind in BOTH {
        each(list(of, kind), CONDITIONS_MAX, &path.child(kind), errors, |of, path, errors| {
            devices::key(of.as_str().unwrap_or_default(), path, errors);
        });
    }
    let [good, bad] = BOTH.map(|kind| list(of, kind));
    for (kind, all) in BOTH.iter().zip([good, bad]) {
        let place = path.child(kind);
        for (at, condition) in all.iter().enumerate() {
            if all[..at].contains(condition) {
                errors.push(FieldError::duplicate(&place.index(at), condition.clone()));
            }
            if *kind == BOTH[1] && good.contains(condition) {
                let why = "bindingFailureConditions must not overlap with bindingConditions";
                errors.push(FieldError::invalid(&place.index(at), condition.clone(), why));
            }
        }
    }
    for (own, other) in [(0, 1), (1, 0)] {
        if list(of, BOTH[own]).is_empty() && !list(of, BOTH[other]).is_empty() {
            let why = format!("{} are required to use {}", BOTH[own], BOTH[other]);
            errors.push(FieldError::invalid(&path.child(BOTH[own]), Value::Null, why));
        }
    }
}

/// Counters under a name.
fn counters(of: &Value, key: &str, path: &Path<'_>, errors: &mut Errors) {
    if super::required(of, key, path, errors) {
        label(text(of, key), &path.child(key), errors);
    }
    let path = path.child("counters");
    let count = entries(of, "counters").count();
    if count == 0 {
        errors.push(FieldError::required(&path, ""));
    } else if count > COUNTERS_MAX {
        errors.push(FieldError::too_many(&path, count, COUNTERS_MAX));
    } else {
        entries(of, "counters").for_each(|(name, _)| label(name, &path, errors));
    }
}

/// A key as much of it is told: what is longer loses its middle.
fn told(key: &str, most: usize) -> String {
    if key.len() <= most {
        return key.to_owned();
    }
    let rest = most - 3;
    let (head, tail) =
        (key.floor_char_boundary(rest.div_ceil(2)), key.ceil_char_boundary(key.len() - rest / 2));
    format!("{}...{}", &key[..head], &key[tail..])
}

fn attribute(of: &Value, path: &Path<'_>, errors: &mut Errors) {
    let mut count = ["bool", "int"].iter().filter(|key| given(of, key).is_some()).count();
    for key in ["string", "version"] {
        let Some(value) = given(of, key).and_then(Value::as_str) else { continue };
        count += 1;
        let path = path.child(key);
        if key == "version" && !is_version(value) {
            errors.push(FieldError::invalid(&path, value, VERSION));
        }
        if value.len() > ATTRIBUTE_MAX {
            errors.push(FieldError::too_long(&path, ATTRIBUTE_MAX));
        }
    }
    let value = match count {
        0 => Value::from(""),
        1 => return,
        _ => of.clone(),
    };
    errors.push(FieldError::invalid(path, value, "exactly one value must be specified"));
}

/// Whether a text is a semantic version.
fn is_version(text: &str) -> bool {
    let is_number = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (text == "0" || !text.starts_with('0'))
    };
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_before =
        |text: &str| is_number(text) || is_word(text) && !text.bytes().all(|byte| byte.is_ascii_digit());
    let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (numbers, before) = rest.split_once('-').map_or((rest, None), |(rest, before)| (rest, Some(before)));
    numbers.split('.').count() == 3
        && numbers.split('.').all(is_number)
        && before.is_none_or(|before| before.split('.').all(is_before))
        && build.is_none_or(|build| build.split('.').all(is_word))
}

/// How much of a capacity one may ask for.
fn request_policy(capacity: &str, policy: &Value, path: &Path<'_>, errors: &mut Errors) {
    let (values, range) = (list(policy, "validValues"), given(policy, "validRange"));
    let standard = given(policy, "default");
    let missing =
        |kind: &str| FieldError::required(&path.child("default"), format!("required when {kind} is defined"));
    match (values.is_empty(), range) {
        (false, Some(_)) => {
            let why = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the \
                       same time";
            errors.push(FieldError::forbidden(path, why));
        }
        (false, None) => match standard {
            None => errors.push(missing("validValues")),
            Some(standard) => valid_values(standard, capacity, values, &path.child("validValues"), errors),
        },
        (true, Some(range)) => match standard {
            None => errors.push(missing("validRange")),
            Some(standard) => valid_range(standard, capacity, range, &path.child("validRange"), errors),
        },
        (true, None) => {}
    }
}

fn nanos(of: &Value) -> i128 {
    resources::amount(of).map_or(0, |amount| amount.nanos())
}

fn compare(left: &Value, right: &Value) -> Ordering {
    nanos(left).cmp(&nanos(right))
}

/// The amount in whole units, rounded up.
fn whole(of: &Value) -> i128 {
    nanos(of).div_euclid(NANO) + i128::from(nanos(of).rem_euclid(NANO) > 0)
}

/// The sum as it is told.
fn sum(left: &Value, right: &Value) -> Option<Quantity> {
    Some(resources::amount(left)?.plus(&resources::amount(right)?))
}

fn valid_values(standard: &Value, capacity: &str, values: &[Value], path: &Path<'_>, errors: &mut Errors) {
    for (at, pair) in values.windows(2).enumerate() {
        if compare(&pair[0], &pair[1]).is_gt() {
            let why = "values must be sorted in ascending order";
            errors.push(FieldError::invalid(&path.index(at + 1), pair[1].clone(), why));
        }
    }
    let mut found = false;
    let most = Value::from(capacity);
    let by_amount = |of: &Value| Value::from(whole(of).to_string());
    each_once(values, VALUES_MAX, path, errors, by_amount, |of, path, errors| {
        if compare(of, &most).is_gt() {
            let why = format!("option is larger than capacity value: {capacity}");
            errors.push(FieldError::invalid(path, of.clone(), why));
        }
        found |= compare(of, standard).is_eq();
    });
    if !found {
        let why = "default value is not valid according to the requestPolicy";
        errors.push(FieldError::invalid(path, standard.clone(), why));
    }
}

fn valid_range(standard: &Value, capacity: &str, range: &Value, path: &Path<'_>, errors: &mut Errors) {
    let Some(min) = given(range, "min") else {
        errors.push(FieldError::required(&path.child("min"), "required when validRange is defined"));
        return;
    };
    let max = given(range, "max");
    let whole_capacity = Value::from(capacity);
    let shown = |of: &Value| of.as_str().unwrap_or_default().to_owned();
    let mut refuse = |key: &str, value: &Value, why: String| {
        errors.push(FieldError::invalid(&path.child(key), value.clone(), why));
    };
    if compare(min, &whole_capacity).is_gt() {
        refuse("min", min, format!("min is larger than capacity value: {capacity}"));
    }
    if compare(standard, min).is_lt() {
        refuse("min", standard, format!("default is less than min: {}", shown(min)));
    }
    if let Some(max) = max {
        if compare(min, max).is_gt() {
            refuse("max", min, format!("min is larger than max: {}", shown(max)));
        }
        if compare(max, &whole_capacity).is_gt() {
            refuse("max", max, format!("max is larger than capacity value: {capacity}"));
        }
        if compare(standard, max).is_gt() {
            refuse("max", standard, format!("default is more than max: {}", shown(max)));
        }
    }
    let Some(step) = given(range, "step") else { return };
    if let Some(first) = sum(min, step)
        && first.nanos() > nanos(&whole_capacity)
    {
        refuse("step", step, format!("one step {first} is larger than capacity value: {capacity}"));
    }
    for value in [Some(standard), max].into_iter().flatten() {
        // Upstream divides by the step, and fails where there is none.
        if whole(step) != 0 && (whole(value) - whole(min)) % whole(step) != 0 {
            let why =
                format!("value is not a multiple of a given step ({}) from ({})", shown(step), shown(min));
            refuse("step", value, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told_of(device: Value) -> Vec<String> {
        let slice = json!({"spec": {
            "driver": "a.com", "pool": {"name": "p", "resourceSliceCount": 1}, "nodeName": "n", "devices": [device],
        }});
        let mut errors = Vec::new();
        super::slice(None, &slice, &mut errors);
        errors.iter().map(|error| error.to_string().replace("spec.devices[0]", "")).collect()
    }

    #[test]
    fn attributes_have_one_value() {
        let of = |attribute: Value| told_of(json!({"name": "d", "attributes": {"a": attribute}}));
        assert_eq!(of(json!({"version": "1.0.0-rc.1+b.01"})), [""; 0]);
        assert_eq!(
            of(json!({})),
            [".attributes[a]: Invalid value: \"\": exactly one value must be specified"]
        );
        for version in ["1.0", "01.0.0", "1.0.0-01", "1.0.0-", "v1.0.0", "1.0.0+a_b"] {
            let wanted = format!(".attributes[a].version: Invalid value: \"{version}\": {VERSION}");
            assert_eq!(of(json!({"version": version})), [wanted]);
        }
    }

    #[test]
    fn a_shared_device_says_how_much_one_may_have() {
        let of = |policy: Value| {
            let capacity = json!({"m": {"value": "10Gi", "requestPolicy": policy}});
            told_of(json!({"name": "d", "allowMultipleAllocations": true, "capacity": capacity}))
        };
        assert_eq!(of(json!({"default": "1Gi", "validValues": ["1Gi", "2Gi"]})), [""; 0]);
        assert_eq!(
            of(json!({"default": "2Gi", "validRange": {"min": "1Gi", "max": "3Gi", "step": "1Gi"}})),
            [""; 0]
        );
        let place = ".capacity[m].requestPolicy";
        assert_eq!(
            of(json!({"default": "3Gi", "validRange": {"min": "1Gi", "step": "0"}})),
            [""; 0],
            "no step is no reason to fail"
        );
        assert_eq!(
            of(json!({"default": "3Gi", "validValues": ["2Gi", "1Gi"]})),
            [
                format!(
                    "{place}.validValues[1]: Invalid value: \"1Gi\": values must be sorted in ascending order"
                ),
                format!(
                    "{place}.validValues: Invalid value: \"3Gi\": default value is not valid according to the requestPolicy"
                ),
            ]
        );
    }

    #[test]
    fn a_long_key_is_told_without_its_middle() {
        assert_eq!(told("abc", 16), "abc");
        assert_eq!(told(&"a".repeat(100), 96).len(), 96);
        assert!(told(&"é".repeat(100), 96).contains("..."));
    }
}
