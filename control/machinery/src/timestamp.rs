//! Points in time as the API writes them: RFC 3339, in UTC.

use std::fmt;

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since 1970 began.
    pub seconds: i64,
    /// Billionths of a second after that.
    pub nanos: u32,
}

const DAY: i64 = 86_400;
/// The first second of the year 1, and the last of the year 9999.
const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Days since 1970 of a date in the Gregorian calendar; years begin in March, so that the leap day ends them.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 719_469
}

fn month_length(year: i64, month: i64) -> i64 {
    let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days(next_year, next, 1) - days(year, month, 1)
}

impl Timestamp {
    /// A point in time of the years 1 to 9999.
    pub fn new(seconds: i64, nanos: u32) -> Option<Self> {
        (RANGE.contains(&seconds) && nanos < 1_000_000_000).then_some(Self { seconds, nanos })
    }

    /// Reads RFC 3339, with or without a fraction, in any zone.
    ///
    /// ```
    /// use xebec_machinery::timestamp::Timestamp;
    /// let time = Timestamp::parse("2026-01-02T05:04:05.5+02:00").unwrap();
    /// assert_eq!(time.to_string(), "2026-01-02T03:04:05Z");
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| {
            let digits = text.get(from..to)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?
        };
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if separators.iter().any(|(at, byte)| bytes.get(*at) != Some(byte)) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let month_ok = (1..=12).contains(&month) && (1..=month_length(year, month)).contains(&day);
        if !month_ok || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let mut zone = text.get(19..)?;
        let mut nanos = 0;
        if let Some(fraction) = zone.strip_prefix('.') {
            let end = fraction.find(|c: char| !c.is_ascii_digit())?;
            if end == 0 {
                return None;
            }
            for at in 0..9 {
                let digit = fraction.as_bytes().get(at).filter(|_| at < end).map_or(0, |byte| byte - b'0');
                nanos = nanos * 10 + u32::from(digit);
            }
            zone = &fraction[end..];
        }
        let offset = match zone.as_bytes() {
            b"Z" => 0,
            [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
                let part = |from| zone.get(from..from + 2).and_then(|digits| digits.parse::<i64>().ok());
                let (hours, minutes) = (part(1)?, part(4)?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                (hours * 60 + minutes) * if *sign == b'-' { -60 } else { 60 }
            }
            _ => return None,
        };
        Self::new(days(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset, nanos)
    }

    /// The text with microseconds, as leases and events have it.
    pub fn micro(self) -> String {
        let text = self.to_string();
        let seconds = text.strip_suffix('Z').unwrap_or(&text);
        format!("{seconds}.{:06}Z", self.nanos / 1000)
    }

    /// Go's zero time, which its JSON writes as `null`.
    pub fn is_zero(self) -> bool {
        self.seconds == *RANGE.start() && self.nanos == 0
    }
}

impl fmt::Display for Timestamp {
    /// The text with whole seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, second) = (self.seconds.div_euclid(DAY), self.seconds.rem_euclid(DAY));
        // A first guess at the year, never too late.
        let mut year = 1970 + day.div_euclid(if day < 0 { 365 } else { 366 });
        while days(year + 1, 1, 1) <= day {
            year += 1;
        }
        let mut month = 1;
        while month < 12 && days(year, month + 1, 1) <= day {
            month += 1;
        }
        let date = day - days(year, month, 1) + 1;
        let (hour, minute) = (second / 3600, second / 60 % 60);
        write!(f, "{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_were_written() {
        for text in [
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00Z",
            "2000-02-29T12:00:00Z",
            "2024-12-31T23:59:59Z",
            "2100-03-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
        ] {
            assert_eq!(Timestamp::parse(text).map(|time| time.to_string()).as_deref(), Some(text));
        }
        let time = Timestamp::parse("2026-11-21T08:26:28.123456789Z").unwrap();
        assert_eq!((time.seconds, time.micro().as_str()), (1_795_249_588, "2026-11-21T08:26:28.123456Z"));
        assert!(Timestamp::parse("0001-01-01T00:00:00Z").unwrap().is_zero());
    }

    #[test]
    fn every_day_follows_the_day_before() {
        for day in (days(1, 1, 1)..days(2201, 1, 1)).step_by(7) {
            let text = Timestamp { seconds: day * DAY, nanos: 0 }.to_string();
            assert_eq!(Timestamp::parse(&text).map(|time| time.seconds), Some(day * DAY), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+2:00",
            "2026-01-01T00:00:00é",
            "0000-01-01T00:00:00Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
