//! Durations, sizes, shares and ratios as they are written in lanes.yaml: whole numbers with a unit.
//!
//! Sizes count in steps of 1024 and spell their units as PostgreSQL does (`kB`, `MB`, `GB`, `TB`; its documentation,
//! "Parameter Names and Values"). Every parser answers with what would be right.

use std::time::Duration;

/// The longest duration that is accepted: a year. Beyond it a timeout means `off`.
const MAXIMUM_DURATION: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Reads `500ms`, `60s`, `2m`, `1h`, `1d`, or `0`.
///
/// # Errors
/// What would be right.
pub fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (number, unit) = split(text).ok_or_else(|| {
        "a duration is a whole number and a unit, such as `500ms`, `60s`, `2m`, `1h` or `1d`"
            .to_owned()
    })?;
    let unit_microseconds: u64 = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" | "min" => 60 * 1_000_000,
        "h" => 60 * 60 * 1_000_000,
        "d" => 24 * 60 * 60 * 1_000_000,
        "" => {
            return Err(format!(
                "a duration needs its unit: `{number}s` or `{number}ms`"
            ));
        }
        _ => return Err("the units of a duration are us, ms, s, m, h and d".to_owned()),
    };
    number
        .checked_mul(unit_microseconds)
        .map(Duration::from_micros)
        .filter(|duration| *duration <= MAXIMUM_DURATION)
        .ok_or_else(|| "the longest duration is `366d`".to_owned())
}

/// `64MB`, `2GB`, `512kB`, `100B`, or `0`: bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    let (number, unit) = split(text).ok_or_else(|| {
        "a size is a whole number and a unit, such as `512kB`, `64MB` or `2GB`".to_owned()
    })?;
    if unit.is_empty() {
        return Err(format!(
            "a size needs its unit: `{number}MB` or `{number}kB`"
        ));
    }
    scaled(number, unit)
}

/// A memory setting of PostgreSQL, such as `work_mem`: as [`size`], and a bare number counts kB.
pub(crate) fn memory_setting(text: &str) -> Option<u64> {
    let (number, unit) = split(text.trim())?;
    scaled(number, if unit.is_empty() { "kB" } else { unit }).ok()
}

fn scaled(number: u64, unit: &str) -> Result<u64, String> {
    let power = match unit {
        "B" => 0,
        "kB" => 1,
        "MB" => 2,
        "GB" => 3,
        "TB" => 4,
        _ => return Err("the units of a size are B, kB, MB, GB and TB, spelt so".to_owned()),
    };
    number
        .checked_mul(1024_u64.pow(power))
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| "this size is larger than any memory".to_owned())
}

/// `25%`: the number before the sign, 0 to 100.
pub(crate) fn percent(text: &str) -> Result<u8, String> {
    text.strip_suffix('%')
        .and_then(|number| number.parse::<u8>().ok())
        .filter(|share| *share <= 100)
        .ok_or_else(|| "a share is a whole number from 0% to 100%".to_owned())
}

/// `1.2x`: how many times, in thousandths.
pub(crate) fn ratio_thousandths(text: &str) -> Result<u32, String> {
    let wrong = || "a ratio is a number followed by x, such as `1.2x`".to_owned();
    let number = text.strip_suffix('x').ok_or_else(wrong)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return Err(wrong());
    }
    let fraction = format!("{fraction:0<3}");
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let fraction: u32 = fraction.parse().map_err(|_| wrong())?;
    whole
        .checked_mul(1000)
        .and_then(|thousandths| thousandths.checked_add(fraction))
        .ok_or_else(wrong)
}

/// As lanes.yaml writes it: the largest unit that divides it.
pub fn shown_duration(duration: Duration) -> String {
    let microseconds = duration.as_micros();
    let units = [
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1000, "ms"),
    ];
    for (unit, name) in units {
        if microseconds >= unit && microseconds.is_multiple_of(unit) {
            return format!("{}{name}", microseconds / unit);
        }
    }
    match microseconds {
        0 => "0".to_owned(),
        _ => format!("{microseconds}us"),
    }
}

/// A size as a person reads it, in the largest unit that divides it.
pub(crate) fn shown_size(bytes: u64) -> String {
    for (unit, power) in [("TB", 4), ("GB", 3), ("MB", 2), ("kB", 1)] {
        let step = 1024_u64.pow(power);
        if bytes >= step && bytes.is_multiple_of(step) {
            return format!("{}{unit}", bytes / step);
        }
    }
    format!("{bytes}B")
}

/// The digits in front and the unit behind them.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let number = text[..end].parse().ok()?;
    let unit = text[end..].trim_start_matches(' ');
    (!unit.contains(char::is_whitespace)).then_some((number, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("250us", Some(250)),
            ("500ms", Some(500_000)),
            ("60s", Some(60_000_000)),
            ("60 s", Some(60_000_000)),
            ("2m", Some(120_000_000)),
            ("2min", Some(120_000_000)),
            ("1h", Some(3_600_000_000)),
            ("1d", Some(86_400_000_000)),
            ("366d", Some(31_622_400_000_000)),
            ("367d", None),
            ("60", None),
            ("-1s", None),
            ("1.5s", None),
            ("s", None),
            ("", None),
            ("60S", None),
            ("1h30m", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            let expected = expected.map(Duration::from_micros);
            assert_eq!(duration(text).ok(), expected, "{text}");
        }
        assert_eq!(
            duration("60"),
            Err("a duration needs its unit: `60s` or `60ms`".to_owned())
        );
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("100B", Some(100)),
            ("1kB", Some(1024)),
            ("64MB", Some(64 << 20)),
            ("64 MB", Some(64 << 20)),
            ("2GB", Some(2 << 30)),
            ("1TB", Some(1 << 40)),
            ("64", None),
            ("64mb", None),
            ("64M", None),
            ("1.5GB", None),
            ("kB", None),
            ("", None),
            ("99999999999TB", None),
        ] {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
        assert_eq!(memory_setting("4096"), Some(4 << 20));
        assert_eq!(memory_setting(" 32MB"), Some(32 << 20));
        assert_eq!(memory_setting("lots"), None);
        assert_eq!(shown_size(64 << 20), "64MB");
        assert_eq!(shown_size(1000), "1000B");
        assert_eq!(shown_size(0), "0B");
    }

    #[test]
    fn shares_and_ratios() {
        for (text, expected) in [
            ("25%", Some(25)),
            ("0%", Some(0)),
            ("100%", Some(100)),
            ("101%", None),
            ("25", None),
            ("-1%", None),
        ] {
            assert_eq!(percent(text).ok(), expected, "{text}");
        }
        for (text, expected) in [
            ("1.2x", Some(1200)),
            ("2x", Some(2000)),
            ("1.25x", Some(1250)),
            ("0.5x", Some(500)),
            ("1.x", None),
            (".5x", None),
            ("1.2345x", None),
            ("1.2", None),
            ("x", None),
            ("9999999999x", None),
        ] {
            assert_eq!(ratio_thousandths(text).ok(), expected, "{text}");
        }
    }
}
