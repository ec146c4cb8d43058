//! Schedules: five fields (minute, hour, day of the month, month, day of the week), or a word such as `@daily`, or
//! `@every` and a duration.
//!
//! Where both days are restricted, either suffices. A time that a clock change leaves out does not come; one that it
//! repeats comes twice. These are the rules of the scheduler that Kubernetes uses.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// How far ahead a time is looked for: a schedule such as 29 February has one within this.
const YEARS: i64 = 8;
/// How many times are counted before they are too many.
const COUNTED: usize = 100;

/// Why a text is no schedule.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScheduleError {
    /// Not five fields.
    #[error("expected exactly 5 fields, found {0}; write minute, hour, day of month, month and day of week")]
    Fields(usize),
    /// A part that cannot be read.
    #[error(
        "{part:?} is no {field} of a schedule; use numbers from {least} to {most}, `*`, ranges and steps"
    )]
    Part {
        /// The part.
        part: String,
        /// Which field it stands in.
        field: &'static str,
        /// The least number there.
        least: u32,
        /// The largest number there.
        most: u32,
    },
    /// A word that is not known.
    #[error(
        "{0:?} is no known word; use @yearly, @monthly, @weekly, @daily, @hourly or @every and a duration"
    )]
    Word(String),
    /// A duration that cannot be read.
    #[error("{0:?} is no duration of at least a second; write for example `@every 1h30m`")]
    Every(String),
}

/// Times that come again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// At the times of a calendar.
    Calendar(Calendar),
    /// At fixed distances.
    Every(Duration),
}

/// The times of a calendar: a bit for each number that a field admits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    words: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, words: &[] },
    Field { name: "hour", least: 0, most: 23, words: &[] },
    Field { name: "day of month", least: 1, most: 31, words: &[] },
    Field { name: "month", least: 1, most: 12, words: &MONTHS },
    Field { name: "day of week", least: 0, most: 6, words: &DAYS },
];

impl Schedule {
    /// Reads a schedule.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let text = text.trim();
        if let Some(duration) = text.strip_prefix("@every ") {
            return every(duration.trim())
                .map(Self::Every)
                .ok_or_else(|| ScheduleError::Every(duration.to_owned()));
        }
        let fields = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            word if word.starts_with('@') => return Err(ScheduleError::Word(word.to_owned())),
            fields => fields,
        };
        let parts: Vec<&str> = fields.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts[..] else {
            return Err(ScheduleError::Fields(parts.len()));
        };
        let [minutes, hours, days, months, weekdays] = FIELDS;
        let is_any = |part: &str| part.split(',').any(|range| range.starts_with(['*', '?']));
        Ok(Self::Calendar(Calendar {
            minutes: minutes.parse(minute)?,
            hours: hours.parse(hour)?,
            days: days.parse(day)?,
            months: months.parse(month)?,
            weekdays: weekdays.parse(weekday)?,
            any_day: is_any(day),
            any_weekday: is_any(weekday),
        }))
    }

    /// The first time after a moment.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Calendar(calendar) => calendar.next(after, zone),
            Self::Every(distance) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                whole.checked_add(SignedDuration::try_from(*distance).ok()?).ok()
            }
        }
    }

    /// The last time after one moment and not after another.
    pub fn last(&self, after: Timestamp, until: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if let Self::Every(distance) = self {
            let distance = i64::try_from(distance.as_secs()).ok().filter(|distance| *distance > 0)?;
            let times =
                (until.as_second() - after.as_second()).checked_div(distance).filter(|times| *times > 0)?;
            return Timestamp::from_second(after.as_second() + times * distance).ok();
        }
        // A short way back suffices for a schedule with many times, so that none has many to walk through.
        for hours in [1, 24, 32 * 24, 366 * 24, YEARS * 366 * 24] {
            let back = until.checked_sub(SignedDuration::from_hours(hours)).unwrap_or(after);
            let mut found = None;
            let mut at = after.max(back);
            while let Some(next) = self.next(at, zone).filter(|next| *next <= until) {
                found = Some(next);
                at = next;
            }
            if found.is_some() || back <= after {
                return found;
            }
        }
        None
    }

    /// Whether there are more than a hundred times after one moment and not after another.
    pub fn many(&self, after: Timestamp, until: Timestamp, zone: &TimeZone) -> bool {
        let mut at = after;
        for _ in 0..=COUNTED {
            match self.next(at, zone).filter(|next| *next <= until) {
                Some(next) => at = next,
                None => return false,
            }
        }
        true
    }
}

