//! A file tree written by entries that nobody trusts.
//!
//! Every name is resolved by the kernel below the tree's root (`openat2` with `RESOLVE_IN_ROOT`), so neither `..` nor a
//! link that an earlier entry made leads out of it, and the last component is never followed.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, XattrFlags},
    io::Errno,
};

/// Directories inside each other, at the most.
const DEEPEST: usize = 256;
const OPAQUE: &str = "trusted.overlay.opaque";

pub(super) struct Tree {
    root: OwnedFd,
    /// Whether owners, devices and trusted attributes can be set.
    privileged: bool,
    /// What directories get when all entries are there: a mode may forbid writing, and entries move times.
    folders: Vec<(PathBuf, Meta)>,
}

/// What an entry has besides its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: u64,
}

/// What an entry is.
pub(super) enum Node<'a> {
    Folder,
    File(&'a mut dyn Read),
    Symlink(&'a Path),
    /// Another name of a file that is there.
    Link(&'a Path),
    Fifo,
    Device {
        character: bool,
        major: u32,
        minor: u32,
    },
}

impl Tree {
    pub(super) fn open(root: &Path, privileged: bool) -> io::Result<Self> {
        let root = fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root, privileged, folders: Vec::new() })
    }

    /// Puts an entry, in place of what has its name (only a folder stays when a folder comes).
    pub(super) fn put(&mut self, path: &Path, node: Node<'_>, meta: Meta) -> io::Result<()> {
        let Some((parent, name)) = self.place(path)? else {
            // The root itself: only its mode and owner are news.
            if matches!(node, Node::Folder) {
                self.folders.push((PathBuf::new(), meta));
            }
            return Ok(());
        };
        let mode = Mode::from_raw_mode(meta.mode & 0o7777);
        match node {
            Node::Folder => {
                if !is_folder(&parent, &name)? {
                    remove_tree(&parent, &name, 0)?;
                    fs::mkdirat(&parent, &name, Mode::RWXU)?;
                }
                self.folders.push((path.to_owned(), meta));
                return Ok(());
            }
            Node::File(content) => {
                remove_tree(&parent, &name, 0)?;
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut file = File::from(fs::openat(&parent, &name, flags, Mode::RUSR | Mode::WUSR)?);
                io::copy(content, &mut file)?;
                self.own(&parent, &name, meta)?;
                // After the owner: changing that takes the set-user-id bit away.
                fs::fchmod(&file, mode)?;
                fs::futimens(&file, &times(meta))?;
                return Ok(());
            }
            Node::Link(target) => {
                let Some((from, old)) = self.place(target)? else { return Err(outside()) };
                // Linking a name to itself leaves it as it is.
                if !same(&from, &old, &parent, &name)? {
                    remove_tree(&parent, &name, 0)?;
                    fs::linkat(&from, &old, &parent, &name, AtFlags::empty())?;
                }
                return Ok(());
            }
            Node::Symlink(target) => {
                remove_tree(&parent, &name, 0)?;
                fs::symlinkat(target, &parent, &name)?;
            }
            Node::Fifo => {
                remove_tree(&parent, &name, 0)?;
                fs::mknodat(&parent, &name, FileType::Fifo, mode, 0)?;
            }
            Node::Device { character, major, minor } => {
                // Whoever runs a container makes its devices. A layer's own would be the machine's disks as soon as some
                // mount shows them; only the one that marks a removal is none (and needs privilege).
                if !self.privileged || (character, major, minor) != (true, 0, 0) {
                    return Ok(());
                }
                remove_tree(&parent, &name, 0)?;
                fs::mknodat(&parent, &name, FileType::CharacterDevice, mode, fs::makedev(0, 0))?;
            }
        }
        self.own(&parent, &name, meta)?;
        fs::utimensat(&parent, &name, &times(meta), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    /// Marks a name as removed from the layers below, in overlayfs's form.
    pub(super) fn put_whiteout(&mut self, path: &Path) -> io::Result<()> {
        let Some((parent, name)) = self.place(path)? else { return Err(outside()) };
        remove_tree(&parent, &name, 0)?;
        fs::mknodat(&parent, &name, FileType::CharacterDevice, Mode::empty(), fs::makedev(0, 0))?;
        Ok(())
    }

    /// Marks a folder as hiding all that the layers below have in it.
    pub(super) fn put_opaque(&mut self, path: &Path) -> io::Result<()> {
        let folder = self.folder(path, true)?;
        // Attributes cannot be set through a descriptor that only names a place.
        let folder =
            fs::openat(&folder, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        fs::fsetxattr(&folder, OPAQUE, b"y", XattrFlags::empty())?;
        Ok(())
    }

    pub(super) fn is_folder(&self, path: &Path) -> io::Result<bool> {
        match self.place(path)? {
            Some((parent, name)) => is_folder(&parent, &name),
            None => Ok(true),
        }
    }

    /// Removes a name that may be absent.
    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        match self.place(path)? {
            Some((parent, name)) => remove_tree(&parent, &name, 0),
            None => Err(outside()),
        }
    }

    /// Removes all names in a folder but the `kept` ones.
    pub(super) fn empty(&mut self, path: &Path, kept: impl Fn(&Path) -> bool) -> io::Result<()> {
        let folder = self.folder(path, true)?;
        for name in entries(&folder)? {
            if !kept(&path.join(&name)) {
                remove_tree(&folder, &name, 0)?;
            }
        }
        Ok(())
    }

    /// Sets an extended attribute of an entry that is not a link.
    pub(super) fn set_attribute(&self, path: &Path, key: &str, value: &[u8]) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = fs::openat2(&self.root, path, flags, Mode::empty(), resolve())?;
        fs::fsetxattr(&file, key, value, XattrFlags::empty())?;
        Ok(())
    }

    /// Gives the folders their modes and times.
    pub(super) fn finish(self) -> io::Result<()> {
        for (path, meta) in self.folders.iter().rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            let folder = match fs::openat2(&self.root, path, flags, Mode::empty(), resolve()) {
                // A later entry took its place.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                folder => folder?,
            };
            if self.privileged {
                fs::fchown(&folder, Some(user(*meta)), Some(group(*meta)))?;
            }
            fs::fchmod(&folder, Mode::from_raw_mode(meta.mode & 0o7777))?;
            fs::futimens(&folder, &times(*meta))?;
        }
        Ok(())
    }

    /// The folder that holds an entry, made if absent, and the entry's name there; none for the root itself.
    fn place(&self, path: &Path) -> io::Result<Option<(OwnedFd, OsString)>> {
        let Some(Component::Normal(name)) = path.components().next_back() else { return Ok(None) };
        let parent = self.folder(path.parent().unwrap_or(Path::new("")), true)?;
        Ok(Some((parent, name.to_owned())))
    }

    fn folder(&self, path: &Path, make: bool) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if path.as_os_str().is_empty() {
            return Ok(fs::openat(&self.root, c".", flags, Mode::empty())?);
        }
        match fs::openat2(&self.root, path, flags, Mode::empty(), resolve()) {
            Ok(folder) => Ok(folder),
            Err(Errno::NOENT) if make => {
                if path.components().count() > DEEPEST {
                    return Err(io::Error::other(format!("more than {DEEPEST} folders inside each other")));
                }
                let Some((parent, name)) = self.place(path)? else { return Err(outside()) };
                match fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o755)) {
                    // A link that leads nowhere has the name; what it stands for cannot be known.
                    Err(Errno::EXIST) => Err(io::Error::other("a folder's name is taken by a dangling link")),
                    made => {
                        made?;
                        self.folder(path, false)
                    }
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn own(&self, parent: impl AsFd, name: &OsStr, meta: Meta) -> io::Result<()> {
        if self.privileged {
            fs::chownat(parent, name, Some(user(meta)), Some(group(meta)), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }
}

fn resolve() -> ResolveFlags {
    ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS
}

fn outside() -> io::Error {
    io::Error::other("a name that leads outside the image")
}

fn user(meta: Meta) -> fs::Uid {
    fs::Uid::from_raw(meta.uid)
}

fn group(meta: Meta) -> fs::Gid {
    fs::Gid::from_raw(meta.gid)
}

fn times(meta: Meta) -> Timestamps {
    let time = Timespec { tv_sec: i64::try_from(meta.mtime).unwrap_or(i64::MAX), tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

fn is_folder(parent: impl AsFd, name: &OsStr) -> io::Result<bool> {
    match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(FileType::from_raw_mode(found.st_mode) == FileType::Directory),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether two names are one file.
fn same(a: impl AsFd, a_name: &OsStr, b: impl AsFd, b_name: &OsStr) -> io::Result<bool> {
    let first = fs::statat(a, a_name, AtFlags::SYMLINK_NOFOLLOW)?;
    match fs::statat(b, b_name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(second) => Ok((first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn entries(folder: impl AsFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    // The descriptor may only name the place.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = fs::openat(folder, c".", flags, Mode::empty())?;
    for entry in fs::Dir::new(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

fn remove_tree(parent: impl AsFd, name: &OsStr, depth: usize) -> io::Result<()> {
    if depth > 2 * DEEPEST {
        return Err(io::Error::other("too many folders inside each other"));
    }
    match fs::unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let folder = fs::openat(&parent, name, flags, Mode::empty())?;
            for entry in entries(&folder)? {
                remove_tree(&folder, &entry, depth + 1)?;
            }
            Ok(fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?)
        }
        Err(error) => Err(error.into()),
    }
}
