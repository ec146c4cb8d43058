//! The roles and bindings that every cluster has from its first moment on.
//!
//! The committed table `roles.tbl` holds those of Kubernetes; `tables/roles.py` writes it and says what its lines mean.

use serde_json::{Value, json};

use super::GROUP;

const TABLE: &str = include_str!("roles.tbl");

/// What there is beside Kubernetes' own: whoever shows no credential may discover what is served.
const OWN: &str =
    "ClusterRoleBinding xebec:anonymous-discovery ClusterRole/system:discovery Group=system:unauthenticated";

/// Every role and binding as an object, roles before bindings; an error names the line that makes no sense.
pub fn objects() -> Result<Vec<Value>, String> {
    let mut objects: Vec<Value> = Vec::new();
    for (number, line) in TABLE.lines().chain([OWN]).enumerate() {
        let made = match line.strip_prefix(' ') {
            Some(text) => objects
                .last_mut()
                .and_then(|role| role.get_mut("rules"))
                .and_then(Value::as_array_mut)
                .and_then(|rules| rule(text).map(|rule| rules.push(rule))),
            None if line.starts_with('#') => Some(()),
            None => object(line).map(|object| objects.push(object)),
        };
        made.ok_or_else(|| format!("roles.tbl, line {}: {line:?} makes no sense", number + 1))?;
    }
    Ok(objects)
}

fn list(text: &str) -> Vec<&str> {
    text.split(',').map(|word| if word == "-" { "" } else { word }).collect()
}

fn rule(text: &str) -> Option<Value> {
    Some(match text.split(' ').collect::<Vec<_>>().as_slice() {
        [verbs, "path", urls] => json!({"verbs": list(verbs), "nonResourceURLs": list(urls)}),
        [verbs, groups, resources] => {
            json!({"verbs": list(verbs), "apiGroups": list(groups), "resources": list(resources)})
        }
        [verbs, groups, resources, names] => json!({
            "verbs": list(verbs), "apiGroups": list(groups), "resources": list(resources), "resourceNames": list(names),
        }),
        _ => return None,
    })
}

fn object(line: &str) -> Option<Value> {
    let words: Vec<&str> = line.split(' ').collect();
    let (kind, place, rest) = match words.as_slice() {
        [kind, place, rest @ ..] => (*kind, *place, rest),
        _ => return None,
    };
    // A name may hold colons but no slash.
    let (namespace, name) = place.split_once('/').unwrap_or(("", place));
    let mut object = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": kind,
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
        },
    });
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
    match kind {
        "Role" | "ClusterRole" => {
            object["rules"] = json!([]);
            for word in rest {
                match word.strip_prefix("from=") {
                    Some(label) => {
                        let labels = json!({format!("{GROUP}/{label}"): "true"});
                        object["aggregationRule"] =
                            json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
                    }
                    None => object["metadata"]["labels"][format!("{GROUP}/{word}")] = "true".into(),
                }
            }
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            let (role, subjects) = rest.split_first()?;
            let (kind, name) = role.split_once('/')?;
            object["roleRef"] = json!({"apiGroup": GROUP, "kind": kind, "name": name});
            object["subjects"] =
                subjects.iter().map(|text| subject(text)).collect::<Option<Vec<_>>>()?.into();
        }
        _ => return None,
    }
    Some(object)
}

fn subject(text: &str) -> Option<Value> {
    let (kind, place) = text.split_once('=')?;
    Some(match (kind, place.split_once('/')) {
        ("ServiceAccount", Some((namespace, name))) => {
            json!({"kind": kind, "name": name, "namespace": namespace})
        }
        ("User" | "Group", None) => json!({"kind": kind, "name": place, "apiGroup": GROUP}),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::book::Book;
    use super::*;
    use crate::authorizer::{Asked, Attributes};
    use crate::user::{AUTHENTICATED, User};
    use xebec_machinery::{defaults, metadata, validation};

    fn book() -> Book {
        let mut book = Book::default();
        objects().unwrap().iter().for_each(|object| book.put(object));
        book
    }

    fn bound(role: &str) -> Book {
        let mut book = book();
        book.put(&json!({
            "kind": "RoleBinding", "metadata": {"name": "b", "namespace": "shop"},
            "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [{"kind": "User", "name": "jane"}],
        }));
        book
    }

    fn may(book: &Book, verb: &str, group: &str, resource: &str) -> bool {
        let asked = Attributes { verb, group, resource, namespace: "shop", ..Attributes::default() };
        book.decide(&User::new("jane", [AUTHENTICATED]), &Asked::Resource(asked)).allowed
    }

    #[test]
    fn every_line_is_an_object_that_the_api_takes() {
        let objects = objects().unwrap();
        assert!(objects.len() > 120, "{}", objects.len());
        for mut object in objects {
            let kind = object["kind"].as_str().unwrap().to_owned();
            defaults::apply(GROUP, "v1", &kind, &mut object);
            assert_eq!(validation::validate_create(GROUP, "v1", &kind, &object), [], "{object}");
            let namespaced = !kind.starts_with("Cluster");
            let plural = format!("{}s", kind.to_lowercase());
            let rule = metadata::NameRule::of(GROUP, &plural);
            assert_eq!(metadata::validate(&object, rule, namespaced), [], "{object}");
        }
    }

    #[test]
    fn view_sees_no_secrets_edit_writes_and_admin_hands_out_roles() {
        let (view, edit, admin) = (bound("view"), bound("edit"), bound("admin"));
        assert!(may(&view, "list", "", "pods") && !may(&view, "get", "", "secrets"));
        assert!(!may(&view, "delete", "", "pods"));
        assert!(may(&edit, "delete", "apps", "deployments") && may(&edit, "get", "", "secrets"));
        assert!(!may(&edit, "create", GROUP, "rolebindings") && may(&admin, "create", GROUP, "rolebindings"));
        assert!(may(&admin, "list", "", "pods") && !may(&admin, "update", "", "resourcequotas"));
    }

    #[test]
    fn everyone_may_discover_and_ask_about_themselves() {
        let book = book();
        let paths = [("/apis", true), ("/livez", true), ("/openapi/v3", true), ("/metrics", false)];
        for (path, allowed) in paths {
            for user in [User::anonymous(), User::new("jane", [AUTHENTICATED])] {
                assert_eq!(book.decide(&user, &Asked::Path { verb: "get", path }).allowed, allowed, "{path}");
            }
        }
        assert!(may(&book, "create", "authorization.k8s.io", "selfsubjectaccessreviews"));
        assert!(!may(&book, "create", "authorization.k8s.io", "subjectaccessreviews"));
        assert!(!may(&book, "get", "", "pods"));
    }
}
