//! `xebec controllers`: the controllers on a Kubernetes API that others serve.
//!
//! Several of these may run; one of them leads. What they need to be allowed is printed as objects for that API.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use xebec_controllers::election::{Election, Pace, lead};
use xebec_controllers::{Controller, Settings, rules, run_with};

use crate::output;
use crate::{shutdown, up};

/// The name of the Lease, of the account and of its roles.
const NAME: &str = "xebec-controllers";
/// As much as a ConfigMap holds.
const MOST_CERTIFICATES: usize = 1 << 20;
const ROLES: &str = "rbac.authorization.k8s.io";

/// What `controllers` takes.
#[derive(Debug, Args)]
pub(crate) struct ControllersArgs {
    /// How the API is reached [default: $KUBECONFIG, ~/.kube/config, or the account of the pod that this runs in]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    context: Option<String>,
    /// The controllers to run, all others being left out.
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "without", value_parser = names())]
    only: Vec<String>,
    /// The controllers to leave out.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = names())]
    without: Vec<String>,
    /// Where the Lease is by which one of several processes leads.
    #[arg(long, value_name = "NAME", default_value = "kube-system")]
    namespace: String,
    /// The certificates, in PEM, by which pods know the API: published in each namespace as kube-root-ca.crt.
    #[arg(long, value_name = "FILE")]
    root_ca: Option<PathBuf>,
    /// Print an account with the rights that these controllers need, for `kubectl apply -f -`, and end.
    #[arg(long)]
    print_rbac: bool,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(Controller::ALL.iter().map(Controller::name))
}

impl ControllersArgs {
    fn wanted(&self) -> Vec<Controller> {
        let has = |list: &[String], controller: &Controller| list.iter().any(|own| own == controller.name());
        let wanted = |controller: &&Controller| {
            (self.only.is_empty() || has(&self.only, controller)) && !has(&self.without, controller)
        };
        Controller::ALL.iter().filter(wanted).copied().collect()
    }
}

/// Runs the controllers until a signal ends them, or until another process leads.
pub(crate) async fn run(args: ControllersArgs) -> Result<()> {
    let wanted = args.wanted();
    if wanted.is_empty() {
        bail!("nothing is left to run: --without excludes every controller");
    }
    if args.print_rbac {
        return output::write(manifest(&args.namespace, &wanted)?.as_bytes());
    }
    let root_certificates = args.root_ca.as_deref().map(certificates).transpose()?;
    up::start_log()?;
    let stop = shutdown::on_signals()?.wish;
    let client = connect(args.kubeconfig.as_deref(), args.context).await?;
    let names: Vec<&str> = wanted.iter().map(Controller::name).collect();
    tracing::info!(controllers = names.join(","), "standing for the lease");
    let election = Election {
        namespace: args.namespace,
        name: NAME.to_owned(),
        identity: identity(),
        pace: Pace::default(),
    };
    let settings = Settings { controllers: wanted, root_certificates, ..Settings::default() };
    let work = client.clone();
    lead(client, &election, stop, move |stop| run_with(work, settings, stop)).await?;
    Ok(())
}

/// The certificates of a file, which is small and holds at least one.
fn certificates(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    if !text.contains("-----BEGIN CERTIFICATE-----") || text.len() > MOST_CERTIFICATES {
        bail!("{} holds no certificates in PEM, or more than {MOST_CERTIFICATES} bytes", path.display());
    }
    Ok(text)
}

