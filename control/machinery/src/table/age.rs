//! Times as tables show them: `5m30s`, `3h12m`, `2d4h`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What stands where a time is not known.
pub(crate) const UNKNOWN: &str = "<unknown>";

const DAY: i64 = 24 * 3600;

/// A moment in milliseconds since 1970, which may be before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(i64);

impl Moment {
    /// Reads RFC 3339, as `2026-07-21T13:20:16.5Z` or with an offset.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| -> Option<i64> {
            let digits = bytes.get(from..to)?;
            digits
                .iter()
                .try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
        };
        let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
        if !separators.iter().all(|(at, mark)| bytes.get(*at) == Some(mark)) {
            return None;
        }
        if !matches!(bytes.get(10), Some(b'T' | b't')) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        // A leap second is written as the sixtieth.
        let ranges =
            (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
        if !ranges {
            return None;
        }
        let mut at = 19;
        let mut millis = 0;
        if bytes.get(at) == Some(&b'.') {
            let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return None;
            }
            for place in 0..3 {
                let digit = if place < digits { i64::from(bytes[at + 1 + place] - b'0') } else { 0 };
                millis = millis * 10 + digit;
            }
            at += 1 + digits;
        }
        let offset = match (bytes.get(at)?, bytes.len() - at) {
            (b'Z' | b'z', 1) => 0,
            (sign @ (b'+' | b'-'), 6) if bytes[at + 3] == b':' => {
                let seconds = number(at + 1, at + 3)? * 3600 + number(at + 4, at + 6)? * 60;
                if *sign == b'+' { seconds } else { -seconds }
            }
            _ => return None,
        };
        let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset;
        Some(Self(seconds * 1000 + millis))
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self(millis(since)),
            Err(before) => Self(-millis(before.duration())),
        }
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, counted in years that begin in March, so that the leap day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// The time from one moment to another, to two or three figures.
pub(crate) fn between(from: Moment, to: Moment) -> String {
    let seconds = to.0.saturating_sub(from.0) / 1000;
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
pub(crate) fn age(then: &serde_json::Value, now: Moment) -> String {
    match then.as_str().and_then(Moment::parse) {
        Some(then) => between(then, now),
        None => UNKNOWN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_fractions_and_offsets() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-03-01T00:00:00Z", Some(951_868_800_000)),
            ("2024-02-29T12:34:56Z", Some(1_709_210_096_000)),
            ("2026-07-21T13:20:16.123456Z", Some(1_784_640_016_123)),
            ("2026-07-21T15:20:16.5+02:00", Some(1_784_640_016_500)),
            ("1969-12-31T23:59:59Z", Some(-1000)),
            ("2026-07-21", None),
            ("2026-07-21T13:20:16", None),
            ("2026-13-21T13:20:16Z", None),
            ("2026-07-21T13:20:16.Z", None),
            ("2026-07-21T13:20:16+0200", None),
            ("2026-07-21T13:20:16+02:0ö", None),
            ("", None),
        ] {
            assert_eq!(Moment::parse(text).map(|moment| moment.0), expected, "{text}");
        }
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
            assert_eq!(between(Moment(0), Moment(seconds * 1000)), expected, "{seconds}");
        }
        assert_eq!(between(Moment(500), Moment(0)), "0s", "less than a second ahead");
    }

    #[test]
    fn what_is_no_time_is_unknown() {
        assert_eq!(age(&serde_json::Value::Null, Moment(0)), "<unknown>");
        assert_eq!(age(&"1970-01-01T00:00:00Z".into(), Moment(65_000)), "65s");
    }
}
