//! What people look at who want to know why a request waits: the levels, their queues, and who is in them, as the text that
//! upstream's servers tell (`/debug/api_priority_and_fairness/…`).

use std::fmt::Write as _;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Fairness;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dump {
    /// A line a level.
    Levels,
    /// A line a queue that somebody is in.
    Queues,
    /// A line a request that waits.
    Requests,
}

impl Dump {
    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "dump_priority_levels" => Self::Levels,
            "dump_queues" => Self::Queues,
            "dump_requests" => Self::Requests,
            _ => return None,
        })
    }

    fn headings(self) -> &'static [&'static str] {
        match self {
            Self::Levels => &[
                "PriorityLevelName",
                "ActiveQueues",
                "IsIdle",
                "IsQuiescing",
                "WaitingRequests",
                "ExecutingRequests",
                "DispatchedRequests",
                "RejectedRequests",
                "TimedoutRequests",
                "CancelledRequests",
            ],
            Self::Queues => &[
                "PriorityLevelName",
                "Index",
                "PendingRequests",
                "ExecutingRequests",
                "SeatsInUse",
                "NextDispatchR",
                "InitialSeatsSum",
                "MaxSeatsSum",
            ],
            // What the spelling is, scripts rely on.
            Self::Requests => &[
                "PriorityLevelName",
                "FlowSchemaName",
                "QueueIndex",
                "RequestIndexInQueue",
                "FlowDistingsher",
                "ArriveTime",
                "InitialSeats",
            ],
        }
    }
}

impl Fairness {
    /// What is going on, as text.
    pub(crate) fn dump(&self, dump: Dump) -> String {
        let mut rows = vec![dump.headings().iter().map(|heading| (*heading).to_owned()).collect()];
        match dump {
            Dump::Levels => self.dump_levels(&mut rows),
            Dump::Queues => self.dump_queues(&mut rows),
            Dump::Requests => self.dump_requests(&mut rows),
        }
        aligned(&rows)
    }

    fn dump_levels(&self, rows: &mut Vec<Vec<String>>) {
        for (name, level) in &self.lock().levels {
            let dispatched: u64 = level.tallies.values().map(|tally| tally.dispatched).sum();
            let refused = level.refused("queue-full") + level.refused("concurrency-limit");
            rows.push(vec![
                name.to_string(),
                level.queues.active().to_string(),
                level.queues.is_idle().to_string(),
                level.is_leaving.to_string(),
                level.queues.waiting().to_string(),
                level.queues.executing().to_string(),
                dispatched.to_string(),
                refused.to_string(),
                level.refused("time-out").to_string(),
                level.refused("cancelled").to_string(),
            ]);
        }
    }

    fn dump_queues(&self, rows: &mut Vec<Vec<String>>) {
        for (name, level) in &self.lock().levels {
            rows.extend(level.queues.show().map(|queue| {
                vec![
                    name.to_string(),
                    queue.index.to_string(),
                    queue.waiting.to_string(),
                    queue.executing.to_string(),
                    queue.seats.to_string(),
                    format!("{:.8}ss", queue.served),
                    queue.wanted.to_string(),
                    queue.wanted.to_string(),
                ]
            }));
        }
    }

    fn dump_requests(&self, rows: &mut Vec<Vec<String>>) {
        let (now, moment) = (Instant::now(), Timestamp::now());
        for (name, level) in &self.lock().levels {
            rows.extend(level.queues.waiters().map(|(queue, place, width, ticket)| {
                let came = moment - now.saturating_duration_since(ticket.came);
                vec![
                    name.to_string(),
                    ticket.flow.name.to_string(),
                    queue.to_string(),
                    place.to_string(),
                    ticket.distinguisher.to_string(),
                    came.to_string(),
                    width.to_string(),
                ]
            }));
        }
    }
}

/// Rows with each column below its heading.
fn aligned(rows: &[Vec<String>]) -> String {
    const LEAST: usize = 8;
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count() + 2).max().unwrap_or_default().max(LEAST)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Writing to a string does not fail.
            let _ = match at + 1 < columns {
                true => write!(text, "{:width$}", format!("{cell},")),
                false => writeln!(text, "{cell}"),
            };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_their_headings() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = aligned(&[row(["Name", "AVeryLongHeading", "C"]), row(["abcdefghij", "1", "2"])]);
        assert_eq!(text, "Name,       AVeryLongHeading, C\nabcdefghij, 1,                2\n");
    }
}
