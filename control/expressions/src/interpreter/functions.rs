//! What each function makes of its arguments.

mod refusal;

pub(crate) use refusal::is_open;

use std::cmp::Ordering;
use std::sync::Arc;

use super::concatenate;
use crate::function::Function;
use crate::library::{
    authorization, collections, format, formatting, network, quantity, semver, strings, url,
};
use crate::program::Call;
use crate::regular;
use crate::timestamp;
use crate::value::{Entries, Evaluated, EvaluationError, Key, Library, Map, Value, compare, equal, fail};
use crate::{arithmetic, value};

/// Calls a function. Its first argument may be used up.
pub(crate) fn invoke<'a>(call: &Call, args: &mut [Value<'a>]) -> Evaluated<Value<'a>> {
    invoke_any(call, args).map_err(|err| {
        let refused = err.is_no_such_overload() || refusal::is_guarded(call, args) && !err.is_cancelled();
        if refused { refusal::of(call, args) } else { err }
    })
}

fn invoke_any<'a>(call: &Call, args: &mut [Value<'a>]) -> Evaluated<Value<'a>> {
    use Function as F;
    let none = || EvaluationError::no_such_overload();
    match (call.function, &mut *args) {
        (F::Equals, [a, b]) => equal(a, b).map(Value::Bool),
        (F::NotEquals, [a, b]) => match equal(a, b) {
            Err(err) if err.is_cancelled() => Err(err),
            same => Ok(Value::Bool(!same.unwrap_or(false))),
        },
        (F::Not, [a]) => a.bool().map(|value| Value::Bool(!value)),
        (F::Negate, [a]) => arithmetic::negate(a),
        (F::Add, [a @ Value::List(_), Value::List(b)]) => concatenate(std::mem::replace(a, Value::Null), b),
        (F::Add, [a, b]) => arithmetic::add(a, b),
        (F::Subtract, [a, b]) => arithmetic::subtract(a, b),
        (F::Multiply, [a, b]) => arithmetic::multiply(a, b),
        (F::Divide, [a, b]) => arithmetic::divide(a, b),
        (F::Modulo, [a, b]) => arithmetic::modulo(a, b),
        (F::Less, [a, b]) => compare(a, b).map(|order| Value::Bool(order.is_lt())),
        (F::LessEquals, [a, b]) => compare(a, b).map(|order| Value::Bool(order.is_le())),
        (F::Greater, [a, b]) => compare(a, b).map(|order| Value::Bool(order.is_gt())),
        (F::GreaterEquals, [a, b]) => compare(a, b).map(|order| Value::Bool(order.is_ge())),
        (F::In, [item, Value::List(list)]) => collections::contains(list, item).map(Value::Bool),
        (F::In, [key, Value::Map(Map::Defaulted(entries))]) => Ok(Value::Bool(entries.find(key).is_some())),
        (F::In, [key, Value::Map(map)]) => map.find(key).map(|found| Value::Bool(found.is_some())),
        (F::Size, [a]) => match a {
            Value::Library(_) => Err(none()),
            _ => a.sized().map(|size| Value::Int(size as i64)).ok_or_else(none),
        },
        (F::Dyn, [a]) => Ok(a.clone()),
        (F::TypeOf, [a]) => Ok(Value::Type(Arc::new(a.runtime_type()))),
        (
            F::ToBool
            | F::ToBytes
            | F::ToDouble
            | F::ToDuration
            | F::ToInt
            | F::ToString
            | F::ToTimestamp
            | F::ToUint,
            args,
        ) if !refusal::takes(call, args) => Err(none()),
        (F::ToBool, [a]) => a.to_bool(),
        (F::ToBytes, [a]) => a.to_bytes(),
        (F::ToDouble, [a]) => a.to_double(),
        (F::ToDuration, [a]) => a.to_duration(),
        (F::ToInt, [a]) => a.to_int(),
        (F::ToString, [a]) => a.to_text(),
        (F::ToTimestamp, [a]) => a.to_timestamp(),
        (F::ToUint, [a]) => a.to_uint(),
        (F::MapInsert, [map, more @ ..]) => insert(std::mem::replace(map, Value::Null), more),
        (F::FormatConstant, []) => {
            let name = call.declaration.name.strip_prefix("format.").unwrap_or(call.declaration.name);
            format::named(name).map(|format| Value::Library(Library::Format(format))).ok_or_else(none)
        }
        _ => match of_time(call.function, args).or_else(|| of_optionals(call.function, args)) {
            Some(result) => result,
            None => of_library(call, args),
        },
    }
}

