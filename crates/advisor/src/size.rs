//! Memory as PostgreSQL writes it: `64MB`, 1024 bytes a kilobyte.

const UNITS: [(&str, u64); 5] = [
    ("TB", 1 << 40),
    ("GB", 1 << 30),
    ("MB", 1 << 20),
    ("kB", 1 << 10),
    ("B", 1),
];

/// Reads a size with its unit; `None` without one, or beyond 64 bits.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim();
    let (_, factor) = UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*factor)
}

/// Writes a size in the largest unit that leaves nothing over.
pub fn shown(bytes: u64) -> String {
    let unit = UNITS
        .iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    unit.map_or_else(
        || "0".to_owned(),
        |(name, factor)| format!("{}{name}", bytes / factor),
    )
}

/// Writes a size for people, with one decimal.
pub fn rounded(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, factor)| bytes >= *factor);
    unit.map_or_else(
        || "0".to_owned(),
        |(name, factor)| {
            let tenths = bytes / (factor / 10).max(1);
            match (tenths % 10, *factor) {
                (0, _) | (_, 1) => format!("{}{name}", bytes / factor),
                (rest, _) => format!("{}.{rest}{name}", tenths / 10),
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_as_postgresql_does() {
        for (text, bytes) in [("64MB", 64 << 20), ("1GB", 1 << 30), ("8kB", 8 << 10)] {
            assert_eq!(parse(text), Some(bytes));
            assert_eq!(shown(bytes), text);
        }
        assert_eq!(parse("128 gb"), Some(128 << 30));
        for wrong in ["", "64", "MB", "1XB", "99999999999999TB"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(shown(0), "0");
        assert_eq!(rounded((3 << 30) + (1 << 29)), "3.5GB");
    }
}
