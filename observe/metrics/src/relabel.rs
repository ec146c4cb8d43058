//! Relabelling: rules that change, keep or drop sets of labels. A pure function of labels, as Prometheus 3 has it.

use md5::{Digest as _, Md5};
use regex::Regex;
use xebec_promql::dialect;
use xebec_promql::number::quoted;

use crate::labels::LabelSet;

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Writes the filled replacement into the target label where the expression matches.
    Replace,
    /// Drops where the expression does not match.
    Keep,
    /// Drops where the expression matches.
    Drop,
    /// Drops where the source is not equal to the target label.
    KeepEqual,
    /// Drops where the source is equal to the target label.
    DropEqual,
    /// Writes a hash of the source, modulo a number, into the target label.
    HashMod,
    /// Copies labels whose name matches to the filled replacement.
    LabelMap,
    /// Removes labels whose name matches.
    LabelDrop,
    /// Removes labels whose name does not match.
    LabelKeep,
    /// Writes the source in lower case into the target label.
    Lowercase,
    /// Writes the source in upper case into the target label.
    Uppercase,
}

impl Action {
    /// All of them, by the names that configurations have them by.
    pub const ALL: [(&'static str, Self); 11] = [
        ("replace", Self::Replace),
        ("keep", Self::Keep),
        ("drop", Self::Drop),
        ("keepequal", Self::KeepEqual),
        ("dropequal", Self::DropEqual),
        ("hashmod", Self::HashMod),
        ("labelmap", Self::LabelMap),
        ("labeldrop", Self::LabelDrop),
        ("labelkeep", Self::LabelKeep),
        ("lowercase", Self::Lowercase),
        ("uppercase", Self::Uppercase),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }
}

/// A rule as it is written. What is not written has a default.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// The labels whose values, one behind the other, are the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_labels: Option<Vec<String>>,
    /// What stands between them; `;` if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// The expression, which must match all of the source; `(.*)` if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// What a hash is taken modulo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modulus: Option<u64>,
    /// The label that is written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_label: Option<String>,
    /// What is written; `$1` if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
    /// What is done; `replace` if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

/// A rule that was checked.
#[derive(Debug, Clone)]
pub struct Rule {
    source: Vec<String>,
    separator: String,
    regex: Regex,
    /// Whether it is the default expression, which matches everything.
    matches_all: bool,
    modulus: u64,
    target: String,
    replacement: String,
    action: Action,
}

fn has_variable(template: &str) -> bool {
    template.contains('$')
}

impl Rule {
    /// Checks a rule. The text names the field that is wrong, in upstream's words.
    pub fn new(config: &RuleConfig) -> Result<Self, String> {
        let word = config.action.as_deref().unwrap_or("replace").to_lowercase();
        let action = Action::ALL.iter().find(|(name, _)| *name == word).map(|(_, action)| *action);
        let action = action.ok_or_else(|| format!("unknown relabel action {}", quoted(&word)))?;
        let name = action.name();
        let separator = config.separator.clone().unwrap_or_else(|| ";".to_owned());
        let replacement = config.replacement.clone().unwrap_or_else(|| "$1".to_owned());
        let target = config.target_label.clone().unwrap_or_default();
        let modulus = config.modulus.unwrap_or(0);
        let written = config.regex.as_deref();
        let regex = dialect::anchored(written.unwrap_or("(.*)")).map_err(|why| format!("regex: {why}"))?;
        let (usual_separator, usual_replacement) = (separator == ";", replacement == "$1");
        match action {
            Action::HashMod if modulus == 0 => {
                return Err("modulus: relabel configuration for hashmod requires non-zero modulus".to_owned());
            }
            Action::Replace
            | Action::HashMod
            | Action::Lowercase
            | Action::Uppercase
            | Action::KeepEqual
            | Action::DropEqual
                if target.is_empty() =>
            {
                return Err(format!("relabel configuration for {name} action requires 'target_label' value"));
            }
            Action::Lowercase | Action::Uppercase | Action::KeepEqual | Action::DropEqual
                if !usual_replacement =>
            {
                return Err(format!("'replacement' can not be set for {name} action"));
            }
            Action::KeepEqual | Action::DropEqual
                if written.is_some_and(|regex| regex != "(.*)") || modulus != 0 || !usual_separator =>
            {
                return Err(format!(
                    "{name} action requires only 'source_labels' and `target_label`, and no other fields"
                ));
            }
            Action::LabelMap if replacement.is_empty() => {
                return Err(format!("{} is invalid 'replacement' for {name} action", quoted(&replacement)));
            }
            Action::LabelDrop | Action::LabelKeep
                if config.source_labels.is_some()
                    || !target.is_empty()
                    || modulus != 0
                    || !usual_separator
                    || !usual_replacement =>
            {
                return Err(format!("{name} action requires only 'regex', and no other fields"));
            }
            _ => {}
        }
        Ok(Self {
            source: config.source_labels.clone().unwrap_or_default(),
            separator,
            regex,
            matches_all: written.is_none_or(|regex| regex == "(.*)"),
            modulus,
            target,
            replacement,
            action,
        })
    }

    /// Applies the rule. False says that what has these labels is dropped.
    fn apply(&self, labels: &mut LabelSet) -> bool {
        let values: Vec<&str> = self.source.iter().map(|name| labels.get(name)).collect();
        let source = values.join(&self.separator);
        match self.action {
            Action::Keep => return self.regex.is_match(&source),
            Action::Drop => return !self.regex.is_match(&source),
            Action::KeepEqual => return labels.get(&self.target) == source,
            Action::DropEqual => return labels.get(&self.target) != source,
            Action::Replace => self.replace(labels, &source),
            Action::Lowercase => labels.set(&self.target, source.to_lowercase()),
            Action::Uppercase => labels.set(&self.target, source.to_uppercase()),
            Action::HashMod => {
                let hash: [u8; 16] = Md5::digest(source.as_bytes()).into();
                let last = hash.last_chunk::<8>().map_or(0, |last| u64::from_be_bytes(*last));
                labels.set(&self.target, (last % self.modulus).to_string());
            }
            Action::LabelMap => {
                let matching = labels.iter().filter_map(|(name, value)| {
                    let captures = self.regex.captures(name)?;
                    Some((dialect::expand(&self.replacement, &captures), value.to_owned()))
                });
                for (name, value) in matching.collect::<Vec<_>>() {
                    if !name.is_empty() {
                        labels.set(name, value);
                    }
                }
            }
            Action::LabelDrop => labels.retain(|name| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name| self.regex.is_match(name)),
        }
        true
    }

    fn replace(&self, labels: &mut LabelSet, source: &str) {
        if source.is_empty()
            && self.matches_all
            && !has_variable(&self.target)
            && !has_variable(&self.replacement)
        {
            labels.set(&self.target, &self.replacement);
            return;
        }
        let Some(captures) = self.regex.captures(source) else { return };
        let target = dialect::expand(&self.target, &captures);
        if !target.is_empty() {
            labels.set(target, dialect::expand(&self.replacement, &captures));
        }
    }
}

/// Applies rules one after the other. False says that what has these labels is dropped.
pub fn relabel(rules: &[Rule], labels: &mut LabelSet) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

#[cfg(test)]
mod tests;
