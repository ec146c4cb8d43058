//! The string formats that Kubernetes checks. A format that is not among them says nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether `text` is of `format`; `None` where the format is not known.
pub(super) fn holds(format: &str, text: &str) -> Option<bool> {
    // Dashes in names mean nothing: `date-time` is `datetime`.
    let name: String = format.chars().filter(|letter| *letter != '-').collect();
    let holds = match name.as_str() {
        "byte" => base64(text),
        "bsonobjectid" => text.len() == 24 && hex(text),
        "cidr" => cidr(text),
        "creditcard" => credit_card(text),
        "date" => date(text),
        "datetime" => date_time(text),
        "duration" => duration(text),
        "email" => email(text),
        "hexcolor" => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            matches!(digits.len(), 3 | 6) && hex(digits)
        }
        "hostname" => hostname(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "isbn" => isbn10(text) || isbn13(text),
        "isbn10" => isbn10(text),
        "isbn13" => isbn13(text),
        "k8slongname" => crate::metadata::is_dns_subdomain(text),
        "k8sshortname" => crate::metadata::is_dns_label(text),
        "mac" => mac(text),
        "password" => true,
        "rgbcolor" => rgb_color(text),
        "ssn" => social_security_number(text),
        "uri" => uri(text),
        "uuid" => uuid(text, None),
        "uuid3" => uuid(text, Some('3')),
        "uuid4" => uuid(text, Some('4')),
        "uuid5" => uuid(text, Some('5')),
        _ => return None,
    };
    Some(holds)
}

fn hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

fn cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    digits(bits) && bits.len() <= 3 && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

fn number(text: &str, from: usize, to: usize) -> Option<u32> {
    let part = text.get(from..to).filter(|part| digits(part))?;
    part.parse().ok()
}

/// RFC 3339 `full-date`.
fn date(text: &str) -> bool {
    let (Some(year), Some(month), Some(day)) = (number(text, 0, 4), number(text, 5, 7), number(text, 8, 10))
    else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    text.len() == 10
        && text.get(4..5) == Some("-")
        && text.get(7..8) == Some("-")
        && (1..=last).contains(&day)
}

/// RFC 3339 `date-time`, without leap seconds.
fn date_time(text: &str) -> bool {
    let Some((day, time)) = text.split_once(['T', 't']) else { return false };
    let clock = time.get(..8).unwrap_or_default();
    let (Some(hour), Some(minute), Some(second)) =
        (number(clock, 0, 2), number(clock, 3, 5), number(clock, 6, 8))
    else {
        return false;
    };
    let colons = clock.get(2..3) == Some(":") && clock.get(5..6) == Some(":");
    let mut zone = time.get(8..).unwrap_or_default();
    if let Some(fraction) = zone.strip_prefix('.') {
        let rest = fraction.trim_start_matches(|letter: char| letter.is_ascii_digit());
        if rest.len() == fraction.len() {
            return false;
        }
        zone = rest;
    }
    let offset = zone.strip_prefix(['+', '-']).is_some_and(|offset| {
        offset.len() == 5
            && offset.get(2..3) == Some(":")
            && number(offset, 0, 2).is_some_and(|hours| hours <= 23)
            && number(offset, 3, 5).is_some_and(|minutes| minutes <= 59)
    });
    date(day) && colons && hour <= 23 && minute <= 59 && second <= 59 && (matches!(zone, "Z" | "z") || offset)
}

/// Go's `1h30m`, or a count and the word for a unit: `3 days`.
fn duration(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "0" {
        return true;
    }
    let mut rest = unsigned;
    let mut parts = 0;
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
        let count = rest.strip_suffix(unit).unwrap_or_default();
        let units = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];
        let longest = units.iter().filter(|known| unit.starts_with(**known)).max_by_key(|known| known.len());
        let (true, Some(known)) = (count.parse::<f64>().is_ok(), longest) else { break };
        rest = unit.get(known.len()..).unwrap_or_default();
        parts += 1;
    }
    if parts > 0 && rest.is_empty() {
        return true;
    }
    let word = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let count = text.strip_suffix(word).unwrap_or_default();
    let words = [
        "ns",
        "nano",
        "us",
        "µs",
        "micro",
        "ms",
        "milli",
        "s",
        "sec",
        "second",
        "m",
        "min",
        "minute",
        "h",
        "hr",
        "hour",
        "d",
        "day",
        "w",
        "wk",
        "week",
        "nanosecond",
        "microsecond",
        "millisecond",
    ];
    let word = word.trim_start().to_lowercase();
    !count.is_empty() && words.iter().any(|known| word == *known || word.strip_suffix('s') == Some(*known))
}

