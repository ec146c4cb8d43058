//! How names are looked up in a pod: the files `/etc/hosts` and `/etc/resolv.conf` of its containers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;

/// Search domains and name servers that a resolver takes, at the most (as upstream limits them).
const MOST_SEARCHES: usize = 32;
const MOST_SERVERS: usize = 3;

/// The file of hosts, as the kubelet writes it.
pub(crate) fn hosts(pod: &Pod, address: IpAddr, hostname: &str) -> String {
    let spec = pod.spec.as_ref();
    let mut text = "# Kubernetes-managed hosts file.\n\
        127.0.0.1\tlocalhost\n\
        ::1\tlocalhost ip6-localhost ip6-loopback\n\
        fe00::0\tip6-localnet\n\
        fe00::0\tip6-mcastprefix\n\
        fe00::1\tip6-allnodes\n\
        fe00::2\tip6-allrouters\n"
        .to_owned();
    let subdomain = spec.and_then(|spec| spec.subdomain.as_deref()).filter(|name| !name.is_empty());
    match subdomain {
        Some(subdomain) => {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let full = format!("{hostname}.{subdomain}.{namespace}.svc.cluster.local");
            text.push_str(&format!("{address}\t{full}\t{hostname}\n"));
        }
        None => text.push_str(&format!("{address}\t{hostname}\n")),
    }
    add_aliases(pod, &mut text);
    text
}

/// The same of a pod that has no network of its own, given the machine's file.
pub(crate) fn hosts_of_the_machine(pod: &Pod, machine: &str) -> String {
    let mut text = format!("# Kubernetes-managed hosts file (host network).\n{machine}");
    add_aliases(pod, &mut text);
    text
}

fn add_aliases(pod: &Pod, text: &mut String) {
    let aliases: Vec<String> = pod
        .spec
        .iter()
        .flat_map(|spec| spec.host_aliases.iter().flatten())
        .map(|alias| {
            format!(
                "{}\t{}\n",
                alias.ip,
                alias.hostnames.iter().flatten().cloned().collect::<Vec<_>>().join("\t")
            )
        })
        .collect();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        aliases.iter().for_each(|line| text.push_str(line));
    }
}

/// The resolver's file, given the machine's. There is no name server of the cluster's own yet, so what asks for that gets
/// the machine's, as the kubelet does where it knows none.
pub(crate) fn resolv_conf(pod: &Pod, machine: &str) -> String {
    let spec = pod.spec.as_ref();
    let policy = spec.and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let (mut servers, mut searches) = (Vec::new(), Vec::new());
    let mut options: BTreeMap<String, Option<String>> = BTreeMap::new();
    if policy != "None" {
        for line in machine.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => servers.extend(words.next().map(str::to_owned)),
                // The last of them counts (resolv.conf(5)).
                Some("search" | "domain") => searches = words.map(str::to_owned).collect(),
                Some("options") => options.extend(words.map(|word| match word.split_once(':') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (word.to_owned(), None),
                })),
                _ => {}
            }
        }
    }
    if let Some(own) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        servers.extend(own.nameservers.iter().flatten().cloned());
        searches.extend(own.searches.iter().flatten().cloned());
        let named = own.options.iter().flatten();
        options.extend(named.filter_map(|option| Some((option.name.clone()?, option.value.clone()))));
    }
    let mut seen = std::collections::HashSet::new();
    servers.retain(|server| seen.insert(server.clone()));
    searches.retain(|search| seen.insert(search.clone()));
    servers.truncate(MOST_SERVERS);
    searches.truncate(MOST_SEARCHES);
    let mut text = String::new();
    if !searches.is_empty() {
        text.push_str(&format!("search {}\n", searches.join(" ")));
    }
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !options.is_empty() {
        let options = options.into_iter().map(|(name, value)| match value {
            Some(value) => format!("{name}:{value}"),
            None => name,
        });
        text.push_str(&format!("options {}\n", options.collect::<Vec<_>>().join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"namespace": "default"}, "spec": spec}))
            .unwrap_or_default()
    }

    #[test]
    fn a_pod_knows_itself_and_its_aliases() {
        let address = IpAddr::from([10, 244, 0, 7]);
        let plain = hosts(&pod(json!({"containers": []})), address, "web");
        assert!(plain.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(plain.ends_with("10.244.0.7\tweb\n"));
        let full = hosts(
            &pod(json!({"containers": [], "subdomain": "set",
                "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a", "b"]}]})),
            address,
            "web",
        );
        assert!(full.contains("10.244.0.7\tweb.set.default.svc.cluster.local\tweb\n"));
        assert!(full.ends_with("\n# Entries added by HostAliases.\n10.0.0.1\ta\tb\n"));
    }

    #[test]
    fn names_are_looked_up_as_the_machine_does_and_the_pod_adds() {
        let machine = "search one.test two.test\nnameserver 10.0.0.2\noptions ndots:1 rotate\n";
        assert_eq!(
            resolv_conf(&pod(json!({"containers": []})), machine),
            "search one.test two.test\nnameserver 10.0.0.2\noptions ndots:1 rotate\n"
        );
        let own = json!({"nameservers": ["1.1.1.1", "10.0.0.2"], "searches": ["three.test"],
            "options": [{"name": "ndots", "value": "5"}]});
        assert_eq!(
            resolv_conf(&pod(json!({"containers": [], "dnsConfig": own})), machine),
            "search one.test two.test three.test\nnameserver 10.0.0.2\nnameserver 1.1.1.1\noptions ndots:5 rotate\n"
        );
        assert_eq!(
            resolv_conf(&pod(json!({"containers": [], "dnsPolicy": "None", "dnsConfig": own})), machine),
            "search three.test\nnameserver 1.1.1.1\nnameserver 10.0.0.2\noptions ndots:5\n"
        );
    }
}
