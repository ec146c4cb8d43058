//! Regular expressions in Go's syntax (RE2), which is what schemas are written in.
//!
//! Ours are near to it, and where the two part the expression is rewritten: Go's `\d`, `\s`, `\w` and `\b` know ASCII
//! only, its `[` within brackets is a plain character, and a `{` that opens no repetition is too.

use std::iter::Peekable;
use std::str::Chars;
use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};

/// The longest expression that is taken, in bytes.
const MAX_LENGTH: usize = 32 * 1024;
/// The memory that one compiled expression may take, in bytes.
const MAX_COMPILED: usize = 16 * 1024 * 1024;
/// The greatest repetition count, as in Go.
const MAX_REPEAT: u32 = 1_000;

/// The classes that may stand within brackets as `[:name:]`.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// A regular expression of a schema. It is compiled when the first value meets it: most patterns of most schemas never
/// meet one, and compiled ones are large.
#[derive(Debug)]
pub struct Pattern {
    source: Box<str>,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub(super) fn new(source: &str) -> Result<Self, String> {
        compile(source)?;
        Ok(Self { source: source.into(), compiled: OnceLock::new() })
    }

    /// The expression as the schema has it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether `text` has a match.
    pub fn is_match(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| compile(&self.source).ok());
        compiled.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

/// Compiles an expression in Go's syntax.
///
/// # Errors
/// What is wrong with it, on one line.
pub fn compile(source: &str) -> Result<Regex, String> {
    if source.len() > MAX_LENGTH {
        return Err(format!("error parsing regexp: longer than {MAX_LENGTH} bytes"));
    }
    let ours = Translation::of(source).map_err(|what| format!("error parsing regexp: {what}: `{source}`"))?;
    RegexBuilder::new(&ours).size_limit(MAX_COMPILED).build().map_err(|error| {
        // The last line says what is wrong; the ones before draw the rewritten expression.
        let text = error.to_string();
        let what = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("error parsing regexp: {what}: `{source}`")
    })
}

struct Translation<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
}

impl<'a> Translation<'a> {
    fn of(source: &'a str) -> Result<String, &'static str> {
        let mut this =
            Self { rest: source.chars().peekable(), out: String::with_capacity(source.len() + 16) };
        while let Some(next) = this.rest.next() {
            match next {
                '\\' => this.escape(false)?,
                '[' => this.class()?,
                '{' => this.repetition()?,
                '(' => this.group()?,
                '}' | ']' => this.literal(next),
                other => this.out.push(other),
            }
        }
        Ok(this.out)
    }

    fn literal(&mut self, literal: char) {
        if literal.is_ascii_punctuation() && !matches!(literal, '<' | '>') {
            self.out.push('\\');
        }
        self.out.push(literal);
    }

    /// What follows a backslash, within brackets or not.
    fn escape(&mut self, within: bool) -> Result<(), &'static str> {
        let Some(next) = self.rest.next() else { return Err("trailing backslash at end of expression") };
        let class = |inner: &'static str| if within { inner.to_owned() } else { format!("[{inner}]") };
        match next {
            'd' => self.out.push_str(&class("0-9")),
            'D' => self.out.push_str("[^0-9]"),
            's' => self.out.push_str(&class(r"\t\n\x0C\r\x20")),
            'S' => self.out.push_str(r"[^\t\n\x0C\r\x20]"),
            'w' => self.out.push_str(&class("0-9A-Za-z_")),
            'W' => self.out.push_str("[^0-9A-Za-z_]"),
            'b' if !within => self.out.push_str(r"(?-u:\b)"),
            'B' if !within => self.out.push_str(r"(?-u:\B)"),
            'A' | 'z' if !within => self.out.extend(['\\', next]),
            'Q' => self.quoted(),
            'a' | 'f' | 't' | 'n' | 'r' | 'v' | 'p' | 'P' | 'x' => self.out.extend(['\\', next]),
            '0'..='7' => self.octal(next)?,
            other if other.is_ascii_punctuation() => self.literal(other),
            _ => return Err("invalid escape sequence"),
        }
        // The braces of `\p{…}` and `\x{…}` are no repetition.
        if matches!(next, 'p' | 'P' | 'x') && self.rest.peek() == Some(&'{') {
            for inner in self.rest.by_ref() {
                self.out.push(inner);
                if inner == '}' {
                    break;
                }
            }
        }
        Ok(())
    }

    /// `\Q…\E`: everything between is plain.
    fn quoted(&mut self) {
        while let Some(next) = self.rest.next() {
            if next == '\\' && self.rest.peek() == Some(&'E') {
                self.rest.next();
                return;
            }
            self.literal(next);
        }
    }

