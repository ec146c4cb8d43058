//! Devices: their classes, who claims them, and what drivers offer.

use super::text::{items, text};
use super::{Heading, Row};

pub(super) const NAMED: &[Heading] = &[Heading::NAME, Heading::AGE];

pub(super) fn named(row: &mut Row<'_>) {
    row.name();
    row.age();
}

pub(super) const CLAIM: &[Heading] = &[Heading::NAME, Heading::text("State"), Heading::AGE];

pub(super) fn claim(row: &mut Row<'_>) {
    let (metadata, status) = (&row.object["metadata"], &row.object["status"]);
    let goes = !metadata["deletionTimestamp"].is_null();
    let allocated = status["allocation"].is_object();
    let reserved = allocated && !items(&status["reservedFor"]).is_empty();
    let states = [
        (goes, "deleted"),
        (!goes && !allocated, "pending"),
        (allocated, "allocated"),
        (reserved, "reserved"),
    ];
    let states: Vec<&str> = states.into_iter().filter(|(is, _)| *is).map(|(_, state)| state).collect();
    row.name();
    row.put(states.join(","));
    row.age();
}

pub(super) const SLICE: &[Heading] =
    &[Heading::NAME, Heading::text("Node"), Heading::text("Driver"), Heading::text("Pool"), Heading::AGE];

pub(super) fn slice(row: &mut Row<'_>) {
    let spec = &row.object["spec"];
    row.name();
    row.put(text(&spec["nodeName"]));
    row.put(text(&spec["driver"]));
    row.put(text(&spec["pool"]["name"]));
    row.age();
}
