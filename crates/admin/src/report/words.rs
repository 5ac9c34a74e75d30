//! Durations, times and numbers for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Since 1970; zero for a clock that stands before.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Such as `9 min 12 s`, `3.2 s`, `45 ms`.
pub(super) fn lasting(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let whole = seconds.round() as u64;
    match seconds {
        ..0.000_01 => "0 s".to_owned(),
        0.000_01..0.001 => format!("{} us", duration.as_micros()),
        0.001..0.01 => format!("{:.1} ms", seconds * 1e3),
        0.01..0.9995 => format!("{:.0} ms", seconds * 1e3),
        0.9995..9.95 => format!("{seconds:.1} s"),
        _ if whole < 60 => format!("{whole} s"),
        _ if whole < 3600 && whole.is_multiple_of(60) => format!("{} min", whole / 60),
        _ if whole < 3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// The same of microseconds.
pub(super) fn micros(us: f64) -> String {
    lasting(Duration::from_secs_f64(us.max(0.0) / 1e6))
}

/// How much more than one: `4 % slower`, `2.3 times as slow`, `as fast as`.
pub(super) fn slower(ratio: f64) -> String {
    let percent = ((ratio - 1.0) * 100.0).round();
    match percent {
        ..-2.5 => format!("{:.0} % faster than", -percent),
        -2.5..2.5 => "as fast as".to_owned(),
        2.5..99.5 => format!("{percent:.0} % slower than"),
        _ => format!("{ratio:.1} times as slow as"),
    }
}

/// `once`, `twice`, `6 times`.
pub(super) fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{count} times"),
    }
}

/// A count of things: `1 transaction`, `7,412 transactions`.
pub(super) fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", thousands(count))
}

/// With commas between thousands.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time as `2026-11-26 08:11:33Z`: UTC, so that it means the same to everybody.
pub fn moment(ms: u64) -> String {
    let (days, second) = (ms / 86_400_000, ms / 1000 % 86_400);
    let (year, month, day) = date_of(i64::try_from(days).unwrap_or(0));
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02}Z",
        second % 60
    )
}

/// The time of day alone.
pub(super) fn clock(ms: u64) -> String {
    moment(ms)[11..].to_owned()
}

/// A moment as somebody types it, in milliseconds since 1970: `2h` and the like before `now`, or ISO 8601, such as
/// `2026-11-26`, `2026-11-26T08:11`, `2026-11-26 08:11:33+01:00`. Without a zone it is UTC.
///
/// # Errors
/// What would be right.
pub fn parse_moment(text: &str, now: u64) -> Result<u64, String> {
    let wrong = || {
        format!(
            "`{text}` is no time: such as `90s`, `30m`, `2h`, `7d` ago, or `2026-11-26T08:11:33Z`"
        )
    };
    let text = text.trim();
    if text == "now" {
        return Ok(now);
    }
    if let Some(ago) = ago(text) {
        return Ok(now.saturating_sub(ago));
    }
    iso(text).ok_or_else(wrong)
}

fn ago(text: &str) -> Option<u64> {
    let unit = text.find(|letter: char| !letter.is_ascii_digit())?;
    let number: u64 = text[..unit].parse().ok()?;
    let unit = match text[unit..].trim() {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

fn iso(text: &str) -> Option<u64> {
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], text[at + 1..].trim()),
        None => (text, ""),
    };
    let mut parts = date.splitn(3, '-');
    let mut part = |most: i64| number(parts.next()?, 1, most);
    let (year, month, day) = (part(9999)?, part(12)?, part(31)?);
    let (time, offset) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => (&rest[..at], zone(&rest[at..])?),
        None => (rest, 0),
    };
    let seconds = match time.trim() {
        "" => 0,
        time => seconds_of_day(time)?,
    };
    let days = days_before(year, month, day);
    if date_of(days) != (year, month, day) {
        // Such as the 31st of April.
        return None;
    }
    let seconds = days * 86_400 + seconds - offset;
    u64::try_from(seconds).ok()?.checked_mul(1000)
}

fn seconds_of_day(text: &str) -> Option<i64> {
    // Fractions of a second are not told apart.
    let text = text.split_once('.').map_or(text, |(whole, _)| whole);
    let mut parts = text.splitn(3, ':');
    let hour = number(parts.next()?, 0, 23)?;
    let minute = number(parts.next()?, 0, 59)?;
    let second = parts.next().map_or(Some(0), |text| number(text, 0, 60))?;
    Some(hour * 3600 + minute * 60 + second)
}

fn zone(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return (text.len() == 1).then_some(0),
    };
    let text = text[1..].replace(':', "");
    let (hour, minute) = text.split_at_checked(2)?;
    let minute = if minute.is_empty() { "0" } else { minute };
    Some(sign * (number(hour, 0, 15)? * 3600 + number(minute, 0, 59)? * 60))
}

fn number(text: &str, least: i64, most: i64) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten()?;
    (least..=most).contains(&number).then_some(number)
}

/// Year, month and day of a day since 1970, in the Gregorian calendar, counted in years that begin with March.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// The inverse.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_the_words_of_people() {
        let told = |ms| lasting(Duration::from_millis(ms));
        for (ms, expected) in [
            (0, "0 s"),
            (4, "4.0 ms"),
            (45, "45 ms"),
            (3210, "3.2 s"),
            (42_000, "42 s"),
            (552_000, "9 min 12 s"),
            (600_000, "10 min"),
            (7_380_000, "2 h 3 min"),
        ] {
            assert_eq!(told(ms), expected);
        }
        assert_eq!(micros(250.0), "250 us");
    }

    #[test]
    fn ratios_and_counts_are_words() {
        assert_eq!(slower(1.04), "4 % slower than");
        assert_eq!(slower(1.01), "as fast as");
        assert_eq!(slower(2.34), "2.3 times as slow as");
        assert_eq!(slower(0.9), "10 % faster than");
        assert_eq!([times(1), times(2), times(6)], ["once", "twice", "6 times"]);
        assert_eq!(counted(1_234_567, "transaction"), "1,234,567 transactions");
    }

    #[test]
    fn moments_are_read_as_they_are_typed() {
        let now = 1_795_680_693_000;
        assert_eq!(moment(now), "2026-11-26 08:11:33Z");
        for (text, expected) in [
            ("now", "2026-11-26 08:11:33Z"),
            ("2h", "2026-11-26 06:11:33Z"),
            ("7d", "2026-11-19 08:11:33Z"),
            ("2026-11-26", "2026-11-26 00:00:00Z"),
            ("2024-02-29T23:59", "2024-02-29 23:59:00Z"),
            ("2026-11-26 08:11:33.25+01:30", "2026-11-26 06:41:33Z"),
            ("2026-11-26T08:11:33Z", "2026-11-26 08:11:33Z"),
        ] {
            let read = parse_moment(text, now).map(moment);
            assert_eq!(read.as_deref(), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "soon",
            "2026-13-01",
            "2026-04-31",
            "12:00",
            "2026-11-26T25:00",
            "5 y",
        ] {
            assert!(parse_moment(wrong, now).is_err(), "{wrong}");
        }
    }
}
