use std::io::Read;

use super::*;

fn open(folder: &Path) -> Store {
    Store::open(folder, Limits { blob_bytes: 64, manifest_bytes: 512 }).unwrap()
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn read(mut file: File) -> Vec<u8> {
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    content
}

#[test]
fn an_upload_resumes_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let id = first.begin_upload().unwrap();
    assert_eq!(first.append(id, 0, b"hello ").unwrap(), 6);
    drop(first);
    let second = open(folder.path());
    assert_eq!(second.upload_offset(id).unwrap(), 6);
    assert!(matches!(second.append(id, 5, b"x"), Err(Error::OffsetMismatch { held: 6, start: 5 })));
    second.append(id, 6, b"world").unwrap();
    let digest = Digest::of(b"hello world");
    second.finish_upload(id, &name("a/b"), digest).unwrap();
    assert_eq!(read(second.open_blob(&name("a/b"), digest).unwrap()), b"hello world");
    assert!(matches!(second.upload_offset(id), Err(Error::UploadUnknown { .. })));
}

#[test]
fn content_with_another_digest_never_becomes_visible() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.begin_upload().unwrap();
    store.append(id, 0, b"bad").unwrap();
    let good = Digest::of(b"good");
    assert!(matches!(store.finish_upload(id, &name("a"), good), Err(Error::DigestMismatch { .. })));
    assert!(matches!(store.open_blob(&name("a"), good), Err(Error::BlobUnknown { .. })));
    assert!(matches!(store.open_blob(&name("a"), Digest::of(b"bad")), Err(Error::BlobUnknown { .. })));
}

#[test]
fn a_blob_belongs_only_to_repositories_that_link_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let digest = store.put_blob(&name("a"), b"x").unwrap();
    assert!(store.open_blob(&name("b"), digest).is_err());
    store.mount(&name("b"), &name("a"), digest).unwrap();
    store.unlink_blob(&name("a"), digest).unwrap();
    assert!(store.open_blob(&name("a"), digest).is_err());
    assert_eq!(read(store.open_blob(&name("b"), digest).unwrap()), b"x");
}

#[test]
fn a_manifest_waits_for_its_blobs_and_tags_move() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (repository, tag): (_, Tag) = (name("a"), "v1".parse().unwrap());
    let content = format!(r#"{{"config":{{"digest":"{}"}},"layers":[]}}"#, Digest::of(b"{}"));
    let kind = crate::media_type::OCI_MANIFEST;
    let put = |content: &[u8]| store.put_manifest(&repository, Some(&tag), kind, content);
    assert!(matches!(put(content.as_bytes()), Err(Error::BlobUnknown { .. })));
    store.put_blob(&repository, b"{}").unwrap();
    let first = put(content.as_bytes()).unwrap();
    let selector = Selector::Tag(tag.clone());
    assert_eq!(
        store.manifest(&repository, &selector).unwrap(),
        (first, kind.to_owned(), content.into_bytes())
    );
    let second = put(b"{}").unwrap();
    assert_eq!(store.manifest(&repository, &selector).unwrap().0, second);
    assert!(store.manifest(&repository, &Selector::Digest(first)).is_ok());
    assert_eq!(store.tags(&repository).unwrap(), std::slice::from_ref(&tag));
    store.delete_manifest(&repository, &selector).unwrap();
    assert!(matches!(store.manifest(&repository, &selector), Err(Error::ManifestUnknown { .. })));
}

#[test]
fn limits_and_malformed_manifests_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    assert!(matches!(store.put_blob(&name("a"), &[0; 65]), Err(Error::TooLarge { limit: 64, .. })));
    let id = store.begin_upload().unwrap();
    assert!(matches!(store.append(id, 0, &[0; 65]), Err(Error::TooLarge { .. })));
    assert_eq!(store.upload_offset(id).unwrap(), 0);
    let put = |content: &[u8]| store.put_manifest(&name("a"), None, "x", content);
    assert!(matches!(put(&[b' '; 513]), Err(Error::TooLarge { limit: 512, .. })));
    for content in ["", "[]", r#"{"layers":1}"#, r#"{"config":{}}"#] {
        assert!(matches!(put(content.as_bytes()), Err(Error::ManifestInvalid { .. })), "{content}");
    }
}

#[test]
fn flipped_bytes_in_a_manifest_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let digest = store.put_manifest(&name("a"), None, "x", b"{}").unwrap();
    fs::write(store.blob_path(digest), b"[]").unwrap();
    let read = store.manifest(&name("a"), &Selector::Digest(digest));
    assert!(matches!(read, Err(Error::DigestMismatch { .. })));
}
