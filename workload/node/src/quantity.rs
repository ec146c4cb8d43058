//! Amounts as the API writes them.

use xebec_machinery::quantity::Quantity;

/// The number that a resource quantity writes, such as `128Mi` or `250m`.
pub(crate) fn quantity(text: &str) -> Option<f64> {
    // What a machine has is far below what would not be exact.
    Quantity::parse(text).ok().map(|found| found.nanos() as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_whatever_their_suffix() {
        for (text, value) in [
            ("1", 1.0),
            ("250m", 0.25),
            ("128Mi", 134_217_728.0),
            ("1e3", 1000.0),
            ("2k", 2000.0),
            ("1P", 1e15),
            ("2Pi", 2.0 * 1024_f64.powi(5)),
            ("1E", 1e18),
            ("1Ei", 1024_f64.powi(6)),
        ] {
            assert_eq!(quantity(text), Some(value), "{text}");
        }
        assert_eq!(quantity("many"), None);
    }
}
