//! What names may look like. Each rule gives the words that Kubernetes has for it; none of them means that all is well.

/// The longest DNS subdomain and namespace-less name.
const SUBDOMAIN_MAX: usize = 253;
/// The longest DNS label.
const LABEL_MAX: usize = 63;

/// The rule for the names of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// Dotted lower-case labels, as most kinds have.
    Subdomain,
    /// One lower-case label, as namespaces have.
    Label,
    /// One lower-case label that begins with a letter, as services have.
    Label1035,
    /// Anything that can be a part of a URL, as roles have.
    PathSegment,
}

impl NameRule {
    /// What is wrong with `name`; a `prefix` may end as only a longer name may.
    pub fn check(self, name: &str, prefix: bool) -> Vec<String> {
        let mut whole = name.to_owned();
        if let (true, Some(rest)) = (prefix && self != Self::PathSegment, name.strip_suffix('-')) {
            whole = format!("{rest}a");
        }
        match self {
            Self::Subdomain => dns_subdomain(&whole),
            Self::Label => dns_label(&whole),
            Self::Label1035 => dns_label_1035(&whole),
            Self::PathSegment => path_segment(&whole, prefix),
        }
    }
}

fn too_long(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn small(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn label_bytes(text: &str, first: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|byte| first(*byte))
        && bytes.last().is_some_and(|byte| small(*byte))
        && bytes.iter().all(|byte| small(*byte) || *byte == b'-')
}

/// Whether `text` is a DNS subdomain (RFC 1123) in lower case.
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= SUBDOMAIN_MAX && text.split('.').all(|label| label_bytes(label, small))
}

/// Whether `text` is a DNS label (RFC 1123) in lower case.
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= LABEL_MAX && label_bytes(text, small)
}

/// A DNS subdomain (RFC 1123) in lower case.
pub fn dns_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(too_long(SUBDOMAIN_MAX));
    }
    if !text.split('.').all(|label| label_bytes(label, small)) {
        wrong.push(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
             start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .to_owned(),
        );
    }
    wrong
}

/// A DNS label (RFC 1123) in lower case.
pub fn dns_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX));
    }
    if !label_bytes(text, small) {
        // Both blanks before `or` are upstream's.
        wrong.push(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
             end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
                .to_owned(),
        );
    }
    wrong
}

/// A DNS label (RFC 1035) in lower case: it begins with a letter.
pub fn dns_label_1035(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX));
    }
    if !label_bytes(text, |byte| byte.is_ascii_lowercase()) {
        wrong.push(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
             character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
             validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
                .to_owned(),
        );
    }
    wrong
}

/// A part of a URL's path.
pub fn path_segment(text: &str, prefix: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    if !prefix && matches!(text, "." | "..") {
        wrong.push(format!("may not be '{text}'"));
    }
    for letter in ['/', '%'] {
        if text.contains(letter) {
            wrong.push(format!("may not contain '{letter}'"));
        }
    }
    wrong
}

fn name_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

const NAME_PART: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                         alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
                         validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// The key of a label or annotation, and the name of a finalizer: a name with an optional DNS prefix before a slash.
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut parts = text.split('/');
    let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let name = match (second, third) {
        (None, _) => first,
        (Some(name), None) => {
            if first.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(dns_subdomain(first).into_iter().map(|what| format!("prefix part {what}")));
            }
            name
        }
        (Some(_), Some(_)) => {
            wrong.push(format!(
                "a qualified name {NAME_PART} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return wrong;
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        wrong.push(format!("name part {}", too_long(LABEL_MAX)));
    }
    if !name_part(name) {
        wrong.push(format!("name part {NAME_PART}"));
    }
    wrong
}

/// The value of a label.
pub fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX));
    }
    if !text.is_empty() && !name_part(text) {
        wrong.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
             validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                .to_owned(),
        );
    }
    wrong
}

/// The letters of generated names: none that make words or are mistaken for others.
const GENERATED: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// How many letters are generated.
const GENERATED_LENGTH: usize = 5;

/// A name that begins with `prefix` and ends with five letters that `random` decides.
pub fn generated(prefix: &str, random: u64) -> String {
    let most = LABEL_MAX - GENERATED_LENGTH;
    let kept = prefix
        .char_indices()
        .map(|(at, letter)| at + letter.len_utf8())
        .take_while(|end| *end <= most)
        .last();
    let mut name = prefix.get(..kept.unwrap_or_default()).unwrap_or_default().to_owned();
    let mut rest = random;
    for _ in 0..GENERATED_LENGTH {
        let place = rest % GENERATED.len() as u64;
        rest /= GENERATED.len() as u64;
        name.push(
            usize::try_from(place)
                .ok()
                .and_then(|place| GENERATED.get(place))
                .map_or('b', |byte| char::from(*byte)),
        );
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_takes_its_own_names() {
        let long = "a".repeat(64);
        let cases: &[(NameRule, &[&str], &[&str])] = &[
            (NameRule::Subdomain, &["a", "a.b-c.1", &long], &["", "A", "a.", "-a", "a_b", "a..b", "é"]),
            (NameRule::Label, &["a", "1-a"], &["a.b", "", "a-", &long]),
            (NameRule::Label1035, &["a-1"], &["1-a", "", "a.b"]),
            (NameRule::PathSegment, &["system:node", "A_b", "..."], &[".", "..", "a/b", "a%b"]),
        ];
        for (rule, good, bad) in cases {
            for name in *good {
                assert_eq!(rule.check(name, false), Vec::<String>::new(), "{rule:?}: {name}");
            }
            for name in *bad {
                assert!(!rule.check(name, false).is_empty(), "{rule:?}: {name}");
            }
        }
        assert!(NameRule::Subdomain.check("web-", true).is_empty());
        assert!(!NameRule::Subdomain.check("Web-", true).is_empty());
    }

    #[test]
    fn qualified_names_have_at_most_one_prefix() {
        for good in ["a", "A_b.c", "example.com/a", &"a".repeat(63)] {
            assert!(qualified_name(good).is_empty(), "{good}");
        }
        let cases = [
            ("", "name part must be non-empty"),
            ("/a", "prefix part must be non-empty"),
            ("a/", "name part must be non-empty"),
            ("A/b", "prefix part a lowercase RFC 1123 subdomain must"),
            ("a/b/c", "a qualified name must consist of"),
            ("-a", "name part must consist of"),
        ];
        for (name, words) in cases {
            let wrong = qualified_name(name);
            assert!(wrong.iter().any(|what| what.starts_with(words)), "{name}: {wrong:?}");
        }
        assert_eq!(qualified_name(&"a".repeat(64)), ["name part must be no more than 63 bytes"]);
    }

    #[test]
    fn label_values_may_be_empty_but_not_long() {
        assert!(label_value("").is_empty());
        assert!(label_value("a.b_c-1").is_empty());
        assert!(!label_value("a b").is_empty());
        assert_eq!(label_value(&"a".repeat(64)), ["must be no more than 63 bytes"]);
    }

    #[test]
    fn generated_names_fit_a_label_and_follow_the_random_number() {
        assert_eq!(generated("web-", 0), "web-bbbbb");
        assert_eq!(generated("web-", 26), "web-9bbbb");
        assert_ne!(generated("web-", 1), generated("web-", 27));
        let long = generated(&"é".repeat(60), u64::MAX);
        assert!(long.len() <= LABEL_MAX && long.is_char_boundary(long.len() - 5));
        let last = generated("", u64::MAX);
        assert!(last.bytes().all(|byte| GENERATED.contains(&byte)), "{last}");
    }
}