fn insert<'a>(map: Value<'a>, more: &[Value<'a>]) -> Evaluated<Value<'a>> {
    let mut entries = match map {
        Value::Map(Map::Entries(entries)) => Arc::unwrap_or_clone(entries),
        Value::Map(other) => {
            let mut entries = Entries::default();
            for (key, value) in other.entries()? {
                entries.set(key, value);
            }
            entries
        }
        _ => return Err(EvaluationError::no_such_overload()),
    };
    let mut add = |key: Value<'a>, value: Value<'a>| {
        if Key::of(&key).is_some() && entries.find(&key).is_some() {
            fail!("insert failed: key {key} already exists");
        }
        entries.set(key, value);
        Ok(())
    };
    match more {
        [key, value] => add(key.clone(), value.clone())?,
        [Value::Map(map)] => {
            for (key, value) in map.entries()? {
                add(key, value)?;
            }
        }
        _ => return Err(EvaluationError::no_such_overload()),
    }
    Ok(Value::Map(Map::Entries(entries.into())))
}

fn of_time<'a>(function: Function, args: &[Value<'a>]) -> Option<Evaluated<Value<'a>>> {
    let Function::TimePart(part) = function else { return None };
    Some(match args {
        [Value::Timestamp(time)] => timestamp::part(*time, part, None).map(Value::Int),
        [Value::Timestamp(time), Value::String(zone)] => {
            timestamp::part(*time, part, Some(zone.as_str())).map(Value::Int)
        }
        [Value::Duration(nanoseconds)] => match part.nanoseconds() {
            Some(unit) => Ok(Value::Int(nanoseconds / unit)),
            None => Err(EvaluationError::no_such_overload()),
        },
        _ => Err(EvaluationError::no_such_overload()),
    })
}

fn of_optionals<'a>(function: Function, args: &[Value<'a>]) -> Option<Evaluated<Value<'a>>> {
    use Function as F;
    Some(match (function, args) {
        (F::OptionalNone, []) => Ok(Value::Optional(None)),
        (F::OptionalOf, [value]) => Ok(Value::some(value.clone())),
        (F::OptionalOfNonZero, [value]) if value.is_zero() => Ok(Value::Optional(None)),
        (F::OptionalOfNonZero, [value]) => Ok(Value::some(value.clone())),
        (F::OptionalHasValue, [Value::Optional(value)]) => Ok(Value::Bool(value.is_some())),
        (F::OptionalValue, [Value::Optional(value)]) => match value {
            Some(value) => Ok(Value::clone(value)),
            None => Err(EvaluationError::new("optional.none() dereference")),
        },
        (F::OptionalUnwrap, [Value::List(list)]) => {
            let unwrapped = list.iter().filter_map(|item| match item {
                Ok(Value::Optional(None)) => None,
                Ok(Value::Optional(Some(value))) => Some(Ok(Value::clone(&value))),
                Ok(other) => Some(Err(EvaluationError::new(format!("value {other} is not optional")))),
                Err(err) => Some(Err(err)),
            });
            unwrapped.collect::<Evaluated<Vec<_>>>().map(Value::list)
        }
        (F::First | F::Last, [Value::List(list)]) => {
            let place = if function == F::First { 0 } else { list.len().saturating_sub(1) };
            list.get(place).transpose().map(|found| found.map_or(Value::Optional(None), Value::some))
        }
        _ => return None,
    })
}

