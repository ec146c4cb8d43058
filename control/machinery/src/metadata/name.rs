//! What names may look like. Each rule gives the words that Kubernetes has for it; none of them means that all is well.

use crate::address;
use crate::label;

/// The longest DNS label.
const LABEL_MAX: usize = label::NAME_MAX;

/// The rule for the names of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// Dotted lower-case labels, as most kinds have.
    Subdomain,
    /// The same, counted in bytes, as classes of devices have.
    LongName,
    /// One lower-case label, as namespaces and services have.
    Label,
    /// One lower-case label that begins with a letter.
    Label1035,
    /// An address of the Internet Protocol, as IPAddresses have.
    Address,
    /// Anything that can be a part of a URL, as roles and API services have.
    Segment,
    /// Anything at all, as requests for certificates have.
    Anything,
}

impl NameRule {
    /// The rule of a built-in resource; that of most, and of custom resources, is [`NameRule::Subdomain`].
    pub fn of(group: &str, plural: &str) -> Self {
        match (group, plural) {
            ("", "namespaces" | "services") | ("apps", "statefulsets") => Self::Label,
            ("networking.k8s.io", "ipaddresses") => Self::Address,
            ("rbac.authorization.k8s.io" | "apiregistration.k8s.io", _) => Self::Segment,
            ("certificates.k8s.io", _) => Self::Anything,
            ("resource.k8s.io", "deviceclasses") => Self::LongName,
            _ => Self::Subdomain,
        }
    }

    /// What is wrong with `name`.
    pub fn problems(self, name: &str) -> Vec<String> {
        self.check(name, false)
    }

    /// What is wrong with `name`; a `prefix` may end as only a longer name may.
    pub fn check(self, name: &str, prefix: bool) -> Vec<String> {
        let mut whole = name.to_owned();
        if let (true, Some(rest)) = (prefix && self != Self::Segment, name.strip_suffix('-')) {
            whole = format!("{rest}a");
        }
        match self {
            Self::Subdomain => dns_subdomain(&whole),
            Self::LongName => {
                let in_bytes = |why: String| match why.strip_suffix(" characters") {
                    Some(why) => format!("{why} bytes"),
                    None => why,
                };
                dns_subdomain(&whole).into_iter().map(in_bytes).collect()
            }
            Self::Label => dns_label(&whole),
            Self::Label1035 => dns_label_1035(&whole),
            Self::Address => address::ip_problems(&whole),
            Self::Segment => path_segment(&whole, prefix),
            Self::Anything => Vec::new(),
        }
    }
}

fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
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
    label::subdomain_problems(text).is_empty()
}

/// Whether `text` is a DNS label (RFC 1123) in lower case.
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= LABEL_MAX && label_bytes(text, small)
}

/// A DNS subdomain (RFC 1123) in lower case. Upstream counts characters in names and bytes in the prefixes of labels.
fn dns_subdomain(text: &str) -> Vec<String> {
    let mut wrong = label::subdomain_problems(text);
    if let (true, Some(first)) = (text.len() > label::SUBDOMAIN_MAX, wrong.first_mut()) {
        *first = too_long(label::SUBDOMAIN_MAX);
    }
    wrong
}

/// A DNS label (RFC 1123) in lower case.
pub fn dns_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX));
    }
    if text.contains('.') && text.split('.').all(|part| label_bytes(part, small)) {
        wrong.push("must not contain dots".to_owned());
    } else if !label_bytes(text, small) {
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

/// The letters of generated names: none that make words or are mistaken for others.
const GENERATED: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// How many letters are generated.
const GENERATED_LENGTH: usize = 5;

/// A name that begins with `prefix` and ends with five letters that `random` decides.
pub fn generate_name(prefix: &str, random: u64) -> String {
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
            (NameRule::Address, &["10.0.0.1", "fe80::1"], &["a", "10.0.0.01", "FE80::1"]),
            (NameRule::Label1035, &["a-1"], &["1-a", "", "a.b"]),
            (NameRule::Segment, &["system:node", "A_b", "..."], &[".", "..", "a/b", "a%b"]),
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
    fn generated_names_fit_a_label_and_follow_the_random_number() {
        assert_eq!(generate_name("web-", 0), "web-bbbbb");
        assert_eq!(generate_name("web-", 26), "web-9bbbb");
        assert_ne!(generate_name("web-", 1), generate_name("web-", 27));
        let long = generate_name(&"é".repeat(60), u64::MAX);
        assert!(long.len() <= LABEL_MAX && long.is_char_boundary(long.len() - 5));
        let last = generate_name("", u64::MAX);
        assert!(last.bytes().all(|byte| GENERATED.contains(&byte)), "{last}");
    }
}
