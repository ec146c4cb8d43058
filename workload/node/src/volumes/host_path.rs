//! Files and directories of the machine itself, and whether they are what the pod expects.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// Checks, or makes, what a `hostPath` of this type names. The refusals are the kubelet's.
pub(crate) fn check(path: &Path, kind: &str) -> Result<(), String> {
    if path.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(format!("hostPath {} must not contain '..'", path.display()));
    }
    let failed = |error: io::Error| format!("hostPath {}: {error}", path.display());
    let about = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        about => Some(about.map_err(failed)?),
    };
    let expects = |holds: bool, what: &str| {
        if holds {
            return Ok(());
        }
        Err(format!("hostPath type check failed: {} is not {what}", path.display()))
    };
    let is = |test: fn(&fs::Metadata) -> bool| about.as_ref().is_some_and(test);
    match kind {
        // Nothing is checked; what is not there is a directory then, as the runtimes of containers have it.
        "" if about.is_none() => make_folder(path).map_err(failed),
        "" => Ok(()),
        "DirectoryOrCreate" => {
            if about.is_none() {
                return make_folder(path).map_err(failed);
            }
            expects(is(fs::Metadata::is_dir), "a directory")
        }
        "Directory" => expects(is(fs::Metadata::is_dir), "a directory"),
        "FileOrCreate" => {
            if about.is_none() {
                return make_file(path).map_err(failed);
            }
            expects(is(fs::Metadata::is_file), "a file")
        }
        "File" => expects(is(fs::Metadata::is_file), "a file"),
        "Socket" => expects(is(|about| about.file_type().is_socket()), "a socket file"),
        "CharDevice" => expects(is(|about| about.file_type().is_char_device()), "a character device"),
        "BlockDevice" => expects(is(|about| about.file_type().is_block_device()), "a block device"),
        other => Err(format!(
            "{other} is an invalid volume type: use DirectoryOrCreate, Directory, FileOrCreate, File, Socket, CharDevice or BlockDevice"
        )),
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

fn make_file(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_what_the_pod_expects_or_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for (name, kind, holds) in [
            ("file", "File", true),
            ("file", "Directory", false),
            ("file", "DirectoryOrCreate", false),
            ("absent", "File", false),
            ("absent", "Directory", false),
            ("absent", "", true),
            ("absent", "Directory", true),
            ("file", "", true),
            ("socket", "Socket", true),
            ("socket", "CharDevice", false),
            ("new/folder", "DirectoryOrCreate", true),
            ("new/folder", "Directory", true),
            ("new/file", "FileOrCreate", true),
            ("new/file", "File", true),
            ("file", "Volume", false),
        ] {
            assert_eq!(check(&path(name), kind).is_ok(), holds, "{name} {kind}");
        }
        assert!(check(Path::new("/dev/null"), "CharDevice").is_ok());
        let refused = check(&path("file"), "Directory").unwrap_err();
        assert_eq!(
            refused,
            format!("hostPath type check failed: {} is not a directory", path("file").display())
        );
    }
}
