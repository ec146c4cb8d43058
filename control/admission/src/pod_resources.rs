//! What a pod asks for as a whole.

use std::collections::BTreeMap;

use serde_json::Value;
use xebec_machinery::quantity::Quantity;

use crate::object;

/// Amounts by the names of resources.
pub(crate) type Amounts = BTreeMap<String, Quantity>;

/// Which side of a container's resources is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Requests,
    Limits,
}

impl Side {
    fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }
}

/// Reads amounts; what is none is left out, since validation refuses it.
pub(crate) fn amounts(of: Option<&Value>) -> Amounts {
    let map = of.and_then(Value::as_object).into_iter().flatten();
    map.filter_map(|(name, amount)| Some((name.clone(), quantity(amount)?))).collect()
}

/// An amount as objects write it.
pub(crate) fn quantity(of: &Value) -> Option<Quantity> {
    match of {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

/// What a container asks for.
pub(crate) fn of_container(container: &Value, side: Side) -> Amounts {
    amounts(object::at(container, &["resources", side.as_str()]))
}

/// Adds amounts.
pub(crate) fn add(sum: &mut Amounts, more: Amounts) {
    for (name, amount) in more {
        let total = sum.get(&name).map(|before| before.plus(&amount));
        sum.insert(name, total.unwrap_or(amount));
    }
}

/// Raises amounts to at least these.
fn raise(sum: &mut Amounts, least: Amounts) {
    for (name, amount) in least {
        if sum.get(&name).is_none_or(|own| own.nanos() < amount.nanos()) {
            sum.insert(name, amount);
        }
    }
}

/// What a pod's containers ask for together: those that run side by side add up, those that run one after the other do
/// not; and what the pod asks for as a whole stands in the place of their sum.
pub(crate) fn of_pod(spec: &Value, side: Side) -> Amounts {
    let (mut sum, mut beside, mut peak) = (Amounts::new(), Amounts::new(), Amounts::new());
    for container in object::list(spec, &["containers"]) {
        add(&mut sum, of_container(container, side));
    }
    for container in object::list(spec, &["initContainers"]) {
        if object::text(container, &["restartPolicy"]) == "Always" {
            add(&mut beside, of_container(container, side));
            raise(&mut peak, beside.clone());
        } else {
            let mut at_once = beside.clone();
            add(&mut at_once, of_container(container, side));
            raise(&mut peak, at_once);
        }
    }
    add(&mut sum, beside);
    raise(&mut sum, peak);
    let whole = amounts(object::at(spec, &["resources", side.as_str()]));
    let supported = |name: &str| matches!(name, "cpu" | "memory") || name.starts_with("hugepages-");
    sum.extend(whole.into_iter().filter(|(name, _)| supported(name)));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sidecars_count_beside_the_others_and_setup_counts_by_its_peak() {
        let container = |cpu: &str, restart: Value| json!({"restartPolicy": restart, "resources": {"requests": {"cpu": cpu}}});
        let mut spec = json!({
            "initContainers": [container("100m", json!("Always")), container("2", json!(null))],
            "containers": [container("500m", json!(null)), container("500m", json!(null))],
        });
        assert_eq!(of_pod(&spec, Side::Requests)["cpu"].to_string(), "2100m");
        spec["resources"] = json!({"requests": {"cpu": "3", "nvidia.com/gpu": "1"}});
        let all = of_pod(&spec, Side::Requests);
        assert_eq!((all["cpu"].to_string(), all.len()), ("3".to_owned(), 1));
        assert!(of_pod(&spec, Side::Limits).is_empty());
    }
}
