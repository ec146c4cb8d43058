//! How much of a device somebody has: devices that several may have give each a part of what they can do.

use std::collections::BTreeMap;

use k8s_openapi::api::resource::v1::{CapacityRequestPolicy, Device, DeviceCapacity};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use xebec_machinery::quantity;

const NANO: i128 = 1_000_000_000;

/// Amounts in billionths by name.
pub(super) type Amounts = BTreeMap<String, i128>;

/// An amount in billionths.
pub(super) fn nanos(of: &Quantity) -> i128 {
    quantity::Quantity::parse(&of.0).map_or(0, |amount| amount.nanos())
}

/// What is taken of each capacity of a device by who asks for `wanted`; none where there is not so much left.
pub(super) fn asked(
    device: &Device,
    wanted: Option<&BTreeMap<String, Quantity>>,
    taken: Option<&Amounts>,
) -> Option<Amounts> {
    let empty = BTreeMap::new();
    let capacities = device.capacity.as_ref().unwrap_or(&empty);
    if wanted.into_iter().flatten().any(|(name, _)| !capacities.contains_key(name)) {
        return None;
    }
    let mut amounts = Amounts::new();
    for (name, capacity) in capacities {
        let amount = consumed(wanted.and_then(|wanted| wanted.get(name)).map(nanos), capacity);
        let taken = taken.and_then(|taken| taken.get(name)).copied().unwrap_or_default();
        if breaks(amount, capacity.request_policy.as_ref()) || amount + taken > nanos(&capacity.value) {
            return None;
        }
        amounts.insert(name.clone(), amount);
    }
    Some(amounts)
}

/// What somebody takes who asks for so much: nothing said is what the device says, or all of it.
fn consumed(wanted: Option<i128>, capacity: &DeviceCapacity) -> i128 {
    let policy = capacity.request_policy.as_ref();
    let Some(wanted) = wanted else {
        return nanos(policy.and_then(|policy| policy.default.as_ref()).unwrap_or(&capacity.value));
    };
    let Some(policy) = policy else { return wanted };
    if let Some(range) = &policy.valid_range {
        let min = nanos(&range.min);
        let step = range.step.as_ref().map(nanos).filter(|step| *step > 0);
        return match step {
            _ if wanted < min => min,
            Some(step) => min + (wanted - min + step - 1) / step * step,
            None => wanted,
        };
    }
    let mut values = policy.valid_values.iter().flatten().map(nanos);
    values.find(|value| wanted <= *value).unwrap_or(wanted)
}

fn breaks(amount: i128, policy: Option<&CapacityRequestPolicy>) -> bool {
    let Some(policy) = policy else { return false };
    if policy.default.as_ref().map(nanos) == Some(amount) {
        return false;
    }
    if let Some(range) = &policy.valid_range {
        return range.max.as_ref().map(nanos).is_some_and(|max| amount > max);
    }
    let mut values = policy.valid_values.iter().flatten().map(nanos).peekable();
    values.peek().is_some() && values.all(|value| value != amount)
}

/// Adds amounts so many times.
pub(super) fn add(to: &mut Amounts, amounts: &Amounts, times: i128) {
    for (name, amount) in amounts {
        *to.entry(name.clone()).or_default() += amount * times;
    }
}

/// The amounts as the API writes them.
pub(super) fn told(amounts: &Amounts) -> BTreeMap<String, Quantity> {
    let text = |amount: i128| {
        let whole = amount % NANO == 0;
        let text = if whole { (amount / NANO).to_string() } else { format!("{amount}n") };
        quantity::Quantity::parse(&text).map_or(text, |amount| amount.to_string())
    };
    amounts.iter().map(|(name, amount)| (name.clone(), Quantity(text(*amount)))).collect()
}
