//! What may be the key and the value of a label, in the words of Kubernetes.

/// A name, or the value of a label, has at most this many bytes.
pub const NAME_MAX: usize = 63;
/// A DNS subdomain has at most this many bytes.
pub const SUBDOMAIN_MAX: usize = 253;

const NAME_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character \
     (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
     and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
     '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
     start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// What is wrong with the key of a label or annotation; nothing where it is a name with an optional prefix of a DNS
/// subdomain and `/`.
pub fn key_problems(key: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let name = match key.split_once('/') {
        None => key,
        Some((_, name)) if name.contains('/') => {
            problems.push(format!(
                "a valid label key {NAME_RULE} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')"
            ));
            return problems;
        }
        Some(("", name)) => {
            problems.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            problems.extend(subdomain_problems(prefix).into_iter().map(|text| format!("prefix part {text}")));
            name
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > NAME_MAX {
        problems.push(format!("name part must be no more than {NAME_MAX} bytes"));
    }
    if !is_name(name) {
        problems.push(format!("name part {NAME_RULE}"));
    }
    problems
}

/// What is wrong with the value of a label.
pub fn value_problems(value: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if value.len() > NAME_MAX {
        problems.push(format!("must be no more than {NAME_MAX} bytes"));
    }
    if !value.is_empty() && !is_name(value) {
        problems.push(VALUE_RULE.to_owned());
    }
    problems
}

/// What is wrong with a DNS subdomain (RFC 1123).
pub fn subdomain_problems(name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if name.len() > SUBDOMAIN_MAX {
        problems.push(format!("must be no more than {SUBDOMAIN_MAX} bytes"));
    }
    let part = |part: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = part.as_bytes();
        bytes.iter().all(|&b| inner(b) || b == b'-')
            && bytes.first().copied().is_some_and(inner)
            && bytes.last().copied().is_some_and(inner)
    };
    if !name.split('.').all(part) {
        problems.push(SUBDOMAIN_RULE.to_owned());
    }
    problems
}

/// Letters, digits, `-`, `_` and `.`, with a letter or digit at each end.
fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_name_with_an_optional_prefix() {
        for good in
            ["a", "A.b_c-9", "example.com/a", "a.b-c/X", &"x".repeat(63), &format!("{}/x", "y".repeat(253))]
        {
            assert_eq!(key_problems(good), Vec::<String>::new(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "a b",
            "/a",
            "a/",
            "A/b",
            "a/b/c",
            "é",
            &"x".repeat(64),
            &format!("{}/x", "y".repeat(254)),
        ] {
            assert_ne!(key_problems(bad), Vec::<String>::new(), "{bad}");
        }
    }

    #[test]
    fn a_value_may_be_empty_and_has_a_limit() {
        for good in ["", "a", "1.2-3_X", &"x".repeat(63)] {
            assert_eq!(value_problems(good), Vec::<String>::new(), "{good}");
        }
        for bad in ["-", "a/b", " ", "ü", &"x".repeat(64)] {
            assert_ne!(value_problems(bad), Vec::<String>::new(), "{bad}");
        }
    }

    #[test]
    fn the_words_name_the_rule_and_the_part() {
        assert!(
            key_problems("_").iter().any(|text| text.starts_with("name part must consist of alphanumeric"))
        );
        assert!(
            key_problems("A/b")
                .iter()
                .any(|text| text.starts_with("prefix part a lowercase RFC 1123 subdomain"))
        );
        assert_eq!(key_problems("/b"), ["prefix part must be non-empty"]);
    }
}
