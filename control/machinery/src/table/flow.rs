//! Flow schemas and priority levels.

use serde_json::Value;

use super::text::{NONE, condition, number, text, text_or};
use super::{Heading, Row};

pub(super) const SCHEMA: &[Heading] = &[
    Heading::NAME,
    Heading::text("PriorityLevel"),
    Heading::text("MatchingPrecedence"),
    Heading::text("DistinguisherMethod"),
    Heading::AGE,
    Heading::text("MissingPL"),
];

pub(super) fn schema(row: &mut Row<'_>) {
    let spec = &row.object["spec"];
    row.name();
    row.put(text(&spec["priorityLevelConfiguration"]["name"]));
    row.put(number(&spec["matchingPrecedence"]));
    row.put(match &spec["distinguisherMethod"] {
        Value::Null => NONE,
        method => text(&method["type"]),
    });
    row.age();
    let dangling = condition(&row.object["status"]["conditions"], "Dangling");
    row.put(dangling.map_or("?", |dangling| text_or(&dangling["status"], "")));
}

/// In the order in which schemas are tried, as upstream lists them.
pub(super) fn order(schema: &Value) -> (i64, &str) {
    (number(&schema["spec"]["matchingPrecedence"]), text(&schema["metadata"]["name"]))
}

pub(super) const LEVEL: &[Heading] = &[
    Heading::NAME,
    Heading::text("Type"),
    Heading::text("NominalConcurrencyShares"),
    Heading::text("Queues"),
    Heading::text("HandSize"),
    Heading::text("QueueLengthLimit"),
    Heading::AGE,
];

pub(super) fn level(row: &mut Row<'_>) {
    let spec = &row.object["spec"];
    let limited = &spec["limited"];
    let queuing = &limited["limitResponse"]["queuing"];
    row.name();
    row.put(text(&spec["type"]));
    for value in [
        &limited["nominalConcurrencyShares"],
        &queuing["queues"],
        &queuing["handSize"],
        &queuing["queueLengthLimit"],
    ] {
        row.put(value.as_i64().map_or_else(|| NONE.into(), Value::from));
    }
    row.age();
}