/// A client that has reached the API.
async fn connect(kubeconfig: Option<&Path>, context: Option<String>) -> Result<Client> {
    let config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)
                .with_context(|| format!("the kubeconfig {} cannot be read", path.display()))?;
            let known = |name: &String| file.contexts.iter().any(|own| own.name == *name);
            if let Some(unknown) = context.as_ref().filter(|name| !known(name)) {
                let names: Vec<_> = file.contexts.iter().map(|own| own.name.as_str()).collect();
                bail!("{} has no context {unknown:?}; it has {}", path.display(), names.join(", "));
            }
            let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(file, &options)
                .await
                .with_context(|| format!("the kubeconfig {} names no cluster and user", path.display()))?
        }
        None => Config::infer().await.context("no kubeconfig was found: name one with --kubeconfig FILE")?,
    };
    let url = config.cluster_url.clone();
    let client = Client::try_from(config).with_context(|| format!("no client can be made for {url}"))?;
    let version = client.apiserver_version().await;
    let version = version.with_context(|| format!("the API at {url} does not answer"))?;
    tracing::info!(%url, version = version.git_version, "the API answers");
    if version.git_version.contains("+xebec.") {
        tracing::warn!(
            "this API is xebec's own, and its `xebec up` runs these controllers itself unless it was started with \
             --without: end one of the two"
        );
    }
    Ok(client)
}

/// A name that no other process has.
fn identity() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}_{}", uuid::Uuid::new_v4())
}

/// An account, and roles that let it do what these controllers do.
fn manifest(namespace: &str, controllers: &[Controller]) -> Result<String> {
    let documents: Vec<String> =
        objects(namespace, controllers)?.iter().map(serde_saphyr::to_string).collect::<Result<_, _>>()?;
    Ok(documents.join("---\n"))
}

fn objects(namespace: &str, controllers: &[Controller]) -> Result<[Value; 5]> {
    let api = format!("{ROLES}/v1");
    let meta = json!({"name": NAME});
    let within = json!({"name": NAME, "namespace": namespace});
    let subjects = json!([{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}]);
    let role = |kind: &str| json!({"apiGroup": ROLES, "kind": kind, "name": NAME});
    // A name cannot be asked for where an object is yet to be made.
    let lease = json!([
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [NAME],
            "verbs": ["get", "update"],
        },
    ]);
    Ok([
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": within}),
        json!({"apiVersion": api, "kind": "ClusterRole", "metadata": meta, "rules": rules(controllers)}),
        json!({
            "apiVersion": api, "kind": "ClusterRoleBinding", "metadata": meta,
            "roleRef": role("ClusterRole"), "subjects": subjects,
        }),
        json!({"apiVersion": api, "kind": "Role", "metadata": within, "rules": lease}),
        json!({
            "apiVersion": api, "kind": "RoleBinding", "metadata": within,
            "roleRef": role("Role"), "subjects": subjects,
        }),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser as _;

    #[test]
    fn a_controller_that_is_not_known_is_a_wrong_usage() {
        for args in [["--only", "no-such"], ["--without", "job,no-such"]] {
            let typed = ["xebec", "controllers"].into_iter().chain(args);
            assert_eq!(Cli::try_parse_from(typed).unwrap_err().exit_code(), 2, "{args:?}");
        }
    }

    #[test]
    fn the_roles_are_those_of_the_chosen_controllers_and_bound_to_the_account() {
        let some: Vec<Controller> =
            ["deployment", "replicaset"].iter().filter_map(|name| Controller::named(name)).collect();
        let [account, role, binding, lease, lease_binding] = objects("ops", &some).unwrap();
        assert_eq!(account["metadata"]["namespace"], "ops");
        for bound in [&binding, &lease_binding] {
            assert_eq!(bound["subjects"][0]["namespace"], "ops");
        }
        assert_eq!(
            (binding["roleRef"]["kind"].as_str(), lease_binding["roleRef"]["kind"].as_str()),
            (Some("ClusterRole"), Some("Role"))
        );
        let text = role.to_string() + &lease.to_string();
        assert!(
            text.contains("replicasets/status") && !text.contains('*') && !text.contains("secrets"),
            "{text}"
        );
        // Stars are text to whoever reads the manifest.
        let text = manifest("ops", Controller::ALL).unwrap();
        assert!(text.contains("\"*\"") || text.contains("'*'"), "{text}");
    }
}
