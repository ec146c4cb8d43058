//! Regular expressions as Prometheus users write them (RE2), translated for the engine that runs them here: classes such
//! as `\d` are ASCII, braces that repeat nothing are themselves, and set operators inside classes have no meaning.

use regex::{Captures, Regex, RegexBuilder};

/// The largest compiled expression, in bytes.
const SIZE_LIMIT: usize = 4 << 20;

/// Compiles an expression that must match the whole text, in which `.` also matches line breaks.
pub fn anchored(pattern: &str) -> Result<Regex, String> {
    compiled(pattern, |translated| format!("^(?s:{translated})$"))
}

/// Compiles an expression that may match a part of the text.
pub fn unanchored(pattern: &str) -> Result<Regex, String> {
    compiled(pattern, |translated| translated)
}

fn compiled(pattern: &str, framed: impl FnOnce(String) -> String) -> Result<Regex, String> {
    if let Some(group) = unknown_group(pattern) {
        return Err(format!("error parsing regexp: invalid or unsupported Perl syntax: `{group}`"));
    }
    if let Some(operators) = nested_repetition(pattern) {
        return Err(format!("error parsing regexp: invalid nested repetition operator: `{operators}`"));
    }
    RegexBuilder::new(&framed(translate(pattern)))
        .size_limit(SIZE_LIMIT)
        .build()
        .map_err(|error| format!("error parsing regexp: {}", reason(&error, pattern)))
}

/// The beginning of a group that RE2 does not know: one with other flags than `imsU`, or that looks around.
fn unknown_group(pattern: &str) -> Option<&str> {
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(letter) = rest.chars().next() {
        match letter {
            '\\' => {
                rest = &rest[1..];
                rest = &rest[rest.chars().next().map_or(0, char::len_utf8)..];
                continue;
            }
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class && rest.starts_with("(?") && !rest.starts_with("(?P<") => {
                let flags = rest[2..].bytes().take_while(|byte| b"imsU-".contains(byte)).count();
                let end = rest[2 + flags..].chars().next();
                let named = flags == 0 && end == Some('<') && !rest[3..].starts_with(['=', '!']);
                if let Some(end) = end.filter(|end| !matches!(end, ':' | ')') && !named) {
                    return Some(&rest[..2 + flags + end.len_utf8()]);
                }
            }
            _ => {}
        }
        rest = &rest[letter.len_utf8()..];
    }
    None
}

/// Two repetitions of the same thing, which RE2 takes for a mistake.
fn nested_repetition(pattern: &str) -> Option<&str> {
    let (mut at, mut in_class) = (0, false);
    let mut repeated: Option<usize> = None;
    while let Some(letter) = pattern[at..].chars().next() {
        let next = at + letter.len_utf8();
        let length = match letter {
            '*' | '+' | '?' if !in_class => 1,
            '{' if !in_class && repeats(&pattern[next..]) => pattern[at..].find('}').map_or(1, |end| end + 1),
            _ => 0,
        };
        if length > 0 {
            let end = at + length;
            if let Some(first) = repeated {
                return Some(&pattern[first..end]);
            }
            repeated = Some(at);
            at = end + usize::from(pattern[end..].starts_with('?'));
            continue;
        }
        match letter {
            '[' => in_class = true,
            ']' => in_class = false,
            _ => {}
        }
        // The question mark of `(?` repeats nothing.
        let skipped = match letter {
            '\\' => pattern[next..].chars().next().map_or(0, char::len_utf8),
            '(' if !in_class => usize::from(pattern[next..].starts_with('?')),
            _ => 0,
        };
        repeated = None;
        at = next + skipped;
    }
    None
}

/// Why an expression is none, in the words its users know.
fn reason(error: &regex::Error, pattern: &str) -> String {
    if let regex::Error::CompiledTooBig(limit) = error {
        return format!("expression nests or repeats too much (limit {limit} bytes)");
    }
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
    match reason {
        "unclosed group" => format!("missing closing ): `{pattern}`"),
        "unopened group" => format!("unexpected ): `{pattern}`"),
        "unclosed character class" => {
            let class = pattern.rfind('[').map_or(pattern, |open| &pattern[open..]);
            format!("missing closing ]: `{class}`")
        }
        "repetition operator missing expression" => {
            let operator = pattern.find(['*', '+', '?']).map_or(pattern, |at| &pattern[at..at + 1]);
            format!("missing argument to repetition operator: `{operator}`")
        }
        other => format!("{other}: `{pattern}`"),
    }
}

