//! The forms of names, labels and keys, and what upstream says of those that break them.

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                         and must start and end with an alphanumeric character (e.g. 'example.com', regex used for \
                         validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SUBDOMAIN_UNDERSCORE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
                                    '_', '-' or '.', and must start and end with an alphanumeric character (e.g. \
                                    'example.com', regex used for validation is \
                                    '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  \
                          or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";
const HEADER: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex \
                      used for validation is '[-A-Za-z0-9]+')";
const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', \
                       regex used for validation is '[0-9]+%')";
const SYSCTL_MAX: usize = 253;
const SYSCTL: &str = "must have at most 253 characters and match regex \
                      ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
/// What is said of a number that is no port.
pub(super) const PORT: &str = "must be between 1 and 65535, inclusive";
const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
                        consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character \
                        (e.g. '*.example.com', regex used for validation is \
                        '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const HTTP_PATH: &str = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";

/// What is wrong with a value; empty where nothing is.
pub(super) type Faults = Vec<String>;

fn faults(value: &str, longest: usize, sound: bool, text: &str) -> Faults {
    let mut faults = Vec::new();
    if value.len() > longest {
        faults.push(format!("must be no more than {longest} characters"));
    }
    if !sound {
        faults.push(text.to_owned());
    }
    faults
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Characters of `inner` with `edge` ones at both ends.
fn bounded(text: &str, edge: fn(u8) -> bool, inner: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let ends = bytes.first().zip(bytes.last()).is_some_and(|(first, last)| edge(*first) && edge(*last));
    ends && bytes.iter().all(|byte| inner(*byte))
}

fn is_label(text: &str) -> bool {
    bounded(text, lower, |byte| lower(byte) || byte == b'-')
}

/// A name of a container, volume or port of a Service.
pub(super) fn label(value: &str) -> Faults {
    crate::metadata::dns_label(value)
}

/// A name of most objects.
pub(super) fn subdomain(value: &str) -> Faults {
    faults(value, 253, value.split('.').all(is_label), SUBDOMAIN)
}

/// A parameter of the kernel.
pub(super) fn sysctl(value: &str) -> Faults {
    let part = |part: &str| bounded(part, lower, |byte| lower(byte) || b"-_".contains(&byte));
    let is_good = value.len() <= SYSCTL_MAX && value.split(['.', '/']).all(part);
    if is_good { Vec::new() } else { vec![SYSCTL.into()] }
}

/// A DNS search path.
pub(super) fn search_path(value: &str) -> Faults {
    let part = |part: &str| {
        let rest = part.strip_prefix('_').unwrap_or(part);
        bounded(rest, lower, |byte| lower(byte) || b"-_".contains(&byte))
    };
    faults(value, 253, value.split('.').all(part), SUBDOMAIN_UNDERSCORE)
}

/// The key of a label: a name, after a domain and `/` or not.
pub(super) fn qualified(value: &str) -> Faults {
    crate::label::key_problems(value)
}

/// The value of a label.
pub(super) fn label_value(value: &str) -> Faults {
    crate::label::value_problems(value)
}

/// A key of a ConfigMap or Secret, which becomes the name of a file.
pub(super) fn config_key(value: &str) -> Faults {
    let sound =
        !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let mut found = faults(value, 253, sound, CONFIG_KEY);
    match value {
        "." => found.push("must not be '.'".into()),
        ".." => found.push("must not be '..'".into()),
        _ if value.starts_with("..") => found.push("must not start with '..'".into()),
        _ => {}
    }
    found
}

/// The name of a port of a container.
pub(super) fn port_name(value: &str) -> Faults {
    let mut found = faults(value, 15, true, "");
    let checks = [
        (
            !value.is_empty() && value.bytes().all(|byte| lower(byte) || byte == b'-'),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (value.bytes().any(|byte| byte.is_ascii_lowercase()), "must contain at least one letter (a-z)"),
        (!value.contains("--"), "must not contain consecutive hyphens"),
        (!value.starts_with('-') && !value.ends_with('-'), "must not begin or end with a hyphen"),
    ];
    found.extend(checks.into_iter().filter(|(sound, _)| !sound).map(|(_, text)| text.to_owned()));
    found
}

/// The name of an environment variable, or what comes before one.
pub(super) fn env_name(value: &str) -> Faults {
    faults(
        value,
        usize::MAX,
        value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'='),
        ENV_NAME,
    )
}

/// The name of an HTTP header.
pub(super) fn header(value: &str) -> Faults {
    let sound = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    faults(value, usize::MAX, sound, HEADER)
}

/// A domain after `*.`.
pub(super) fn wildcard(value: &str) -> Faults {
    let sound = value.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_label));
    faults(value, 253, sound, WILDCARD)
}

/// A path of an address on the web (RFC 3986).
fn is_http_path(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte))
}

/// What is wrong with a path that begins with a domain: the part, and why.
pub(super) fn domain_path(value: &str) -> Vec<(&str, String)> {
    let (domain, path) = value.split_once('/').unwrap_or_default();
    if domain.is_empty() || path.is_empty() {
        return vec![(value, "must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned())];
    }
    let mut found: Vec<(&str, String)> = subdomain(domain).into_iter().map(|why| (domain, why)).collect();
    if !is_http_path(path) {
        found.push((path, HTTP_PATH.to_owned()));
    }
    found
}

/// `25%`
pub(super) fn percent(value: &str) -> Faults {
    let digits = value.strip_suffix('%').unwrap_or_default();
    let sound = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    faults(value, usize::MAX, sound, PERCENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_at_their_edges() {
        assert!(label(&"a".repeat(63)).is_empty() && label("0-a").is_empty());
        assert_eq!(label(&"a".repeat(64)), ["must be no more than 63 characters"]);
        assert_eq!(label("a.b"), ["must not contain dots"]);
        assert!(subdomain("a.b-c.0").is_empty());
        assert_eq!(subdomain("a..b"), [SUBDOMAIN]);
        assert!(qualified("example.com/Some_Name.x").is_empty() && qualified("a").is_empty());
        assert!(label_value("").is_empty() && !label_value("-").is_empty());
        assert!(env_name("a b.C-1").is_empty() && !env_name("a=b").is_empty() && !env_name("é").is_empty());
        assert!(wildcard("*.a.b").is_empty() && !wildcard("*.*.b").is_empty() && !wildcard("*").is_empty());
    }

    #[test]
    fn a_path_begins_with_a_domain() {
        assert!(domain_path("acme.io/foo/bar%20").is_empty());
        for (wrong, part) in [("x", "x"), ("/x", "/x"), ("x/", "x/"), ("A/b", "A"), ("a/b c", "b c")] {
            assert_eq!(domain_path(wrong).first().map(|(part, _)| *part), Some(part));
        }
    }
}
