//! Amounts as the API writes them.

/// The number that a resource quantity writes, such as `128Mi` or `250m`.
pub(crate) fn quantity(text: &str) -> Option<f64> {
    let split =
        text.find(|letter: char| !(letter.is_ascii_digit() || ".+-".contains(letter))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        exponent => format!("1{exponent}").parse().ok()?,
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        for (text, value) in
            [("1", 1.0), ("250m", 0.25), ("128Mi", 134_217_728.0), ("1e3", 1000.0), ("2k", 2000.0)]
        {
            assert_eq!(quantity(text), Some(value), "{text}");
        }
        assert_eq!(quantity("many"), None);
    }
}
