//! The fields of a rule file as they are written. Upstream reads a file twice, strictly by its types and then once more for
//! the places of fields, and tells what went wrong in both; the type names in its errors are those of its program.

use std::collections::BTreeMap;

use xebec_promql::duration::Duration;

use super::{MOST_GROUPS, MOST_RULES, UnknownFields};
use crate::document::{self, Node, Value, integer};

/// Anchors may add so many values to those that a file can hold by its size.
const MOST_ADDED: usize = 400_000;

/// A place in a file; zeros where there is none.
pub(super) type Place = (usize, usize);

#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) interval: Duration,
    pub(super) query_offset: Option<Duration>,
    pub(super) limit: i64,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug, Default)]
pub(super) struct Rule {
    pub(super) record: (String, Place),
    pub(super) alert: (String, Place),
    pub(super) expr: (String, Place),
    pub(super) hold: Duration,
    pub(super) keep_firing: Duration,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// Reads the groups of a file.
pub(super) fn decode(text: &str, unknown: UnknownFields) -> Result<Vec<Group>, Vec<String>> {
    // What cannot be read at all is told by both readings.
    let twice = |why: String| vec![why.clone(), why];
    let Some(root) = document::parse(text).map_err(twice)? else { return Ok(Vec::new()) };
    let mut decoder = Decoder { unknown, most: MOST_ADDED + text.len(), ..Decoder::default() };
    let groups = decoder.groups(&root);
    match decoder.fatal {
        Some((why, true)) => return Err(twice(why)),
        Some((why, false)) => return Err(vec![why]),
        None => {}
    }
    let both = [decoder.strict, decoder.places];
    let told = both.into_iter().filter(|errors| !errors.is_empty());
    let errors: Vec<String> =
        told.map(|errors| format!("yaml: unmarshal errors:\n  {}", errors.join("\n  "))).collect();
    if errors.is_empty() { Ok(groups) } else { Err(errors) }
}

#[derive(Debug, Default)]
struct Decoder {
    unknown: UnknownFields,
    values: usize,
    most: usize,
    rules: usize,
    /// What the strict reading tells.
    strict: Vec<String>,
    /// What the reading for places tells.
    places: Vec<String>,
    /// What ends all reading, and whether both readings tell it.
    fatal: Option<(String, bool)>,
}

impl Decoder {
    fn both(&mut self, error: String) {
        self.strict.push(error.clone());
        self.places.push(error);
    }

    fn misfit(&mut self, node: &Node, strict: &str, places: &str) {
        self.strict.push(node.misfit(strict));
        self.places.push(node.misfit(places));
    }

    fn give_up(&mut self, why: String) {
        self.fatal.get_or_insert((why, false));
    }

    /// Counts a value; false once there are too many.
    fn goes_on(&mut self) -> bool {
        self.values += 1;
        if self.values > self.most {
            self.give_up("yaml: document contains excessive aliasing".to_owned());
        }
        self.fatal.is_none()
    }

    /// The fields of a mapping, with those of mappings that it merges, which count after its own.
    fn fields<'n>(
        &mut self,
        node: &'n Node,
        types: (&str, &str),
    ) -> Option<Vec<(&'n Node, &'n str, &'n Node)>> {
        let Value::Mapping(pairs) = &*node.value else {
            if !node.is_null() {
                self.misfit(node, types.0, types.1);
            }
            return None;
        };
        let mut fields: Vec<(&Node, &str, &Node)> = Vec::new();
        let mut own: BTreeMap<&str, usize> = BTreeMap::new();
        let mut merged: Vec<&Node> = Vec::new();
        let before = self.strict.len();
        for (key, value) in pairs {
            if !self.goes_on() {
                return None;
            }
            if key.tag() == "!!merge" {
                merged.push(value);
                continue;
            }
            let Some(name) = key.text() else {
                self.both(key.misfit("string"));
                continue;
            };
            if let Some(line) = own.get(name) {
                let quoted = xebec_promql::number::quoted(name);
                self.both(format!("line {}: mapping key {quoted} already defined at line {line}", key.line));
                continue;
            }
            own.insert(name, key.line);
            fields.push((key, name, value));
        }
        if self.strict.len() > before {
            return None;
        }
        for node in merged {
            let each: Vec<&Node> = match &*node.value {
                Value::Sequence(members) => members.iter().rev().collect(),
                _ => vec![node],
            };
            for node in each {
                let Value::Mapping(pairs) = &*node.value else {
                    let why = "yaml: map merge requires map or sequence of maps as the value";
                    self.fatal.get_or_insert((why.to_owned(), true));
                    return None;
                };
                for (key, value) in pairs {
                    if !self.goes_on() {
                        return None;
                    }
                    let Some(name) = key.text() else { continue };
                    if !own.contains_key(name) && key.tag() != "!!merge" {
                        own.insert(name, key.line);
                        fields.push((key, name, value));
                    }
                }
            }
        }
        Some(fields)
    }

