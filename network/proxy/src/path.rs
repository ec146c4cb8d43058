//! One spelling for each path, so that no request passes a route's rules by another way of writing what they guard.
//!
//! Before a route is looked for, a path is put into the normal form of RFC 3986 section 6.2.2, as most gateways do:
//! letters, digits and `-._~` are no longer percent-encoded, and `.` and `..` are resolved. Empty segments go too
//! (`//` becomes `/`), for most backends take them so. The backend gets the path in this form.
//!
//! An encoded slash is part of its segment and stays, and so do backslashes. But where a backend that took them for a
//! slash would find a `.` or `..` behind it (`/public/..%2Fadmin`), the request is refused.

use std::borrow::Cow;

use http::StatusCode;

use crate::answer::Refusal;

/// The path in its normal form, if it is not.
pub(crate) fn normal(path: &str) -> Result<Option<String>, Refusal> {
    if !path.starts_with('/') || is_normal(path.as_bytes()) {
        return Ok(None);
    }
    let decoded = decoded(path);
    if hides_dots(&decoded) {
        let reason = "the path hides . or .. behind an encoded slash or a backslash";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, reason));
    }
    let mut normal = String::with_capacity(decoded.len());
    let mut segments = decoded.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "" | "." => {}
            ".." => normal.truncate(normal.rfind('/').unwrap_or(0)),
            segment => {
                normal.push('/');
                normal.push_str(segment);
                continue;
            }
        }
        // What ends with such a segment is a folder.
        if segments.peek().is_none() {
            normal.push('/');
        }
    }
    Ok((normal != path).then_some(normal))
}

/// Whether there is nothing in the path that may have to be changed, as in nearly all.
fn is_normal(path: &[u8]) -> bool {
    let mut before = 0;
    path.iter().all(|byte| {
        let plain = match byte {
            b'%' | b'\\' => false,
            b'/' | b'.' => before != b'/',
            _ => true,
        };
        before = *byte;
        plain
    })
}

/// The path without encodings of letters that need none.
fn decoded(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let code = after.get(..2).filter(|code| code.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let letter = code.and_then(|code| u8::from_str_radix(code, 16).ok()).map(char::from);
        match letter.filter(|letter| letter.is_ascii_alphanumeric() || "-._~".contains(*letter)) {
            Some(letter) => {
                decoded.push(letter);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push('%');
                rest = after;
            }
        }
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

/// Whether the path has dot segments only for those who take an encoded slash or a backslash for a slash.
fn hides_dots(path: &str) -> bool {
    if !path.contains(['%', '\\']) {
        return false;
    }
    let opened = path.replace("%2F", "/").replace("%2f", "/").replace("%5C", "/").replace("%5c", "/");
    let dots = |path: &str| path.split('/').filter(|segment| matches!(*segment, "." | "..")).count();
    dots(&opened.replace('\\', "/")) > dots(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(path: &str) -> String {
        normal(path).unwrap().unwrap_or_else(|| path.to_owned())
    }

    #[test]
    fn every_spelling_of_a_path_becomes_one() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/..", "/"),
            ("/../../a", "/a"),
            ("//a///b//", "/a/b/"),
            ("/a//../b", "/b"),
            ("/%61dmin", "/admin"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/%7Eann", "/~ann"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/..b/c.", "/a/..b/c."),
            ("/a/...", "/a/..."),
            // What stands for something else stays.
            ("/a%2Fb", "/a%2Fb"),
            ("/a%2fb/../c", "/c"),
            ("/a%20b", "/a%20b"),
            ("/a%252e", "/a%252e"),
            ("/%zz/%", "/%zz/%"),
            ("/%c3%a9", "/%c3%a9"),
            ("/a\\b", "/a\\b"),
            ("*", "*"),
        ] {
            assert_eq!(form(path), expected, "{path}");
            assert_eq!(form(expected), expected, "the normal form of {path} is not normal");
        }
    }

    #[test]
    fn dots_behind_an_encoded_slash_or_a_backslash_are_refused() {
        for path in [
            "/public/..%2Fadmin",
            "/public%2f..%2fadmin",
            "/public/..%5Cadmin",
            "/public\\..\\admin",
            "/public/%2e%2e%2Fadmin",
            "/a%2F.",
            "/..%2f",
        ] {
            assert_eq!(normal(path).unwrap_err().status, 400, "{path}");
        }
    }
}
