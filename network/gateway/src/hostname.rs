//! Hostnames of listeners and routes, perhaps with a leading `*.`.

use xebec_proxy::config::HostMatch;

/// The hostname that both match, or none; absence matches every host.
fn meet<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
    let covers = |wide: &str, narrow: &str| match wide.strip_prefix('*') {
        Some(suffix) => narrow.strip_prefix('*').unwrap_or(narrow).ends_with(suffix) && narrow != suffix,
        None => wide == narrow,
    };
    if covers(one, other) {
        Some(other)
    } else if covers(other, one) {
        Some(one)
    } else {
        None
    }
}

/// The hosts on which a route is served at a listener; none if the two have no host in common.
pub(crate) fn meeting(listener: Option<&str>, route: &[String]) -> Vec<HostMatch> {
    let listener = listener.filter(|host| !host.is_empty()).map(str::to_ascii_lowercase);
    if route.is_empty() {
        return vec![listener.as_deref().map_or(HostMatch::Any, pattern)];
    }
    let mut hosts = Vec::new();
    for host in route {
        let host = host.to_ascii_lowercase();
        let common = listener.as_deref().map_or(Some(host.as_str()), |listener| meet(listener, &host));
        if let Some(common) = common.map(pattern)
            && !hosts.contains(&common)
        {
            hosts.push(common);
        }
    }
    hosts
}

fn pattern(host: &str) -> HostMatch {
    match host.strip_prefix("*.") {
        Some(suffix) => HostMatch::Suffix(suffix.to_owned()),
        None => HostMatch::Exact(host.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(host: &str) -> HostMatch {
        HostMatch::Exact(host.into())
    }

    fn suffix(host: &str) -> HostMatch {
        HostMatch::Suffix(host.into())
    }

    #[test]
    fn the_narrower_hostname_is_served() {
        let route = ["*.com".to_owned()];
        assert_eq!(meeting(Some("*.example.com"), &route), [suffix("example.com")]);
        assert_eq!(meeting(Some("a.example.com"), &route), [exact("a.example.com")]);
        assert_eq!(meeting(Some("*.example.com"), &["a.b.example.com".into()]), [exact("a.b.example.com")]);
        assert_eq!(meeting(Some("A.example.com"), &[]), [exact("a.example.com")]);
        assert_eq!(meeting(None, &[]), [HostMatch::Any]);
    }

    #[test]
    fn hostnames_without_a_common_host_do_not_meet() {
        assert_eq!(meeting(Some("*.example.com"), &["example.com".into()]), []);
        assert_eq!(meeting(Some("*.example.com"), &["notexample.com".into()]), []);
        assert_eq!(meeting(Some("a.example.com"), &["b.example.com".into()]), []);
        assert_eq!(meeting(Some("*.a.com"), &["*.b.com".into()]), []);
    }
}
