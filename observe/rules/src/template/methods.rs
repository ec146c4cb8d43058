//! Fields and methods of what templates calculate with: times, durations, samples, histograms.

use std::sync::Arc;

use super::functions::Param;
use super::value::Value;

/// A method: what it takes, and what it does.
pub(super) struct Method {
    pub(super) params: &'static [Param],
    pub(super) call: fn(&Value, &[Value]) -> Result<Value, String>,
}

/// A field of a value that is no map.
pub(super) fn member(of: &Value, name: &str) -> Option<Value> {
    Some(match (of, name) {
        (Value::Data(data), "Labels") => Value::Texts(Arc::clone(&data.labels)),
        (Value::Data(data), "ExternalLabels") => Value::Texts(Arc::clone(&data.external_labels)),
        (Value::Data(data), "ExternalURL") => Value::Text(Arc::clone(&data.external_url)),
        (Value::Data(data), "Value") => data.value.clone(),
        (Value::Sample(sample), "Labels") => Value::Texts(Arc::clone(&sample.labels)),
        (Value::Sample(sample), "Value") => sample.value.clone(),
        (Value::Histogram(histogram), "Count") => Value::Float(histogram.count),
        (Value::Histogram(histogram), "Sum") => Value::Float(histogram.sum),
        (Value::Histogram(histogram), "ZeroCount") => Value::Float(histogram.zero_count),
        (Value::Histogram(histogram), "ZeroThreshold") => Value::Float(histogram.zero_threshold),
        _ => return None,
    })
}

const fn method_of(call: fn(&Value, &[Value]) -> Result<Value, String>) -> Option<Method> {
    Some(Method { params: &[], call })
}

/// A method of a value.
pub(super) fn method(of: &Value, name: &str) -> Option<Method> {
    match of {
        Value::Time(_) => match name {
            "String" => method_of(|value, _| Ok(Value::text(value.shown()))),
            "Unix" => method_of(|value, _| Ok(Value::Int(millis(value).div_euclid(1000)))),
            "UnixMilli" => method_of(|value, _| Ok(Value::Int(millis(value)))),
            "UnixMicro" => method_of(|value, _| Ok(Value::Int(millis(value).saturating_mul(1000)))),
            "UnixNano" => method_of(|value, _| Ok(Value::Int(millis(value).saturating_mul(1_000_000)))),
            "Year" => method_of(|value, _| Ok(Value::Int(Clock::of(millis(value)).year))),
            "Day" => method_of(|value, _| Ok(Value::Int(Clock::of(millis(value)).day))),
            "Hour" => method_of(|value, _| Ok(Value::Int(Clock::of(millis(value)).hour))),
            "Minute" => method_of(|value, _| Ok(Value::Int(Clock::of(millis(value)).minute))),
            "Second" => method_of(|value, _| Ok(Value::Int(Clock::of(millis(value)).second))),
            "YearDay" => method_of(|value, _| Ok(Value::Int(Clock::of(millis(value)).day_of_year))),
            "Month" => method_of(|value, _| {
                let month = Clock::of(millis(value)).month;
                Ok(Value::Named("time.Month", month, MONTHS[(month - 1) as usize]))
            }),
            "Weekday" => method_of(|value, _| {
                let day = Clock::of(millis(value)).weekday;
                Ok(Value::Named("time.Weekday", day, DAYS[day as usize]))
            }),
            "UTC" | "Local" => method_of(|value, _| Ok(value.clone())),
            "IsZero" => method_of(|value, _| Ok(Value::Bool(millis(value) == ZERO_TIME))),
            "Format" => Some(Method {
                params: &[Param::Text],
                call: |value, args| match args {
                    [Value::Text(layout)] => Ok(Value::text(Clock::of(millis(value)).format(layout))),
                    _ => Ok(Value::Invalid),
                },
            }),
            "Add" => Some(Method {
                params: &[Param::Duration],
                call: |value, args| match args {
                    [Value::Duration(nanos) | Value::Int(nanos)] => {
                        Ok(Value::Time(millis(value).saturating_add(nanos.div_euclid(1_000_000))))
                    }
                    _ => Ok(Value::Invalid),
                },
            }),
            "Sub" | "Before" | "After" | "Equal" => Some(Method {
                params: &[Param::Time],
                call: match name {
                    "Sub" => |value, args| {
                        let apart = millis(value).saturating_sub(other(args));
                        Ok(Value::Duration(apart.saturating_mul(1_000_000)))
                    },
                    "Before" => |value, args| Ok(Value::Bool(millis(value) < other(args))),
                    "After" => |value, args| Ok(Value::Bool(millis(value) > other(args))),
                    _ => |value, args| Ok(Value::Bool(millis(value) == other(args))),
                },
            }),
            _ => None,
        },
        Value::Duration(_) => match name {
            "String" => method_of(|value, _| Ok(Value::text(value.shown()))),
            "Nanoseconds" => method_of(|value, _| Ok(Value::Int(nanos(value)))),
            "Microseconds" => method_of(|value, _| Ok(Value::Int(nanos(value) / 1000))),
            "Milliseconds" => method_of(|value, _| Ok(Value::Int(nanos(value) / 1_000_000))),
            "Seconds" => method_of(|value, _| Ok(Value::Float(in_units(nanos(value), 1_000_000_000)))),
            "Minutes" => method_of(|value, _| Ok(Value::Float(in_units(nanos(value), 60_000_000_000)))),
            "Hours" => method_of(|value, _| Ok(Value::Float(in_units(nanos(value), 3_600_000_000_000)))),
            _ => None,
        },
        Value::Histogram(_) | Value::Named(..) if name == "String" => {
            method_of(|value, _| Ok(Value::text(value.shown())))
        }
        _ => None,
    }
}