    fn unknown(&mut self, key: &Node, name: &str, kind: &str) {
        if self.unknown == UnknownFields::Refused {
            self.strict.push(format!("line {}: field {name} not found in type {kind}", key.line));
        }
    }

    fn members<'n>(&mut self, node: &'n Node, types: (&str, &str)) -> &'n [Node] {
        match &*node.value {
            Value::Sequence(members) => members,
            _ => {
                if !node.is_null() {
                    self.misfit(node, types.0, types.1);
                }
                &[]
            }
        }
    }

    fn groups(&mut self, root: &Node) -> Vec<Group> {
        let mut groups = Vec::new();
        let types = ("rulefmt.RuleGroups", "rulefmt.ruleGroups");
        for (key, name, value) in self.fields(root, types).unwrap_or_default() {
            if name != "groups" {
                self.unknown(key, name, "rulefmt.RuleGroups");
                continue;
            }
            let members = self.members(value, ("[]rulefmt.RuleGroup", "[]rulefmt.RuleGroupNode"));
            if members.len() > MOST_GROUPS {
                self.give_up(format!(
                    "groups: {} are over the limit of {MOST_GROUPS}: split the file",
                    members.len()
                ));
                break;
            }
            // Members that are nothing do not count.
            for member in members.iter().filter(|member| !member.is_null()) {
                groups.push(self.group(member));
            }
        }
        groups
    }

    fn group(&mut self, node: &Node) -> Group {
        let mut group = Group::default();
        let types = ("rulefmt.RuleGroup", "rulefmt.RuleGroupNode");
        for (key, name, value) in self.fields(node, types).unwrap_or_default() {
            match name {
                "name" => group.name = self.text(value, true),
                "interval" => group.interval = self.duration(value),
                "query_offset" => group.query_offset = (!value.is_null()).then(|| self.duration(value)),
                "limit" => group.limit = self.integer(value),
                "labels" => group.labels = self.texts(value),
                "rules" => {
                    let members = self.members(value, ("[]rulefmt.Rule", "[]rulefmt.RuleNode"));
                    self.rules += members.len();
                    if self.rules > MOST_RULES {
                        self.give_up(format!("rules: there are over {MOST_RULES}: split the file"));
                        break;
                    }
                    let members = members.iter().filter(|member| !member.is_null());
                    group.rules = members.map(|member| self.rule(member)).collect();
                }
                _ => self.unknown(key, name, "rulefmt.RuleGroup"),
            }
        }
        group
    }

    fn rule(&mut self, node: &Node) -> Rule {
        let mut rule = Rule::default();
        let types = ("rulefmt.Rule", "rulefmt.RuleNode");
        for (key, name, value) in self.fields(node, types).unwrap_or_default() {
            let place = (value.line, value.column);
            match name {
                "record" => rule.record = (self.text(value, false), place),
                "alert" => rule.alert = (self.text(value, false), place),
                "expr" => rule.expr = (self.text(value, false), place),
                "for" => rule.hold = self.duration(value),
                "keep_firing_for" => rule.keep_firing = self.duration(value),
                "labels" => rule.labels = self.texts(value),
                "annotations" => rule.annotations = self.texts(value),
                _ => self.unknown(key, name, "rulefmt.Rule"),
            }
        }
        rule
    }

    /// A text. Numbers and truth values are texts as they are written.
    fn text(&mut self, node: &Node, in_both: bool) -> String {
        match node.text() {
            Some(_) if node.is_null() => String::new(),
            Some(text) => text.to_owned(),
            None => {
                self.strict.push(node.misfit("string"));
                if in_both {
                    self.places.push(node.misfit("string"));
                }
                String::new()
            }
        }
    }

    fn texts(&mut self, node: &Node) -> BTreeMap<String, String> {
        let kind = "map[string]string";
        let fields = self.fields(node, (kind, kind)).unwrap_or_default();
        fields.into_iter().map(|(_, name, value)| (name.to_owned(), self.text(value, true))).collect()
    }

    fn integer(&mut self, node: &Node) -> i64 {
        if node.is_null() {
            return 0;
        }
        let number = node.text().filter(|_| node.tag() == "!!int").and_then(integer);
        number.unwrap_or_else(|| {
            self.misfit(node, "int", "int");
            0
        })
    }

    fn duration(&mut self, node: &Node) -> Duration {
        let Some(text) = node.text() else {
            self.misfit(node, "string", "string");
            return Duration::ZERO;
        };
        if node.is_null() {
            return Duration::ZERO;
        }
        Duration::parse(text).unwrap_or_else(|why| {
            self.fatal.get_or_insert((why, true));
            Duration::ZERO
        })
    }
}