/// A duration such as `1h30m`, of at least a second.
fn every(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        seconds += number
            * match &rest[digits..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    let whole = Duration::try_from_secs_f64(seconds).ok()?;
    (seconds > 0.0).then(|| Duration::from_secs(whole.as_secs().max(1)))
}

impl Field {
    /// The numbers that a field admits, as bits.
    fn parse(&self, text: &str) -> Result<u64, ScheduleError> {
        let mut bits = 0;
        for range in text.split(',') {
            bits |= self.range(range).ok_or_else(|| ScheduleError::Part {
                part: range.to_owned(),
                field: self.name,
                least: self.least,
                most: self.most,
            })?;
        }
        Ok(bits)
    }

    fn range(&self, text: &str) -> Option<u64> {
        let (span, step) = text.split_once('/').map_or((text, None), |(span, step)| (span, Some(step)));
        let (first, last) = match span.split_once('-') {
            None if matches!(span, "*" | "?") => (self.least, self.most),
            // One number with a step begins a range to the end.
            None if step.is_some() => (self.number(span)?, self.most),
            None => (self.number(span)?, self.number(span)?),
            Some((first, last)) => (self.number(first)?, self.number(last)?),
        };
        let step = step.map_or(Some(1), |step| step.parse::<u32>().ok()).filter(|step| *step > 0)?;
        let fits = self.least <= first && first <= last && last <= self.most;
        fits.then(|| {
            (first..=last).step_by(usize::try_from(step).unwrap_or(1)).fold(0, |bits, at| bits | 1 << at)
        })
    }

    fn number(&self, text: &str) -> Option<u32> {
        let word = self.words.iter().position(|word| text.eq_ignore_ascii_case(word));
        match word.and_then(|at| u32::try_from(at).ok()) {
            Some(at) => Some(at + self.least),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            None => None,
        }
    }
}

impl Calendar {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let minute = after.as_second().div_euclid(60) + 1;
        let mut at = Timestamp::from_second(minute * 60).ok()?;
        let end = at.checked_add(SignedDuration::from_hours(YEARS * 366 * 24)).ok()?;
        while at < end {
            let here = at.to_zoned(zone.clone());
            if !has(self.months, here.month()) {
                at = here.date().last_of_month().tomorrow().ok()?.to_zoned(zone.clone()).ok()?.timestamp();
            } else if !self.on_day(&here) {
                at = here.date().tomorrow().ok()?.to_zoned(zone.clone()).ok()?.timestamp();
            } else if !has(self.hours, here.hour()) {
                let left = 60 - i64::from(here.minute());
                at = at.checked_add(SignedDuration::from_mins(left)).ok()?;
            } else if !has(self.minutes, here.minute()) {
                at = at.checked_add(SignedDuration::from_mins(1)).ok()?;
            } else {
                return Some(at);
            }
        }
        None
    }

    fn on_day(&self, here: &Zoned) -> bool {
        let day = has(self.days, here.day());
        let weekday = has(self.weekdays, here.weekday().to_sunday_zero_offset());
        if self.any_day || self.any_weekday { day && weekday } else { day || weekday }
    }
}