    /// `\123`; a single digit but 0 would be a reference to a group, which there is not.
    fn octal(&mut self, first: char) -> Result<(), &'static str> {
        let mut code = first.to_digit(8).unwrap_or_default();
        let mut digits = 1;
        while let (true, Some(digit)) = (digits < 3, self.rest.peek().and_then(|next| next.to_digit(8))) {
            code = code * 8 + digit;
            digits += 1;
            self.rest.next();
        }
        if digits == 1 && first != '0' {
            return Err("invalid escape sequence");
        }
        self.out.push_str(&format!("\\x{{{code:x}}}"));
        Ok(())
    }

    fn class(&mut self) -> Result<(), &'static str> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        while let Some(next) = self.rest.next() {
            match next {
                ']' if !first => {
                    self.out.push(']');
                    return Ok(());
                }
                '[' if self.rest.peek() == Some(&':') => self.posix()?,
                '\\' => self.escape(true)?,
                // A dash between two characters makes a range; at either end it is plain.
                '-' if first || self.rest.peek() == Some(&']') => self.out.push_str("\\-"),
                '-' => self.out.push('-'),
                other => self.literal(other),
            }
            // The end of a range may itself be a dash: `[+--]`.
            if next == '-' && !first && self.rest.next_if_eq(&'-').is_some() {
                self.out.push_str("\\-");
            }
            first = false;
        }
        Err("missing closing ]")
    }

    /// `[:name:]` after its first bracket; without its end it is a plain bracket.
    fn posix(&mut self) -> Result<(), &'static str> {
        let ahead = self.rest.clone();
        let text: String = ahead.skip(1).take_while(|next| *next != ']').collect();
        let Some(name) = text.strip_suffix(':') else {
            self.literal('[');
            return Ok(());
        };
        if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err("invalid character class range");
        }
        self.out.push_str(&format!("[:{name}:]"));
        // The colon, the text with its own colon, and the bracket.
        self.rest.nth(text.chars().count() + 1);
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}`; anything else is a plain brace.
    fn repetition(&mut self) -> Result<(), &'static str> {
        let ahead = self.rest.clone();
        let text: String = ahead.take(16).take_while(|next| *next != '}').collect();
        let closed = self.rest.clone().nth(text.chars().count()) == Some('}');
        let (least, most) = text.split_once(',').unwrap_or((&text, ""));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !closed || !digits(least) || !(most.is_empty() || digits(most)) {
            self.literal('{');
            return Ok(());
        }
        for count in [least, most].into_iter().filter(|count| !count.is_empty()) {
            if !count.parse::<u32>().is_ok_and(|count| count <= MAX_REPEAT) {
                return Err("invalid repeat count");
            }
        }
        self.out.push_str(&format!("{{{text}}}"));
        self.rest.nth(text.chars().count());
        Ok(())
    }

    /// Flags of ours that Go has not would change what the rest means.
    fn group(&mut self) -> Result<(), &'static str> {
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        self.out.push('?');
        while let Some(next) = self.rest.peek().copied() {
            match next {
                'i' | 'm' | 's' | 'U' | '-' => {}
                ':' | ')' | 'P' | '<' => return Ok(()),
                _ => return Err("invalid or unsupported Perl syntax"),
            }
            self.out.push(next);
            self.rest.next();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_means_what_it_means_in_go() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            (r"^\d+$", &["12"], &["١٢", ""]),
            (r"^\w\s\W$", &["a é"], &["é é", "a b"]),
            (r"^[\w-]+$", &["a-b_c"], &["a.b", "é"]),
            (r"^[[a]+$", &["[a["], &["]"]),
            (r"^[a&&b]+$", &["a&b"], &["c"]),
            (r"^[+--]+$", &["+,-"], &["."]),
            (r"^[]a]+$", &["]a"], &["b"]),
            (r"^[^]a]+$", &["b"], &["]"]),
            (r"^a{,5}$", &["a{,5}"], &["aaa"]),
            (r"^a{2}$", &["aa"], &["aaa"]),
            (r"^{}$", &["{}"], &[""]),
            (r"^\Qa.b\E$", &["a.b"], &["axb"]),
            (r"^\101$", &["A"], &["101"]),
            (r"^\<\/\_\>$", &["</_>"], &["/_"]),
            (r"^[[:alpha:][:digit:]]+$", &["a1"], &["-"]),
            (r"^\p{Greek}\x{41}$", &["αA"], &["aA"]),
            (r"\bfoo\b", &["a foo b", "éfooé"], &["afoo"]),
            (r"^(?i:ABC)(?P<n>x)$", &["abcx"], &["abc"]),
            (r"^[^\d\s]$", &["x"], &["1", " "]),
            (r"^(\d+|\*)(/\d+)?$", &["*/5"], &["/"]),
        ];
        for (source, matching, other) in cases {
            let regex = compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
            for text in *matching {
                assert!(regex.is_match(text), "{source} on {text:?}");
            }
            for text in *other {
                assert!(!regex.is_match(text), "{source} on {text:?}");
            }
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for source in
            ["(", "[a", r"\1", r"\C", "(?=a)", "(?x)a", "(?-u)a", "a{1001}", r"a\", "[[:nope:]]", "*a"]
        {
            let error = compile(source).expect_err(source);
            assert!(error.starts_with("error parsing regexp: "), "{error}");
            assert!(error.ends_with(&format!(": `{source}`")), "{error}");
        }
    }

    #[test]
    fn an_expression_that_grows_too_large_is_refused() {
        assert!(compile(&"(a{1000}){1000}".repeat(8)).is_err());
        assert!(compile(&"a".repeat(MAX_LENGTH + 1)).is_err());
    }
}
