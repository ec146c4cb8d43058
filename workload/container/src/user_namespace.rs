//! User namespaces of pods (KEP-127): root in a pod is nobody on the machine, and no two pods share an identity.
//!
//! ```text
//! FOLDER/users/POD/user    the namespace, kept by a mount
//! FOLDER/users/POD/first   its first identity on the machine
//! ```
//!
//! The pod's network namespace is made from within, so that it belongs to the user namespace and containers may join it.
//! A namespace is made by a process of its own: only one of a single thread may enter a new one (unshare(2)), and only who
//! is outside may say which identities it has (user_namespaces(7)).

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Child, ExitCode, Stdio},
    sync::{Mutex, PoisonError},
};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::mount_bind;
use serde::{Deserialize, Serialize};

use crate::{ContainerId, Error, error::at, monitor::leave, namespace, program::Program, tree};

/// The argument of a process that makes namespaces.
pub(crate) const NAMESPACES: &str = "namespaces";
/// Identities in a namespace.
pub const IDENTITIES: u32 = 65_536;
/// Ranges of that size. The first are the machine's own identities, and the last number means none.
const RANGES: u32 = u32::MAX / IDENTITIES;
/// The file that tells a namespace's first identity.
const FIRST: &str = "first";
/// The longest word that the process says.
const LONGEST_WORD: u64 = 1024;

/// The user namespace of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNamespace {
    /// The namespace.
    pub path: PathBuf,
    /// The identity on the machine that root in the namespace is.
    pub first: u32,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct UserNamespaces {
    folder: PathBuf,
    /// Where the search for a free range begins: other programs on this machine look elsewhere, most likely.
    begin: u32,
    taken: Mutex<BTreeSet<u32>>,
}

impl UserNamespaces {
    pub(crate) fn open(folder: PathBuf, begin: u32) -> Result<Self, Error> {
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        let mut taken = BTreeSet::new();
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let entry = entry.map_err(at(&folder))?;
            taken.extend(read_first(&entry.path()));
        }
        Ok(Self { folder, begin: begin % RANGES, taken: Mutex::new(taken) })
    }

    /// Gives a pod a user namespace and, where a path is told, a network namespace that belongs to it; or what it has.
    pub(crate) fn make(
        &self,
        program: &Program,
        pod: &ContainerId,
        network: Option<&Path>,
    ) -> Result<UserNamespace, Error> {
        let folder = self.folder.join(pod.as_str());
        let path = folder.join("user");
        if let (Some(first), true) = (read_first(&folder), namespace::exists(&path)) {
            return Ok(UserNamespace { path, first });
        }
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        let first = self.take(&folder)?;
        let made = make(program, first, &path, network).and_then(|()| check(&folder, &path));
        if let Err(error) = made {
            // The first error says why.
            let _ = self.remove(pod);
            return Err(Error::UserNamespace { source: error });
        }
        Ok(UserNamespace { path, first })
    }

    /// A range that no other pod has, on disk before it is in use.
    fn take(&self, folder: &Path) -> Result<u32, Error> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = read_first(folder) {
            return Ok(own);
        }
        let all = (0..RANGES - 1).map(|number| (1 + (self.begin + number) % (RANGES - 1)) * IDENTITIES);
        let free = all.into_iter().find(|first| !taken.contains(first));
        let exhausted =
            || Error::UserNamespace { source: io::Error::other("no identities are left: delete pods") };
        let first = free.ok_or_else(exhausted)?;
        // On disk before it is in use: after a crash no other pod gets it.
        leave(folder, FIRST, &first).map_err(at(&folder.join(FIRST)))?;
        taken.insert(first);
        Ok(first)
    }

    /// Lets go of a pod's namespace. One that has none needs nothing.
    pub(crate) fn remove(&self, pod: &ContainerId) -> Result<(), Error> {
        let folder = self.folder.join(pod.as_str());
        let first = read_first(&folder);
        namespace::remove(&folder.join("user")).map_err(at(&folder))?;
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&folder)(error)),
            _ => {}
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        first.map(|first| taken.remove(&first));
        Ok(())
    }

    /// The pods that have one.
    pub(crate) fn pods(&self) -> Vec<ContainerId> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }
}

