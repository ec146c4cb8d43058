//! Splits an expression into tokens. What is no token is reported and skipped, as the reference implementation does.

use crate::source::Issues;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Equals,
    NotEquals,
    In,
    Less,
    LessEquals,
    GreaterEquals,
    Greater,
    And,
    Or,
    OpenBracket,
    CloseBracket,
    OpenBrace,
    CloseBrace,
    OpenParen,
    CloseParen,
    Dot,
    Comma,
    Minus,
    Not,
    Question,
    Colon,
    Plus,
    Star,
    Slash,
    Percent,
    True,
    False,
    Null,
    Float,
    Int,
    Uint,
    String,
    Bytes,
    Identifier,
    EscapedIdentifier,
    End,
}

/// A token and the bytes it covers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lexeme {
    pub(crate) token: Token,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// The tokens of `source`, closed by [`Token::End`].
pub(crate) fn tokens(source: &str, issues: &mut Issues) -> Vec<Lexeme> {
    let mut lexemes = Vec::with_capacity(source.len() / 3 + 1);
    let mut at = 0;
    while at < source.len() {
        let rest = &source.as_bytes()[at..];
        if let Some(skipped) = blank(rest) {
            at += skipped;
            continue;
        }
        if let Some((token, length)) = longest(rest) {
            lexemes.push(Lexeme { token, start: at as u32, end: (at + length) as u32 });
            at += length;
        } else {
            let length = unrecognized(source, at);
            let text = source[at..at + length].replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
            let shown =
                if length == 1 && text.starts_with('\\') { text } else { source[at..at + length].to_owned() };
            issues.report_at(at as u32, format!("Syntax error: token recognition error at: '{shown}'"));
            at += length;
        }
    }
    lexemes.push(Lexeme { token: Token::End, start: at as u32, end: at as u32 });
    lexemes
}

fn blank(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'\t' | b' ' | b'\r' | b'\n' | b'\x0c', ..] => Some(1),
        [b'/', b'/', ..] => Some(rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())),
        _ => None,
    }
}

fn longest(rest: &[u8]) -> Option<(Token, usize)> {
    let two = match rest {
        [b'=', b'=', ..] => Some(Token::Equals),
        [b'!', b'=', ..] => Some(Token::NotEquals),
        [b'<', b'=', ..] => Some(Token::LessEquals),
        [b'>', b'=', ..] => Some(Token::GreaterEquals),
        [b'&', b'&', ..] => Some(Token::And),
        [b'|', b'|', ..] => Some(Token::Or),
        _ => None,
    };
    if let Some(token) = two {
        return Some((token, 2));
    }
    if let Some(found) = number(rest).or_else(|| quoted(rest)) {
        return Some(found);
    }
    let first = *rest.first()?;
    if first == b'_' || first.is_ascii_alphabetic() {
        let length = rest.iter().take_while(|b| **b == b'_' || b.is_ascii_alphanumeric()).count();
        let token = match &rest[..length] {
            b"in" => Token::In,
            b"true" => Token::True,
            b"false" => Token::False,
            b"null" => Token::Null,
            _ => Token::Identifier,
        };
        return Some((token, length));
    }
    if first == b'`' {
        let inner =
            rest[1..].iter().take_while(|b| b.is_ascii_alphanumeric() || b"_.-/ ".contains(b)).count();
        return (inner > 0 && rest.get(inner + 1) == Some(&b'`'))
            .then_some((Token::EscapedIdentifier, inner + 2));
    }
    let token = match first {
        b'<' => Token::Less,
        b'>' => Token::Greater,
        b'[' => Token::OpenBracket,
        b']' => Token::CloseBracket,
        b'{' => Token::OpenBrace,
        b'}' => Token::CloseBrace,
        b'(' => Token::OpenParen,
        b')' => Token::CloseParen,
        b'.' => Token::Dot,
        b',' => Token::Comma,
        b'-' => Token::Minus,
        b'!' => Token::Not,
        b'?' => Token::Question,
        b':' => Token::Colon,
        b'+' => Token::Plus,
        b'*' => Token::Star,
        b'/' => Token::Slash,
        b'%' => Token::Percent,
        _ => return None,
    };
    Some((token, 1))
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| b.is_ascii_digit()).count()
}