/// `local@domain`, also as `Name <local@domain>`.
fn email(text: &str) -> bool {
    let address = match text.trim().strip_suffix('>') {
        Some(named) => named.rsplit_once('<').map(|(_, address)| address),
        None => Some(text.trim()),
    };
    let Some((local, domain)) = address.and_then(|address| address.rsplit_once('@')) else { return false };
    let atom = |atom: &str| {
        let plain = |letter: char| {
            letter.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(letter) || !letter.is_ascii()
        };
        !atom.is_empty() && atom.chars().all(plain)
    };
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"') && !local.contains('\n');
    let literal = domain
        .strip_prefix('[')
        .and_then(|domain| domain.strip_suffix(']'))
        .is_some_and(|domain| domain.parse::<IpAddr>().is_ok());
    (quoted || local.split('.').all(atom)) && (literal || domain.split('.').all(atom))
}

fn hostname(text: &str) -> bool {
    let symbol = |letter: char| letter.is_alphanumeric() || (!letter.is_ascii() && !letter.is_whitespace());
    let label = |label: &str| {
        label.len() <= 63
            && label.starts_with(symbol)
            && label.ends_with(symbol)
            && label.chars().all(|letter| symbol(letter) || letter == '-')
    };
    let last_is_long = text.rsplit_once('.').is_none_or(|(_, last)| last.chars().count() > 1);
    text.len() <= 255 && last_is_long && text.split('.').all(label)
}

/// 6, 8 or 20 bytes, parted by colons or dashes, or by dots after every second byte.
fn mac(text: &str) -> bool {
    let bytes = match text.chars().find(|letter| !letter.is_ascii_hexdigit()) {
        Some(mark @ (':' | '-')) => {
            let parts: Vec<&str> = text.split(mark).collect();
            if parts.iter().all(|part| part.len() == 2 && hex(part)) { parts.len() } else { 0 }
        }
        Some('.') => {
            let parts: Vec<&str> = text.split('.').collect();
            if parts.iter().all(|part| part.len() == 4 && hex(part)) { parts.len() * 2 } else { 0 }
        }
        _ => 0,
    };
    matches!(bytes, 6 | 8 | 20)
}

/// The sum of an identification number's digits with every second doubled (Luhn).
fn credit_card(text: &str) -> bool {
    let number: Vec<u32> = text.chars().filter_map(|letter| letter.to_digit(10)).collect();
    let sum: u32 = number
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| if place % 2 == 0 { *digit } else { digit * 2 / 10 + digit * 2 % 10 })
        .sum();
    let plain = text.chars().all(|letter| letter.is_ascii_digit() || matches!(letter, ' ' | '-'));
    plain && (13..=19).contains(&number.len()) && sum.is_multiple_of(10)
}

fn isbn_digits(text: &str) -> Option<Vec<u32>> {
    let plain: Vec<char> = text.chars().filter(|letter| !matches!(letter, ' ' | '-')).collect();
    let last = plain.len().checked_sub(1)?;
    plain
        .iter()
        .enumerate()
        .map(|(place, letter)| match letter {
            'X' if place == last && last == 9 => Some(10),
            letter => letter.to_digit(10),
        })
        .collect()
}

fn isbn10(text: &str) -> bool {
    isbn_digits(text).is_some_and(|digits| {
        let sum: u32 = digits.iter().zip(1u32..).map(|(digit, weight)| digit * weight).sum();
        digits.len() == 10 && sum.is_multiple_of(11)
    })
}

fn isbn13(text: &str) -> bool {
    isbn_digits(text).is_some_and(|digits| {
        let sum: u32 =
            digits.iter().zip([1, 3].into_iter().cycle()).map(|(digit, weight)| digit * weight).sum();
        digits.len() == 13 && sum.is_multiple_of(10)
    })
}

fn rgb_color(text: &str) -> bool {
    let inner = text.strip_prefix("rgb(").and_then(|text| text.strip_suffix(')'));
    inner.is_some_and(|inner| {
        let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
        parts.len() == 3 && parts.iter().all(|part| digits(part) && part.parse::<u8>().is_ok())
    })
}