fn of_library<'a>(call: &Call, args: &[Value<'a>]) -> Evaluated<Value<'a>> {
    use Function as F;
    let none = EvaluationError::no_such_overload;
    match (call.function, args) {
        (F::Contains, [a, b]) => Ok(Value::Bool(a.str()?.contains(b.str()?))),
        (F::StartsWith, [a, b]) => Ok(Value::Bool(a.str()?.starts_with(b.str()?))),
        (F::EndsWith, [a, b]) => Ok(Value::Bool(a.str()?.ends_with(b.str()?))),
        (F::Matches | F::Find | F::FindAll, [text, pattern, rest @ ..]) => match &call.pattern {
            Some(pattern) => search(call.function, text.str()?, pattern, rest),
            None => {
                let text = text.str()?;
                let pattern = regular::compile(pattern.str()?).map_err(|reason| {
                    EvaluationError::new(if call.function == F::Matches {
                        reason
                    } else {
                        format!("Illegal regex: {reason}")
                    })
                })?;
                search(call.function, text, &pattern, rest)
            }
        },
        (F::CharAt, [text, place]) => strings::char_at(text.str()?, place.int()?),
        (F::Substring, [text, start]) => strings::substring(text.str()?, start.int()?, None),
        (F::Substring, [text, start, end]) => strings::substring(text.str()?, start.int()?, Some(end.int()?)),
        (F::IndexOf, [Value::List(list), item]) => collections::index_of(list, item, false),
        (F::LastIndexOf, [Value::List(list), item]) => collections::index_of(list, item, true),
        (F::IndexOf, [text, sought]) => strings::index_of(text.str()?, sought.str()?, 0),
        (F::IndexOf, [text, sought, from]) => strings::index_of(text.str()?, sought.str()?, from.int()?),
        (F::LastIndexOf, [text, sought]) => strings::last_index_of(text.str()?, sought.str()?, None),
        (F::LastIndexOf, [text, sought, from]) => {
            strings::last_index_of(text.str()?, sought.str()?, Some(from.int()?))
        }
        (F::LowerAscii, [text]) => Ok(text.str()?.to_ascii_lowercase().into()),
        (F::UpperAscii, [text]) => Ok(text.str()?.to_ascii_uppercase().into()),
        (F::Trim, [text]) => Ok(strings::trim(text.str()?)),
        (F::Replace, [text, old, new]) => strings::replace(text.str()?, old.str()?, new.str()?, -1),
        (F::Replace, [text, old, new, limit]) => {
            strings::replace(text.str()?, old.str()?, new.str()?, limit.int()?)
        }
        (F::Split, [text, separator]) => Ok(strings::split(text.str()?, separator.str()?, -1)),
        (F::Split, [text, separator, limit]) => {
            Ok(strings::split(text.str()?, separator.str()?, limit.int()?))
        }
        (F::Join, [list]) => strings::join(list, ""),
        (F::Join, [list, separator]) => strings::join(list, separator.str()?),
        (F::Quote, [text]) => Ok(strings::quote(text.str()?)),
        (F::EscapeKey, [key]) => Ok(strings::escape_key(key.str()?)),
        (F::Format, [template, given]) => formatting::format(template.str()?, given),
        (F::Max | F::Min, args) if !refusal::takes(call, args) => Err(none()),
        (F::IsSorted, [list]) => collections::is_sorted(list),
        (F::Max, [list]) => collections::extreme(list, "max", Ordering::Greater),
        (F::Min, [list]) => collections::extreme(list, "min", Ordering::Less),
        (F::Sum, [list]) => arithmetic::sum(list, call.cost),
        (F::Sort, [list]) => collections::sort(list, list),
        (F::SortBy, [list, keys]) => collections::sort(list, keys),
        (F::Slice, [list, start, end]) => collections::slice(list, start.int()?, end.int()?),
        (F::Flatten, [list]) => collections::flatten(list, 1),
        (F::Flatten, [list, depth]) => collections::flatten(list, depth.int()?),
        (F::Range, [count]) => collections::range(count.int()?),
        (F::Reverse, [list]) => collections::reverse(list),
        (F::Distinct, [list]) => collections::distinct(list),
        (F::SetsContains, [a, b]) => collections::sets_contain(a, b).map(Value::Bool),
        (F::SetsIntersects, [a, b]) => collections::sets_intersect(a, b).map(Value::Bool),
        (F::SetsEquivalent, [a, b]) => {
            Ok(Value::Bool(collections::sets_contain(a, b)? && collections::sets_contain(b, a)?))
        }
        (F::FormatNamed, [name]) => Ok(match format::named(name.str()?) {
            Some(format) => Value::some(Value::Library(Library::Format(format))),
            None => Value::Optional(None),
        }),
        (F::FormatValidate, [Value::Library(Library::Format(format)), text]) => {
            let wrong = (format.check)(text.str()?);
            if wrong.is_empty() {
                return Ok(Value::Optional(None));
            }
            Ok(Value::some(Value::list(wrong.into_iter().map(Value::from).collect())))
        }
        _ => match of_network(call.function, args).or_else(|| of_numbers(call.function, args)) {
            Some(result) => result,
            None if matches!(
                args.first(),
                Some(Value::Library(Library::Authorizing(_) | Library::Decided(_)))
            ) =>
            {
                authorization::ask(call.function, args)
            }
            None => Err(none()),
        },
    }
}

