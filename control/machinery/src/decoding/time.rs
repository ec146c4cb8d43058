//! Points in time as Go reads them, and what it says of texts that are none.

/// What is read next of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Element {
    Text(&'static str),
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Micros,
    Zone,
}

const MICRO_DIGITS: usize = 6;
/// A point in time up to its second.
const TO_THE_SECOND: [Element; 11] = [
    Element::Year,
    Element::Text("-"),
    Element::Month,
    Element::Text("-"),
    Element::Day,
    Element::Text("T"),
    Element::Hour,
    Element::Text(":"),
    Element::Minute,
    Element::Text(":"),
    Element::Second,
];

impl Element {
    /// How it stands in the layout.
    fn layout(self) -> &'static str {
        match self {
            Self::Text(text) => text,
            Self::Year => "2006",
            Self::Month => "01",
            Self::Day => "02",
            Self::Hour => "15",
            Self::Minute => "04",
            Self::Second => "05",
            Self::Micros => ".000000",
            Self::Zone => "Z07:00",
        }
    }
}

enum Wrong {
    Form,
    Range(&'static str),
}

/// What is wrong with a point in time, which is told to the second or to the millionth of one.
pub(super) fn fault(is_micro: bool, text: &str) -> Option<String> {
    let fraction = is_micro.then_some(Element::Micros);
    let elements = || TO_THE_SECOND.into_iter().chain(fraction).chain([Element::Zone]);
    let mut rest = text;
    let (mut year, mut month, mut day) = (0, 1, 1);
    for element in elements() {
        match read(element, rest, is_micro) {
            Ok((value, left)) => {
                match element {
                    Element::Year => year = value,
                    Element::Month => month = value,
                    Element::Day => day = value,
                    _ => {}
                }
                rest = left;
            }
            Err(Wrong::Form) => {
                let layout: String = elements().map(Element::layout).collect();
                let wanted = element.layout();
                return Some(format!(
                    "parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {wanted:?}"
                ));
            }
            Err(Wrong::Range(what)) => return Some(format!("parsing time {text:?}: {what} out of range")),
        }
    }
    if !rest.is_empty() {
        return Some(format!("parsing time {text:?}: extra text: {rest:?}"));
    }
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (!(1..=days).contains(&day)).then(|| format!("parsing time {text:?}: day out of range"))
}

fn digits(text: &str, count: usize) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(count)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| Some((digits.parse().ok()?, rest)))?
}

fn read(element: Element, text: &str, is_micro: bool) -> Result<(u32, &str), Wrong> {
    let number = |count, most: u32, what| match digits(text, count) {
        Some((number, _)) if number > most => Err(Wrong::Range(what)),
        Some(found) => Ok(found),
        None => Err(Wrong::Form),
    };
    match element {
        Element::Text(wanted) => text.strip_prefix(wanted).map(|rest| (0, rest)).ok_or(Wrong::Form),
        Element::Year => digits(text, 4).ok_or(Wrong::Form),
        Element::Month => match number(2, 12, "month")? {
            (0, _) => Err(Wrong::Range("month")),
            found => Ok(found),
        },
        Element::Day => digits(text, 2).ok_or(Wrong::Form),
        // An hour may have one digit.
        Element::Hour => number(2, 23, "hour").or_else(|wrong| match wrong {
            Wrong::Form => number(1, 23, "hour"),
            wrong => Err(wrong),
        }),
        Element::Minute => number(2, 59, "minute"),
        Element::Second => {
            let (second, rest) = number(2, 59, "second")?;
            let fraction =
                rest.strip_prefix(['.', ',']).filter(|rest| !is_micro && digits(rest, 1).is_some());
            let rest =
                fraction.map_or(rest, |rest| rest.trim_start_matches(|letter: char| letter.is_ascii_digit()));
            Ok((second, rest))
        }
        Element::Micros => {
            text.strip_prefix(['.', ',']).and_then(|rest| digits(rest, MICRO_DIGITS)).ok_or(Wrong::Form)
        }
        Element::Zone => {
            if let Some(rest) = text.strip_prefix('Z') {
                return Ok((0, rest));
            }
            let offset = || {
                let (hours, rest) = digits(text.strip_prefix(['+', '-'])?, 2)?;
                let (minutes, rest) = digits(rest.strip_prefix(':')?, 2)?;
                Some((hours, minutes, rest))
            };
            match offset() {
                None => Err(Wrong::Form),
                Some((hours, ..)) if hours > 24 => Err(Wrong::Range("time zone offset hour")),
                Some((_, minutes, _)) if minutes > 60 => Err(Wrong::Range("time zone offset minute")),
                Some((.., rest)) => Ok((0, rest)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn the_first_part_that_does_not_fit_is_told() {
        let seconds = "2006-01-02T15:04:05Z07:00";
        for (text, rest, part) in [
            ("x", "x", "2006"),
            ("2020", "", "-"),
            ("2020-1-01T00:00:00Z", "1-01T00:00:00Z", "01"),
            ("2020-01-01 00:00:00Z", " 00:00:00Z", "T"),
            ("2020-01-01T00:00:00", "", "Z07:00"),
        ] {
            let wanted = format!("parsing time {text:?} as {seconds:?}: cannot parse {rest:?} as {part:?}");
            assert_eq!(fault(false, text), Some(wanted));
        }
        for (text, why) in [
            ("2020-13-01T00:00:00Z", "month out of range"),
            ("2020-02-30T00:00:00Z", "day out of range"),
            ("2020-02-03T24:00:00Z", "hour out of range"),
            ("2020-02-03T00:00:00Zx", "extra text: \"x\""),
        ] {
            assert_eq!(fault(false, text), Some(format!("parsing time {text:?}: {why}")));
        }
        assert_eq!(fault(false, "2020-02-29T00:00:00.123456789+01:00"), None);
    }

    #[test]
    fn millionths_are_six_digits() {
        assert_eq!(fault(true, "2020-01-01T00:00:00.000001Z"), None);
        let text = "2020-01-01T00:00:00Z";
        let layout = "2006-01-02T15:04:05.000000Z07:00";
        let wanted = format!("parsing time {text:?} as {layout:?}: cannot parse \"Z\" as \".000000\"");
        assert_eq!(fault(true, text), Some(wanted));
    }
}
