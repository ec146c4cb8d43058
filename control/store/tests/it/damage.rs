use std::fs;
use std::path::Path;

use xebec_store::{Error, ListRequest, Options, Store};

async fn filled(directory: &Path) {
    let store = Store::open(directory, Options::default()).unwrap();
    for turn in 0..200 {
        store.create(format!("key/{turn:03}"), vec![b'v'; 400].into()).await.unwrap();
    }
    store.close().await;
}

fn whole(store: &Store) -> bool {
    let page = store.list(&ListRequest::default()).unwrap();
    page.items.len() == 200 && page.items.iter().all(|entry| entry.value[..] == [b'v'; 400])
}

#[tokio::test]
async fn a_flipped_byte_is_refused_or_harmless_but_never_silent() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    let path = directory.path().join("store.redb");
    let sound = fs::read(&path).unwrap();
    let mut refused = 0;
    for step in 0..120 {
        let at = step * sound.len() / 120 + step * 7 % 61;
        let Some(byte) = sound.get(at) else { continue };
        let mut damaged = sound.clone();
        damaged[at] = byte ^ 0x41;
        fs::write(&path, &damaged).unwrap();
        match Store::open(directory.path(), Options::default()) {
            Ok(store) => {
                assert!(whole(&store), "a flipped byte at {at} went unseen");
                store.close().await;
            }
            Err(Error::Corrupt { .. }) => refused += 1,
            Err(other) => panic!("a flipped byte at {at}: {other}"),
        }
    }
    assert!(refused > 10, "only {refused} flips hit what matters");
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    let path = directory.path().join("store.redb");
    let sound = fs::read(&path).unwrap();
    for part in [1, 3, 8, 12, 15] {
        fs::write(&path, &sound[..sound.len() * part / 16]).unwrap();
        match Store::open(directory.path(), Options::default()) {
            Ok(store) => {
                assert!(whole(&store), "{part}/16 of the file opened with less in it");
                store.close().await;
            }
            Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{part}/16: {error}"),
        }
    }
}

#[tokio::test]
async fn a_file_that_was_emptied_or_put_back_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = Store::open(directory.path(), Options::default()).unwrap();
    store.create("early", "x".into()).await.unwrap();
    store.close().await;
    drop(store);
    let early = fs::read(&path).unwrap();
    let store = Store::open(directory.path(), Options::default()).unwrap();
    store.create("late", "x".into()).await.unwrap();
    store.close().await;
    drop(store);
    for older in [early, Vec::new()] {
        fs::write(&path, older).unwrap();
        let error = Store::open(directory.path(), Options::default()).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("restore"), "{error}");
    }
}
