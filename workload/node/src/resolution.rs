//! How names are looked up in a pod: its host name, and the files `/etc/hosts` and `/etc/resolv.conf` of its containers, as the
//! kubelet makes them.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::ResourceExt as _;

use crate::Error;
use crate::agent::ClusterDns;

/// Search domains and name servers that a resolver takes, at the most (as upstream limits them).
const MOST_SEARCHES: usize = 32;
const MOST_SERVERS: usize = 3;
/// The longest label of a name (RFC 1123), and the longest name that the kernel takes for a host (`__NEW_UTS_LEN`).
const LABEL: usize = 63;
const HOST: usize = 64;
/// The domain where nobody says which.
const DOMAIN: &str = "cluster.local";

/// What a pod is called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Called {
    /// Its host name.
    pub(crate) host: String,
    /// Its name in cluster DNS, where it has one.
    full: Option<String>,
    /// The label that both begin with.
    label: String,
}

/// What a pod is called, given its cluster's DNS.
pub(crate) fn called(pod: &Pod, dns: Option<&ClusterDns>) -> Result<Called, Error> {
    let spec = pod.spec.as_ref();
    let named =
        |own: fn(&PodSpec) -> Option<&String>| spec.and_then(own).filter(|own| !own.is_empty()).cloned();
    if let Some(host) = named(|spec| spec.hostname_override.as_ref()) {
        return Ok(Called { label: host.clone(), host, full: None });
    }
    let mut label = named(|spec| spec.hostname.as_ref()).unwrap_or_else(|| pod.name_any());
    label.truncate(LABEL);
    let label = label.trim_end_matches(['-', '.']).to_owned();
    let domain = dns.map_or(DOMAIN, |dns| &dns.domain);
    let full = named(|spec| spec.subdomain.as_ref())
        .map(|subdomain| format!("{label}.{subdomain}.{}.svc.{domain}", pod.namespace().unwrap_or_default()));
    let wants_full = spec.is_some_and(|spec| spec.set_hostname_as_fqdn == Some(true));
    let host = full.clone().filter(|_| wants_full).unwrap_or_else(|| label.clone());
    if host.len() > HOST {
        return Err(Error::Config(format!(
            "failed to construct FQDN from Pod hostname and cluster domain, FQDN {host} is too long ({HOST} characters is \
             the max, {} characters requested): choose shorter names or leave setHostnameAsFQDN out",
            host.len()
        )));
    }
    Ok(Called { host, full, label })
}

/// The file of hosts of a pod with a network of its own.
pub(crate) fn hosts(pod: &Pod, address: IpAddr, called: &Called) -> String {
    let mut text = "# Kubernetes-managed hosts file.\n\
        127.0.0.1\tlocalhost\n\
        ::1\tlocalhost ip6-localhost ip6-loopback\n\
        fe00::0\tip6-localnet\n\
        fe00::0\tip6-mcastprefix\n\
        fe00::1\tip6-allnodes\n\
        fe00::2\tip6-allrouters\n"
        .to_owned();
    match &called.full {
        Some(full) => text.push_str(&format!("{address}\t{full}\t{}\n", called.label)),
        None => text.push_str(&format!("{address}\t{}\n", called.label)),
    }
    text + &aliases(pod)
}

/// The file of hosts of a pod that has the machine's network, given the machine's.
pub(crate) fn machine_hosts(pod: &Pod, machine: &str) -> String {
    format!("# Kubernetes-managed hosts file (host network).\n{machine}{}", aliases(pod))
}

fn aliases(pod: &Pod) -> String {
    let mut text = String::new();
    for alias in pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten()) {
        if text.is_empty() {
            text.push_str("\n# Entries added by HostAliases.\n");
        }
        let names: Vec<&str> = alias.hostnames.iter().flatten().map(String::as_str).collect();
        text.push_str(&format!("{}\t{}\n", alias.ip, names.join("\t")));
    }
    text
}

/// What a resolver's file says (resolv.conf(5)).
#[derive(Default)]
struct Resolution {
    servers: Vec<String>,
    searches: Vec<String>,
    options: BTreeMap<String, Option<String>>,
}

