//! Times as tables show them: `5m30s`, `3h12m`, `2d4h`.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::timestamp::Timestamp;

/// What stands where a time is not known.
pub(super) const UNKNOWN: &str = "<unknown>";

const DAY: i64 = 24 * 3600;

/// A point in time of the machine's clock; before 1970 all are one.
pub(super) fn moment(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos: since.subsec_nanos() }
}

/// The time from one moment to another, to two or three figures.
pub(super) fn between(from: Timestamp, to: Timestamp) -> String {
    let nanos = |time: Timestamp| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    // Towards zero, so that less than a second is none; the years of a timestamp fit.
    human(i64::try_from((nanos(to) - nanos(from)) / 1_000_000_000).unwrap_or(i64::MAX))
}

/// So many seconds, to two or three figures.
pub(super) fn human(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / DAY);
    // The second unit is left out where there is none of it.
    let pair = |whole: i64, unit: char, rest: i64, rest_unit: char| {
        if rest == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit}{rest}{rest_unit}") }
    };
    match seconds {
        // Two clocks may differ by a second or so.
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => pair(minutes, 'm', seconds % 60, 's'),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => pair(hours, 'h', minutes % 60, 'm'),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => pair(days, 'd', hours % 24, 'h'),
        _ if days < 365 * 2 => format!("{days}d"),
        _ if days < 365 * 8 => pair(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
}

/// How long ago a time in an object is, or `<unknown>`.
pub(super) fn age(then: &serde_json::Value, now: Timestamp) -> String {
    match then.as_str().and_then(Timestamp::parse) {
        Some(then) => between(then, now),
        None => UNKNOWN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, nanos: u32) -> Timestamp {
        Timestamp { seconds, nanos }
    }

    #[test]
    fn durations_have_two_or_three_figures() {
        let (minute, hour, year) = (60, 3600, 365 * DAY);
        for (seconds, expected) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (5 * minute + 30, "5m30s"),
            (10 * minute, "10m"),
            (179 * minute + 59, "179m"),
            (3 * hour, "3h"),
            (3 * hour + 12 * minute, "3h12m"),
            (8 * hour + 59 * minute, "8h"),
            (47 * hour, "47h"),
            (2 * DAY, "2d"),
            (2 * DAY + 4 * hour, "2d4h"),
            (8 * DAY + 4 * hour, "8d"),
            (2 * year - DAY, "729d"),
            (2 * year, "2y"),
            (2 * year + DAY, "2y1d"),
            (9 * year + DAY, "9y"),
        ] {
            assert_eq!(between(at(0, 0), at(seconds, 0)), expected, "{seconds}");
        }
        assert_eq!(between(at(0, 500_000_000), at(0, 0)), "0s", "less than a second ahead");
    }

    #[test]
    fn what_is_no_time_is_unknown() {
        assert_eq!(age(&serde_json::Value::Null, at(0, 0)), "<unknown>");
        assert_eq!(age(&"1970-01-01T00:00:00Z".into(), at(65, 0)), "65s");
    }
}
