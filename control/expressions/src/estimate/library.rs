//! What calls of the libraries can cost.

use super::{CallEstimate, Estimate, Estimator, Part, Place, Site};
use crate::syntax::{Kind, Literal};
use crate::types::Type;

/// How many requirements a character of a selector can make.
const REQUIREMENTS_PER_CHARACTER: f64 = 0.5;
/// What a requirement costs.
const COST_PER_REQUIREMENT: f64 = 50.0;
/// The sizes of addresses.
const ADDRESS: Estimate = Estimate { min: 4, max: 16 };
/// The longest pattern of a named format.
const LONGEST_PATTERN: f64 = 128.0;

impl<'e, 's> Estimator<'e, 's> {
    fn part_size(&self, part: Part<'e, 's>) -> Estimate {
        part.size.or_else(|| self.allowed(part.place)).unwrap_or(Estimate::UNKNOWN)
    }

    /// Functions that make, sort and compare lists.
    pub(super) fn collection_call(&self, site: &Site<'_, 'e, 's>) -> Option<CallEstimate> {
        let Site { overload, target, args, .. } = *site;
        let new_list = |factor: f64, size: Estimate| {
            let cost = size.scaled(factor).plus(Estimate::exactly(11));
            Some(CallEstimate { cost, size: Some(size) })
        };
        let pairwise = |factor: f64, part: Part<'e, 's>| {
            let size = self.part_size(part);
            new_list(factor, size.times(size))
        };
        match (overload, target, args) {
            (
                "list_sets_contains_list" | "list_sets_intersects_list" | "list_sets_equivalent_list",
                _,
                [a, b],
            ) => {
                let factor = if overload == "list_sets_equivalent_list" { 2.0 } else { 1.0 };
                let product = self.part_size(*a).times(self.part_size(*b));
                Some(product.scaled(factor).plus(Estimate::ONE).into())
            }
            ("list_slice", Some(target), [start, end]) => {
                let start = constant(*start).unwrap_or(0);
                let end = constant(*end).unwrap_or_else(|| self.part_size(target).max);
                new_list(1.0, Estimate::exactly(end.wrapping_sub(start)))
            }
            ("lists_range", None, [count]) => {
                new_list(1.0, Estimate::exactly(constant(*count).unwrap_or(u64::MAX)))
            }
            ("list_reverse", Some(target), []) => new_list(1.0, self.part_size(target)),
            ("list_flatten", Some(target), []) => new_list(1.0, self.part_size(target)),
            ("list_flatten_int", Some(target), [depth]) => {
                new_list(constant(*depth).unwrap_or(u64::MAX) as f64, self.part_size(target))
            }
            ("list_distinct" | "list_sort", Some(target), []) => pairwise(2.0, target),
            ("list_text_sort", Some(target), []) => pairwise(2.1, target),
            ("list_sortByAssociatedKeys", Some(_), [keys]) => pairwise(2.0, *keys),
            ("list_text_sortByAssociatedKeys", Some(_), [keys]) => pairwise(2.1, *keys),
            _ => None,
        }
    }