fn search<'a>(
    function: Function,
    text: &str,
    pattern: &regex::Regex,
    rest: &[Value<'a>],
) -> Evaluated<Value<'a>> {
    Ok(match function {
        Function::Matches => Value::Bool(pattern.is_match(text)),
        Function::Find => strings::find(text, pattern),
        _ => strings::find_all(text, pattern, rest.first().map_or(Ok(-1), value::Value::int)?),
    })
}

fn of_network<'a>(function: Function, args: &[Value<'a>]) -> Option<Evaluated<Value<'a>>> {
    use Function as F;
    let ip = |value: &Value<'a>| match value {
        Value::String(text) => network::address(text.as_str()),
        _ => network::ip_of(value),
    };
    let cidr = |value: &Value<'a>| match value {
        Value::String(text) => network::cidr(text.as_str()),
        _ => network::cidr_of(value),
    };
    Some(match (function, args) {
        (F::Url, [Value::String(text)]) => url::parse_request(text.as_str())
            .and_then(|_| url::parse_whole(text.as_str()))
            .map(Value::url)
            .map_err(|reason| {
                EvaluationError::new(format!("URL parse error during conversion from string: {reason}"))
            }),
        (F::IsUrl, [Value::String(text)]) => Ok(Value::Bool(url::parse_request(text.as_str()).is_ok())),
        (_, [Value::Library(Library::Url(url))]) => Ok(match function {
            F::UrlScheme => Value::owned_text(url.scheme()),
            F::UrlHost => Value::owned_text(url.host()),
            F::UrlHostname => Value::owned_text(url.hostname()),
            F::UrlPort => Value::owned_text(url.port()),
            F::UrlEscapedPath => url.escaped_path().into(),
            F::UrlQuery => url.query(),
            _ => return None,
        }),
        (F::Ip, [Value::Library(Library::Cidr(cidr))]) => Ok(Value::Library(Library::Ip(cidr.address))),
        (F::Ip, [Value::String(text)]) => {
            network::address(text.as_str()).map(|ip| Value::Library(Library::Ip(ip)))
        }
        (F::IsIp, [Value::String(text)]) => Ok(Value::Bool(network::address(text.as_str()).is_ok())),
        (F::IpIsCanonical, [Value::String(text)]) => {
            network::address(text.as_str()).map(|ip| Value::Bool(ip.to_string() == text.as_str()))
        }
        (_, [Value::Library(Library::Ip(ip))]) => Ok(match function {
            F::IpFamily => Value::Int(if ip.is_ipv4() { 4 } else { 6 }),
            F::IpIsUnspecified => Value::Bool(ip.is_unspecified()),
            F::IpIsLoopback => Value::Bool(ip.is_loopback()),
            F::IpIsLinkLocalMulticast => Value::Bool(network::is_link_local_multicast(*ip)),
            F::IpIsLinkLocalUnicast => Value::Bool(network::is_link_local(*ip)),
            F::IpIsGlobalUnicast => Value::Bool(network::is_global_unicast(*ip)),
            _ => return None,
        }),
        (F::Cidr, [Value::String(text)]) => {
            network::cidr(text.as_str()).map(|cidr| Value::Library(Library::Cidr(cidr)))
        }
        (F::IsCidr, [Value::String(text)]) => Ok(Value::Bool(network::cidr(text.as_str()).is_ok())),
        (F::CidrContainsIp, [a, b]) => cidr(a).and_then(|cidr| match ip(b) {
            Ok(ip) => Ok(Value::Bool(network::contains(cidr, ip))),
            // Text that is no address gets the reference implementation's odd answer.
            Err(_) => Err(EvaluationError::refused()),
        }),
        (F::CidrContainsCidr, [a, b]) => {
            cidr(a).and_then(|outer| Ok(Value::Bool(network::contains_cidr(outer, cidr(b)?))))
        }
        (F::CidrPrefixLength, [a]) => network::cidr_of(a).map(|cidr| Value::Int(i64::from(cidr.bits))),
        (F::CidrMasked, [a]) => {
            network::cidr_of(a).map(|cidr| Value::Library(Library::Cidr(network::masked(cidr))))
        }
        _ => return None,
    })
}