fn has(bits: u64, number: i8) -> bool {
    u32::try_from(number).is_ok_and(|number| bits >> number & 1 == 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    fn next(schedule: &str, zone: &str, after: &str) -> String {
        let zone = TimeZone::get(zone).unwrap();
        let next = Schedule::parse(schedule).unwrap().next(after.parse().unwrap(), &zone);
        next.map_or("never".to_owned(), |next| next.to_string())
    }

    #[test]
    fn the_next_time_is_found() {
        for (schedule, after, expected) in [
            ("*/15 * * * *", "2026-07-09T14:45:01Z", "2026-07-09T15:00:00Z"),
            ("*/15 * * * *", "2026-07-09T15:00:00Z", "2026-07-09T15:15:00Z"),
            ("20-35/15 * * * *", "2026-07-09T15:45:00Z", "2026-07-09T16:20:00Z"),
            ("5/20 * * * *", "2026-07-09T15:06:00Z", "2026-07-09T15:25:00Z"),
            ("0 0 9 apr,aug ?", "2026-07-09T14:45:00Z", "2026-08-09T00:00:00Z"),
            ("0 0 * feb mon", "2026-07-09T14:45:00Z", "2027-02-01T00:00:00Z"),
            ("30 8 29 2 *", "2026-07-09T14:45:00Z", "2028-02-29T08:30:00Z"),
            // Either day suffices where both are given.
            ("0 0 1,15 * sun", "2026-07-09T00:00:00Z", "2026-07-12T00:00:00Z"),
            ("0 0 */2 * sun", "2026-07-09T00:00:00Z", "2026-07-19T00:00:00Z"),
            ("0 0 30 2 *", "2026-07-09T00:00:00Z", "never"),
            ("@weekly", "2026-07-09T00:00:00Z", "2026-07-12T00:00:00Z"),
            ("@every 1h30m", "2026-07-09T00:00:00.7Z", "2026-07-09T01:30:00Z"),
        ] {
            assert_eq!(next(schedule, "UTC", after), expected, "{schedule} after {after}");
        }
    }

    #[test]
    fn times_are_those_of_the_zone_and_follow_its_clock_changes() {
        let zone = "America/New_York";
        assert_eq!(next("0 9 * * *", zone, "2026-01-10T00:00:00Z"), "2026-01-10T14:00:00Z");
        assert_eq!(next("0 9 * * *", zone, "2026-07-10T00:00:00Z"), "2026-07-10T13:00:00Z");
        // 8 March 2026: 02:30 does not come.
        assert_eq!(next("30 2 * * *", zone, "2026-03-08T05:00:00Z"), "2026-03-09T06:30:00Z");
        // 1 November 2026: 01:30 comes twice.
        assert_eq!(next("30 1 * * *", zone, "2026-11-01T05:00:00Z"), "2026-11-01T05:30:00Z");
        assert_eq!(next("30 1 * * *", zone, "2026-11-01T05:30:00Z"), "2026-11-01T06:30:00Z");
        assert_eq!(next("30 1 * * *", zone, "2026-11-01T06:30:00Z"), "2026-11-02T06:30:00Z");
    }

    #[test]
    fn the_last_time_is_found_without_a_walk_through_all() {
        let zone = TimeZone::UTC;
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let last = |schedule: &str, after: &str, until: &str| {
            let found = Schedule::parse(schedule).unwrap().last(at(after), at(until), &zone);
            found.map(|found| found.to_string()).unwrap_or_default()
        };
        assert_eq!(last("* * * * *", "2000-01-01T00:00:00Z", "2026-01-01T00:00:30Z"), "2026-01-01T00:00:00Z");
        assert_eq!(last("0 0 1 1 *", "2020-01-01T00:00:00Z", "2026-06-01T00:00:00Z"), "2026-01-01T00:00:00Z");
        assert_eq!(last("0 0 * * *", "2026-01-01T00:00:00Z", "2026-01-01T23:00:00Z"), "");
        assert_eq!(last("@every 1m", "2026-01-01T00:00:10Z", "2026-01-01T00:02:30Z"), "2026-01-01T00:02:10Z");
        let minutely = Schedule::parse("* * * * *").unwrap();
        assert!(minutely.many(at("2026-01-01T00:00:00Z"), at("2026-01-01T02:00:00Z"), &zone));
        assert!(!minutely.many(at("2026-01-01T00:00:00Z"), at("2026-01-01T01:00:00Z"), &zone));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "1,,2 * * * *",
            "-1 * * * *",
            "@often",
            "@every",
            "@every x",
            "@every 0s",
            "1/2/3 * * * *",
            "99999999999 * * * *",
        ] {
            assert!(Schedule::parse(text).is_err(), "{text:?} was taken");
        }
    }
}
