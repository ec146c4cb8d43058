//! Queries: evaluated, written anew, shown as trees.

use std::time::{Duration, Instant};

use xebec_promql::ast::Expr;
use xebec_promql::engine::{Cancellation, Engine, Outcome};
use xebec_promql::matcher::Matcher;
use xebec_promql::number::quoted;
use xebec_promql::parser::parse;
use xebec_promql::value::Value;
use xebec_tsdb::Interval;

use super::json::Json;
use super::params::{Params, duration, time};
use super::{Answer, Fault, Shared, Told, tree};
use crate::now;
use crate::storage::{QueriedDb, matchers};

/// A range query may have so many steps for each series, as upstream has it.
const MOST_STEPS: i64 = 11_000;
/// So many warnings and infos of a query are told.
const MOST_NOTES: usize = 10;
/// What says that not all is told.
pub(super) const TRUNCATED: &str = "results truncated due to limit";

impl Shared {
    pub(super) fn query(&self, params: &Params, cancellation: &Cancellation) -> Answer {
        let limit = params.limit()?;
        let at = params.time("time")?.unwrap_or_else(now);
        let engine = self.engine(params)?;
        let begun = Instant::now();
        let storage = QueriedDb::new(self.db.querier());
        let query = params.get("query");
        let outcome = engine.instant(&storage, query, at, cancellation)?;
        Ok(told(params, &storage, outcome, at, limit, begun.elapsed()))
    }

    pub(super) fn query_range(&self, params: &Params, cancellation: &Cancellation) -> Answer {
        let limit = params.limit()?;
        let of = |name: &str| time(params.get(name)).map_err(|why| Fault::parameter(name, why));
        let (start, end) = (of("start")?, of("end")?);
        if end < start {
            return Err(Fault::parameter("end", "end timestamp must not be before start time"));
        }
        let step = duration(params.get("step")).map_err(|why| Fault::parameter("step", why))?;
        if step <= 0 {
            let why =
                "zero or negative query resolution step widths are not accepted. Try a positive integer";
            return Err(Fault::parameter("step", why));
        }
        if end.saturating_sub(start) / step > MOST_STEPS {
            return Err(Fault::BadData(
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution \
                 (?step=XX)"
                    .to_owned(),
            ));
        }
        let engine = self.engine(params)?;
        let begun = Instant::now();
        let storage = QueriedDb::new(self.db.querier());
        let outcome = engine.range(&storage, params.get("query"), (start, end, step), cancellation)?;
        Ok(told(params, &storage, outcome, end, limit, begun.elapsed()))
    }

    /// An engine as the request wants it.
    fn engine(&self, params: &Params) -> Result<Engine, Fault> {
        let mut options = self.engine.clone();
        let millis = |name: &str| match params.get(name) {
            "" => Ok(None),
            text => duration(text).map(|millis| Some(Duration::from_millis(millis.max(0) as u64))),
        };
        if let Some(timeout) = millis("timeout").map_err(|why| Fault::parameter("timeout", why))? {
            options.timeout = options.timeout.min(timeout);
        }
        let lookback = millis("lookback_delta")
            .map_err(|why| Fault::BadData(format!("error parsing lookback delta duration: {why}")))?;
        if let Some(lookback) = lookback.filter(|lookback| !lookback.is_zero()) {
            options.lookback = lookback;
        }
        Ok(Engine::new(options))
    }

    fn parsed(&self, params: &Params) -> Result<Expr, Fault> {
        parse(params.get("query"), self.engine.parser).map_err(|error| Fault::parameter("query", error))
    }

    pub(super) fn format_query(&self, params: &Params) -> Answer {
        Ok(Json::of(&self.parsed(params)?.pretty()).into())
    }

    pub(super) fn parse_query(&self, params: &Params) -> Answer {
        Ok(tree::of(&self.parsed(params)?).into())
    }

