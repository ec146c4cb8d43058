//! What users type.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::controllers::{self, ControllersArgs};
use crate::demo::Demo;
use crate::output::{self, OutputArgs};
use crate::{image, pull, push, query, status, up, why};

/// The cloud-native platform in one program.
#[derive(Debug, Parser)]
#[command(name = "xebec", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the platform in the foreground until SIGINT or SIGTERM.
    ///
    /// When everything asked for serves, `ready in N ms` is printed, and below it one line a part with its address.
    /// The addresses also stand in DIR/endpoints.json while the platform runs.
    Up(UpArgs),
    /// Run the platform with a sample application: two versions of a service behind one gateway.
    Demo(DemoArgs),
    /// Run the controllers of the built-in kinds on a Kubernetes cluster that exists already.
    Controllers(ControllersArgs),
    /// Say which parts of a running instance answer, and where.
    Status(StatusArgs),
    /// Say what the gateway would do with a request: its listener, route, filters and backend, and what other routes lack.
    Why(why::WhyArgs),
    /// Ask the metrics of a running instance in Prometheus' language.
    Query(query::QueryArgs),
    /// Make images and bring them into a registry.
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Push a WebAssembly file to the built-in registry, or to the one that REF names.
    Push(push::PushArgs),
    /// Pull WebAssembly into a file, or an image of another registry into the built-in one.
    Pull(pull::PullArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// What `up` takes.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Where everything is kept.
    #[arg(long, value_name = "DIR", default_value = ".xebec")]
    pub(crate) data: PathBuf,
    /// Where the Kubernetes API is served; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6443", value_parser = address)]
    pub(crate) api: SocketAddr,
    /// Where the image registry listens; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5000", value_parser = address)]
    pub(crate) registry: SocketAddr,
    /// Where metrics and health are served, and Prometheus' HTTP API below /api/v1; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9080", value_parser = address)]
    pub(crate) console: SocketAddr,
    /// A file to which each request to the API is told, one line of JSON each (audit.k8s.io/v1, level Metadata); `-` is
    /// standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) audit: Option<PathBuf>,
    /// Stages of the API's admission to leave out, such as ServiceAccount where no controllers run.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) disable_admission_plugins: Vec<String>,
    /// Where the gateway tells each request as a line of JSON: a file that lines are added to, or - for stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) access_log: Option<PathBuf>,
    /// A prometheus.yml whose targets are scraped too. It is read anew when it changes.
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics_config: Option<PathBuf>,
    /// The parts to run, all others being left out.
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "without")]
    pub(crate) only: Vec<Part>,
    /// The parts to leave out.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) without: Vec<Part>,
}

/// What `demo` takes.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    up: UpArgs,
    /// The port of the demo's gateway; 0 picks a free one [default: 8080, or what the Gateway has from the last time]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
}

/// What `status` takes.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The data directory of the instance.
    #[arg(long, value_name = "DIR", default_value = ".xebec")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// A part of the platform that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Part {
    /// The Kubernetes API.
    Api,
    /// Metrics and health over HTTP.
    Console,
    /// The controllers of the built-in kinds; run with the API unless they are left out.
    Controllers,
    /// Gateways and routes of the Gateway API; needs the API.
    Gateway,
    /// Scraped metrics and queries over them; run with the console unless they are left out.
    Metrics,
    /// Pods on this machine; needs the API and the registry.
    Node,
    /// The image registry.
    Registry,
}

impl Part {
    /// Every part, in the order in which they start.
    pub(crate) const ALL: &[Self] = &[
        Self::Console,
        Self::Registry,
        Self::Api,
        Self::Controllers,
        Self::Gateway,
        Self::Node,
        Self::Metrics,
    ];

    /// The part's name in `endpoints.json`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Console => "console",
            Self::Controllers => "controllers",
            Self::Gateway => "gateway",
            Self::Metrics => "prometheus",
            Self::Node => "node",
            Self::Registry => "registry",
        }
    }
}

/// Reads where something listens.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write it as HOST:PORT with HOST an IP address, e.g. 127.0.0.1:6443".to_owned())
}

impl UpArgs {
    /// The parts to run, in the order in which they start.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let asked =
            |part: &Part| (self.only.is_empty() || self.only.contains(part)) && !self.without.contains(part);
        let wanted = |part: &&Part| match part {
            // They go with the API and the console, where nothing is said of them.
            Part::Controllers if !self.only.contains(part) => {
                asked(&Part::Api) && !self.without.contains(part)
            }
            Part::Metrics if !self.only.contains(part) => {
                asked(&Part::Console) && !self.without.contains(part)
            }
            part => asked(part),
        };
        Part::ALL.iter().filter(wanted).copied().collect()
    }
}

impl Cli {
    /// Does what was typed.
    pub(crate) async fn run(self) -> Result<()> {
        match self.command {
            Command::Up(args) => up::run(args, None).await,
            Command::Demo(DemoArgs { up, port }) => up::run(up, Some(Demo { port })).await,
            Command::Controllers(args) => controllers::run(args).await,
            Command::Status(args) => status::run(&args).await,
            Command::Why(args) => why::run(&args).await,
            Command::Query(args) => query::run(&args).await,
            Command::Image(command) => image::run(command).await,
            Command::Push(args) => push::run(args).await,
            Command::Pull(args) => pull::run(args).await,
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "xebec", &mut script);
                output::write(&script)
            }
        }
    }
}
