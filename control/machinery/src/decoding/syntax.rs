//! Where bytes cease to be JSON, in the words of Go's reader.
//!
//! The grammar is that of RFC 8259. The walk holds its nesting on the heap, so that no input can exhaust the stack.

/// What is wrong with the bytes, as Go tells it; nothing where they are one JSON value that nests no deeper than `depth`.
pub(crate) fn fault(bytes: &[u8], depth: usize) -> Option<String> {
    let mut scan = Scan { bytes, at: 0, open: Vec::new(), depth };
    scan.document().err().map(|fault| match fault {
        Fault::End => "unexpected end of JSON input".to_owned(),
        Fault::Deep => "exceeded max depth".to_owned(),
        Fault::Byte(byte, context) => format!("invalid character {} {context}", quoted(byte)),
        Fault::Literal(byte, word, at) => {
            let expected = char::from(word.as_bytes()[at]);
            format!("invalid character {} in literal {word} (expecting '{expected}')", quoted(byte))
        }
    })
}

enum Fault {
    End,
    Deep,
    Byte(u8, &'static str),
    Literal(u8, &'static str, usize),
}

/// What a value stands in.
#[derive(Clone, Copy)]
enum Open {
    Object,
    List,
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    open: Vec<Open>,
    depth: usize,
}

impl Scan<'_> {
    fn document(&mut self) -> Result<(), Fault> {
        loop {
            // Down to a value that holds no other.
            let byte = self.solid()?;
            match byte {
                b'{' | b'[' => {
                    let (open, close) = if byte == b'{' { (Open::Object, b'}') } else { (Open::List, b']') };
                    if self.open.len() == self.depth {
                        return Err(Fault::Deep);
                    }
                    self.open.push(open);
                    let first = self.solid()?;
                    if first != close {
                        self.at -= 1;
                        if byte == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                    self.open.pop();
                }
                b'"' => self.text()?,
                b'-' | b'0'..=b'9' => self.number(byte)?,
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                other => return Err(Fault::Byte(other, "looking for beginning of value")),
            }
            if !self.value_ended()? {
                return Ok(());
            }
        }
    }

    /// After a value: up through what ends with it. False at the end of the document.
    fn value_ended(&mut self) -> Result<bool, Fault> {
        loop {
            let Some(open) = self.open.last().copied() else {
                return match self.solid() {
                    Ok(byte) => Err(Fault::Byte(byte, "after top-level value")),
                    Err(_) => Ok(false),
                };
            };
            match (self.solid()?, open) {
                (b',', Open::List) => return Ok(true),
                (b',', Open::Object) => {
                    self.key()?;
                    return Ok(true);
                }
                (b'}', Open::Object) | (b']', Open::List) => drop(self.open.pop()),
                (byte, Open::Object) => return Err(Fault::Byte(byte, "after object key:value pair")),
                (byte, Open::List) => return Err(Fault::Byte(byte, "after array element")),
            }
        }
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<(), Fault> {
        match self.solid()? {
            b'"' => self.text()?,
            byte => return Err(Fault::Byte(byte, "looking for beginning of object key string")),
        }
        match self.solid()? {
            b':' => Ok(()),
            byte => Err(Fault::Byte(byte, "after object key")),
        }
    }

    /// The rest of a text.
    fn text(&mut self) -> Result<(), Fault> {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let byte = self.next()?;
                            if !byte.is_ascii_hexdigit() {
                                return Err(Fault::Byte(byte, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    byte => return Err(Fault::Byte(byte, "in string escape code")),
                },
                byte if byte < 0x20 => return Err(Fault::Byte(byte, "in string literal")),
                _ => {}
            }
        }
    }

    /// The rest of a number.
    fn number(&mut self, first: u8) -> Result<(), Fault> {
        let first = if first == b'-' { self.digit("in numeric literal")? } else { first };
        if first != b'0' {
            self.digits();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        Ok(())
    }

    fn digit(&mut self, context: &'static str) -> Result<u8, Fault> {
        match self.next()? {
            byte @ b'0'..=b'9' => Ok(byte),
            byte => Err(Fault::Byte(byte, context)),
        }
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn literal(&mut self, word: &'static str) -> Result<(), Fault> {
        for (at, expected) in word.bytes().enumerate().skip(1) {
            let byte = self.next()?;
            if byte != expected {
                return Err(Fault::Literal(byte, word, at));
            }
        }
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, Fault> {
        let byte = self.peek().ok_or(Fault::End)?;
        self.at += 1;
        Ok(byte)
    }

    /// The next byte that is no space.
    fn solid(&mut self) -> Result<u8, Fault> {
        loop {
            match self.next()? {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                byte => return Ok(byte),
            }
        }
    }
}

/// A byte as Go quotes it: as the character of that number.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0c => r"'\f'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0x0b => r"'\v'".to_owned(),
        0x00..=0x1f | 0x7f => format!("'\\x{byte:02x}'"),
        // Go holds these back as not printable.
        0x80..=0xa0 | 0xad => format!("'\\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::DEPTH_MAX;

    fn fault(bytes: &[u8]) -> Option<String> {
        super::fault(bytes, DEPTH_MAX)
    }

    #[test]
    fn each_fault_has_the_words_of_go() {
        let cases: [(&str, &str); 19] = [
            ("", "unexpected end of JSON input"),
            ("{\"a\":", "unexpected end of JSON input"),
            ("{\"a\": \"b", "unexpected end of JSON input"),
            ("{a: 1}", "invalid character 'a' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\": 1 2}", "invalid character '2' after object key:value pair"),
            ("{\"a\": 1,}", "invalid character '}' looking for beginning of object key string"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("{} {}", "invalid character '{' after top-level value"),
            ("{\"a\": tru}", "invalid character '}' in literal true (expecting 'e')"),
            ("{\"a\": 'b'}", r"invalid character '\'' looking for beginning of value"),
            ("\"a\nb\"", r"invalid character '\n' in string literal"),
            (r#""\x""#, "invalid character 'x' in string escape code"),
            (r#""\u12g4""#, r"invalid character 'g' in \u hexadecimal character escape"),
            ("-a", "invalid character 'a' in numeric literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1e+x", "invalid character 'x' in exponent of numeric literal"),
            ("01", "invalid character '1' after top-level value"),
        ];
        for (text, expected) in cases {
            assert_eq!(fault(text.as_bytes()).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(fault(b"k8s\0").unwrap(), "invalid character 'k' looking for beginning of value");
        assert_eq!(fault(b"\xff").unwrap(), "invalid character 'ÿ' looking for beginning of value");
    }

    #[test]
    fn json_has_no_fault() {
        for text in ["null", " [1, -0.5e-3, {\"a\": [], \"b\": {}}] \n", "\"\\u00e9\\n\"", "0"] {
            assert_eq!(fault(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn any_depth_is_walked_and_too_much_of_it_refused() {
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(fault(deep(DEPTH_MAX).as_bytes()), None);
        assert_eq!(fault(deep(DEPTH_MAX + 1).as_bytes()).unwrap(), "exceeded max depth");
    }
}
