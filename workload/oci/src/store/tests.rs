use std::{
    io::{Read, Write as _},
    path::Path,
    time::Duration,
};

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
    let id = first.begin_upload(&name("a/b")).unwrap();
    assert_eq!(first.append(&name("a/b"), id, 0, b"hello ").unwrap(), 6);
    drop(first);
    let second = open(folder.path());
    assert_eq!(second.upload_offset(&name("a/b"), id).unwrap(), 6);
    assert!(matches!(
        second.append(&name("a/b"), id, 5, b"x"),
        Err(Error::OffsetMismatch { held: 6, start: 5 })
    ));
    second.append(&name("a/b"), id, 6, b"world").unwrap();
    let digest = Digest::of(b"hello world");
    second.finish_upload(&name("a/b"), id, digest).unwrap();
    assert_eq!(read(second.open_blob(&name("a/b"), digest).unwrap()), b"hello world");
    assert!(matches!(second.upload_offset(&name("a/b"), id), Err(Error::UploadUnknown { .. })));
}

#[test]
fn content_with_another_digest_never_becomes_visible() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.begin_upload(&name("a")).unwrap();
    store.append(&name("a"), id, 0, b"bad").unwrap();
    let good = Digest::of(b"good");
    assert!(matches!(store.finish_upload(&name("a"), id, good), Err(Error::DigestMismatch { .. })));
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
    let content = format!(r#"{{"config":{{"digest":"{}","size":2}},"layers":[]}}"#, Digest::of(b"{}"));
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
    let id = store.begin_upload(&name("a")).unwrap();
    assert!(matches!(store.append(&name("a"), id, 0, &[0; 65]), Err(Error::TooLarge { .. })));
    assert_eq!(store.upload_offset(&name("a"), id).unwrap(), 0);
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

#[test]
fn an_upload_belongs_to_its_repository_and_expires() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = store.begin_upload(&name("a")).unwrap();
    store.append(&name("a"), id, 0, b"x").unwrap();
    for refused in [
        store.append(&name("b"), id, 1, b"y").map(|_| ()),
        store.finish_upload(&name("b"), id, Digest::of(b"x")),
        store.cancel_upload(&name("b"), id),
    ] {
        assert!(matches!(refused, Err(Error::UploadUnknown { .. })));
    }
    assert_eq!(store.expire_uploads(Duration::from_secs(3600)).unwrap(), 0);
    assert_eq!(store.expire_uploads(Duration::ZERO).unwrap(), 1);
    assert!(matches!(store.upload_offset(&name("a"), id), Err(Error::UploadUnknown { .. })));
}

#[test]
fn a_manifest_deleted_by_digest_takes_its_tags_and_referrer_link_along() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let subject = store.put_manifest(&name("a"), None, "x", b"{}").unwrap();
    let content = format!(
        r#"{{"artifactType":"t/t","annotations":{{"k":"v"}},"subject":{{"digest":"{subject}","size":2}}}}"#
    );
    let tags: [Tag; 2] = ["one".parse().unwrap(), "two".parse().unwrap()];
    let put = |tag| store.put_manifest(&name("a"), Some(tag), "y", content.as_bytes()).unwrap();
    let digest = put(&tags[0]);
    store.put_manifest(&name("a"), Some(&tags[1]), "x", b"{}").unwrap();
    let referrers = store.referrers(&name("a"), subject).unwrap();
    let [referrer] = referrers.as_slice() else { panic!("{referrers:?}") };
    assert_eq!((referrer.digest, referrer.media_type.as_str()), (digest, "y"));
    assert_eq!(referrer.artifact_type.as_deref(), Some("t/t"));
    assert_eq!(referrer.annotations["k"], "v");
    store.delete_manifest(&name("a"), &Selector::Digest(digest)).unwrap();
    assert_eq!(store.tags(&name("a")).unwrap(), tags[1..]);
    assert!(store.referrers(&name("a"), subject).unwrap().is_empty());
}

#[test]
fn a_collection_removes_only_what_no_manifest_needs() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (a, b) = (name("a"), name("b/c"));
    let needed = store.put_blob(&a, b"needed").unwrap();
    let manifest = format!(r#"{{"config":{{"digest":"{needed}","size":6}}}}"#);
    let manifest = store.put_manifest(&a, None, "x", manifest.as_bytes()).unwrap();
    let loose = store.put_blob(&a, b"loose").unwrap();
    store.mount(&b, &a, loose).unwrap();
    assert_eq!(store.collect(Duration::from_secs(3600)).unwrap(), Collected::default());
    assert_eq!(
        store.collect(Duration::ZERO).unwrap(),
        Collected { blobs: 1, bytes: 5, ..Collected::default() }
    );
    assert!(matches!(store.open_blob(&b, loose), Err(Error::BlobUnknown { .. })));
    assert_eq!(read(store.open_blob(&a, needed).unwrap()), b"needed");
    store.delete_manifest(&a, &Selector::Digest(manifest)).unwrap();
    assert_eq!(store.collect(Duration::ZERO).unwrap().blobs, 2);
    assert_eq!(store.repositories().unwrap(), [a, b]);
}

#[test]
fn a_damaged_manifest_keeps_its_own_repository_and_no_other_from_being_cleaned() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (broken, whole) = (name("a/broken"), name("b/whole"));
    let manifest = store.put_manifest(&broken, None, "x", br#"{"layers":[]}"#).unwrap();
    let kept = store.put_blob(&broken, b"kept").unwrap();
    let loose = store.put_blob(&whole, b"loose").unwrap();
    std::fs::write(store.blob_path(manifest), "flipped").unwrap();
    let collected = store.collect(Duration::ZERO).unwrap();
    assert_eq!((collected.blobs, collected.damaged.len()), (1, 1));
    assert!(collected.damaged[0].starts_with("a/broken: "), "{collected:?}");
    assert!(matches!(store.open_blob(&whole, loose), Err(Error::BlobUnknown { .. })));
    assert_eq!(read(store.open_blob(&broken, kept).unwrap()), b"kept");
}

#[test]
fn staged_content_is_bounded_and_leaves_nothing_when_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut writer = store.stage().unwrap();
    writer.write_all(&[0; 64]).unwrap();
    assert!(writer.write_all(&[0]).is_err());
    drop(writer);
    let mut writer = store.stage().unwrap();
    writer.write_all(b"kept").unwrap();
    let staged = writer.finish().unwrap();
    let digest = staged.digest;
    assert!(store.open_blob(&name("a"), digest).is_err());
    store.keep(&name("a"), staged).unwrap();
    assert_eq!(read(store.open_blob(&name("a"), digest).unwrap()), b"kept");
    assert!(names(&store.staging_path()).unwrap().is_empty());
}
