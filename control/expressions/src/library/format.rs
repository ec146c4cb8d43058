//! Named formats of text, with the sentences that tell what is wrong.

use std::sync::LazyLock;

use base64::Engine as _;
use regex::Regex;

use super::url;
use crate::timestamp;

/// A named format.
#[derive(Debug)]
pub struct NamedFormat {
    /// Its name.
    pub(crate) name: &'static str,
    pub(crate) check: fn(&str) -> Vec<String>,
    /// The size of its regular expression, for costs.
    pub(crate) pattern_size: u64,
}

impl NamedFormat {
    /// The format's name.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// The functions that give the formats.
pub(crate) const NAMES: [&str; 13] = [
    "format.dns1123Label",
    "format.dns1123Subdomain",
    "format.dns1035Label",
    "format.qualifiedName",
    "format.dns1123LabelPrefix",
    "format.dns1123SubdomainPrefix",
    "format.dns1035LabelPrefix",
    "format.labelValue",
    "format.uri",
    "format.uuid",
    "format.byte",
    "format.date",
    "format.datetime",
];

static FORMATS: [NamedFormat; 13] = [
    NamedFormat { name: "DNS1123Label", check: dns1123_label, pattern_size: 30 },
    NamedFormat { name: "DNS1123Subdomain", check: dns1123_subdomain, pattern_size: 60 },
    NamedFormat { name: "DNS1035Label", check: dns1035_label, pattern_size: 30 },
    NamedFormat { name: "QualifiedName", check: qualified_name, pattern_size: 60 },
    NamedFormat { name: "DNS1123LabelPrefix", check: |s| dns1123_label(&masked(s)), pattern_size: 30 },
    NamedFormat {
        name: "DNS1123SubdomainPrefix",
        check: |s| dns1123_subdomain(&masked(s)),
        pattern_size: 60,
    },
    NamedFormat { name: "DNS1035LabelPrefix", check: |s| dns1035_label(&masked(s)), pattern_size: 30 },
    NamedFormat { name: "LabelValue", check: label_value, pattern_size: 40 },
    NamedFormat { name: "URI", check: uri, pattern_size: 1103 },
    NamedFormat { name: "uuid", check: uuid, pattern_size: 72 },
    NamedFormat { name: "byte", check: byte, pattern_size: 84 },
    NamedFormat { name: "date", check: date, pattern_size: 72 },
    NamedFormat { name: "datetime", check: datetime, pattern_size: 72 },
];

/// The format called `name`, without `format.`.
pub(crate) fn named(name: &str) -> Option<&'static NamedFormat> {
    let place = NAMES.iter().position(|known| known.strip_prefix("format.") == Some(name))?;
    FORMATS.get(place)
}

/// What a prefix of a name would be once something follows its dash.
fn masked(name: &str) -> String {
    match name.strip_suffix('-') {
        Some(before) if !before.is_empty() => {
            let mut kept = before.to_owned();
            kept.pop();
            kept.push('a');
            kept
        }
        _ => name.to_owned(),
    }
}

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL_1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

fn whole(pattern: &str) -> Option<Regex> {
    Regex::new(&format!("^(?:{pattern})$")).ok()
}

fn fits(pattern: &LazyLock<Option<Regex>>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

static IS_LABEL: LazyLock<Option<Regex>> = LazyLock::new(|| whole(LABEL));
static IS_SUBDOMAIN: LazyLock<Option<Regex>> = LazyLock::new(|| whole(SUBDOMAIN));
static IS_LABEL_1035: LazyLock<Option<Regex>> = LazyLock::new(|| whole(LABEL_1035));
static IS_QUALIFIED: LazyLock<Option<Regex>> = LazyLock::new(|| whole(QUALIFIED));
static IS_VALUE: LazyLock<Option<Regex>> = LazyLock::new(|| whole(VALUE));
static IS_UUID: LazyLock<Option<Regex>> =
    LazyLock::new(|| whole("(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"));

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} characters")
}

fn unlike(message: &str, pattern: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{pattern}')", examples.join(" or "))
}

fn dns1123_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 63 {
        wrong.push(too_long(63));
    }
    if !fits(&IS_LABEL, text) {
        wrong.push(if fits(&IS_SUBDOMAIN, text) {
            "must not contain dots".to_owned()
        } else {
            unlike(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                LABEL,
                &["my-name", "123-abc"],
            )
        });
    }
    wrong
}

fn dns1123_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 253 {
        wrong.push(too_long(253));
    }
    if !fits(&IS_SUBDOMAIN, text) {
        wrong.push(unlike(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN,
            &["example.com"],
        ));
    }
    wrong
}

fn dns1035_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 63 {
        wrong.push(too_long(63));
    }
    if !fits(&IS_LABEL_1035, text) {
        wrong.push(unlike(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            LABEL_1035,
            &["my-name", "abc-123"],
        ));
    }
    wrong
}

const QUALIFIED_MESSAGE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

fn qualified_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(
                    dns1123_subdomain(prefix).into_iter().map(|reason| format!("prefix part {reason}")),
                );
            }
            name
        }
        _ => {
            wrong.push(
                unlike(
                    &format!("a valid label key {QUALIFIED_MESSAGE}"),
                    QUALIFIED,
                    &["MyName", "my.name", "123-abc"],
                ) + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
            );
            return wrong;
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        wrong.push(format!("name part {}", too_long(63)));
    }
    if !fits(&IS_QUALIFIED, name) {
        wrong.push(format!(
            "name part {}",
            unlike(QUALIFIED_MESSAGE, QUALIFIED, &["MyName", "my.name", "123-abc"])
        ));
    }
    wrong
}

fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 63 {
        wrong.push(too_long(63));
    }
    if !fits(&IS_VALUE, text) {
        wrong.push(unlike(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            VALUE,
            &["MyValue", "my_value", "12345"],
        ));
    }
    wrong
}

fn uri(text: &str) -> Vec<String> {
    url::parse_request(text).err().into_iter().collect()
}

fn told(right: bool, wrong: &str) -> Vec<String> {
    if right { Vec::new() } else { vec![wrong.to_owned()] }
}

fn uuid(text: &str) -> Vec<String> {
    told(fits(&IS_UUID, text), "does not match the UUID format")
}

fn byte(text: &str) -> Vec<String> {
    let right = !text.is_empty() && base64::engine::general_purpose::STANDARD.decode(text).is_ok();
    told(right, "invalid base64")
}

fn date(text: &str) -> Vec<String> {
    told(timestamp::parse_date(text).is_ok(), "invalid date")
}

fn datetime(text: &str) -> Vec<String> {
    let written = text.to_ascii_uppercase();
    told(text.contains(['T', 't']) && timestamp::parse(&written).is_ok(), "invalid datetime")
}