    pub(super) fn exemplars(&self, params: &Params) -> Answer {
        let span = params.span()?;
        if span.max < span.min {
            return Err(Fault::BadData("end timestamp must not be before start timestamp".to_owned()));
        }
        let query = parse(params.get("query"), self.engine.parser)
            .map_err(|error| Fault::BadData(error.to_string()))?;
        let mut selections = Vec::new();
        selectors(&query, &mut selections);
        let each = selections.iter().map(|wanted| matchers(wanted));
        let selections = each.collect::<xebec_tsdb::Result<Vec<_>>>()?;
        let selections: Vec<&[xebec_tsdb::Matcher]> = selections.iter().map(Vec::as_slice).collect();
        let within = Interval { min: span.min, max: span.max };
        let mut found = self.db.querier().exemplars(&selections, within)?;
        found.sort_by(|one, two| one.0.cmp(&two.0));
        let mut json = Json::default();
        json.list(found, |json, (labels, exemplars)| {
            json.push(r#"{"seriesLabels":"#);
            json.labels(&labels);
            json.push(r#","exemplars":"#);
            json.list(exemplars, |json, exemplar| {
                json.push(r#"{"labels":"#);
                json.labels(&exemplar.labels);
                json.push(r#","value":"#);
                json.number(exemplar.value);
                json.push(r#","timestamp":"#);
                json.time(exemplar.time);
                json.push("}");
            });
            json.push("}");
        });
        Ok(json.into())
    }
}

/// The matchers of all selectors of a query.
fn selectors<'q>(query: &'q Expr, found: &mut Vec<&'q [Matcher]>) {
    match query {
        Expr::Vector(selector) => found.push(&selector.matchers),
        Expr::Matrix(matrix) => found.push(&matrix.selector.matchers),
        _ => query.children().into_iter().for_each(|child| selectors(child, found)),
    }
}

/// A result as it is told.
fn told(
    params: &Params,
    storage: &QueriedDb,
    mut outcome: Outcome,
    time: i64,
    limit: usize,
    took: Duration,
) -> Told {
    let query = params.get("query");
    let (mut warnings, mut infos) = outcome.annotations.texts(query);
    for (notes, kind) in [(&mut warnings, "warning"), (&mut infos, "info")] {
        if notes.len() > MOST_NOTES {
            let more = notes.len() - MOST_NOTES;
            notes.truncate(MOST_NOTES);
            notes.push(format!("{more} more {kind} annotations omitted"));
        }
    }
    let count = match &outcome.value {
        Value::Vector(_, samples) => samples.len(),
        Value::Matrix(matrix) => matrix.len(),
        Value::Scalar(_) | Value::String(_) => 0,
    };
    if limit > 0 && count > limit {
        match &mut outcome.value {
            Value::Vector(_, samples) => samples.truncate(limit),
            Value::Matrix(matrix) => matrix.truncate(limit),
            Value::Scalar(_) | Value::String(_) => {}
        }
        warnings.push(TRUNCATED.to_owned());
    }
    let stats = params.get("stats");
    if !matches!(stats, "" | "true" | "all") {
        let stats = quoted(stats);
        warnings.push(format!(
            "value {stats} for parameter \"stats\" is deprecated and will be rejected in the next major release, \
             use \"true\" or \"all\""
        ));
    }
    let mut json = Json::default();
    json.push("{");
    json.result(&outcome.value, time);
    if !stats.is_empty() {
        let seconds = took.as_secs_f64();
        let stats = serde_json::json!({
            "timings": {
                "evalTotalTime": seconds,
                "resultSortTime": 0,
                "queryPreparationTime": 0,
                "innerEvalTime": seconds,
                "execQueueTime": 0,
                "execTotalTime": seconds,
            },
            "samples": {
                "totalQueryableSamples": storage.samples_read(),
                "samplesRead": storage.samples_read(),
                "peakSamples": outcome.peak_samples,
            },
        });
        json.push(r#","stats":"#);
        json.push(&stats.to_string());
    }
    json.push("}");
    Told { data: json, warnings, infos }
}
