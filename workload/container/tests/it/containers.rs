use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use xebec_container::{ContainerSpec, Error, Mount, Network, Resources, Signal, Status, TerminalSize};

use crate::house::house;

#[tokio::test]
async fn output_and_exit_code_are_kept() {
    let Some(house) = house("output_and_exit_code_are_kept") else { return };
    let runtime = house.runtime();
    let said = house.started(&runtime, "say", &house.spec(&["say", "hello"])).await;
    let exit = said.wait().await.unwrap();
    assert_eq!((exit.code, exit.signal, exit.out_of_memory, exit.unseen), (0, None, false, false));
    let mut log = house.log();
    log.sort();
    assert_eq!(log, ["stderr F err hello", "stdout F out hello"]);
    assert_eq!(said.status().await.unwrap(), Status::Ended(exit));

    let left = house.started(&runtime, "exit", &house.spec(&["exit", "42"])).await;
    assert_eq!(left.wait().await.unwrap().code, 42);
    said.delete().await.unwrap();
    left.delete().await.unwrap();
    assert!(runtime.recover().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_container_sees_what_was_asked_for_and_nothing_else() {
    let Some(house) = house("a_container_sees_what_was_asked_for_and_nothing_else") else { return };
    let runtime = house.runtime();
    let bound = house.folder.path().join("bound");
    std::fs::create_dir(&bound).unwrap();
    std::fs::write(bound.join("file"), "original").unwrap();
    let spec = ContainerSpec {
        env: vec!["VAR=value".to_owned()],
        working_dir: "/made/for/it".to_owned(),
        user: "app".to_owned(),
        hostname: Some("pod-0".to_owned()),
        mounts: vec![Mount {
            source: bound.clone(),
            part: "".into(),
            target: "/bound".into(),
            read_only: true,
        }],
        read_only_root: true,
        ..house.spec(&["look"])
    };
    let container = house.started(&runtime, "look", &spec).await;
    assert_eq!(container.wait().await.unwrap().code, 0, "{:?}", house.log());
    let log = house.log();
    for expected in [
        "pid 1",
        "cwd /made/for/it",
        "home /home/app",
        "var value",
        "host pod-0",
        "Uid: 1234 1234 1234 1234",
        "broken pipes ignored false",
        "bound original",
        "write bound false",
        "write root false",
        "interfaces 1",
    ] {
        assert!(log.contains(&format!("stdout F {expected}")), "{expected:?} is not in {log:?}");
    }
    container.delete().await.unwrap();

    // The same again as root and writable: what one container changes, the next does not see.
    let spec = ContainerSpec { user: String::new(), read_only_root: false, ..spec };
    let container = house.started(&runtime, "look", &spec).await;
    container.wait().await.unwrap();
    assert!(house.log().contains(&"stdout F write root true".to_owned()));
    container.delete().await.unwrap();
    assert!(!house.folder.path().join("image/changed").exists());
    assert_eq!(std::fs::read_to_string(bound.join("file")).unwrap(), "original");
}

#[tokio::test]
async fn layers_stay_for_as_long_as_an_image_or_a_container_needs_them() {
    let Some(house) = house("layers_stay_for_as_long_as_an_image_or_a_container_needs_them") else { return };
    if !house.privilege.overlay {
        return;
    }
    let runtime = house.runtime();
    let count = || std::fs::read_dir(house.folder.path().join("runtime/layers")).unwrap().count();
    let container = house.started(&runtime, "wait", &house.spec(&["wait"])).await;
    runtime.retain_layers(Default::default()).await.unwrap();
    assert_eq!(count(), 1);
    container.delete().await.unwrap();
    runtime.retain_layers(xebec_oci::image::layers(&house.image.store).unwrap()).await.unwrap();
    assert_eq!(count(), 1);
    runtime.retain_layers(Default::default()).await.unwrap();
    assert_eq!(count(), 0);
    let container = house.started(&runtime, "again", &house.spec(&["exit", "0"])).await;
    assert_eq!(container.wait().await.unwrap().code, 0);
    container.delete().await.unwrap();
}

#[tokio::test]
async fn a_signal_ends_it_and_says_which() {
    let Some(house) = house("a_signal_ends_it_and_says_which") else { return };
    let runtime = house.runtime();
    let container = house.started(&runtime, "wait", &house.spec(&["wait"])).await;
    assert_eq!(container.status().await.unwrap(), Status::Running);
    let early = tokio::time::timeout(Duration::from_millis(100), container.wait()).await;
    assert!(early.is_err(), "{early:?}");
    container.kill(Signal::KILL).unwrap();
    let exit = container.wait().await.unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    container.kill(Signal::TERM).unwrap();
    container.delete().await.unwrap();
}

#[tokio::test]
async fn memory_beyond_the_limit_is_told_apart() {
    let Some(house) = house("memory_beyond_the_limit_is_told_apart") else { return };
    let runtime = house.runtime();
    let resources = Resources { memory_bytes: Some(32 << 20), processes: Some(50), ..Resources::default() };
    let spec = ContainerSpec { resources, ..house.spec(&["eat"]) };
    let container = house.started(&runtime, "eat", &spec).await;
    let exit = container.wait().await.unwrap();
    assert_eq!((exit.code, exit.out_of_memory), (137, true));
    container.delete().await.unwrap();
}

#[tokio::test]
async fn what_cannot_run_says_why_and_leaves_nothing() {
    let Some(house) = house("what_cannot_run_says_why_and_leaves_nothing") else { return };
    let runtime = house.runtime();
    let (id, mut absent) = ("bad".parse().unwrap(), house.spec(&[]));
    absent.args = vec!["/absent".to_owned()];
    let unknown = ContainerSpec { user: "nobody".to_owned(), ..house.spec(&[]) };
    let nothing = ContainerSpec { args: Vec::new(), ..house.spec(&[]) };
    for (spec, expected) in [(absent, "/absent"), (unknown, "nobody"), (nothing, "command")] {
        let refused = runtime.create(&id, &house.image, &spec).await.unwrap_err();
        assert!(refused.to_string().contains(expected), "{refused}");
        assert!(runtime.recover().await.unwrap().is_empty());
    }
    let container = runtime.create(&id, &house.image, &house.spec(&["wait"])).await.unwrap();
    assert_eq!(runtime.find(&id).unwrap().pid(), container.pid());
    assert!(runtime.find(&"other".parse().unwrap()).is_none());
    let twice = runtime.create(&id, &house.image, &house.spec(&["wait"])).await;
    assert!(matches!(twice, Err(Error::Exists { .. })), "{twice:?}");
    assert_eq!(container.status().await.unwrap(), Status::Created);
    container.delete().await.unwrap();
}

#[tokio::test]
async fn without_overlays_each_container_has_a_copy() {
    let Some(mut house) = house("without_overlays_each_container_has_a_copy") else { return };
    house.privilege.overlay = false;
    let runtime = house.runtime();
    for _ in 0..2 {
        let container = house.started(&runtime, "copy", &house.spec(&["look"])).await;
        assert_eq!(container.wait().await.unwrap().code, 0, "{:?}", house.log());
        assert!(house.log().contains(&"stdout F write root true".to_owned()));
        let copy = house.folder.path().join("runtime/containers/copy/rootfs/changed");
        assert!(copy.exists());
        container.delete().await.unwrap();
        assert!(!copy.exists());
    }
}

#[tokio::test]
async fn containers_are_found_again_after_a_restart() {
    let Some(house) = house("containers_are_found_again_after_a_restart") else { return };
    let first = house.runtime();
    let running = house.started(&first, "running", &house.spec(&["wait"])).await;
    let orphan = house.started(&first, "orphan", &house.spec(&["wait"])).await;
    let ended = house.started(&first, "ended", &house.spec(&["exit", "3"])).await;
    ended.wait().await.unwrap();
    let config = house.folder.path().join("runtime/containers/running/config.json");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(config).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "what is in a container's environment is for nobody else");
    let pid = running.pid();
    let monitor = std::fs::read_to_string(format!("/proc/{}/stat", orphan.pid())).unwrap();
    let monitor: i32 =
        monitor.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
    let program = std::fs::read_link(format!("/proc/{monitor}/exe")).unwrap();
    let is_copy = program.to_string_lossy().starts_with("/memfd:xebec-monitor");
    assert!(is_copy, "what enters containers cannot be changed: {program:?}");
    // A process that was killed has closed its pipes; so has this one.
    drop((running, orphan, ended, first));
    rustix::process::kill_process(rustix::process::Pid::from_raw(monitor).unwrap(), Signal::KILL).unwrap();
    std::fs::create_dir(house.folder.path().join("runtime/containers/unfinished")).unwrap();

    let second = house.runtime();
    let mut found = second.recover().await.unwrap();
    let ids: Vec<_> = found.iter().map(|container| container.id().to_string()).collect();
    assert_eq!(ids, ["ended", "orphan", "running"]);
    let running = found.pop().unwrap();
    assert_eq!((running.status().await.unwrap(), running.pid()), (Status::Running, pid));
    let orphan = found.pop().unwrap();
    let lost = orphan.wait().await.unwrap();
    assert_eq!((lost.code, lost.unseen), (137, true));
    // Whoever adopted it may not have taken note of its end yet.
    let state = std::fs::read_to_string(format!("/proc/{}/stat", orphan.pid())).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
    let ended = found.pop().unwrap();
    assert_eq!(ended.wait().await.unwrap().code, 3);
    running.kill(Signal::KILL).unwrap();
    assert_eq!(running.wait().await.unwrap().code, 137);
    for container in [running, orphan, ended] {
        container.delete().await.unwrap();
    }
    assert!(second.recover().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_further_command_runs_in_the_container() {
    let Some(house) = house("a_further_command_runs_in_the_container") else { return };
    let runtime = house.runtime();
    let spec =
        ContainerSpec { hostname: Some("pod-0".to_owned()), user: "app".to_owned(), ..house.spec(&["wait"]) };
    let container = house.started(&runtime, "exec", &spec).await;
    let exec = async |args: &[&str], limit| {
        let args: Vec<_> = args.iter().map(|&arg| arg.to_owned()).collect();
        container.exec(&args).unwrap().output(limit, 4096).await.unwrap()
    };
    let long = Duration::from_secs(30);
    let looked = exec(&["/guest", "look"], long).await;
    let text = String::from_utf8(looked.stdout).unwrap();
    for expected in ["host pod-0", "Uid: 1234", "home /home/app", "broken pipes ignored false"] {
        assert!(text.contains(expected), "{expected:?} is not in {text:?} {:?}", looked.stderr);
    }
    assert_eq!(exec(&["/guest", "exit", "7"], long).await.code, Some(7));
    let said = exec(&["/guest", "say", "x"], long).await;
    assert_eq!((said.stdout.as_slice(), said.stderr.as_slice()), (&b"out x\n"[..], &b"err x\n"[..]));
    let absent = exec(&["/absent"], long).await;
    assert_eq!(absent.code, Some(126));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("/absent"), "{absent:?}");

    let begun = std::time::Instant::now();
    assert_eq!(exec(&["/guest", "wait"], Duration::from_millis(500)).await.code, None);
    assert!(begun.elapsed() < Duration::from_secs(5));
    // Nothing of it is left in the container's process namespace.
    let processes = exec(&["/guest", "processes"], long).await;
    assert_eq!(String::from_utf8(processes.stdout).unwrap(), "/guest wait S\n/guest processes R\n");
    container.delete().await.unwrap();
}

#[tokio::test]
async fn a_command_reads_what_it_is_told_with_and_without_a_terminal() {
    let Some(house) = house("a_command_reads_what_it_is_told_with_and_without_a_terminal") else { return };
    let runtime = house.runtime();
    let container = house.started(&runtime, "talk", &house.spec(&["wait"])).await;
    let talk: Vec<String> = ["/guest", "talk"].map(str::to_owned).to_vec();
    let mut plain = container.exec(&talk).unwrap();
    let mut input = plain.stdin.take().unwrap();
    input.write_all(b"hello\n").await.unwrap();
    drop(input);
    let mut said = String::new();
    plain.stdout.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "terminal false\nyou said hello\nthe end\n");
    assert_eq!(plain.wait().await.unwrap(), 0);

    let size = TerminalSize { rows: 10, columns: 40 };
    let mut exec = container.exec_on_terminal(&talk, size).await.unwrap();
    let mut terminal = exec.terminal.clone().unwrap();
    terminal.resize(TerminalSize { rows: 50, columns: 120 }).unwrap();
    terminal.write_all(b"hello\nbye\n").await.unwrap();
    let mut said = String::new();
    terminal.read_to_string(&mut said).await.unwrap();
    // The terminal echoes what is typed.
    for expected in ["terminal true\r\n", "hello\r\n", "you said hello\r\n"] {
        assert!(said.contains(expected), "{expected:?} is not in {said:?}");
    }
    assert_eq!(exec.wait().await.unwrap(), 5);

    let absent = container.exec_on_terminal(&["/absent".to_owned()], size).await.unwrap();
    let output = absent.output(Duration::from_secs(30), 4096).await.unwrap();
    assert_eq!(output.code, Some(126));
    // One that is given up is ended.
    let given_up = container.exec_on_terminal(&["/guest".to_owned(), "wait".to_owned()], size).await.unwrap();
    drop(given_up);
    for _ in 0..100 {
        let left = container.exec(&["/guest".to_owned(), "processes".to_owned()]).unwrap();
        let left = left.output(Duration::from_secs(30), 4096).await.unwrap();
        if left.stdout.iter().filter(|byte| **byte == b'\n').count() == 2 {
            container.delete().await.unwrap();
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the command goes on");
}

#[tokio::test]
async fn a_part_of_a_volume_stays_within_it_wherever_links_lead() {
    let Some(house) = house("a_part_of_a_volume_stays_within_it_wherever_links_lead") else { return };
    let runtime = house.runtime();
    let (volume, outside) = (house.folder.path().join("volume"), house.folder.path().join("outside"));
    for (folder, text) in [(volume.join("inside"), "inside"), (outside.clone(), "outside")] {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("file"), text).unwrap();
    }
    // As another container puts them there after the part was looked at, and before it is shown.
    std::os::unix::fs::symlink(&outside, volume.join("away")).unwrap();
    std::os::unix::fs::symlink("../../outside", volume.join("up")).unwrap();
    std::os::unix::fs::symlink("/inside", volume.join("round")).unwrap();
    let pod = "pod".parse().unwrap();
    let network = house.folder.path().join("net");
    let own = runtime.user_namespace(&pod, Some(network.clone())).await.ok();
    for user_namespace in std::iter::once(None).chain(own.map(Some)) {
        let network =
            user_namespace.as_ref().map_or(Network::Isolated, |_| Network::Namespace(network.clone()));
        let spec = |part: &str| ContainerSpec {
            user_namespace: user_namespace.clone(),
            network: network.clone(),
            mounts: vec![Mount {
                source: volume.clone(),
                part: part.into(),
                target: "/bound".into(),
                read_only: false,
            }],
            ..house.spec(&["look"])
        };
        let container = house.started(&runtime, "round", &spec("round")).await;
        assert_eq!(container.wait().await.unwrap().code, 0);
        assert!(house.log().contains(&"stdout F bound inside".to_owned()), "{:?}", house.log());
        container.delete().await.unwrap();
        std::fs::write(volume.join("inside/file"), "inside").unwrap();
        for part in ["away", "up", "away/file"] {
            let id = "astray".parse().unwrap();
            let refused = runtime.create(&id, &house.image, &spec(part)).await.unwrap_err();
            assert!(refused.to_string().contains("volume"), "{part}: {refused}");
        }
    }
    runtime.remove_user_namespace(&pod).await.unwrap();
    let _ = rustix::mount::unmount(&network, rustix::mount::UnmountFlags::DETACH);
}

#[tokio::test]
async fn the_machines_devices_are_out_of_reach() {
    let Some(mut house) = house("the_machines_devices_are_out_of_reach") else { return };
    let bound = house.folder.path().join("bound");
    std::fs::create_dir(&bound).unwrap();
    for (overlay, read_only_root) in
        [(house.privilege.overlay, false), (house.privilege.overlay, true), (false, false)]
    {
        house.privilege.overlay = overlay;
        let runtime = house.runtime();
        let spec = ContainerSpec {
            mounts: vec![Mount {
                source: bound.clone(),
                part: "".into(),
                target: "/bound".into(),
                read_only: false,
            }],
            read_only_root,
            ..house.spec(&["read", "/proc/self/status", "/proc/self/mounts"])
        };
        let container = house.started(&runtime, "look", &spec).await;
        assert_eq!(container.wait().await.unwrap().code, 0);
        container.delete().await.unwrap();
        let lines: Vec<_> = house.log().into_iter().map(|line| line.replace("stdout F ", "")).collect();
        let held = lines.iter().rev().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
        // CAP_MKNOD is the 27th (capability.h).
        assert_eq!(u64::from_str_radix(held, 16).unwrap() >> 27 & 1, 0, "{held}");
        for place in ["/", "/bound"] {
            let mut mounts = lines.iter().rev().map(|line| line.split(' ').collect::<Vec<_>>());
            let mount = mounts.find(|fields| fields.len() == 6 && fields[1] == place).unwrap();
            assert!(mount[3].split(',').any(|option| option == "nodev"), "{mount:?}");
        }
    }
    // Where control groups do not keep devices away, nobody may make them as the machine's root.
    house.privilege.devices = false;
    let capabilities = Some(vec!["CAP_MKNOD".to_owned()]);
    let spec = ContainerSpec { capabilities, ..house.spec(&["exit", "0"]) };
    let refused = house.runtime().create(&"mknod".parse().unwrap(), &house.image, &spec).await.unwrap_err();
    assert!(refused.to_string().contains("hostUsers"), "{refused}");
    house.privilege.devices = true;
    let container = house.started(&house.runtime(), "mknod", &spec).await;
    container.wait().await.unwrap();
    container.delete().await.unwrap();
}

#[tokio::test]
async fn a_container_reads_its_limits_and_cannot_change_them() {
    let Some(house) = house("a_container_reads_its_limits_and_cannot_change_them") else { return };
    let runtime = house.runtime();
    let pod = "pod".parse().unwrap();
    let network = house.folder.path().join("net");
    let own = runtime.user_namespace(&pod, Some(network.clone())).await.ok();
    let limit = if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        "/sys/fs/cgroup/memory.max"
    } else {
        "/sys/fs/cgroup/memory/memory.limit_in_bytes"
    };
    for user_namespace in std::iter::once(None).chain(own.map(Some)) {
        let network =
            user_namespace.as_ref().map_or(Network::Isolated, |_| Network::Namespace(network.clone()));
        let resources =
            Resources { memory_bytes: Some(64 << 20), cpu_millis: Some(250), ..Resources::default() };
        let spec = ContainerSpec { user_namespace, network, resources, ..house.spec(&["wait"]) };
        let container = house.started(&runtime, "limited", &spec).await;
        let exec = async |args: &[&str]| {
            let args: Vec<_> =
                std::iter::once("/guest").chain(args.iter().copied()).map(str::to_owned).collect();
            container.exec(&args).unwrap().output(Duration::from_secs(30), 4096).await.unwrap()
        };
        let read = exec(&["read", limit]).await;
        assert_eq!(String::from_utf8_lossy(&read.stdout), "67108864\n", "{spec:?}");
        assert_ne!(exec(&["write", limit, "134217728"]).await.code, Some(0), "{spec:?}");
        assert_ne!(exec(&["write", "/sys/fs/cgroup/own", "x"]).await.code, Some(0), "{spec:?}");
        let used = runtime.usage();
        assert!(
            matches!(used.as_slice(), [(id, used)] if id.as_str() == "limited" && used.memory_bytes > 0),
            "{used:?}"
        );
        // Where on the machine its group is, is not the container's to know.
        let groups = exec(&["read", "/proc/1/cgroup"]).await;
        let groups = String::from_utf8(groups.stdout).unwrap();
        let told = groups.lines().find(|line| line.contains(":memory:") || line.starts_with("0::"));
        assert!(told.is_some_and(|line| line.ends_with(":/")), "{groups}");
        container.delete().await.unwrap();
    }
    runtime.remove_user_namespace(&pod).await.unwrap();
    let _ = rustix::mount::unmount(&network, rustix::mount::UnmountFlags::DETACH);
}

#[tokio::test]
async fn root_in_a_user_namespace_is_nobody_on_the_machine() {
    let Some(mut house) = house("root_in_a_user_namespace_is_nobody_on_the_machine") else { return };
    for overlay in [house.privilege.overlay, false] {
        house.privilege.overlay = overlay;
        let runtime = house.runtime();
        let pod = "pod".parse().unwrap();
        let network = house.folder.path().join("net");
        let user = match runtime.user_namespace(&pod, Some(network.clone())).await {
            Ok(user) => user,
            Err(reason) => {
                eprintln!("skipped: root_in_a_user_namespace_is_nobody_on_the_machine: {reason}");
                return;
            }
        };
        assert_eq!(runtime.user_namespace(&pod, Some(network.clone())).await.unwrap(), user);
        let bound = house.folder.path().join("bound");
        let _ = std::fs::create_dir(&bound);
        std::fs::write(bound.join("file"), "original").unwrap();
        let secret = house.folder.path().join("secret");
        std::fs::write(&secret, "secret").unwrap();
        std::os::unix::fs::chown(&secret, Some(4242), Some(4242)).unwrap();
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let spec = |args: &[&str]| ContainerSpec {
            user_namespace: Some(user.clone()),
            network: Network::Namespace(network.clone()),
            hostname: Some("pod-0".to_owned()),
            working_dir: "/made/for/it".to_owned(),
            mounts: vec![
                Mount { source: bound.clone(), part: "".into(), target: "/bound".into(), read_only: false },
                Mount { source: secret.clone(), part: "".into(), target: "/secret".into(), read_only: true },
            ],
            ..house.spec(args)
        };
        let container = house.started(&runtime, "look", &spec(&["look"])).await;
        assert_eq!(container.wait().await.unwrap().code, 0, "{:?}", house.log());
        let log = house.log();
        for expected in
            ["cwd /made/for/it", "Uid: 0 0 0 0", "bound original", "write bound true", "write root true"]
        {
            assert!(log.contains(&format!("stdout F {expected}")), "{expected:?} is not in {log:?}");
        }
        container.delete().await.unwrap();
        // What it wrote is on disk as if its root had been the machine's.
        let about = std::fs::metadata(bound.join("file")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&about), 0);
        assert_eq!(std::fs::read_to_string(bound.join("file")).unwrap(), "changed");

        let container = house.started(&runtime, "wait", &spec(&["wait"])).await;
        let status = std::fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
        let uid = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
        assert!(uid.contains(&user.first.to_string()) && user.first >= 65_536, "{uid}");
        let read = ["/guest", "read", "/proc/self/uid_map", "/secret"].map(str::to_owned);
        let output = container.exec(&read).unwrap().output(Duration::from_secs(30), 4096).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(&format!("{}      65536", user.first)), "{output:?}");
        // It is root over what is the namespace's, whoever that belongs to in it.
        assert!(said.ends_with("secret"), "{said}");
        let talk = ["/guest", "talk"].map(str::to_owned);
        let exec = container.exec_on_terminal(&talk, TerminalSize::default()).await.unwrap();
        let mut terminal = exec.terminal.clone().unwrap_or_else(|| panic!("no terminal"));
        terminal.write_all(b"bye\n").await.unwrap();
        let mut said = String::new();
        terminal.read_to_string(&mut said).await.unwrap();
        assert!(said.contains("terminal true"), "{said:?}");
        container.delete().await.unwrap();
        runtime.remove_user_namespace(&pod).await.unwrap();
        assert!(runtime.user_namespaces().is_empty());
        let _ = rustix::mount::unmount(&network, rustix::mount::UnmountFlags::DETACH);
    }
}
