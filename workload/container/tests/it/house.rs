//! A store with one image of one static program, and a runtime to run it.

use std::sync::Arc;

use xebec_container::{Container, ContainerSpec, Image, MonitorCommand, Privilege, Runtime};
use xebec_oci::{
    Limits, Selector, Store,
    image::{BuildRequest, Content, Platform, Rootfs, RunConfig, build, resolve},
};

use crate::guest;

pub(crate) struct House {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) image: Image,
    pub(crate) privilege: Privilege,
}

/// What containers can do here, or nothing after saying why the test is skipped.
pub(crate) fn privilege(test: &str) -> Option<Privilege> {
    match xebec_container::check(&std::env::temp_dir()) {
        Ok(privilege) => Some(privilege),
        Err(reason) => {
            eprintln!("skipped: {test}: {reason}");
            None
        }
    }
}

pub(crate) fn house(test: &str) -> Option<House> {
    let privilege = privilege(test)?;
    // Closed to others, as a data directory is: what a pod's own root needs of it must be held or shown elsewhere.
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    let folder = tempfile::Builder::new().permissions(closed).tempdir().unwrap();
    let store = Store::open(folder.path().join("store"), Limits::default()).unwrap();
    let root = folder.path().join("image");
    guest::lay_out(&root);
    let (name, tag) = ("test/guest".parse().unwrap(), "v1".parse().unwrap());
    let request = BuildRequest {
        rootfs: Rootfs::Directory(root),
        config: RunConfig::default(),
        platform: Platform::host(),
    };
    build(&store, &name, &tag, &request).unwrap();
    let found = resolve(&store, &name, &Selector::Tag(tag), &Platform::host()).unwrap();
    let Content::Container(config) = found.content else { panic!("no container image") };
    let image = Image { store: Arc::new(store), name, manifest: found.manifest, config: *config };
    Some(House { folder, image, privilege })
}

fn monitor() -> MonitorCommand {
    MonitorCommand { program: env!("CARGO_BIN_EXE_xebec-monitor").into(), args: Vec::new() }
}

impl Drop for House {
    /// A test that fails leaves no container behind.
    fn drop(&mut self) {
        let containers = std::fs::read_dir(self.folder.path().join("runtime/containers"));
        for container in containers.into_iter().flatten().flatten() {
            let processes = std::fs::read(container.path().join("processes.json")).unwrap_or_default();
            let processes: serde_json::Value = serde_json::from_slice(&processes).unwrap_or_default();
            let first = processes["first"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
            if let Some(first) = first.and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(first, rustix::process::Signal::KILL);
            }
        }
    }
}

impl House {
    pub(crate) fn runtime(&self) -> Runtime {
        Runtime::open(self.folder.path().join("runtime"), monitor(), self.privilege).unwrap()
    }

    pub(crate) fn spec(&self, args: &[&str]) -> ContainerSpec {
        let args = std::iter::once("/guest").chain(args.iter().copied()).map(str::to_owned).collect();
        ContainerSpec::new(args, self.folder.path().join("logs/0.log"))
    }

    pub(crate) async fn started(&self, runtime: &Runtime, id: &str, spec: &ContainerSpec) -> Container {
        let mut container = runtime.create(&id.parse().unwrap(), &self.image, spec).await.unwrap();
        container.start().await.unwrap();
        container
    }

    /// The log's lines without their times.
    pub(crate) fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("logs/0.log")).unwrap_or_default();
        text.lines().filter_map(|line| line.split_once(' ')).map(|(_, line)| line.to_owned()).collect()
    }
}