fn read_first(folder: &Path) -> Option<u32> {
    fs::read_to_string(folder.join(FIRST)).ok()?.trim().parse().ok()
}

fn make(program: &Program, first: u32, user: &Path, network: Option<&Path>) -> io::Result<()> {
    let mut command = program.begin().map_err(io::Error::other)?;
    let mut child =
        command.arg(NAMESPACES).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let made = talk(&mut child, first, user, network);
    // The namespaces are kept by their mounts from here on.
    let _ = child.kill();
    child.wait()?;
    made
}

fn talk(child: &mut Child, first: u32, user: &Path, network: Option<&Path>) -> io::Result<()> {
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("the process that makes namespaces has no pipes"));
    };
    let mut output = BufReader::new(output.take(LONGEST_WORD));
    let mut hear = |expected: &str| {
        let mut word = String::new();
        output.read_line(&mut word)?;
        if word.trim() == expected { Ok(()) } else { Err(io::Error::other(word.trim().to_owned())) }
    };
    hear("user")?;
    let process = PathBuf::from(format!("/proc/{}", child.id()));
    for map in ["uid_map", "gid_map"] {
        fs::write(process.join(map), format!("0 {first} {IDENTITIES}"))?;
    }
    keep(&process.join("ns/user"), user)?;
    if let Some(path) = network {
        input.write_all(b"network\n")?;
        input.flush()?;
        hear("network")?;
        // One that the pod had belonged to a user namespace that is gone.
        namespace::remove(path)?;
        keep(&process.join("ns/net"), path)?;
    }
    Ok(())
}

fn keep(namespace: &Path, path: &Path) -> io::Result<()> {
    File::create(path)?;
    Ok(mount_bind(namespace, path)?)
}

/// Whether files here can be shown to the namespace as its own.
fn check(folder: &Path, user: &Path) -> io::Result<()> {
    let user = File::open(user)?;
    tree::copy(&tree::hold(folder)?, Some(user.as_fd()), false).map(drop)
}

/// The process of one thread that makes namespaces.
pub(crate) fn run() -> ExitCode {
    let made = enter(CloneFlags::CLONE_NEWUSER, "user").and_then(|()| {
        let mut line = String::new();
        io::stdin().lock().take(LONGEST_WORD).read_line(&mut line)?;
        if line == "network\n" { enter(CloneFlags::CLONE_NEWNET, "network") } else { Ok(()) }
    });
    if let Err(error) = made {
        println!("{error}");
        return ExitCode::FAILURE;
    }
    // Until whoever asked has what it wants.
    let _ = io::stdin().lock().read_line(&mut String::new());
    ExitCode::SUCCESS
}

fn enter(flag: CloneFlags, word: &str) -> io::Result<()> {
    unshare(flag)?;
    println!("{word}");
    io::stdout().flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_pods_share_an_identity_not_even_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let pods = ["a", "b"].map(|pod| folder.path().join(pod));
        let spaces = UserNamespaces::open(folder.path().to_owned(), RANGES - 3).unwrap();
        let firsts = pods.each_ref().map(|pod| {
            fs::create_dir_all(pod).unwrap();
            spaces.take(pod).unwrap()
        });
        assert_ne!(firsts[0], firsts[1]);
        assert_eq!(spaces.take(&pods[0]).unwrap(), firsts[0]);
        assert!(firsts.iter().all(|first| first % IDENTITIES == 0 && *first >= IDENTITIES), "{firsts:?}");
        drop(spaces);
        let spaces = UserNamespaces::open(folder.path().to_owned(), RANGES - 3).unwrap();
        let third = folder.path().join("c");
        fs::create_dir_all(&third).unwrap();
        let other = spaces.take(&third).unwrap();
        assert!(!firsts.contains(&other));
        spaces.remove(&"a".parse().unwrap()).unwrap();
        assert_eq!(spaces.pods().len(), 2);
    }
}
