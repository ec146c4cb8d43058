//! Acting as somebody else: the `Impersonate-…` headers.

use http::HeaderMap;
use percent_encoding::percent_decode_str;
use xebec_machinery::status::Status;

use crate::authorizer::{Asked, Attributes, Decision};
use crate::user::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User, service_account_of};

const EXTRA: &str = "impersonate-extra-";
/// The group of user identities, beside users and groups.
const GROUP: &str = "authentication.k8s.io";

/// The user that a request acts as: who asks, or whom its headers name.
///
/// # Errors
///
/// Somebody is named whom `decide` does not let the user act as, or something is named without a user.
pub fn acting(
    user: User,
    headers: &HeaderMap,
    decide: impl Fn(&User, &Asked<'_>) -> Result<Decision, Status>,
) -> Result<User, Status> {
    let Some(mut wanted) = wanted(headers)? else { return Ok(user) };
    let check = |attributes: Attributes<'_>| {
        let asked = Asked::Resource(Attributes { verb: "impersonate", ..attributes });
        let decision = decide(&user, &asked)?;
        if decision.allowed { Ok(()) } else { Err(asked.refuse(&user, &decision.reason)) }
    };
    match service_account_of(&wanted.name) {
        Some((namespace, name)) => {
            check(Attributes { resource: "serviceaccounts", namespace, name, ..Attributes::default() })?;
        }
        None => check(Attributes { resource: "users", name: &wanted.name, ..Attributes::default() })?,
    }
    for name in &wanted.groups {
        check(Attributes { resource: "groups", name, ..Attributes::default() })?;
    }
    for (key, values) in &wanted.extra {
        for name in values {
            let resource = "userextras";
            check(Attributes { group: GROUP, resource, subresource: key, name, ..Attributes::default() })?;
        }
    }
    if !wanted.uid.is_empty() {
        check(Attributes { group: GROUP, resource: "uids", name: &wanted.uid, ..Attributes::default() })?;
    }
    if let (Some((namespace, name)), true) = (service_account_of(&wanted.name), wanted.groups.is_empty()) {
        wanted.groups = User::service_account(namespace, name).groups;
    }
    let everyones = if wanted.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    if !wanted.is_in(AUTHENTICATED) && !wanted.is_in(UNAUTHENTICATED) {
        wanted.groups.push(everyones.to_owned());
    }
    Ok(wanted)
}

/// Whom the headers name, if they do.
fn wanted(headers: &HeaderMap) -> Result<Option<User>, Status> {
    let texts = |name: &str| -> Result<Vec<String>, Status> {
        let unreadable = |_| {
            Status::bad_request(format!("the header {name} is not text; percent-encode what is not ASCII"))
        };
        headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().map(str::to_owned).map_err(unreadable))
            .collect()
    };
    let first = |name: &str| texts(name).map(|all| all.into_iter().next().unwrap_or_default());
    let mut user = User {
        name: first("impersonate-user")?,
        uid: first("impersonate-uid")?,
        groups: texts("impersonate-group")?,
        ..User::default()
    };
    for header in headers.keys().filter(|header| header.as_str().starts_with(EXTRA)) {
        let raw = &header.as_str()[EXTRA.len()..];
        let key = percent_decode_str(raw).decode_utf8().map_or_else(|_| raw.to_owned(), Into::into);
        user.extra.insert(key, texts(header.as_str())?);
    }
    match (user.name.is_empty(), user == User::default()) {
        (true, true) => Ok(None),
        (true, false) => {
            let why =
                "requested a group, uid or extra without impersonating a user; send Impersonate-User too";
            Err(Status::bad_request(why))
        }
        (false, _) => Ok(Some(user)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn anything(_: &User, _: &Asked<'_>) -> Result<Decision, Status> {
        Ok(Decision { allowed: true, reason: String::new() })
    }

    #[test]
    fn the_headers_say_who_is_acted_as() {
        let given = headers(&[
            ("impersonate-user", "jane"),
            ("impersonate-group", "dev"),
            ("impersonate-group", "ops"),
            ("impersonate-uid", "u1"),
            ("impersonate-extra-example.com%2fscopes", "a"),
            ("impersonate-extra-example.com%2fscopes", "b"),
        ]);
        let jane = acting(User::new("root", []), &given, anything).unwrap();
        assert_eq!((jane.name.as_str(), jane.uid.as_str()), ("jane", "u1"));
        assert_eq!(jane.groups, ["dev", "ops", AUTHENTICATED]);
        assert_eq!(jane.extra["example.com/scopes"], ["a", "b"]);
        let robot = headers(&[("impersonate-user", "system:serviceaccount:shop:web")]);
        let robot = acting(User::new("root", []), &robot, anything).unwrap();
        assert_eq!(robot, User::service_account("shop", "web"));
        let nobody = acting(User::new("root", []), &headers(&[("impersonate-user", ANONYMOUS)]), anything);
        assert_eq!(nobody.unwrap(), User::anonymous());
    }

    #[test]
    fn each_part_is_asked_for_and_refused_in_upstreams_words() {
        let given = headers(&[("impersonate-user", "jane"), ("impersonate-group", "system:masters")]);
        let users_alone = |_: &User, asked: &Asked<'_>| {
            let allowed = matches!(asked, Asked::Resource(asked) if asked.resource == "users");
            Ok(Decision { allowed, reason: String::new() })
        };
        let status = acting(User::new("bob", []), &given, users_alone).unwrap_err();
        assert_eq!(status.code(), 403);
        assert_eq!(
            status.message,
            r#"groups "system:masters" is forbidden: User "bob" cannot impersonate resource "groups" in API group "" at the cluster scope"#
        );
        let alone = headers(&[("impersonate-group", "dev")]);
        assert_eq!(acting(User::new("bob", []), &alone, anything).unwrap_err().code(), 400);
    }
}
