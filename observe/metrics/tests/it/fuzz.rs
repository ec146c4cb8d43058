//! Broken expositions at each parser: whatever comes, it is read or refused, in time and without a panic.
//! `XEBEC_FUZZ_SECONDS` sets how long it tries; `XEBEC_FUZZ_SEED` repeats a run.

use xebec_dice::{Dice, rounds};
use xebec_metrics::exposition::{Entry, Format, Parser, ParserOptions};

/// Pieces of both text formats, sound and not.
pub(crate) const PIECES: &[&str] = &[
    "# HELP ",
    "# TYPE ",
    "# UNIT ",
    "# EOF",
    "# EOF\n",
    "#",
    "# ",
    "#comment\n",
    "a",
    "b_total",
    "c_seconds",
    "le",
    "quantile",
    "a:b",
    "\"q.r\"",
    "{",
    "}",
    "=",
    "\"",
    "\"v\"",
    "\"\\\"\\n\\\\\"",
    "\"\\x\"",
    ",",
    " ",
    "  ",
    "\t",
    "\n",
    "\n\n",
    "\r\n",
    "1",
    "-1.5e3",
    "+Inf",
    "NaN",
    "0x1",
    "1_0",
    "1e999",
    " 1520879607789",
    " 1.5",
    "counter",
    "gauge",
    "histogram",
    "summary",
    "untyped",
    "unknown",
    "info",
    "stateset",
    "gaugehistogram",
    "seconds",
    " # {",
    " # {id=\"x\"} 1",
    " # {id=\"x\"} 1 2",
    "\0",
    "é",
    "a{x=\"1\"} 1\n",
    "a_bucket{le=\"1\"} 1\n",
    "{\"n m\",\"l k\"=\"v\"} 1\n",
    "# TYPE a histogram\n",
    "# HELP a b\\nc\n",
    "b_total 1 # {t=\"w\"} 0.5 1.0\n",
];

/// A body out of pieces.
pub(crate) fn body(dice: &mut Dice) -> Vec<u8> {
    let mut body: Vec<u8> = (0..dice.below(14)).flat_map(|_| dice.pick(PIECES).as_bytes().to_vec()).collect();
    if dice.once_in(4) {
        body = dice.mutated(body);
    }
    if dice.once_in(2) {
        body.extend(b"\n# EOF\n");
    }
    body
}

fn read(mut body: Vec<u8>, format: Format, options: ParserOptions) -> usize {
    let most = body.len() + 64;
    let mut parser = Parser::new(&mut body, format, options);
    let mut samples = 0;
    let mut entries = 0;
    while let Ok(Some(entry)) = parser.next() {
        entries += 1;
        // Every entry takes a byte at least; a protobuf metric may have many.
        assert!(entries <= most * 4, "the parser does not get on");
        if matches!(entry, Entry::Sample { .. }) {
            samples += 1;
            let _labels = parser.labels();
            assert!(!parser.key().is_empty());
            let _exemplars = parser.exemplars();
        }
    }
    samples
}

#[test]
fn fuzz_texts() {
    let mut read_well = 0;
    rounds("texts", |dice| {
        let body = body(dice);
        let format = *dice.pick(&[Format::Text, Format::OpenMetrics]);
        read_well += read(body, format, ParserOptions::default());
    });
    assert!(read_well > 0, "no sample was ever read");
}

#[test]
fn fuzz_protobuf() {
    rounds("protobuf", |dice| {
        let mut body = Vec::new();
        for _ in 0..dice.below(4) {
            let family = message(dice, 0);
            body.push(family.len().min(127) as u8);
            body.extend(family.into_iter().take(127));
        }
        if dice.once_in(2) {
            body = dice.mutated(body);
        }
        let options = ParserOptions { native_histograms: dice.once_in(2), classic_too: dice.once_in(2) };
        read(body, Format::Protobuf, options);
    });
}

/// A message whose fields are likely ones.
fn message(dice: &mut Dice, depth: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..dice.below(6) {
        let number = 1 + dice.below(16) as u8;
        match dice.below(4) {
            0 => out.extend([number << 3, dice.below(6) as u8]),
            1 => {
                out.push(number << 3 | 1);
                out.extend((dice.below(100) as f64).to_le_bytes());
            }
            _ if depth < 4 => {
                let inner = message(dice, depth + 1);
                out.extend([number << 3 | 2, inner.len().min(100) as u8]);
                out.extend(inner.into_iter().take(100));
            }
            _ => out.extend([number << 3 | 2, 2, b'a', b'b']),
        }
    }
    out
}
