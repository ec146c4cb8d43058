//! Regular expressions with the syntax and limits of RE2.

use regex::Regex;

/// The largest compiled pattern.
const LARGEST_PATTERN: usize = 1 << 20;

/// Compiles `pattern`; the error is worded as Go's regexp does where the fault is a common one.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    if let Some(wrong) = unsupported(pattern) {
        return Err(format!("error parsing regexp: {wrong}"));
    }
    let translated = translate(pattern);
    regex::RegexBuilder::new(&translated)
        .size_limit(LARGEST_PATTERN)
        .build()
        .map_err(|err| format!("error parsing regexp: {}", reason(pattern, &err)))
}

/// RE2's `\pN`-style classes, `\z` and `(?i)` are the crate's too; `\C`, `\Q…\E` are not.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut classes = 0usize;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        if let Some(quoted) = rest.strip_prefix("\\Q") {
            let end = quoted.find("\\E");
            out.push_str(&regex::escape(&quoted[..end.unwrap_or(quoted.len())]));
            taken = end.map_or(rest.len(), |end| end + 4);
        } else if c == '\\' {
            taken += rest[1..].chars().next().map_or(0, char::len_utf8);
            match &rest[..taken] {
                // These are classes of ASCII in RE2.
                "\\d" => out.push_str(if classes > 0 { "0-9" } else { "[0-9]" }),
                "\\D" => out.push_str("[^0-9]"),
                "\\s" => out.push_str(if classes > 0 { "\\t\\n\\x0C\\r " } else { "[\\t\\n\\x0C\\r ]" }),
                "\\S" => out.push_str("[^\\t\\n\\x0C\\r ]"),
                "\\w" => out.push_str(if classes > 0 { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                "\\W" => out.push_str("[^0-9A-Za-z_]"),
                "\\b" => out.push_str("(?-u:\\b)"),
                piece => out.push_str(piece),
            }
        } else if classes > 0 {
            match c {
                '[' if rest.starts_with("[:") => {
                    let end = rest.find(":]").map_or(rest.len(), |end| end + 2);
                    out.push_str(&rest[..end]);
                    taken = end;
                }
                // The crate reads these as operations between classes.
                '[' | '&' | '~' => {
                    out.push('\\');
                    out.push(c);
                }
                '-' if rest.starts_with("--") => out.push_str("\\-"),
                ']' => {
                    classes = 0;
                    out.push(c);
                }
                _ => out.push(c),
            }
        } else if c == '{' && !is_repeat(rest) {
            out.push_str("\\{");
        } else {
            out.push(c);
            if c == '[' {
                classes = 1;
                let mut after = &rest[1..];
                if after.starts_with('^') {
                    out.push('^');
                    after = &after[1..];
                    taken += 1;
                }
                if after.starts_with(']') {
                    out.push_str("\\]");
                    taken += 1;
                }
            }
        }
        rest = &rest[taken..];
    }
    out
}

/// Whether a brace counts repetitions; any other stands for itself.
fn is_repeat(rest: &str) -> bool {
    let Some((counts, _)) = rest[1..].split_once('}') else { return false };
    let (least, most) = counts.split_once(',').unwrap_or((counts, ""));
    !least.is_empty() && least.bytes().chain(most.bytes()).all(|b| b.is_ascii_digit())
}

/// What the crate would take but RE2 refuses.
fn unsupported(pattern: &str) -> Option<String> {
    let bytes = pattern.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'(' if pattern[at..].starts_with("(?") => {
                for look in ["(?=", "(?!", "(?<=", "(?<!"] {
                    if pattern[at..].starts_with(look) {
                        return Some(format!("invalid or unsupported Perl syntax: `{look}`"));
                    }
                }
            }
            b'{' => {
                let counts = pattern[at + 1..].split_once('}').map_or("", |(counts, _)| counts);
                let numbers = || counts.split(',').filter_map(|n| n.parse::<u64>().ok());
                if counts.bytes().all(|b| b.is_ascii_digit() || b == b',') && numbers().any(|n| n > 1000) {
                    return Some(format!("invalid repeat count: `{{{counts}}}`"));
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn reason(pattern: &str, err: &regex::Error) -> String {
    let text = err.to_string();
    let has = |word: &str| text.contains(word);
    if has("unclosed group") {
        return format!("missing closing ): `{pattern}`");
    }
    if has("unopened group") {
        return format!("unexpected ): `{pattern}`");
    }
    if has("unclosed character class") {
        let from = pattern.find('[').unwrap_or(0);
        return format!("missing closing ]: `{}`", &pattern[from..]);
    }
    if has("repetition operator missing expression") {
        let operator = pattern.chars().find(|c| "*+?".contains(*c)).unwrap_or('*');
        return format!("missing argument to repetition operator: `{operator}`");
    }
    if has("exceeds size limit") {
        return "expression too large".to_owned();
    }
    text.lines().last().unwrap_or("invalid").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_of_ascii_as_in_re2() {
        let matches = |pattern: &str, text: &str| compile(pattern).unwrap().is_match(text);
        assert!(matches(r"^\d+$", "123") && !matches(r"^\d+$", "١٢٣"));
        assert!(matches(r"^[\w.-]+$", "a-b.c") && !matches(r"^\w+$", "é"));
        assert!(matches(r"^[a&&b]+$", "a&b"));
        assert!(matches(r"^[]a]+$", "]a"));
        assert!(matches(r"^{}$", "{}") && matches(r"^a{1,2}{x}$", "aa{x}"));
        assert!(matches(r"^\Qa.b\E$", "a.b") && !matches(r"^\Qa.b\E$", "axb"));
    }

    #[test]
    fn what_re2_can_not_run_in_linear_time_is_refused() {
        for pattern in ["(?=a)", "(?<!a)", "a{2000}", "(", "[a", "*"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }
}
