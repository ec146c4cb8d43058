//! The text within quotes.

/// Takes the quotes off a string and replaces its escapes. Bytes that are no UTF-8 become the replacement character.
pub fn unquote(quoted: &str) -> Option<String> {
    unquote_bytes(quoted).map(|bytes| match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// The bytes within quotes.
pub(crate) fn unquote_bytes(quoted: &str) -> Option<Vec<u8>> {
    let mut letters = quoted.chars();
    let quote = letters.next()?;
    if letters.next_back()? != quote {
        return None;
    }
    let body = letters.as_str();
    match quote {
        '`' => return (!body.contains('`')).then(|| body.as_bytes().to_vec()),
        '"' | '\'' if body.contains('\n') => return None,
        '"' | '\'' if !body.contains(['\\', quote]) => return Some(body.as_bytes().to_vec()),
        '"' | '\'' => {}
        _ => return None,
    }
    let mut bytes = Vec::with_capacity(body.len());
    let mut letters = body.chars();
    let mut utf8 = [0; 4];
    while let Some(letter) = letters.next() {
        if letter == quote {
            return None;
        }
        if letter != '\\' {
            bytes.extend_from_slice(letter.encode_utf8(&mut utf8).as_bytes());
            continue;
        }
        match letters.next()? {
            'a' => bytes.push(0x07),
            'b' => bytes.push(0x08),
            'f' => bytes.push(0x0c),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(0x0b),
            '\\' => bytes.push(b'\\'),
            letter if letter == quote => bytes.push(letter as u8),
            'x' => bytes.push(u8::try_from(code(&mut letters, None, 2, 16)?).ok()?),
            'u' => push_code(&mut bytes, code(&mut letters, None, 4, 16)?)?,
            'U' => push_code(&mut bytes, code(&mut letters, None, 8, 16)?)?,
            letter @ '0'..='7' => bytes.push(u8::try_from(code(&mut letters, Some(letter), 3, 8)?).ok()?),
            _ => return None,
        }
    }
    Some(bytes)
}

fn code(letters: &mut std::str::Chars<'_>, first: Option<char>, digits: usize, base: u32) -> Option<u32> {
    let rest = digits - usize::from(first.is_some());
    let mut code = first.map_or(Some(0), |letter| letter.to_digit(base))?;
    for _ in 0..rest {
        code = code.checked_mul(base)?.checked_add(letters.next()?.to_digit(base)?)?;
    }
    Some(code)
}

fn push_code(bytes: &mut Vec<u8>, code: u32) -> Option<()> {
    bytes.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::unquote;

    #[test]
    fn escapes_are_replaced() {
        assert_eq!(unquote(r#""a\n\"\x41\u00e9\101""#).as_deref(), Some("a\n\"AéA"));
        assert_eq!(unquote(r"'\''").as_deref(), Some("'"));
        assert_eq!(unquote(r"`\n`").as_deref(), Some(r"\n"));
        assert_eq!(unquote(r#""\xff""#).as_deref(), Some("\u{fffd}"));
    }

    #[test]
    fn broken_strings_are_refused() {
        for text in ["\"", "\"a'", r#""\q""#, r#""\x4""#, r#""\400""#, r#""\'""#] {
            assert_eq!(unquote(text), None, "{text}");
        }
    }
}
