//! Turns the text of a string, bytes or number token into its value.

/// The value of a string token, quotes and prefix included.
pub(crate) fn string(token: &str) -> Result<String, &'static str> {
    let (text, raw) = open(token);
    if raw || !text.contains('\\') {
        return Ok(text);
    }
    let mut out = String::with_capacity(text.len());
    unescape(&text, false, &mut |piece| match piece {
        Piece::Character(c) => out.push(c),
        Piece::Byte(b) => out.push(char::from(b)),
    })?;
    Ok(out)
}

/// The value of a bytes token without its leading `b`.
pub(crate) fn bytes(token: &str) -> Result<Vec<u8>, &'static str> {
    let (text, raw) = open(token);
    if raw || !text.contains('\\') {
        return Ok(text.into_bytes());
    }
    let mut out = Vec::with_capacity(text.len());
    unescape(&text, true, &mut |piece| match piece {
        Piece::Character(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        Piece::Byte(b) => out.push(b),
    })?;
    Ok(out)
}

/// The value of an int token; `negative` where a minus stands before it.
pub(crate) fn int(token: &str, negative: bool) -> Option<i64> {
    let (digits, radix) = token.strip_prefix("0x").map_or((token, 10), |hex| (hex, 16));
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// The value of a uint token, its `u` included.
pub(crate) fn uint(token: &str) -> Option<u64> {
    let token = token.get(..token.len().checked_sub(1)?)?;
    let (digits, radix) = token.strip_prefix("0x").map_or((token, 10), |hex| (hex, 16));
    u64::from_str_radix(digits, radix).ok()
}

/// The value of a float token.
pub(crate) fn double(token: &str) -> Option<f64> {
    token.parse().ok().filter(|value: &f64| value.is_finite())
}

fn open(token: &str) -> (String, bool) {
    let raw = token.starts_with(['r', 'R']);
    let quoted = if raw { &token[1..] } else { token };
    let quotes =
        if quoted.len() >= 6 && (quoted.starts_with("'''") || quoted.starts_with("\"\"\"")) { 3 } else { 1 };
    let text = quoted.get(quotes..quoted.len().saturating_sub(quotes)).unwrap_or("");
    (if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text.to_owned() }, raw)
}

/// What a backslash before a letter means wherever there are escapes.
pub(crate) fn plain_escape(letter: char) -> Option<char> {
    Some(match letter {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' | '\'' => letter,
        _ => return None,
    })
}

enum Piece {
    Character(char),
    Byte(u8),
}

const WRONG: &str = "unable to unescape string";
const NO_CODE_POINT: &str = "invalid unicode code point";

fn unescape(text: &str, bytes: bool, emit: &mut dyn FnMut(Piece)) -> Result<(), &'static str> {
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            emit(Piece::Character(c));
            continue;
        }
        let escape = rest.next().ok_or("unable to unescape string, found '\\' as last character")?;
        let simple = match escape {
            '"' | '`' | '?' => escape,
            'x' | 'X' => {
                emit(code(&mut rest, 2, 16, 0, bytes)?);
                continue;
            }
            'u' | 'U' if bytes => return Err(WRONG),
            'u' => {
                emit(code(&mut rest, 4, 16, 0, bytes)?);
                continue;
            }
            'U' => {
                emit(code(&mut rest, 8, 16, 0, bytes)?);
                continue;
            }
            '0'..='3' => {
                emit(code(&mut rest, 2, 8, escape as u32 - '0' as u32, bytes)?);
                continue;
            }
            _ => plain_escape(escape).ok_or(WRONG)?,
        };
        emit(Piece::Character(simple));
    }
    Ok(())
}

fn code(
    rest: &mut std::str::Chars<'_>,
    count: usize,
    radix: u32,
    start: u32,
    bytes: bool,
) -> Result<Piece, &'static str> {
    let mut value = start;
    for _ in 0..count {
        let digit = rest.next().and_then(|c| c.to_digit(radix)).ok_or(WRONG)?;
        value = value.wrapping_mul(radix).wrapping_add(digit);
    }
    if bytes {
        return Ok(Piece::Byte((value & 0xff) as u8));
    }
    char::from_u32(value).map(Piece::Character).ok_or(NO_CODE_POINT)
}