fn of_numbers<'a>(function: Function, args: &[Value<'a>]) -> Option<Evaluated<Value<'a>>> {
    use Function as F;
    let ordered = |order: Ordering| match function {
        F::IsGreaterThan => Value::Bool(order.is_gt()),
        F::IsLessThan => Value::Bool(order.is_lt()),
        _ => Value::Int(order as i64),
    };
    Some(match (function, args) {
        (F::Quantity, [Value::String(text)]) => {
            quantity::parse(text.as_str()).map(Value::quantity).map_err(EvaluationError::new)
        }
        (F::IsQuantity, [Value::String(text)]) => Ok(Value::Bool(quantity::parse(text.as_str()).is_ok())),
        (
            F::IsGreaterThan | F::IsLessThan | F::CompareTo,
            [Value::Library(Library::Quantity(a)), Value::Library(Library::Quantity(b))],
        ) => Ok(ordered(a.compare(b))),
        (
            F::IsGreaterThan | F::IsLessThan | F::CompareTo,
            [Value::Library(Library::Semver(a)), Value::Library(Library::Semver(b))],
        ) => Ok(ordered(a.compare(b))),
        (F::QuantityAdd | F::QuantitySub, [Value::Library(Library::Quantity(a)), b]) => {
            let b = match b {
                Value::Int(whole) => quantity::Quantity::whole(*whole),
                Value::Library(Library::Quantity(b)) => **b,
                _ => return None,
            };
            Ok(Value::quantity(if function == F::QuantityAdd { a.add(&b) } else { a.subtract(&b) }))
        }
        (_, [Value::Library(Library::Quantity(a))]) => Ok(match function {
            F::QuantitySign => Value::Int(a.sign()),
            F::QuantityFloat => Value::Double(a.float()),
            F::QuantityIsInteger => Value::Bool(a.integer().is_some()),
            F::QuantityInteger => match a.integer() {
                Some(value) => Value::Int(value),
                None => return Some(Err(EvaluationError::new("cannot convert value to integer"))),
            },
            _ => return None,
        }),
        (F::Semver | F::IsSemver, [Value::String(text), rest @ ..]) => {
            let parsed = match rest {
                [Value::Bool(true)] => semver::parse_normalized(text.as_str()),
                _ => semver::parse(text.as_str()),
            };
            if function == F::IsSemver {
                return Some(Ok(Value::Bool(parsed.is_ok())));
            }
            parsed.map(Value::semver).map_err(EvaluationError::new)
        }
        (_, [Value::Library(Library::Semver(version))]) => {
            let part = match function {
                F::SemverMajor => version.major,
                F::SemverMinor => version.minor,
                F::SemverPatch => version.patch,
                _ => return None,
            };
            Ok(Value::Int(part as i64))
        }
        _ => return None,
    })
}
