//! The table of built-in kinds, read once.

use super::kind_ref;
use crate::resource::{Resource, Scale, Scope, Subresource, Version};

const TABLE: &str = include_str!("kinds.tbl");

/// What can be done with a resource, where its row says nothing else.
const VERBS: &str = "create,delete,deletecollection,get,list,patch,update,watch";

/// Every built-in resource, in the order of the table; an error names the line that makes no sense.
pub(super) fn read() -> Result<Vec<Resource>, String> {
    let mut resources: Vec<Resource> = Vec::new();
    let (mut group, mut version) = ("", "");
    for (number, line) in TABLE.lines().enumerate() {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["" | "#", ..] => {}
            ["group", name, of] => (group, version) = (if *name == "-" { "" } else { name }, of),
            _ => {
                let resource = row(group, version, line);
                let mut resource =
                    resource.map_err(|why| format!("kinds.tbl, line {}: {why}", number + 1))?;
                let same = |own: &&mut Resource| own.group == resource.group && own.plural == resource.plural;
                // Another version of one above; objects rest in the first.
                match resources.iter_mut().find(same) {
                    Some(above) => above.versions.append(&mut resource.versions),
                    None => resources.push(resource),
                }
            }
        }
    }
    Ok(resources)
}

fn row(group: &str, version: &str, line: &str) -> Result<Resource, String> {
    let (facts, deprecation) = match line.split_once(" deprecated=") {
        Some((facts, text)) => (facts, Some(text)),
        None => (line, None),
    };
    let mut words = facts.split(' ');
    let (Some(kind), Some(plural), Some(scope)) = (words.next(), words.next(), words.next()) else {
        return Err(format!("{line:?} has no kind, plural and scope"));
    };
    let schema = kind_ref(group, version, kind).ok_or_else(|| format!("{kind} is not in types.tbl"))?;
    let mut described = Version::new(version, schema);
    described.deprecation = deprecation.map(Into::into);
    let scope = match scope {
        "namespaced" => Scope::Namespaced,
        "cluster" => Scope::Cluster,
        _ => return Err(format!("{scope:?} is no scope")),
    };
    let mut resource = Resource::new(group, kind, plural, scope, described);
    (resource.verbs, resource.unconditional) = (list(VERBS), true);
    let described = &mut resource.versions[0];
    for word in words {
        match word.split_once('=') {
            None if word == "status" => described.status = true,
            None if word == "made-by-put" => resource.made_by_put = true,
            None if word == "conditional" => resource.unconditional = false,
            Some(("short", names)) => resource.short_names = list(names),
            Some(("in", names)) => resource.categories = list(names),
            Some(("verbs", verbs)) => resource.verbs = list(verbs),
            Some(("fields", paths)) => described.selectable = list(paths),
            Some(("scale", paths)) => described.scale = Some(scale(paths)?),
            Some(("sub", text)) => described.subresources.push(subresource(text)?),
            _ => return Err(format!("{word:?} is no attribute")),
        }
    }
    Ok(resource)
}

fn list(text: &str) -> Vec<Box<str>> {
    text.split(',').map(Into::into).collect()
}

fn scale(paths: &str) -> Result<Scale, String> {
    match paths.split(',').collect::<Vec<_>>().as_slice() {
        [spec, status, selector] => Ok(Scale {
            spec_replicas: (*spec).into(),
            status_replicas: (*status).into(),
            selector: Some((*selector).into()),
        }),
        _ => Err(format!("{paths:?} are not three paths")),
    }
}

fn subresource(text: &str) -> Result<Subresource, String> {
    let wrong = || format!("{text:?} is not NAME:GROUP/VERSION/KIND:VERBS");
    match text.split(':').collect::<Vec<_>>().as_slice() {
        [name, kind, verbs] => {
            let (group_version, kind) = kind.rsplit_once('/').ok_or_else(wrong)?;
            let (group, version) = group_version.rsplit_once('/').unwrap_or(("", group_version));
            kind_ref(group, version, kind).ok_or_else(|| format!("{kind} is not in types.tbl"))?;
            let kind = (group.into(), version.into(), kind.into());
            Ok(Subresource { name: (*name).into(), kind, verbs: list(verbs) })
        }
        _ => Err(wrong()),
    }
}