fn social_security_number(text: &str) -> bool {
    let plain: String = text.chars().filter(|letter| !matches!(letter, ' ' | '-')).collect();
    plain.len() == 9
        && digits(&plain)
        && text.get(..3).is_some_and(digits)
        && text.get(text.len() - 4..).is_some_and(digits)
        && text.len() <= 11
}

/// What may stand in a request line: an absolute URI, or an absolute path.
fn uri(text: &str) -> bool {
    let clean = text.chars().all(|letter| !letter.is_control() && !letter.is_whitespace());
    let escapes = text.split('%').skip(1).all(|after| after.get(..2).is_some_and(hex));
    let absolute = text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
            && !rest.is_empty()
    });
    clean && escapes && (text.starts_with('/') || text == "*" || absolute)
}

/// 32 hexadecimal digits with dashes or without; the version stands at its place.
fn uuid(text: &str, version: Option<char>) -> bool {
    let dashed = [8, 13, 18, 23];
    let plain: String = if text.len() == 36 && dashed.iter().all(|at| text.get(*at..at + 1) == Some("-")) {
        text.replace('-', "")
    } else {
        text.to_owned()
    };
    let variant = || plain.get(16..17).is_some_and(|variant| "89abAB".contains(variant));
    plain.len() == 32
        && hex(&plain)
        && match version {
            None => true,
            Some(version) => plain.chars().nth(12) == Some(version) && (version == '3' || variant()),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_knows_its_own() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("byte", &["YWI=", "YWJj"], &["", "YWI", "Y===", "YW I="]),
            ("cidr", &["10.0.0.0/8", "fd00::/64"], &["10.0.0.0/33", "10.0.0.0", "x/8"]),
            ("date", &["2024-02-29"], &["2023-02-29", "2024-13-01", "2024-1-1"]),
            (
                "date-time",
                &["2026-01-02T03:04:05Z", "2026-01-02t03:04:05.123+02:00"],
                &["2026-01-02", "2026-01-02T24:00:00Z", "2026-01-02T03:04:05", "2026-01-02T03:04:05.Z"],
            ),
            ("duration", &["1h30m", "1.5s", "0", "3 days", "-2ms", "5us"], &["", "h", "1", "3 moons"]),
            ("email", &["a@b.c", "A B <a@b.c>", "\"a b\"@c"], &["a", "@b", "a@", "a b@c"]),
            ("hostname", &["a", "a.example", "1.ab"], &["", "-a", "a..b", "a.b", "a_b"]),
            ("ipv4", &["1.2.3.4"], &["1.2.3", "::1", "01.2.3.4"]),
            ("ipv6", &["::1", "::ffff:1.2.3.4"], &["1.2.3.4", "g::"]),
            ("isbn", &["0-306-40615-2", "978-0-306-40615-7", "080442957X"], &["0-306-40615-3", "1"]),
            ("mac", &["00:00:5e:00:53:01", "0000.5e00.5301"], &["00:00", "00:00:5e:00:53-01"]),
            ("uri", &["http://x/%20", "/a", "mailto:a"], &["a", "http://x/%2", "a b:", ""]),
            (
                "uuid",
                &["123e4567-e89b-12d3-a456-426614174000"],
                &["123e4567", "123e4567-e89b-12d3-a456-42661417400g"],
            ),
            ("uuid4", &["123E4567-E89B-42D3-A456-426614174000"], &["123e4567-e89b-12d3-a456-426614174000"]),
            ("creditcard", &["4111 1111 1111 1111"], &["4111 1111 1111 1112", "x"]),
            ("hexcolor", &["#fff", "00ff00"], &["#ffff", "#"]),
            ("rgbcolor", &["rgb(1, 2,255)"], &["rgb(1,2)", "rgb(1,2,256)"]),
            ("ssn", &["123-45-6789"], &["12-345-6789", "é23456789"]),
            ("bsonobjectid", &["507f1f77bcf86cd799439011"], &["507f"]),
            ("password", &[""], &[]),
            ("k8s-short-name", &["a-b"], &["a.b", "A"]),
            ("k8s-long-name", &["a.b"], &["a..b"]),
        ];
        for (format, good, bad) in cases {
            for text in *good {
                assert_eq!(holds(format, text), Some(true), "{format}: {text:?}");
            }
            for text in *bad {
                assert_eq!(holds(format, text), Some(false), "{format}: {text:?}");
            }
        }
        assert_eq!(holds("no-such-format", "x"), None);
    }
}
