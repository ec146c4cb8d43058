//! Starts that cannot be: each ends with code 1 and one line that says what to do, and harms nothing.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::cluster::{Cluster, until};
use crate::running::{Running, ended, installed, on_free_ports, with_api, xebec};

/// What a start that failed printed: code 1, nothing on stdout, and at the end one line with all of `parts`.
fn fails_with(output: &Output, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(output.stdout.is_empty(), "nothing is ready: {}", String::from_utf8_lossy(&output.stdout));
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(errors.len() == 1 && text.lines().last() == Some(errors[0]), "{text}");
    for part in parts {
        assert!(errors[0].contains(part), "{part:?} is missing in {text}");
    }
}

fn up(data: &Path) -> Output {
    ended(on_free_ports(&["up"], data))
}

#[test]
fn a_port_in_use_is_named_with_the_flag_that_chooses_another() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    fails_with(&ended(with_api(&["up"], &address, data.path())), &[&address, "--api ADDR"]);
    for (part, flag) in [("registry", "--registry"), ("console", "--console")] {
        let alone = ["up", "--only", part, flag, &address, "--data"];
        let mut command = xebec();
        command.args(alone).arg(data.path());
        fails_with(&ended(command), &[&address, &format!("{flag} ADDR")]);
    }
}

#[test]
fn a_data_directory_that_another_process_holds_stays_its_own() {
    let data = tempfile::tempdir().unwrap();
    let first = Running::start(data.path());
    let path = data.path().canonicalize().unwrap();
    fails_with(&up(data.path()), &["another xebec holds", path.to_str().unwrap(), "--data DIR"]);
    assert!(first.endpoint("api").starts_with("127.0.0.1:"), "its endpoints stand");
}

#[test]
fn a_data_directory_that_may_not_be_written_or_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    fails_with(&up(&file), &[file.to_str().unwrap(), "--data DIR"]);

    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let as_nobody = |data: &Path| {
        if !is_root {
            return up(data);
        }
        // Where the build is may be closed to others.
        let program = folder.path().join("xebec");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_xebec"), &program).unwrap();
        }
        let mut command = Command::new(&program);
        command.args(["up", "--only", "registry", "--registry", "127.0.0.1:0", "--data"]).arg(data);
        command.uid(65534).gid(65534);
        ended(command)
    };
    for data in [closed.clone(), closed.join("below")] {
        fails_with(&as_nobody(&data), &[data.to_str().unwrap(), "Permission denied", "--data DIR"]);
    }
}

#[test]
fn a_damaged_store_is_refused_and_left_as_it_is() {
    let data = tempfile::tempdir().unwrap();
    Running::start(data.path()).end_with("TERM");
    let store = data.path().join("store/store.redb");
    let whole = fs::read(&store).unwrap();
    let damages: [fn(&mut Vec<u8>); 3] = [
        |file| file.truncate(file.len() / 2),
        |file| file[..1024].fill(0x5A),
        |file| {
            // All pages but the first: of a few ones each might be free.
            file[4096..].fill(0x5A);
        },
    ];
    for damage in damages {
        let mut damaged = whole.clone();
        damage(&mut damaged);
        fs::write(&store, &damaged).unwrap();
        let mut command = on_free_ports(&["up"], data.path());
        command.env_remove("RUST_BACKTRACE");
        fails_with(
            &ended(command),
            &[store.to_str().unwrap(), "is damaged", "restore the directory from a backup"],
        );
    }
    fs::write(&store, &whole).unwrap();
    Running::start(data.path()).end_with("TERM");
}

/// A small file system of its own.
struct Disk(PathBuf);

impl Disk {
    /// Mounts one, or says that the test is skipped because that is not allowed.
    fn mount(folder: &Path, size: &str) -> Option<Self> {
        let size = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder.to_owned()));
        }
        println!("skipped: no privilege to mount a small disk");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_disk_without_room_for_the_store_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(folder.path(), "64k") else { return };
    fails_with(&up(&disk.0), &[disk.0.to_str().unwrap(), "No space left on device", "free space"]);
}

#[test]
fn a_disk_that_fills_refuses_writes_keeps_what_it_took_and_goes_on_when_there_is_room() {
    if !installed("kubectl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(folder.path(), "8m") else { return };
    let mut cluster = Cluster::on(&disk.0);
    cluster.kubectl("create configmap kept --from-literal=colour=red");
    let filler = disk.0.join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let value = "x".repeat(100_000);
    let complaint = until("a write that finds no room", || {
        let refused = cluster.run(&format!("create configmap more --from-literal=text={value}"), "");
        if refused.status.success() {
            cluster.kubectl("delete configmap more");
            // What the database let go of has room still.
            while file.write_all(&[0; 512]).is_ok() {}
        }
        (!refused.status.success()).then(|| String::from_utf8_lossy(&refused.stderr).into_owned())
    });
    assert!(complaint.contains("No space left on device") && complaint.contains("free space"), "{complaint}");
    assert_eq!(cluster.get("configmap kept")["data"]["colour"], "red");
    let is_ready = |cluster: &Cluster| cluster.run("get --raw /readyz", "").status.success();
    until("readiness to end", || (!is_ready(&cluster)).then_some(()));
    drop(file);
    fs::remove_file(&filler).unwrap();
    until("a write that finds room", || {
        cluster.run("create configmap more --from-literal=colour=blue", "").status.success().then_some(())
    });
    until("readiness to come back", || is_ready(&cluster).then_some(()));
    cluster.restart_after("KILL");
    for (name, colour) in [("kept", "red"), ("more", "blue")] {
        assert_eq!(cluster.get(&format!("configmap {name}"))["data"]["colour"], colour);
    }
}
