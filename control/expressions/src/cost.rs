//! What calls cost when they are made: the units of the reference implementation and of Kubernetes' libraries.

use crate::effort;
use crate::function::Function;
use crate::value::{Evaluated, Library, Value};

/// How the cost of a call is reckoned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    One,
    /// A tenth of the first argument's size.
    First,
    /// A fifth of the first argument's size.
    TwiceFirst,
    /// The second argument's size.
    Second,
    /// A tenth of the smaller argument's size.
    Smaller,
    /// The same, but one where a library's values are compared.
    Equality,
    /// A tenth of both arguments' sizes.
    Both,
    /// Every character against every part of a pattern.
    Pattern,
    /// Every character against every other.
    Substring,
    /// A question to an authorizer.
    Authorize,
    Selector,
    /// Every element, text by its length.
    Traversal,
    SumOfUints,
    SumOfDoubles,
    SumOfDurations,
    /// A fifth of the result's size.
    Joined,
    CidrWithIp {
        text: bool,
    },
    CidrWithCidr {
        text: bool,
    },
    Format,
    /// The product of both sizes, so many times.
    Product(u8),
    /// A new list as long as the result.
    NewList,
    /// A new list as long as the first argument says.
    Counted,
    Flatten,
    /// Every element of that argument with every other.
    Pairwise(u8),
}

/// How a call of `function` costs; `overload` if just one can be meant.
pub(crate) fn of(function: Function, overload: Option<&str>) -> Cost {
    use Function as F;
    match function {
        F::Check => Cost::Authorize,
        F::CheckFieldSelector | F::CheckLabelSelector => Cost::Selector,
        F::Sum => match overload {
            Some("list_uint_sum_uint") => Cost::SumOfUints,
            Some("list_double_sum_double") => Cost::SumOfDoubles,
            Some("list_duration_sum_duration") => Cost::SumOfDurations,
            _ => Cost::Traversal,
        },
        F::IsSorted | F::Max | F::Min | F::IndexOf | F::LastIndexOf => Cost::Traversal,
        F::Url | F::LowerAscii | F::UpperAscii | F::Substring | F::Trim | F::EscapeKey => Cost::First,
        F::Replace | F::Split => Cost::TwiceFirst,
        F::Join => Cost::Joined,
        F::Find | F::FindAll => Cost::Pattern,
        F::Cidr | F::IsIp | F::IsCidr | F::Quantity | F::IsQuantity | F::Semver | F::IsSemver => Cost::First,
        F::Ip => {
            if overload == Some("cidr_ip") {
                Cost::One
            } else {
                Cost::First
            }
        }
        F::IpIsCanonical => Cost::TwiceFirst,
        F::CidrContainsIp => Cost::CidrWithIp { text: overload == Some("cidr_contains_ip_string") },
        F::CidrContainsCidr => Cost::CidrWithCidr { text: overload == Some("cidr_contains_cidr_string") },
        F::FormatValidate => Cost::Format,
        F::Equals => Cost::Equality,
        F::NotEquals => Cost::Smaller,
        _ => of_overload(overload.unwrap_or("")),
    }
}

fn of_overload(overload: &str) -> Cost {
    match overload {
        "starts_with_string" | "ends_with_string" | "string_to_bytes" | "bytes_to_string"
        | "strings_quote" | "string_format" => Cost::First,
        "in_list" => Cost::Second,
        _ if puts_in_order(overload) => Cost::Smaller,
        "add_string" | "add_bytes" => Cost::Both,
        "matches_string" => Cost::Pattern,
        "contains_string" => Cost::Substring,
        "list_sets_contains_list" | "list_sets_intersects_list" => Cost::Product(1),
        "list_sets_equivalent_list" => Cost::Product(2),
        "lists_range" => Cost::Counted,
        "list_slice" | "list_reverse" => Cost::NewList,
        "list_flatten" | "list_flatten_int" => Cost::Flatten,
        "list_distinct" | "list_sort" | "list_text_sort" => Cost::Pairwise(0),
        "list_sortByAssociatedKeys" | "list_text_sortByAssociatedKeys" => Cost::Pairwise(1),
        _ => Cost::One,
    }
}

/// Whether an overload tells which of two texts comes first, and so may read both up to the end of the shorter one.
pub(crate) fn puts_in_order(overload: &str) -> bool {
    matches!(
        overload,
        "less_string"
            | "greater_string"
            | "less_equals_string"
            | "greater_equals_string"
            | "less_bytes"
            | "greater_bytes"
            | "less_equals_bytes"
            | "greater_equals_bytes"
    )
}

