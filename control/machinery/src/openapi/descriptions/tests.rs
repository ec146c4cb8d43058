use super::*;
use crate::builtin;

/// The longest text, in bytes.
const LENGTH_MAX: usize = 600;

/// `TYPE` or `TYPE FIELD` of each line that a table has to have, in order.
fn wanted(types: &Types, alias: &str) -> Vec<String> {
    let messages = types.messages.iter().filter(|message| types.packages[message.package].alias == alias);
    messages
        .flat_map(|message| {
            let fields = message.fields.iter().map(|row| row.json);
            // Fields without a name are those of another type, and metadata is said of once for all objects.
            let own = fields.filter(|name| !name.is_empty() && (!message.object || *name != "metadata"));
            let own = own.map(|name| format!("{} {name}", message.name));
            std::iter::once(message.name.to_owned()).chain(own)
        })
        .collect()
}

/// `TYPE` or `TYPE FIELD` of each line that a table has, with its text.
fn written(table: &'static str) -> Vec<(String, &'static str)> {
    let mut place = "";
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, text) = line.split_once(' ').unwrap_or((line, ""));
            match name.strip_prefix('@') {
                Some(name) => {
                    place = name;
                    (name.to_owned(), text)
                }
                None => (format!("{place} {name}"), text),
            }
        })
        .collect()
}

#[test]
fn there_is_a_table_for_every_package() {
    let packages = builtin::types().packages.iter().map(|package| package.alias);
    assert!(TABLES.iter().map(|(alias, _)| *alias).eq(packages));
}

#[test]
fn every_type_and_field_has_its_text_in_the_order_of_the_types() {
    let mut wrong = Vec::new();
    for (alias, table) in TABLES {
        let (wanted, written) = (wanted(builtin::types(), alias), written(table));
        let before = wrong.len();
        for name in &wanted {
            match written.iter().filter(|(other, _)| other == name).count() {
                1 => {}
                0 => wrong.push(format!("{alias}.tbl: nothing is said of {name}")),
                _ => wrong.push(format!("{alias}.tbl: {name} is there twice")),
            }
        }
        let unknown = written.iter().filter(|(name, _)| !wanted.contains(name));
        wrong.extend(unknown.map(|(name, _)| format!("{alias}.tbl: there is no {name}")));
        if wrong.len() == before {
            let misplaced = written.iter().zip(&wanted).find(|((name, _), wanted)| name != *wanted);
            wrong.extend(misplaced.map(|((name, _), _)| format!("{alias}.tbl: {name} is not at its place")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn texts_are_sentences() {
    for (alias, table) in TABLES {
        for (name, text) in written(table) {
            let sound = text.ends_with('.') && text.trim() == text && !text.contains("  ");
            assert!(
                sound,
                "{alias}.tbl: {name}: {text:?} does not end as a sentence, or has spaces too many"
            );
            assert!(!text.contains(char::is_control), "{alias}.tbl: {name}: {text:?}");
            assert!(text.len() <= LENGTH_MAX, "{alias}.tbl: {name} has {} bytes", text.len());
        }
    }
}

#[test]
fn what_is_said_is_found_in_any_order() {
    let types = builtin::types();
    let mut texts = Texts::default();
    let mut said = |name: &str| texts.of(types, types.qualified(name).unwrap());
    let strategy = said("apps.DeploymentStrategy");
    assert!(strategy.whole().unwrap().contains("deployment"));
    assert!(strategy.field("type").unwrap().contains("`Recreate`"));
    assert_eq!(strategy.field("typ"), None);
    // A field of a later type.
    assert_eq!(strategy.field("revisionHistoryLimit"), None);
    // A type whose name begins with the name of another one, and one before it, in this table and in another.
    assert!(said("apps.DeploymentSpec").field("paused").is_some());
    assert!(said("apps.Deployment").field("paused").is_none());
    assert!(said("apps.ControllerRevision").field("revision").is_some());
    assert!(said("meta.ObjectMeta").field("labels").is_some());
    assert!(said("apps.StatefulSet").whole().is_some());
}
