//! What a container says when it ends: what it wrote to its termination message file, or the end of its log.

use std::path::Path;

use k8s_openapi::api::core::v1::Container;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::Error;

/// Where a container finds the file unless it says otherwise.
pub(crate) const PATH: &str = "/dev/termination-log";
/// Bytes of the file that are told.
const MOST: u64 = 4096;
/// Bytes and lines of the log that are told.
const MOST_LOG: (u64, usize) = (2048, 80);

/// Makes the file anew, for anyone in the container to write to.
pub(crate) async fn prepare(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let made = async {
        tokio::fs::write(path, "").await?;
        tokio::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).await
    };
    made.await.map_err(|source| Error::File { path: path.to_owned(), source })
}

/// What the container said.
pub(crate) async fn message(container: &Container, file: &Path, log: &Path, code: i32) -> String {
    let said = beginning(file).await.unwrap_or_default();
    let falls_back = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if said.is_empty() && falls_back && code != 0 {
        return end_of(log).await.unwrap_or_default();
    }
    said
}

async fn beginning(file: &Path) -> std::io::Result<String> {
    let mut said = Vec::new();
    tokio::fs::File::open(file).await?.take(MOST).read_to_end(&mut said).await?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// The last lines of a log, without their times.
async fn end_of(log: &Path) -> std::io::Result<String> {
    let mut file = tokio::fs::File::open(log).await?;
    // What stands before each line is shorter than this.
    let window = MOST_LOG.0 + MOST_LOG.1 as u64 * 64;
    let start = file.metadata().await?.len().saturating_sub(window);
    file.seek(std::io::SeekFrom::Start(start)).await?;
    let mut text = Vec::new();
    file.take(window).read_to_end(&mut text).await?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<(&str, &str)> = text
        .lines()
        .skip(usize::from(start > 0))
        .filter_map(|line| line.split(' ').nth(2).zip(line.splitn(4, ' ').nth(3)))
        .collect();
    // A piece of a line has no end of its own.
    let said = lines[lines.len().saturating_sub(MOST_LOG.1)..].iter();
    let said: String =
        said.map(|(tag, line)| format!("{line}{}", if *tag == "P" { "" } else { "\n" })).collect();
    let cut = said.len().saturating_sub(usize::try_from(MOST_LOG.0).unwrap_or(usize::MAX));
    let cut = (cut..=said.len()).find(|at| said.is_char_boundary(*at)).unwrap_or(0);
    Ok(said[cut..].to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_log_speaks_for_a_container_that_failed_without_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let (file, log) = (folder.path().join("message"), folder.path().join("log"));
        prepare(&file).await.unwrap();
        let lines: String =
            (0..200).map(|line| format!("2024-01-01T00:00:00Z stderr F line {line}\n")).collect();
        std::fs::write(&log, lines).unwrap();
        let plain = Container::default();
        let falls_back = Container {
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            ..Container::default()
        };
        assert_eq!(message(&plain, &file, &log, 1).await, "");
        assert_eq!(message(&falls_back, &file, &log, 0).await, "");
        let said = message(&falls_back, &file, &log, 1).await;
        assert_eq!((said.lines().count(), said.lines().last()), (80, Some("line 199")));
        std::fs::write(&log, "2024-01-01T00:00:00Z stdout F one\n2024-01-01T00:00:00Z stdout P two\n")
            .unwrap();
        assert_eq!(message(&falls_back, &file, &log, 1).await, "one\ntwo");
        std::fs::write(&file, "a word".repeat(1000)).unwrap();
        assert_eq!(message(&falls_back, &file, &log, 1).await.len(), 4096);
    }
}
