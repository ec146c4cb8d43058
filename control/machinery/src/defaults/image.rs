//! What the name of an image says about pulling it.

/// `Always` for the tag `latest`, spoken or not, and `IfNotPresent` for any other tag, a digest or what is no name.
pub(super) fn pull_policy(image: &str) -> &'static str {
    if is_latest(image) { "Always" } else { "IfNotPresent" }
}

fn is_latest(image: &str) -> bool {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    // A colon before the last slash belongs to a port.
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let (path, tag) = match name[slash..].split_once(':') {
        Some((last, tag)) => (&name[..slash + last.len()], Some(tag)),
        None => (name, None),
    };
    is_path(path)
        && if digest.is_some() { tag == Some("latest") } else { matches!(tag, None | Some("latest")) }
}

/// Whether this is a repository, after a host or not, in the grammar of image references.
fn is_path(path: &str) -> bool {
    let is_id = path.len() == 64 && path.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let path = match path.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => rest,
        _ => path,
    };
    !is_id && path.split('/').all(is_component)
}

/// Lower-case letters and digits, with `.`, `_`, `__` or dashes between them.
fn is_component(part: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let edges = part.bytes().next().is_some_and(inner) && part.bytes().last().is_some_and(inner);
    let separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    edges
        && separators.into_iter().all(|s| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_image_is_always_pulled() {
        let always =
            ["nginx", "nginx:latest", "a/b/c", "localhost:5000/x", "host.io:1/x:latest", "a__b", "a--b.c"];
        for image in always {
            assert_eq!(pull_policy(image), "Always", "{image}");
        }
        let digest = format!("x@sha256:{}", "0".repeat(64));
        let id = "0".repeat(64);
        for image in ["nginx:1", "localhost:5000/x:1", &digest, &id, "", "Upper", "a..b", "-a", "a//b"] {
            assert_eq!(pull_policy(image), "IfNotPresent", "{image}");
        }
    }
}
