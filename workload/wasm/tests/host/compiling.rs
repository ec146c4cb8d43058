//! From bytes to a component: the cache, and what is refused.

use std::{fs, path::PathBuf};

use xebec_wasm::{Error, Host, HostOptions, Kind};

use crate::{COMMAND, HELLO, HELLO3, compiled, digest, host};

#[test]
fn the_kind_is_read_off_the_exports() {
    assert_eq!(compiled(HELLO).kind(), Kind::Http02);
    assert_eq!(compiled(HELLO3).kind(), Kind::Http03);
    assert_eq!(compiled(COMMAND).kind(), Kind::Command02);
}

#[test]
fn what_is_no_component_is_refused_with_its_own_words() {
    let refusal = |bytes: &[u8]| host().compile(&digest(bytes), bytes).unwrap_err();
    assert!(matches!(refusal(b"hello, world"), Error::NotWasm { .. }));
    assert!(matches!(refusal(b"\0asm\x01\0\0\0"), Error::CoreModule { .. }));
    assert!(matches!(refusal(b"\0asm\x0d\0\x01\0"), Error::NoEntry { .. }));
    assert!(matches!(refusal(&HELLO[..HELLO.len() / 2]), Error::Malformed { .. }));
    let mut damaged = HELLO.to_vec();
    damaged[5000..5100].fill(0xff);
    assert!(matches!(refusal(&damaged), Error::Malformed { .. }));
}

/// A component that exports an empty `wasi:cli/run` and imports a function called `needed`.
fn component_with_an_unknown_import() -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    for (section, payload) in [
        // One type: a function without parameters or result.
        (7, &b"\x01\x40\x00\x01\x00"[..]),
        (10, b"\x01\x00\x06needed\x01\x00"),
        // One instance, of nothing.
        (5, b"\x01\x01\x00"),
        (11, b"\x01\x00\x12wasi:cli/run@0.2.0\x05\x00\x00"),
    ] {
        bytes.push(section);
        bytes.push(payload.len() as u8);
        bytes.extend_from_slice(payload);
    }
    bytes
}

#[test]
fn an_import_that_the_host_does_not_give_is_named() {
    let bytes = component_with_an_unknown_import();
    let error = host().compile(&digest(&bytes), &bytes).unwrap_err();
    assert!(matches!(&error, Error::Import { reason, .. } if reason.contains("needed")), "{error}");
}

#[test]
fn the_fixtures_stay_small() {
    for fixture in [HELLO, HELLO3, COMMAND] {
        assert!(fixture.len() <= 100_000, "{} bytes", fixture.len());
    }
}

#[test]
fn bytes_under_another_digest_are_refused() {
    let error = host().compile(&digest(b"something else"), HELLO).unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    assert!(matches!(host().compile("latest", HELLO).unwrap_err(), Error::Digest { .. }));
}

#[test]
fn a_component_above_the_size_limit_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let options = HostOptions { max_component_size: 1000, instances: 10, ..HostOptions::new(cache.path()) };
    let error = Host::new(options).unwrap().compile(&digest(HELLO), HELLO).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 1000, .. }), "{error}");
}

fn entries(root: &std::path::Path) -> Vec<PathBuf> {
    let engines = fs::read_dir(root).unwrap().map(|engine| engine.unwrap().path());
    engines.flat_map(|engine| fs::read_dir(engine).unwrap().map(|entry| entry.unwrap().path())).collect()
}

#[test]
fn compiled_code_outlives_its_host_and_damage_is_mended() {
    let cache = tempfile::tempdir().unwrap();
    let open = || Host::new(HostOptions { instances: 10, ..HostOptions::new(cache.path()) }).unwrap();
    let name = digest(COMMAND);

    assert!(open().cached(&name).unwrap().is_none());
    open().compile(&name, COMMAND).unwrap();
    let [entry] = &entries(cache.path())[..] else { panic!("not one entry: {:?}", entries(cache.path())) };
    assert_eq!(open().cached(&name).unwrap().unwrap().kind(), Kind::Command02);

    // A hit needs the bytes for nothing but their preamble: it takes the code from disk, or it would fail here.
    open().compile(&name, &COMMAND[..8]).unwrap();

    let mut code = fs::read(entry).unwrap();
    let middle = code.len() / 2;
    code[middle] ^= 0x10;
    fs::write(entry, &code).unwrap();
    assert!(open().cached(&name).unwrap().is_none());
    open().compile(&name, COMMAND).unwrap();
    code[middle] ^= 0x10;
    assert_eq!(fs::read(entry).unwrap().len(), code.len());
    assert!(open().cached(&name).unwrap().is_some());
}

#[test]
fn the_same_component_asked_for_at_once_is_compiled_once() {
    let cache = tempfile::tempdir().unwrap();
    let host = Host::new(HostOptions { instances: 10, ..HostOptions::new(cache.path()) }).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| host.compile(&digest(COMMAND), COMMAND).unwrap());
        }
    });
    assert_eq!(entries(cache.path()).len(), 1);
}
