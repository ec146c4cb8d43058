//! Which series there are, by which labels, and what their metrics say of themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use xebec_promql::engine::Cancellation;
use xebec_promql::matcher::Matcher;
use xebec_promql::number::quoted;
use xebec_promql::parser::parse_selector;
use xebec_tsdb::Labels;

use super::json::Json;
use super::params::Params;
use super::query::TRUNCATED;
use super::{Answer, Fault, Shared, Told};
use crate::scrape::{FamilyMetadata, TargetStatus};
use crate::storage::matchers;

/// A client's leave is looked for after so many series.
const ONCE_IN: usize = 128;

impl Shared {
    pub(super) fn series(&self, params: &Params, cancellation: &Cancellation) -> Answer {
        if params.get("match[]").is_empty() {
            return Err(Fault::BadData("no match[] parameter provided".to_owned()));
        }
        let (limit, span) = (params.limit()?, params.span()?);
        let selectors = params.selectors().map_err(|why| Fault::parameter("match[]", why))?;
        let querier = self.db.querier();
        let mut found: BTreeSet<Labels> = BTreeSet::new();
        let mut is_cut = false;
        'all: for selector in &selectors {
            for (at, series) in querier.select(&matchers(selector)?, span)?.enumerate() {
                if at % ONCE_IN == 0 && cancellation.is_cancelled() {
                    return Err(Fault::Canceled("context canceled".to_owned()));
                }
                found.insert(series?.labels);
                // More than these cannot come before them, where there is one selector.
                if limit > 0 && selectors.len() == 1 && found.len() > limit {
                    is_cut = true;
                    break 'all;
                }
            }
        }
        is_cut |= limit > 0 && found.len() > limit;
        let most = if limit > 0 { limit } else { usize::MAX };
        let mut json = Json::default();
        json.list(found.iter().take(most), |json, labels| json.labels(labels));
        Ok(cut(json, is_cut))
    }

    pub(super) fn label_names(&self, params: &Params) -> Answer {
        self.each_selection(params, |querier, matchers, span| querier.label_names(matchers, span))
    }

    pub(super) fn label_values(&self, name: &str, params: &Params) -> Answer {
        let name = percent_encoding::percent_decode_str(name).decode_utf8();
        let name = name.map_err(|error| Fault::BadData(format!("invalid label name: {error}")))?;
        let name = unescaped(&name);
        if name.is_empty() {
            return Err(Fault::BadData(format!("invalid label name: {}", quoted(&name))));
        }
        self.each_selection(params, |querier, matchers, span| querier.label_values(&name, matchers, span))
    }

    /// What is found for each of several selections, or for all series, once and in order.
    fn each_selection(
        &self,
        params: &Params,
        find: impl Fn(
            &xebec_tsdb::Querier,
            &[xebec_tsdb::Matcher],
            xebec_tsdb::Interval,
        ) -> xebec_tsdb::Result<Vec<String>>,
    ) -> Answer {
        let (limit, span) = (params.limit()?, params.span()?);
        let mut selectors = params.selectors().map_err(Fault::BadData)?;
        if selectors.is_empty() {
            selectors.push(Vec::new());
        }
        let querier = self.db.querier();
        let mut found = BTreeSet::new();
        for selector in &selectors {
            found.extend(find(&querier, &matchers(selector)?, span)?);
        }
        let most = if limit > 0 { limit } else { usize::MAX };
        let mut json = Json::default();
        json.strings(found.iter().take(most).map(String::as_str));
        Ok(cut(json, found.len() > most))
    }

    pub(super) fn metadata(&self, params: &Params) -> Answer {
        let (limit, of_each) = (params.number("limit")?, params.number("limit_per_metric")?);
        let of_each = of_each.filter(|&most| most > 0).unwrap_or(usize::MAX);
        let wanted = params.get("metric");
        let mut metrics: BTreeMap<String, BTreeSet<FamilyMetadata>> = BTreeMap::new();
        for target in self.scraper.active() {
            target.each_family(|name, family| {
                if wanted.is_empty() || name == wanted {
                    let known = metrics.entry(name.to_owned()).or_default();
                    if known.len() < of_each {
                        known.insert(family.clone());
                    }
                }
            });
        }
        let told: serde_json::Map<String, serde_json::Value> = metrics
            .into_iter()
            .take(limit.unwrap_or(usize::MAX))
            .map(|(name, families)| (name, families.iter().map(of_family).collect()))
            .collect();
        Ok(serde_json::Value::Object(told).into())
    }

    pub(super) fn target_metadata(&self, params: &Params) -> Answer {
        let limit = params.number("limit")?.unwrap_or(usize::MAX);
        let wanted = params.get("metric");
        let matchers: Vec<Matcher> = match params.get("match_target") {
            "" => Vec::new(),
            text => parse_selector(text).map_err(|error| Fault::parameter("match_target", error))?,
        };
        let selected = |target: &TargetStatus| {
            matchers.iter().all(|matcher| matcher.matches(target.labels.get(&matcher.name)))
        };
        let mut told = Vec::new();
        for target in self.scraper.active().into_iter().filter(|target| selected(target)) {
            let labels: BTreeMap<&str, &str> = target.labels.iter().collect();
            target.each_family(|name, family| {
                if told.len() >= limit || !(wanted.is_empty() || name == wanted) {
                    return;
                }
                let mut one = of_family(family);
                one["target"] = json!(labels);
                if wanted.is_empty() {
                    one["metric"] = name.into();
                }
                told.push(one);
            });
        }
        Ok(serde_json::Value::Array(told).into())
    }
}

fn of_family(family: &FamilyMetadata) -> serde_json::Value {
    json!({ "type": family.kind.name(), "help": &*family.help, "unit": &*family.unit })
}

fn cut(data: Json, is_cut: bool) -> Told {
    let warnings = if is_cut { vec![TRUNCATED.to_owned()] } else { Vec::new() };
    Told { data, warnings, infos: Vec::new() }
}

/// A label's name as it was before it was made fit for a path: `U__a_2e_b` is `a.b`.
fn unescaped(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once('_') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('_') {
            out.push('_');
            rest = after;
            continue;
        }
        let letter = after.split_once('_').and_then(|(digits, behind)| {
            let letter = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
            Some((letter, behind))
        });
        // What is none of ours is left as it is.
        let Some((letter, behind)) = letter else { return name.to_owned() };
        out.push(letter);
        rest = behind;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn names_that_were_made_fit_for_paths_are_found_again() {
        for (name, meant) in [
            ("job", "job"),
            ("U__a_2e_b", "a.b"),
            ("U__a__b_3a_c", "a_b:c"),
            ("U___1f600_", "😀"),
            ("U__a_zz_", "U__a_zz_"),
        ] {
            assert_eq!(unescaped(name), meant);
        }
    }
}
