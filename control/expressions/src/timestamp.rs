//! Points in time: reading, writing, reckoning and their parts in any time zone.

use std::cmp::Ordering;

use jiff::Zoned;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};

use crate::value::{Evaluated, EvaluationError};

/// A point in time between the years 1 and 9999.
#[derive(Debug, Clone, Copy)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds after that second.
    pub nanoseconds: u32,
    /// The offset from UTC in seconds that it was written with; it shows when it is written again.
    pub offset: i32,
}

const EARLIEST: i64 = -62_135_596_800;
const LATEST: i64 = 253_402_300_799;

impl Timestamp {
    /// The first moment of the year 1.
    pub(crate) const ZERO: Self = Self { seconds: EARLIEST, nanoseconds: 0, offset: 0 };
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.seconds, self.nanoseconds).cmp(&(other.seconds, other.nanoseconds))
    }
}

fn overflow() -> EvaluationError {
    EvaluationError::new("timestamp overflow")
}

/// The moment `seconds` after 1970.
pub(crate) fn from_seconds(seconds: i64) -> Evaluated<Timestamp> {
    in_range(Timestamp { seconds, nanoseconds: 0, offset: 0 })
}

/// `time`, unless it is out of range.
pub(crate) fn in_range(time: Timestamp) -> Evaluated<Timestamp> {
    if (EARLIEST..=LATEST).contains(&time.seconds) { Ok(time) } else { Err(overflow()) }
}

fn two(text: &str, at: usize) -> Option<i64> {
    let digits = text.get(at..at + 2)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn days(date: &str) -> Option<i64> {
    let year = date.get(..4).filter(|year| year.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
    if date.len() != 10 || date.as_bytes()[4] != b'-' || date.as_bytes()[7] != b'-' {
        return None;
    }
    let date = Date::new(year, two(date, 5)?.try_into().ok()?, two(date, 8)?.try_into().ok()?).ok()?;
    let seconds = date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    Some(seconds / 86_400)
}

fn read(text: &str, zone_optional: bool) -> Option<Timestamp> {
    if !text.is_ascii() || text.len() < 19 || !matches!(text.as_bytes()[10], b'T') {
        return None;
    }
    let (hour, minute, second) = (two(text, 11)?, two(text, 14)?, two(text, 17)?);
    if text.as_bytes()[13] != b':' || text.as_bytes()[16] != b':' || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = &text[19..];
    let mut nanoseconds = 0;
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let end = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
        if end == 0 {
            return None;
        }
        let digits = &fraction[..end.min(9)];
        nanoseconds = digits.parse::<u32>().ok()? * 10u32.pow(9 - digits.len() as u32);
        rest = &fraction[end..];
    }
    let offset = match rest {
        "Z" => 0,
        "" if zone_optional => 0,
        _ => {
            let sign = match rest.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let (hours, minutes) = (two(rest, 1)?, two(rest, 4)?);
            if rest.len() != 6 || rest.as_bytes()[3] != b':' || hours > 24 || minutes > 60 {
                return None;
            }
            sign * (hours * 3600 + minutes * 60)
        }
    };
    let seconds = days(&text[..10])? * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Some(Timestamp { seconds, nanoseconds, offset: offset as i32 })
}

/// Reads RFC 3339.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    read(text, false).ok_or_else(|| format!("parsing time {text:?}: not of RFC 3339"))
}

/// Reads what the format `date-time` of a schema allows.
pub(crate) fn parse_loosely(text: &str) -> Result<Timestamp, String> {
    if text.is_empty() {
        return Ok(Timestamp { seconds: 0, nanoseconds: 0, offset: 0 });
    }
    let upper = text.to_ascii_uppercase().replacen(' ', "T", 1);
    read(&upper, true).ok_or_else(|| format!("parsing time {text:?}: not of RFC 3339"))
}

/// Reads a date.
pub(crate) fn parse_date(text: &str) -> Result<Timestamp, String> {
    let days = text.is_ascii().then(|| days(text)).flatten();
    let days = days.ok_or_else(|| format!("parsing time {text:?} as \"2006-01-02\": cannot parse"))?;
    Ok(Timestamp { seconds: days * 86_400, nanoseconds: 0, offset: 0 })
}