    /// Kubernetes' functions and those that it has its own costs for.
    pub(super) fn library_call(&self, site: &Site<'_, 'e, 's>) -> Option<CallEstimate> {
        let Site { name, overload, target, args, .. } = *site;
        let first = || args.first().map(|arg| self.part_size(*arg));
        let target_size = || target.map(|target| self.part_size(target));
        let same_size = |size: Estimate| CallEstimate { cost: size.scaled(0.1), size: Some(size) };
        Some(match name {
            "check" => Estimate::exactly(350_000).into(),
            "serviceAccount"
            | "path"
            | "group"
            | "resource"
            | "subresource"
            | "namespace"
            | "name"
            | "allowed"
            | "reason"
            | "error"
            | "errored"
            | "masked"
            | "prefixLength"
            | "family"
            | "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast"
            | "format.named"
            | "sign"
            | "asInteger"
            | "isInteger"
            | "asApproximateFloat"
            | "isGreaterThan"
            | "isLessThan"
            | "compareTo"
            | "add"
            | "sub"
            | "major"
            | "minor"
            | "patch"
            | "getScheme"
            | "getHostname"
            | "getHost"
            | "getPort"
            | "getEscapedPath"
            | "getQuery" => Estimate::ONE.into(),
            "fieldSelector" | "labelSelector" => {
                let size = first()?;
                let requirements = size.scaled(REQUIREMENTS_PER_CHARACTER).scaled(COST_PER_REQUIREMENT);
                Estimate::exactly(10).plus(size.scaled(0.1)).plus(requirements).into()
            }
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
                let target = target?;
                match self.item(target) {
                    Some(item) => {
                        let mut each = Estimate::ONE;
                        if matches!(item.t, Type::String | Type::Bytes) {
                            each = each.plus(self.part_size(item).scaled(0.1));
                        }
                        self.part_size(target).times(each).into()
                    }
                    None => self.part_size(target).scaled(0.1).into(),
                }
            }
            "url" | "jsonpatch.escapeKey" => same_size(first()?),
            "lowerAscii" | "upperAscii" | "substring" | "trim" => same_size(target_size()?),
            "replace" => {
                let [old, new, ..] = args else { return None };
                replaced(target_size()?, self.part_size(*old), self.part_size(*new))
            }
            "split" => {
                let size = target_size()?;
                // The reference implementation takes -1, which splits without a limit, for the largest number.
                let most =
                    args.get(1).and_then(|limit| literal(*limit)).map_or(size.max, |limit| limit as u64);
                CallEstimate { cost: size.scaled(0.2), size: Some(Estimate { min: 0, max: most }) }
            }
            "join" => self.joined(target?, args.first().copied()),
            "find" | "findAll" => {
                let size = target_size()?;
                let text = size.plus(Estimate::ONE).scaled(0.1);
                let cost = text.times(first()?.scaled(0.25));
                CallEstimate { cost, size: Some(Estimate { min: 0, max: size.max }) }
            }
            "ip" if overload == "cidr_ip" => Estimate::ONE.into(),
            "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
                first()?.scaled(0.1).into()
            }
            "ip.isCanonical" => first()?.scaled(0.2).into(),
            "containsIP" => {
                let mut cost = ADDRESS.plus(ADDRESS).scaled(0.1);
                if overload == "cidr_contains_ip_string" {
                    cost = cost.plus(first()?.scaled(0.1));
                }
                cost.into()
            }
            "containsCIDR" => {
                let mut cost =
                    ADDRESS.plus(ADDRESS).scaled(0.1).plus(ADDRESS.scaled(0.1)).plus(Estimate::ONE);
                if overload == "cidr_contains_cidr_string" {
                    cost = cost.plus(first()?.scaled(0.1));
                }
                cost.into()
            }
            "validate" => first()?.scaled(0.1).scaled(LONGEST_PATTERN * 0.25).into(),
            "_==_" => equality(args)?.into(),
            _ => return None,
        })
    }

    fn item(&self, list: Part<'e, 's>) -> Option<Part<'e, 's>> {
        let t = match list.t {
            Type::List(item) => &**item,
            Type::Map(entry) => &entry.0,
            Type::Opaque(_, params) => params.first()?,
            _ => return None,
        };
        let place = match list.place {
            Place::Nowhere => Place::Nowhere,
            place => self.step(place, "@items"),
        };
        Some(Part { expr: None, t, place, size: None })
    }

    fn joined(&self, list: Part<'e, 's>, separator: Option<Part<'e, 's>>) -> CallEstimate {
        let count = self.part_size(list);
        let mut size = self.item(list).map_or(Estimate::ZERO, |item| count.times(self.part_size(item)));
        if let Some(separator) = separator {
            let gaps = Estimate { min: count.min.saturating_sub(1), max: count.max.saturating_sub(1) };
            size = size.plus(self.part_size(separator).times(gaps));
        }
        CallEstimate { cost: size.scaled(0.1), size: Some(size) }
    }
}

/// The number that stands there, where one does.
fn literal(part: Part<'_, '_>) -> Option<i64> {
    match part.expr.map(|expr| &expr.kind) {
        Some(Kind::Literal(Literal::Int(value))) => Some(*value),
        _ => None,
    }
}

/// The same as a size.
fn constant(part: Part<'_, '_>) -> Option<u64> {
    literal(part).map(|value| u64::try_from(value).unwrap_or(0))
}

fn replaced(size: Estimate, old: Estimate, new: Estimate) -> CallEstimate {
    let (mut count, mut kept) = (Estimate::ZERO, Estimate::ZERO);
    if old.min == 0 {
        count.max = size.max.saturating_add(1);
        kept.max = size.max;
    } else if new.max <= old.min {
        kept.max = size.max;
    } else {
        count.max = (size.max as f64 / old.min as f64).ceil() as u64;
    }
    if old.max == 0 {
        count.min = size.min.saturating_add(1);
        kept.min = size.min;
    } else if old.max <= new.min {
        kept.min = size.min;
    } else {
        count.min = (size.min as f64 / old.max as f64).ceil() as u64;
    }
    CallEstimate { cost: size.scaled(0.2), size: Some(count.times(new).plus(kept)) }
}

/// The comparison of two values of a library.
fn equality(args: &[Part<'_, '_>]) -> Option<Estimate> {
    let [a, b] = args else { return None };
    if a.t != b.t {
        return None;
    }
    match a.t.name() {
        "net.IP" | "net.CIDR" | "kubernetes.Quantity" | "kubernetes.Semver" => Some(Estimate::ONE),
        name if name.starts_with("kubernetes.authorization.") => Some(Estimate::ONE),
        "kubernetes.NamedFormat" => Some(Estimate { min: 1, max: 64 }.scaled(0.1)),
        "kubernetes.URL" => Some(Estimate { min: 1, max: b.size.map_or(1, |size| size.max) }.scaled(0.1)),
        _ => None,
    }
}
