//! Durations as the API has them, and as Go writes them, since messages that scripts look for hold them.

use std::time::Duration;

/// Longer than anybody waits, and soon enough that the clock knows the moment.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Seconds of the API, of which there may be any number: less than none is none.
pub(crate) fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0)).min(LONGEST)
}

/// `1m20s`, `1.5s`, `250ms`, `0s`.
pub(crate) fn go(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        let micros = duration.subsec_micros();
        return match micros {
            0 if duration.subsec_nanos() > 0 => format!("{}ns", duration.subsec_nanos()),
            0 => "0s".to_owned(),
            1..1000 => format!("{micros}µs"),
            _ => format!("{}ms", plain(f64::from(micros) / 1000.0)),
        };
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    // Below a minute, exactly.
    let rest = (seconds % 60) as f64 + f64::from(duration.subsec_millis()) / 1000.0;
    match (hours, minutes) {
        (0, 0) => format!("{}s", plain(rest)),
        (0, minutes) => format!("{minutes}m{}s", plain(rest)),
        (hours, minutes) => format!("{hours}h{minutes}m{}s", plain(rest)),
    }
}

/// A number with at most three places behind the point, none of them in vain.
fn plain(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_seconds_leads_to_a_moment_that_can_be_told() {
        for (count, whole) in [
            (i64::MIN, Duration::ZERO),
            (-1, Duration::ZERO),
            (30, Duration::from_secs(30)),
            (i64::MAX, LONGEST),
        ] {
            assert_eq!(seconds(count), whole);
            assert!(std::time::Instant::now().checked_add(seconds(count)).is_some());
        }
    }

    #[test]
    fn durations_read_as_in_go() {
        for (millis, text) in [
            (0, "0s"),
            (250, "250ms"),
            (1500, "1.5s"),
            (10_000, "10s"),
            (80_000, "1m20s"),
            (300_000, "5m0s"),
            (3_661_000, "1h1m1s"),
        ] {
            assert_eq!(go(Duration::from_millis(millis)), text);
        }
    }
}