/// The first moment of the year 1.
const ZERO_TIME: i64 = -62_135_596_800_000;

fn millis(value: &Value) -> i64 {
    if let Value::Time(millis) = value { *millis } else { 0 }
}

fn nanos(value: &Value) -> i64 {
    if let Value::Duration(nanos) = value { *nanos } else { 0 }
}

fn other(args: &[Value]) -> i64 {
    args.first().map_or(0, millis)
}

fn in_units(nanos: i64, unit: i64) -> f64 {
    (nanos / unit) as f64 + (nanos % unit) as f64 / unit as f64
}

/// A duration as Go writes it: `1h2m3.5s`.
pub(super) fn duration_text(nanos: i64) -> String {
    let fraction = |value: u64, unit: u64, name: &str| {
        let digits = unit.ilog10() as usize;
        let rest = format!("{:0digits$}", value % unit);
        let rest = rest.trim_end_matches('0');
        let point = if rest.is_empty() || digits == 0 { String::new() } else { format!(".{rest}") };
        format!("{}{point}{name}", value / unit)
    };
    let (sign, size) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let text = match size {
        0 => "0s".to_owned(),
        1..1000 => format!("{size}ns"),
        1000..1_000_000 => fraction(size, 1000, "µs"),
        1_000_000..1_000_000_000 => fraction(size, 1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (size / 60_000_000_000, size % 60_000_000_000);
            let seconds = fraction(rest, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

/// A time as Go writes it.
pub(super) fn time_text(millis: i64) -> String {
    Clock::of(millis).format("2006-01-02 15:04:05.999999999 -0700 MST")
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A moment as calendar and clock name it, in UTC.
struct Clock {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: i64,
    weekday: i64,
    hour: i64,
    minute: i64,
    second: i64,
    millis: i64,
}

impl Clock {
    fn of(millis: i64) -> Self {
        let date = xebec_promql::date::Date::from_seconds(millis.div_euclid(1000));
        Self {
            year: date.year,
            month: date.month,
            day: date.day,
            day_of_year: date.day_of_year,
            weekday: date.weekday,
            hour: date.hour,
            minute: date.minute,
            second: date.second,
            millis: millis.rem_euclid(1000),
        }
    }

    /// Writes it as a layout of Go's package `time` says.
    fn format(&self, layout: &str) -> String {
        let mut out = String::new();
        let mut rest = layout;
        let hour = (self.hour + 11) % 12 + 1;
        let (month, weekday) = (MONTHS[(self.month - 1) as usize], DAYS[self.weekday as usize]);
        'text: while let Some(first) = rest.chars().next() {
            let known: [(&str, String); 32] = [
                ("January", month.to_owned()),
                ("Jan", month[..3].to_owned()),
                ("Monday", weekday.to_owned()),
                ("Mon", weekday[..3].to_owned()),
                ("MST", "UTC".to_owned()),
                ("01", format!("{:02}", self.month)),
                ("002", format!("{:03}", self.day_of_year)),
                ("02", format!("{:02}", self.day)),
                ("03", format!("{hour:02}")),
                ("04", format!("{:02}", self.minute)),
                ("05", format!("{:02}", self.second)),
                ("06", format!("{:02}", self.year.rem_euclid(100))),
                ("15", format!("{:02}", self.hour)),
                ("1", self.month.to_string()),
                ("2006", format!("{:04}", self.year)),
                ("__2", format!("{:3}", self.day_of_year)),
                ("_2006", format!("_{:04}", self.year)),
                ("_2", format!("{:2}", self.day)),
                ("2", self.day.to_string()),
                ("3", hour.to_string()),
                ("4", self.minute.to_string()),
                ("5", self.second.to_string()),
                ("PM", if self.hour >= 12 { "PM" } else { "AM" }.to_owned()),
                ("pm", if self.hour >= 12 { "pm" } else { "am" }.to_owned()),
                ("-07:00:00", "+00:00:00".to_owned()),
                ("-070000", "+000000".to_owned()),
                ("-07:00", "+00:00".to_owned()),
                ("-0700", "+0000".to_owned()),
                ("-07", "+00".to_owned()),
                ("Z07:00", "Z".to_owned()),
                ("Z0700", "Z".to_owned()),
                ("Z07", "Z".to_owned()),
            ];
            for (word, text) in known {
                let Some(after) = rest.strip_prefix(word) else { continue };
                // A short name of a month or day is none within a longer word.
                if matches!(word, "Jan" | "Mon") && after.starts_with(|next: char| next.is_ascii_lowercase())
                {
                    continue;
                }
                out.push_str(&text);
                rest = after;
                continue 'text;
            }
            if let Some((written, after)) = self.fraction(rest) {
                out.push_str(&written);
                rest = after;
                continue;
            }
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
        out
    }

    /// Parts of a second: `.000` with all its digits, `.999` without zeros at the end.
    fn fraction<'l>(&self, rest: &'l str) -> Option<(String, &'l str)> {
        let point = rest.chars().next().filter(|letter| matches!(letter, '.' | ','))?;
        let digit = rest[1..].chars().next().filter(|letter| matches!(letter, '0' | '9'))?;
        let count = rest[1..].chars().take_while(|letter| *letter == digit).count();
        let after = &rest[1 + count..];
        if after.starts_with(|letter: char| letter.is_ascii_digit()) {
            return None;
        }
        let mut digits = format!("{:03}{}", self.millis, "0".repeat(6));
        digits.truncate(count);
        while digits.len() < count {
            digits.push('0');
        }
        if digit == '9' {
            digits.truncate(digits.trim_end_matches('0').len());
        }
        let point = if digits.is_empty() { String::new() } else { point.to_string() };
        Some((point + &digits, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_layouts_say() {
        let time = 1_435_065_584_128;
        for (layout, text) in [
            ("2006-01-02T15:04:05Z07:00", "2015-06-23T13:19:44Z"),
            ("Mon Jan _2 3:04PM 2006", "Tue Jun 23 1:19PM 2015"),
            ("Monday, January 2", "Tuesday, June 23"),
            ("05.000000", "44.128000"),
            ("05.99", "44.12"),
            ("at Monat 0", "at Monat 0"),
        ] {
            assert_eq!(Clock::of(time).format(layout), text, "{layout}");
        }
        assert_eq!(time_text(time), "2015-06-23 13:19:44.128 +0000 UTC");
        assert_eq!(time_text(-1000), "1969-12-31 23:59:59 +0000 UTC");
    }

    #[test]
    fn durations_are_written_in_units() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1500, "1.5µs"),
            (-2_500_000, "-2.5ms"),
            (1_800_000_000_000, "30m0s"),
            (3_723_004_000_000, "1h2m3.004s"),
        ] {
            assert_eq!(duration_text(nanos), text);
        }
    }
}
