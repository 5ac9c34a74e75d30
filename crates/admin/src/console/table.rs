//! What a SHOW answers: columns that are known before it is asked, and rows.

use std::time::{Duration, SystemTime};

/// What a column holds. PgBouncer's types: tools bind to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// `int4`.
    Int,
    /// `int8`.
    Big,
}

/// A column's name and kind.
pub(super) type Column = (&'static str, Kind);

pub(super) const fn text(name: &'static str) -> Column {
    (name, Kind::Text)
}

pub(super) const fn int(name: &'static str) -> Column {
    (name, Kind::Int)
}

pub(super) const fn big(name: &'static str) -> Column {
    (name, Kind::Big)
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Text(String),
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Number(i64::from(is))
    }
}

/// Whole numbers of any size; what does not fit is the largest that does.
macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for Value {
            fn from(number: $number) -> Self {
                Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
            }
        }
    )*};
}
numbers!(i32, u16, u32, i64, u64, usize, u128);

/// A row, one value a column.
pub(super) type Row = Vec<Value>;

/// A row of whatever can be a value.
macro_rules! row {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::console::table::Value::from($value)),*]
    };
}
pub(super) use row;

/// Whole seconds.
pub(super) fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}

/// Whole milliseconds.
pub(super) fn milliseconds(duration: Duration) -> u128 {
    duration.as_millis()
}

/// The microseconds behind the whole seconds, as PgBouncer shows them beside those.
pub(super) fn microseconds_beside(duration: Duration) -> u32 {
    duration.subsec_micros()
}

/// A moment as PgBouncer writes it: `2026-11-26 03:44:24 UTC`.
pub(super) fn moment(time: SystemTime) -> String {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// The date so many days after 1970-01-01, by the rules of the Gregorian calendar.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    loop {
        let length = 365 + u64::from(leap(year));
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_pgbouncer_writes_them() {
        let at = |seconds| moment(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(at(951_827_696), "2000-02-29 12:34:56 UTC");
        assert_eq!(at(1_785_542_399), "2026-07-31 23:59:59 UTC");
        assert_eq!(at(4_107_542_400), "2100-03-01 00:00:00 UTC");
    }

    #[test]
    fn values_are_what_they_are_made_of() {
        assert_eq!(
            row![1_i32, "a", true, None::<i32>],
            [
                Value::Number(1),
                Value::Text("a".into()),
                Value::Number(1),
                Value::Null,
            ]
        );
        assert_eq!(Value::from(u64::MAX), Value::Number(i64::MAX));
    }
}