/// `size · factor`, rounded up.
fn share(size: f64, factor: f64) -> i64 {
    (size * factor).ceil() as i64
}

/// What is known before the call; an argument without a value counts as one.
pub(crate) fn before(cost: Cost, args: &[Option<&Value<'_>>]) -> i64 {
    let size = |place: usize| match args.get(place) {
        Some(Some(value)) => value_size(value),
        _ => 1,
    };
    let sized = |place: usize| size(place) as f64;
    match cost {
        Cost::One => 1,
        Cost::First => share(sized(0), 0.1),
        Cost::TwiceFirst => share(sized(0) * 2.0, 0.1),
        Cost::Second => size(1) as i64,
        Cost::Equality if matches!(args.first(), Some(Some(Value::Library(_)))) => 1,
        Cost::Smaller | Cost::Equality => share(size(0).min(size(1)) as f64, 0.1),
        Cost::Both => share((size(0) + size(1)) as f64, 0.1),
        Cost::Pattern => share(1.0 + sized(0), 0.1).saturating_mul(share(sized(1), 0.25)),
        Cost::Substring => share(sized(0), 0.1).saturating_mul(share(sized(1), 0.1)),
        Cost::Authorize => 350_000,
        Cost::Selector => 10 + share(sized(1), 0.1) + share(share(sized(1), 0.5) as f64, 50.0),
        Cost::Traversal | Cost::SumOfUints | Cost::SumOfDoubles | Cost::SumOfDurations => {
            args.first().copied().flatten().map_or(1, traversal)
        }
        Cost::Joined | Cost::NewList => 0,
        Cost::Counted => match args.first() {
            Some(Some(Value::Int(count))) => (*count).max(0).saturating_add(11),
            _ => 12,
        },
        Cost::CidrWithIp { text } => share(sized(0) * 2.0, 0.1) + if text { share(sized(1), 0.1) } else { 0 },
        Cost::CidrWithCidr { text } => {
            share(sized(0) * 2.0, 0.1)
                + share(sized(0), 0.1)
                + 1
                + if text { share(sized(1), 0.1) } else { 0 }
        }
        Cost::Format => match args.first() {
            Some(Some(Value::Library(Library::Format(format)))) => {
                share(1.0 + sized(1), 0.1) * share(format.pattern_size as f64, 0.25)
            }
            _ => 1,
        },
        Cost::Product(times) => 1 + (size(0).saturating_mul(size(1)) as f64 * f64::from(times)) as i64,
        Cost::Flatten => {
            let depth = match args.get(1) {
                Some(Some(Value::Int(depth))) => *depth as f64,
                _ => 1.0,
            };
            ((sized(0) * depth) as i64).saturating_add(11)
        }
        Cost::Pairwise(place) => pairwise(args.get(usize::from(place)).copied().flatten()),
    }
}

fn pairwise(list: Option<&Value<'_>>) -> i64 {
    let Some(Value::List(list)) = list else { return 13 };
    let size = list.len() as f64;
    let factor = match list.get(0) {
        Some(Ok(Value::String(_) | Value::Bytes(_))) => 2.1,
        _ => 2.0,
    };
    (size * size * factor) as i64 + 11
}

/// What only the result tells.
pub(crate) fn after(cost: Cost, result: &Evaluated<Value<'_>>) -> i64 {
    let size = || result.as_ref().map_or(1, value_size);
    match cost {
        Cost::Joined => share(size() as f64 * 2.0, 0.1),
        Cost::NewList => size() as i64 + 11,
        _ => 0,
    }
}

fn value_size(value: &Value<'_>) -> u64 {
    match value {
        Value::Optional(Some(value)) => value_size(value),
        _ => value.size(),
    }
}

/// More than any limit.
const ENDLESS: i64 = i64::MAX / 1_000_000_000;

fn traversal(value: &Value<'_>) -> i64 {
    if effort::look().is_err() {
        return ENDLESS;
    }
    match value {
        Value::String(text) => (text.as_str().len() as f64 * 0.1) as i64,
        Value::Bytes(bytes) => (bytes.len() as f64 * 0.1) as i64,
        Value::List(list) => {
            list.iter().map(|item| item.map_or(1, |item| traversal(&item))).fold(0, i64::saturating_add)
        }
        Value::Map(map) => {
            let entries = map.entries().unwrap_or_default();
            entries.iter().map(|(key, value)| traversal(key) + traversal(value)).fold(0, i64::saturating_add)
        }
        _ => 1,
    }
}