fn number(rest: &[u8]) -> Option<(Token, usize)> {
    if let [b'0', b'x', hex @ ..] = rest {
        let count = hex.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        if count > 0 {
            let unsigned = matches!(hex.get(count), Some(b'u' | b'U'));
            return Some(if unsigned { (Token::Uint, count + 3) } else { (Token::Int, count + 2) });
        }
    }
    let whole = digits(rest);
    let mut length = whole;
    let mut float = false;
    if rest.get(length) == Some(&b'.') {
        let fraction = digits(&rest[length + 1..]);
        if fraction > 0 {
            length += 1 + fraction;
            float = true;
        }
    }
    if length == 0 {
        return None;
    }
    if matches!(rest.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(rest.get(length + 1 + sign..).unwrap_or(&[]));
        if exponent > 0 {
            length += 1 + sign + exponent;
            float = true;
        }
    }
    if float {
        return Some((Token::Float, length));
    }
    Some(match rest.get(length) {
        Some(b'u' | b'U') => (Token::Uint, length + 1),
        _ => (Token::Int, length),
    })
}

fn quoted(rest: &[u8]) -> Option<(Token, usize)> {
    let bytes = usize::from(matches!(rest.first(), Some(b'b' | b'B')));
    let raw = usize::from(matches!(rest.get(bytes), Some(b'r' | b'R')));
    let open = bytes + raw;
    let quote = *rest.get(open).filter(|b| matches!(b, b'"' | b'\''))?;
    let triple = rest.get(open..open + 3) == Some(&[quote; 3]);
    let end = triple.then(|| triple_end(rest, open + 3, quote, raw == 1)).flatten();
    let end = end.or_else(|| single_end(rest, open + 1, quote, raw == 1))?;
    Some((if bytes == 1 { Token::Bytes } else { Token::String }, end))
}

fn triple_end(rest: &[u8], mut at: usize, quote: u8, raw: bool) -> Option<usize> {
    loop {
        if rest.get(at..at + 3)? == [quote; 3] {
            return Some(at + 3);
        }
        at += if rest[at] == b'\\' && !raw { escape(&rest[at..])? } else { 1 };
    }
}

fn single_end(rest: &[u8], mut at: usize, quote: u8, raw: bool) -> Option<usize> {
    loop {
        match *rest.get(at)? {
            b if b == quote => return Some(at + 1),
            b'\n' | b'\r' => return None,
            b'\\' if !raw => at += escape(&rest[at..])?,
            _ => at += 1,
        }
    }
}

/// The length of an escape sequence that the grammar knows.
fn escape(rest: &[u8]) -> Option<usize> {
    let hex = |count: usize| {
        let digits = rest.get(2..2 + count)?;
        digits.iter().all(u8::is_ascii_hexdigit).then_some(2 + count)
    };
    match *rest.get(1)? {
        b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'"' | b'\'' | b'\\' | b'?' | b'`' => Some(2),
        b'x' | b'X' => hex(2),
        b'u' => hex(4),
        b'U' => hex(8),
        b'0'..=b'3' => {
            let octal = rest.get(2..4)?;
            octal.iter().all(|b| (b'0'..=b'7').contains(b)).then_some(4)
        }
        _ => None,
    }
}

/// How many bytes the reference lexer gives up on at once: for a string, up to where no string could go on.
fn unrecognized(source: &str, at: usize) -> usize {
    let rest = &source[at..];
    let bytes = rest.as_bytes();
    let prefix = bytes.iter().take_while(|b| matches!(b, b'b' | b'B' | b'r' | b'R')).count();
    let mut stop = match bytes.get(prefix) {
        Some(&quote @ (b'"' | b'\'')) if prefix <= 2 => {
            let mut i = prefix + 1;
            while let Some(&b) = bytes.get(i) {
                match b {
                    b'\n' | b'\r' => {
                        i += 1;
                        break;
                    }
                    b'\\' => match escape(&bytes[i..]) {
                        Some(length) => i += length,
                        None => {
                            i += 2;
                            break;
                        }
                    },
                    b if b == quote => break,
                    _ => i += 1,
                }
            }
            i
        }
        Some(b'=' | b'&' | b'|') => 2,
        _ => 1,
    };
    stop = stop.min(rest.len());
    while !rest.is_char_boundary(stop) {
        stop += 1;
    }
    stop
}