impl Resolution {
    fn read(text: &str) -> Self {
        let mut own = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => own.servers.extend(words.next().map(str::to_owned)),
                // The last of them counts.
                Some("search" | "domain") => own.searches = words.map(str::to_owned).collect(),
                Some("options") => own.options.extend(words.map(|word| match word.split_once(':') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (word.to_owned(), None),
                })),
                _ => {}
            }
        }
        own
    }

    /// Cluster DNS first and alone, which asks the machine's servers itself.
    fn of_cluster(machine: Self, dns: &ClusterDns, namespace: &str) -> Self {
        let domain = &dns.domain;
        let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
        searches.extend(machine.searches);
        let options = BTreeMap::from([("ndots".to_owned(), Some("5".to_owned()))]);
        Self { servers: vec![dns.server.to_string()], searches, options }
    }

    fn write(mut self) -> String {
        let mut seen = HashSet::new();
        self.servers.retain(|server| seen.insert(server.clone()));
        seen.clear();
        self.searches.retain(|search| seen.insert(search.clone()));
        self.servers.truncate(MOST_SERVERS);
        self.searches.truncate(MOST_SEARCHES);
        let mut text = String::new();
        if !self.searches.is_empty() {
            text.push_str(&format!("search {}\n", self.searches.join(" ")));
        }
        for server in self.servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if !self.options.is_empty() {
            let options = self.options.into_iter().map(|(name, value)| match value {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
            text.push_str(&format!("options {}\n", options.collect::<Vec<_>>().join(" ")));
        }
        text
    }
}

/// The resolver's file, given the machine's. A pod that asks for a cluster's DNS gets the machine's servers where there is none.
pub(crate) fn resolv_conf(pod: &Pod, machine: &str, dns: Option<&ClusterDns>) -> String {
    let spec = pod.spec.as_ref();
    let has_machines_network = spec.is_some_and(|spec| spec.host_network == Some(true));
    let machine = Resolution::read(machine);
    let namespace = pod.namespace().unwrap_or_default();
    let mut own = match (spec.and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst"), dns) {
        ("None", _) => Resolution::default(),
        ("ClusterFirstWithHostNet", Some(dns)) => Resolution::of_cluster(machine, dns, &namespace),
        ("ClusterFirst", Some(dns)) if !has_machines_network => {
            Resolution::of_cluster(machine, dns, &namespace)
        }
        _ => machine,
    };
    if let Some(more) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        own.servers.extend(more.nameservers.iter().flatten().cloned());
        own.searches.extend(more.searches.iter().flatten().cloned());
        let named = more.options.iter().flatten();
        own.options.extend(named.filter_map(|option| Some((option.name.clone()?, option.value.clone()))));
    }
    own.write()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"namespace": "default", "name": "web"}, "spec": spec}))
            .unwrap_or_default()
    }

    fn dns() -> ClusterDns {
        ClusterDns { server: [10, 96, 0, 10].into(), domain: "cluster.test".to_owned() }
    }

    #[test]
    fn a_pod_knows_itself_and_its_aliases() {
        let address = IpAddr::from([10, 244, 0, 7]);
        let file = |pod: &Pod| hosts(pod, address, &called(pod, None).unwrap());
        let plain = file(&pod(json!({"containers": []})));
        assert!(plain.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(plain.ends_with("10.244.0.7\tweb\n"));
        let aliased = pod(json!({"containers": [], "subdomain": "set",
            "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a", "b"]}]}));
        let full = file(&aliased);
        assert!(full.contains("10.244.0.7\tweb.set.default.svc.cluster.local\tweb\n"));
        assert!(full.ends_with("\n# Entries added by HostAliases.\n10.0.0.1\ta\tb\n"));
        let machines = machine_hosts(&aliased, "127.0.0.1 localhost\n");
        assert_eq!(
            machines,
            "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n\n\
             # Entries added by HostAliases.\n10.0.0.1\ta\tb\n"
        );
    }

    #[test]
    fn a_pod_is_called_what_it_asks_for() {
        let host = |spec| called(&pod(spec), Some(&dns())).map(|called| called.host);
        assert_eq!(host(json!({"containers": []})).unwrap(), "web");
        assert_eq!(host(json!({"containers": [], "hostname": "a", "subdomain": "set"})).unwrap(), "a");
        let full = json!({"containers": [], "hostname": "a", "subdomain": "set", "setHostnameAsFQDN": true});
        assert_eq!(host(full).unwrap(), "a.set.default.svc.cluster.test");
        assert_eq!(host(json!({"containers": [], "setHostnameAsFQDN": true})).unwrap(), "web");
        let over =
            json!({"containers": [], "hostname": "a", "subdomain": "set", "hostnameOverride": "b.test"});
        assert_eq!(host(over).unwrap(), "b.test");
        let long = json!({"containers": [], "hostname": "a".repeat(60), "subdomain": "set", "setHostnameAsFQDN": true});
        assert!(host(long).unwrap_err().to_string().contains("is too long"));
    }

    #[test]
    fn names_are_looked_up_as_the_policy_says() {
        let machine = "search one.test two.test\nnameserver 10.0.0.2\noptions ndots:1 rotate\n";
        let file = |spec, dns: Option<&ClusterDns>| resolv_conf(&pod(spec), machine, dns);
        let dns = dns();
        let cluster = "search default.svc.cluster.test svc.cluster.test cluster.test one.test two.test\n\
            nameserver 10.96.0.10\noptions ndots:5\n";
        assert_eq!(file(json!({"containers": []}), Some(&dns)), cluster);
        assert_eq!(file(json!({"containers": []}), None), machine);
        let default = json!({"containers": [], "dnsPolicy": "Default"});
        assert_eq!(file(default, Some(&dns)), machine);
        let machines = json!({"containers": [], "hostNetwork": true});
        assert_eq!(file(machines, Some(&dns)), machine);
        let both = json!({"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"});
        assert_eq!(file(both, Some(&dns)), cluster);
    }

    #[test]
    fn what_a_pod_adds_is_added() {
        let machine = "search one.test two.test\nnameserver 10.0.0.2\noptions ndots:1 rotate\n";
        let own = json!({"nameservers": ["1.1.1.1", "10.0.0.2"], "searches": ["three.test"],
            "options": [{"name": "ndots", "value": "5"}]});
        assert_eq!(
            resolv_conf(&pod(json!({"containers": [], "dnsConfig": own})), machine, None),
            "search one.test two.test three.test\nnameserver 10.0.0.2\nnameserver 1.1.1.1\noptions ndots:5 rotate\n"
        );
        assert_eq!(
            resolv_conf(
                &pod(json!({"containers": [], "dnsPolicy": "None", "dnsConfig": own})),
                machine,
                Some(&dns())
            ),
            "search three.test\nnameserver 1.1.1.1\nnameserver 10.0.0.2\noptions ndots:5\n"
        );
    }
}
