//! Readers of text: JSON, and selectors.

use serde_json::Value;
use xebec_dice::{Dice, rounds};
use xebec_machinery::decoding;
use xebec_machinery::selector::{FieldSelector, LabelSelector};

use crate::dice::Odd as _;

#[test]
fn fuzz_json_reader() {
    rounds("json_reader", |dice| {
        let node = xebec_machinery::builtin::kind_node("", "v1", "Pod").unwrap();
        let text = dice.object(node, 0).to_string();
        let bytes = dice.mutated(text.into_bytes());
        let theirs: Result<Value, _> = serde_json::from_slice(&bytes);
        match (decoding::parse(&bytes), theirs) {
            (Ok((ours, _)), Ok(theirs)) => assert_eq!(ours, theirs),
            // Bytes that are no UTF-8 are replaced.
            (Ok(_), Err(_)) => assert!(std::str::from_utf8(&bytes).is_err(), "{bytes:?}"),
            (Err(why), Ok(theirs)) => panic!("{why}: {theirs}"),
            (Err(why), Err(_)) => {
                let own_limits = ["number out of range", "surrogate", "hex escape"];
                let told = ["unexpected end of JSON input", "invalid character", "exceeded max depth"];
                let known = told.iter().any(|opening| why.starts_with(opening));
                assert!(known || own_limits.iter().any(|limit| why.contains(limit)), "{why}: {bytes:?}");
            }
        }
    });
}

/// A text of pieces that mean something to selectors.
fn pieces(dice: &mut Dice) -> String {
    const PIECES: [&str; 24] = [
        "a",
        "b",
        "app",
        "example.com/x",
        "=",
        "==",
        "!=",
        "!",
        ",",
        " in ",
        " notin ",
        "(",
        ")",
        "(a,b)",
        ">",
        "<",
        "1",
        "-",
        " ",
        "\\",
        "\\=",
        "é",
        "\u{0}",
        "metadata.name",
    ];
    (0..dice.below(12)).map(|_| *dice.pick(&PIECES)).collect()
}

#[test]
fn fuzz_selectors() {
    rounds("selectors", |dice| {
        let text = pieces(dice);
        if let Ok(selector) = LabelSelector::parse(&text) {
            let written = selector.to_string();
            let again =
                LabelSelector::parse(&written).unwrap_or_else(|why| panic!("{why}: {text:?} {written:?}"));
            assert_eq!(again.to_string(), written, "{text:?}");
        }
        if let Ok(selector) = FieldSelector::parse(&text) {
            // Requirements are sorted by how they were written, and `==` is written `=`: the second writing stays.
            let once = field(&selector.to_string(), &text);
            assert_eq!(field(&once, &text), once, "{text:?}");
        }
    });
}

fn field(written: &str, text: &str) -> String {
    let read = FieldSelector::parse(written);
    read.unwrap_or_else(|why| panic!("{why}: {text:?} {written:?}")).to_string()
}
