//! The head of a histogram chunk: what all its samples share.

use super::bits::{BitReader, BitWriter};
use crate::{
    Error, Result,
    histogram::{CUSTOM_BUCKETS, Layout, Span, buckets_of},
};

/// More buckets than this on one side are taken for corruption: no sane histogram comes near.
const MOST_BUCKETS: u64 = 1 << 20;

/// What a chunk says of counter resets, in the two highest bits of its third byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ResetHeader {
    #[default]
    Unknown,
    Reset,
    NotReset,
    Gauge,
}

impl ResetHeader {
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::NotReset => 0b0100_0000,
            Self::Reset => 0b1000_0000,
            Self::Gauge => 0b1100_0000,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Self {
        match byte >> 6 {
            0 => Self::Unknown,
            1 => Self::NotReset,
            2 => Self::Reset,
            _ => Self::Gauge,
        }
    }
}

pub(crate) fn write(out: &mut BitWriter, layout: &Layout) {
    write_threshold(out, layout.zero_threshold);
    out.varbit(i64::from(layout.schema));
    for spans in [&layout.positive_spans, &layout.negative_spans] {
        out.varbit_unsigned(spans.len() as u64);
        for span in spans {
            out.varbit_unsigned(u64::from(span.length));
            out.varbit(i64::from(span.offset));
        }
    }
    if layout.schema == CUSTOM_BUCKETS {
        out.varbit_unsigned(layout.custom_values.len() as u64);
        for &bound in &layout.custom_values {
            write_bound(out, bound);
        }
    }
}

pub(crate) fn read(input: &mut BitReader) -> Result<Layout> {
    let zero_threshold = read_threshold(input)?;
    let schema = narrow(input.varbit()?)?;
    let positive_spans = read_spans(input)?;
    let negative_spans = read_spans(input)?;
    let mut custom_values = Vec::new();
    if schema == CUSTOM_BUCKETS {
        for _ in 0..limited(input.varbit_unsigned()?)? {
            custom_values.push(read_bound(input)?);
        }
    } else if !(-9..=52).contains(&schema) {
        // Schemas up to 52 are reserved: readers may meet them once a finer resolution is in use.
        return Err(Error::Unsupported { what: "histogram chunk".into(), found: format!("schema {schema}") });
    }
    Ok(Layout { schema, zero_threshold, positive_spans, negative_spans, custom_values })
}

fn read_spans(input: &mut BitReader) -> Result<Vec<Span>> {
    let mut spans = Vec::new();
    for _ in 0..limited(input.varbit_unsigned()?)? {
        let length = input.varbit_unsigned()?;
        let length =
            u32::try_from(length).map_err(|_| Error::corrupt("histogram chunk", "a span is too long"))?;
        spans.push(Span { length, offset: narrow(input.varbit()?)? });
    }
    limited(buckets_of(&spans))?;
    Ok(spans)
}

fn limited(count: u64) -> Result<u64> {
    if count > MOST_BUCKETS {
        return Err(Error::corrupt("histogram chunk", "it says to have over a million buckets"));
    }
    Ok(count)
}

fn narrow(value: i64) -> Result<i32> {
    i32::try_from(value).map_err(|_| Error::corrupt("histogram chunk", "a number is longer than 32 bits"))
}

/// The exponent of a power of two from 2^-243 to 2^10, as `0.5 * 2^exponent`.
fn small_power(threshold: f64) -> Option<i32> {
    const SIGN_AND_FRACTION: u64 = 0x800f_ffff_ffff_ffff;
    let bits = threshold.to_bits();
    let exponent = (bits >> 52) as i32 - 1022;
    (bits & SIGN_AND_FRACTION == 0 && (-242..=11).contains(&exponent)).then_some(exponent)
}

fn write_threshold(out: &mut BitWriter, threshold: f64) {
    if threshold == 0.0 {
        return out.byte(0);
    }
    match small_power(threshold) {
        Some(exponent) => out.byte((exponent + 243) as u8),
        None => {
            out.byte(255);
            out.bits(threshold.to_bits(), 64);
        }
    }
}

fn read_threshold(input: &mut BitReader) -> Result<f64> {
    Ok(match input.byte()? {
        0 => 0.0,
        255 => input.f64()?,
        byte => 2f64.powi(i32::from(byte) - 243 - 1),
    })
}

/// The highest multiple of a thousandth that takes the short form of four bytes.
const MOST_THOUSANDTHS: f64 = 33_554_430.0;

/// Bounds that people set have few decimals: those are thousandths, others are floats behind a zero bit.
fn write_bound(out: &mut BitWriter, bound: f64) {
    let thousandths = bound * 1000.0;
    if (0.0..=MOST_THOUSANDTHS).contains(&thousandths) && thousandths.fract() == 0.0 {
        let whole = thousandths as u64;
        // Not every multiple comes back as the bound that it was made of, and zero has two signs.
        if (whole as f64 / 1000.0).to_bits() == bound.to_bits() {
            return out.varbit_unsigned(whole + 1);
        }
    }
    out.bit(false);
    out.bits(bound.to_bits(), 64);
}

fn read_bound(input: &mut BitReader) -> Result<f64> {
    Ok(match input.varbit_unsigned()? {
        0 => input.f64()?,
        thousandths => (thousandths - 1) as f64 / 1000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans() -> impl Strategy<Value = Vec<Span>> {
        let span = (any::<i32>(), 0u32..500).prop_map(|(offset, length)| Span { offset, length });
        proptest::collection::vec(span, 0..5)
    }

    fn threshold() -> impl Strategy<Value = f64> {
        prop_oneof![Just(0.0), (-250i32..20).prop_map(|exponent| 2f64.powi(exponent)), any::<f64>()]
    }

    proptest! {
        #[test]
        fn a_layout_comes_back(
            schema in prop_oneof![Just(CUSTOM_BUCKETS), -4i32..=8],
            zero_threshold in threshold(),
            positive_spans in spans(),
            negative_spans in spans(),
            bounds in proptest::collection::vec(prop_oneof![any::<f64>(), (0u32..40_000_000).prop_map(|n| f64::from(n) / 1000.0)], 0..5),
        ) {
            let custom_values = if schema == CUSTOM_BUCKETS { bounds } else { Vec::new() };
            let layout = Layout { schema, zero_threshold, positive_spans, negative_spans, custom_values };
            let mut out = BitWriter::default();
            write(&mut out, &layout);
            let back = read(&mut BitReader::new(out.into_bytes().into())).unwrap();
            if layout.zero_threshold == 0.0 {
                prop_assert_eq!(back.zero_threshold, 0.0);
                prop_assert_eq!(Layout { zero_threshold: 0.0, ..back }, Layout { zero_threshold: 0.0, ..layout });
            } else {
                prop_assert_eq!(back, layout);
            }
        }
    }
}