fn zoned(time: Timestamp, zone: TimeZone) -> Evaluated<Zoned> {
    let moment = jiff::Timestamp::new(time.seconds, time.nanoseconds as i32).map_err(|_| overflow())?;
    Ok(moment.to_zoned(zone))
}

/// Writes RFC 3339 with as many digits as it takes, in the offset it was written with.
pub(crate) fn format(time: Timestamp) -> String {
    let zone = Offset::from_seconds(time.offset).map_or(TimeZone::UTC, TimeZone::fixed);
    let Ok(zoned) = zoned(time, zone) else { return String::new() };
    let mut text = zoned.datetime().strftime("%Y-%m-%dT%H:%M:%S").to_string();
    if time.nanoseconds > 0 {
        let digits = format!("{:09}", time.nanoseconds);
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    if time.offset == 0 {
        text.push('Z');
    } else {
        let minutes = time.offset.abs() / 60;
        let sign = if time.offset < 0 { '-' } else { '+' };
        text.push_str(&format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60));
    }
    text
}

/// `time + nanoseconds`.
pub(crate) fn add(time: Timestamp, nanoseconds: i64) -> Evaluated<Timestamp> {
    let total =
        i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds) + i128::from(nanoseconds);
    let seconds = total.div_euclid(1_000_000_000);
    let seconds = i64::try_from(seconds).map_err(|_| overflow())?;
    in_range(Timestamp { seconds, nanoseconds: total.rem_euclid(1_000_000_000) as u32, offset: time.offset })
}

/// `a - b` in nanoseconds.
pub(crate) fn between(a: Timestamp, b: Timestamp) -> Evaluated<i64> {
    let seconds = a.seconds.checked_sub(b.seconds);
    let nanoseconds = i64::from(a.nanoseconds) - i64::from(b.nanoseconds);
    seconds
        .and_then(|seconds| seconds.checked_mul(1_000_000_000))
        .and_then(|total| total.checked_add(nanoseconds))
        .ok_or_else(|| EvaluationError::new("integer overflow"))
}

/// A part of a date or time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    FullYear,
    Month,
    DayOfYear,
    DayOfMonth,
    Date,
    DayOfWeek,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// A part of `time` as clocks in `zone` show it.
pub(crate) fn part(time: Timestamp, part: Part, zone: Option<&str>) -> Evaluated<i64> {
    let zone = zone.map_or(Ok(TimeZone::UTC), named_zone)?;
    let at = zoned(time, zone)?;
    Ok(match part {
        Part::FullYear => i64::from(at.year()),
        Part::Month => i64::from(at.month()) - 1,
        Part::DayOfYear => i64::from(at.day_of_year()) - 1,
        Part::DayOfMonth => i64::from(at.day()) - 1,
        Part::Date => i64::from(at.day()),
        Part::DayOfWeek => i64::from(at.weekday().to_sunday_zero_offset()),
        Part::Hours => i64::from(at.hour()),
        Part::Minutes => i64::from(at.minute()),
        Part::Seconds => i64::from(at.second()),
        Part::Milliseconds => i64::from(time.nanoseconds / 1_000_000),
    })
}

fn named_zone(name: &str) -> Evaluated<TimeZone> {
    let Some((hours, minutes)) = name.split_once(':') else {
        return match name {
            "" | "UTC" => Ok(TimeZone::UTC),
            _ => TimeZone::get(name).map_err(|_| EvaluationError::new(format!("unknown time zone {name}"))),
        };
    };
    let number = |text: &str| {
        text.parse::<i32>()
            .map_err(|_| EvaluationError::new(format!("strconv.Atoi: parsing {text:?}: invalid syntax")))
    };
    let (whole, part) = (number(hours)?, number(minutes)?);
    let minutes = whole.saturating_mul(60).saturating_add(if name.starts_with('-') { -part } else { part });
    Offset::from_seconds(minutes.saturating_mul(60))
        .map(TimeZone::fixed)
        .map_err(|_| EvaluationError::new(format!("unknown time zone {name}")))
}