/// The expression as the engine here reads it. It must be one that [`anchored`] compiles.
pub fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut class_depth = 0usize;
    while let Some(letter) = rest.chars().next() {
        let after = &rest[letter.len_utf8()..];
        if letter == '\\' {
            rest = escape(after, class_depth > 0, &mut out);
            continue;
        }
        rest = after;
        match letter {
            '[' if class_depth == 0 => {
                class_depth = 1;
                out.push('[');
                if let Some(tail) = rest.strip_prefix('^') {
                    out.push('^');
                    rest = tail;
                }
                // A bracket that comes first is a member of the class.
                if let Some(tail) = rest.strip_prefix(']') {
                    out.push_str("\\]");
                    rest = tail;
                }
            }
            '[' => match posix_class(after) {
                Some(length) => {
                    out.push('[');
                    out.push_str(&after[..length]);
                    rest = &after[length..];
                }
                None => out.push_str("\\["),
            },
            ']' if class_depth > 0 => {
                class_depth = 0;
                out.push(']');
            }
            '&' | '~' if class_depth > 0 => {
                out.push('\\');
                out.push(letter);
            }
            '-' if class_depth > 0 && after.starts_with('-') => out.push_str("\\-"),
            '{' if class_depth == 0 && !repeats(after) => out.push_str("\\{"),
            '}' if class_depth == 0 && !closes_repetition(&out) => out.push_str("\\}"),
            _ => out.push(letter),
        }
    }
    out
}

fn escape<'a>(after: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(letter) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = &after[letter.len_utf8()..];
    let (open, close) = if in_class { ("", "") } else { ("[", "]") };
    match letter {
        'd' => out.push_str(&format!("{open}0-9{close}")),
        'w' => out.push_str(&format!("{open}0-9A-Za-z_{close}")),
        's' => out.push_str(&format!("{open}\\t\\n\\x0C\\r {close}")),
        'D' => out.push_str("[^0-9]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        'S' => out.push_str("[^\\t\\n\\x0C\\r ]"),
        'b' | 'B' if !in_class => out.push_str(&format!("(?-u:\\{letter})")),
        'Q' if !in_class => {
            let (literal, tail) = rest.split_once("\\E").unwrap_or((rest, ""));
            out.push_str(&regex::escape(literal));
            return tail;
        }
        other => {
            out.push('\\');
            out.push(other);
        }
    }
    rest
}

fn posix_class(after: &str) -> Option<usize> {
    let body = after.strip_prefix(':')?;
    let end = body.find(":]")?;
    body[..end].bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'^').then_some(end + 3)
}

/// Whether what follows a brace is a count: `3}`, `3,}` or `3,5}`.
fn repeats(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else { return false };
    let (least, most) = inside.split_once(',').unwrap_or((inside, "0"));
    !least.is_empty() && least.bytes().chain(most.bytes()).all(|byte| byte.is_ascii_digit())
}

fn closes_repetition(written: &str) -> bool {
    let Some(open) = written.rfind('{') else { return false };
    let escaped = written[..open].bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1;
    !escaped && !written[open..].contains('}') && repeats(&format!("{}}}", &written[open + 1..]))
}

/// Fills `$1`, `$name` and `${name}` in `template` from a match; `$$` is a dollar.
pub fn expand(template: &str, captures: &Captures<'_>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
            continue;
        }
        let (name, tail) = match after.strip_prefix('{') {
            Some(braced) => match braced.split_once('}') {
                Some((name, tail)) if is_name(name) => (name, tail),
                _ => {
                    out.push('$');
                    rest = after;
                    continue;
                }
            },
            None => {
                let length =
                    after.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
                after.split_at(length)
            }
        };
        if name.is_empty() {
            out.push('$');
        } else {
            let group = name.parse().map_or_else(|_| captures.name(name), |place: usize| captures.get(place));
            out.push_str(group.map_or("", |group| group.as_str()));
        }
        rest = tail;
    }
    out + rest
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        anchored(pattern).unwrap().is_match(text)
    }

    #[test]
    fn classes_are_ascii() {
        assert!(matches(r"\d+", "12") && !matches(r"\d+", "१२"));
        assert!(matches(r"[\w-]+", "a-b_1") && matches(r"\S", "é"));
    }

    #[test]
    fn braces_and_brackets_that_mean_nothing_are_themselves() {
        assert!(matches("a{b}", "a{b}") && matches("a{2}", "aa") && matches("a{1,}", "aaa"));
        assert!(matches("[[a]+", "[a[") && matches("[a&&b]+", "a&b") && matches("[]a]+", "]a"));
        assert!(matches("[[:alpha:]]+", "ab") && matches(r"\Qa.b\E+", "a.bb") && !matches(r"\Qa.b\E", "axb"));
    }

    #[test]
    fn templates_are_filled() {
        let pattern = anchored("(?P<first>.*)-(.*)").unwrap();
        let captures = pattern.captures("a-b").unwrap();
        assert_eq!(expand("$2:${first}$$-$9-${x", &captures), "b:a$--${x");
        assert_eq!(expand("$1a", &captures), "");
    }

    #[test]
    fn what_re2_does_not_know_is_refused() {
        for pattern in ["(?x)a", "(?=a)", "(?<!a)", "(?P=a)", "a**", "a*+", "a{2}{3}", "a??+"] {
            assert!(anchored(pattern).is_err(), "{pattern}");
        }
        assert!(matches("(?i:A)(?P<name>b)(?<other>c)", "abc") && matches(r"\(?[(?x]", "x"));
        assert!(matches("a+?b??", "aab"));
    }

    #[test]
    fn a_huge_expression_is_refused() {
        assert!(anchored("((a{1000}){1000}){1000}").is_err());
    }
}
