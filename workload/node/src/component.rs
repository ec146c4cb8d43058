//! A container that is a WebAssembly component, in this process.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use kube::ResourceExt as _;
use tokio_util::sync::CancellationToken;
use xebec_wasm::{Volume, WorkloadOptions};

use crate::environment::expand;
use crate::event::Kind;
use crate::image::Found;
use crate::logs::Writer;
use crate::place::Place;
use crate::slot::{End, Slot};
use crate::vigil::{Halt, Target};
use crate::{Error, termination, wasm};

impl Halt for CancellationToken {
    fn ask(&self) {
        self.cancel();
    }

    fn force(&self) {
        self.cancel();
    }
}

impl Slot {
    /// Begins the component and lets it run to its end.
    pub(crate) async fn component(
        &self,
        place: &Place,
        found: &Found,
        env: BTreeMap<String, String>,
    ) -> Result<End, Error> {
        let life = &self.life;
        let ports = self.container.ports.iter().flatten();
        let ports: Vec<u16> = ports.filter_map(|port| u16::try_from(port.container_port).ok()).collect();
        let options = &life.node.options;
        let ready = wasm::prepare(&options.host, &options.store, found, place.address, &ports).await?;
        let name = &self.container.name;
        self.note(Kind::Normal, "Created", format!("Created container: {name}"));
        let args = self.container.args.iter().flatten().map(|arg| expand(arg, &env)).collect();
        // Held until the component has ended: each instance opens them anew.
        let mounts = self.mounts(place, &env).await?;
        let volumes = mounts.iter().map(|mounted| Volume {
            host_path: format!("/proc/self/fd/{}", mounted.held.as_raw_fd()).into(),
            guest_path: mounted.mount.mount_path.clone(),
            read_only: mounted.read_only,
        });
        let settings = WorkloadOptions {
            args,
            volumes: volumes.collect(),
            env: env.into_iter().collect(),
            outbound_http: true,
            output: Arc::new(Writer::new(self.log())),
            reuse: life.pod.annotations().get("xebec.dev/wasm-reuse").is_some_and(|own| own == "true"),
            ..WorkloadOptions::default()
        };
        let stop = CancellationToken::new();
        let running = ready.run(&options.host, settings, stop.clone());
        self.note(Kind::Normal, "Started", format!("Started container {name}"));
        let target = Target { container: &self.container, address: place.address, process: None };
        let code = self.live(&target, true, &stop, running).await?;
        let mut end = End::of(code, None, false);
        let none = life.folder.join("no-message");
        drop(mounts);
        end.message = termination::message(&self.container, &none, &self.log(), code).await;
        Ok(end)
    }
}
