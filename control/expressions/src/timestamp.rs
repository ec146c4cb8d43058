//! Points in time: reading, writing, reckoning and their parts in any time zone.

use std::cmp::Ordering;

use jiff::tz::TimeZone;

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

/// Days since 1970 of a date.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of days since 1970.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

fn days(date: &str) -> Option<i64> {
    let year: i64 = date.get(..4).filter(|year| year.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
    if date.len() != 10 || date.as_bytes()[4] != b'-' || date.as_bytes()[7] != b'-' {
        return None;
    }
    let (month, day) = (two(date, 5)?, two(date, 8)?);
    let days = days_of(year, month, day);
    (date_of(days) == (year, month, day)).then_some(days)
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

/// What clocks with that offset show: days since 1970 and seconds of the day.
fn local(time: Timestamp, offset: i64) -> (i64, i64) {
    let seconds = time.seconds + offset;
    (seconds.div_euclid(86_400), seconds.rem_euclid(86_400))
}

/// Writes RFC 3339 with as many digits as it takes, in the offset it was written with.
pub(crate) fn format(time: Timestamp) -> String {
    let (days, seconds) = local(time, i64::from(time.offset));
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl Part {
    /// How many nanoseconds of a duration make one of this part, where durations have it.
    pub(crate) fn nanoseconds(self) -> Option<i64> {
        match self {
            Self::Hours => Some(3_600_000_000_000),
            Self::Minutes => Some(60_000_000_000),
            Self::Seconds => Some(1_000_000_000),
            Self::Milliseconds => Some(1_000_000),
            _ => None,
        }
    }
}

/// A part of `time` as clocks in `zone` show it.
pub(crate) fn part(time: Timestamp, part: Part, zone: Option<&str>) -> Evaluated<i64> {
    let offset = zone.map_or(Ok(0), |zone| offset_in(zone, time.seconds))?;
    let (days, seconds) = local(time, offset);
    let (year, month, day) = date_of(days);
    Ok(match part {
        Part::FullYear => year,
        Part::Month => month - 1,
        Part::DayOfYear => days - days_of(year, 1, 1),
        Part::DayOfMonth => day - 1,
        Part::Date => day,
        Part::DayOfWeek => (days + 4).rem_euclid(7),
        Part::Hours => seconds / 3600,
        Part::Minutes => seconds / 60 % 60,
        Part::Seconds => seconds % 60,
        Part::Milliseconds => i64::from(time.nanoseconds / 1_000_000),
    })
}

/// The offset from UTC in seconds that clocks in `zone` have at that moment.
fn offset_in(zone: &str, seconds: i64) -> Evaluated<i64> {
    let Some((hours, minutes)) = zone.split_once(':') else {
        if matches!(zone, "" | "UTC") {
            return Ok(0);
        }
        let named =
            TimeZone::get(zone).map_err(|_| EvaluationError::new(format!("unknown time zone {zone}")))?;
        // The outermost days have the offset of those before them.
        let moment = seconds.clamp(jiff::Timestamp::MIN.as_second(), jiff::Timestamp::MAX.as_second());
        let moment = jiff::Timestamp::from_second(moment).map_err(|_| overflow())?;
        return Ok(i64::from(named.to_offset(moment).seconds()));
    };
    let number = |text: &str| {
        let wrong = |_| EvaluationError::new(format!("strconv.Atoi: parsing {text:?}: invalid syntax"));
        text.parse::<i32>().map(i64::from).map_err(wrong)
    };
    let (whole, part) = (number(hours)?, number(minutes)?);
    Ok((whole * 60 + if zone.starts_with('-') { -part } else { part }) * 60)
}
