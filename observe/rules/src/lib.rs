//! Recording and alerting rules, as Prometheus has them.
//!
//! Comes in: rule files as text, a time to evaluate at, and a [`storage::Store`] to read from and to write to. Goes out:
//! the samples of recording rules and of alerts, alerts for a [`alert::Notifier`], and what is known of every rule. The
//! crate knows no files but by what it is given, no network, no clock and no tasks: [`group::Group::evaluate`] is called
//! when [`schedule::Schedule`] says, by whoever has a clock. [`file`] reads rule files as strictly as upstream does and in
//! its words, [`template`] is the part of Go's templates that labels and annotations are written in, [`unit_test`] runs
//! upstream's unit tests of rules. It follows Prometheus 3.15.

pub mod alert;
mod document;
pub mod file;
pub mod glob;
pub mod group;
pub mod groups;
pub mod rule;
pub mod schedule;
pub mod storage;
pub mod template;
pub mod unit_test;
