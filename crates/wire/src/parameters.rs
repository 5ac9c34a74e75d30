//! What a server reports of its settings (ParameterStatus), and small sets of settings to
//! compare a client's with a server's.

use std::borrow::Cow;

/// The settings PostgreSQL 14 to 18 report by themselves, spelt as they report them, sorted
/// without regard to case.
const KNOWN: [&str; 15] = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "scram_iterations",
    "search_path",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

/// Reads the body of a ParameterStatus: name and value. `None` when it is not two
/// zero-terminated UTF-8 texts.
pub fn parse_parameter_status(body: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(body).ok()?;
    let (name, rest) = text.split_once('\0')?;
    let (value, rest) = rest.split_once('\0')?;
    (rest.is_empty() && !name.is_empty()).then_some((name, value))
}

/// A setting's name as PostgreSQL spells it (`DateStyle`, `TimeZone`); one that it does not
/// report in small letters, for names are compared without case.
pub fn canonical_name(name: &str) -> Cow<'static, str> {
    match KNOWN.binary_search_by(|known| compare(known, name)) {
        Ok(at) => Cow::Borrowed(KNOWN[at]),
        Err(_) => Cow::Owned(name.to_ascii_lowercase()),
    }
}

fn compare(left: &str, right: &str) -> std::cmp::Ordering {
    let lower = |byte: u8| byte.to_ascii_lowercase();
    left.bytes().map(lower).cmp(right.bytes().map(lower))
}

/// A few settings and their values, sorted by name; names are compared without case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ParameterSet {
    entries: Vec<(Cow<'static, str>, Box<str>)>,
}

impl ParameterSet {
    /// A set without settings; it owns no memory.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// How many settings it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a setting.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.find(name).ok()?;
        Some(&self.entries[at].1)
    }

    /// Sets a value; tells whether that changed anything.
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        match self.find(name) {
            Ok(at) if *self.entries[at].1 == *value => false,
            Ok(at) => {
                self.entries[at].1 = value.into();
                true
            }
            Err(at) => {
                let entry = (canonical_name(name), value.into());
                self.entries.insert(at, entry);
                true
            }
        }
    }

    /// Takes a setting out; tells whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let found = self.find(name);
        if let Ok(at) = found {
            self.entries.remove(at);
        }
        found.is_ok()
    }

    /// Name and value of each, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// What would have to be set on `other` to make it like this set: the settings whose value
    /// differs there or is missing there. What only `other` has is not listed.
    pub fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.iter()
            .filter(|(name, value)| other.get(name) != Some(value))
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|(known, _)| compare(known, name))
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for ParameterSet {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut set = Self::new();
        for (name, value) in pairs {
            set.set(name.as_ref(), value.as_ref());
        }
        set
    }
}

/// PostgreSQL's own name of a client encoding, as it reports it: letters and digits alone
/// count, in either case, and quotes around it do not (`'utf-8'` is `UTF8`). A name that is
/// not known comes back without its quotes.
pub fn normalise_client_encoding(name: &str) -> Cow<'_, str> {
    let bare = name.trim().trim_matches(['\'', '"']).trim();
    let clean: String = bare
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_uppercase())
        .collect();
    let known = match clean.as_str() {
        "UTF8" | "UNICODE" => "UTF8",
        "SQLASCII" => "SQL_ASCII",
        "LATIN1" | "ISO88591" => "LATIN1",
        "LATIN2" | "ISO88592" => "LATIN2",
        "LATIN3" | "ISO88593" => "LATIN3",
        "LATIN4" | "ISO88594" => "LATIN4",
        "LATIN5" | "ISO88599" => "LATIN5",
        "LATIN6" | "ISO885910" => "LATIN6",
        "LATIN7" | "ISO885913" => "LATIN7",
        "LATIN8" | "ISO885914" => "LATIN8",
        "LATIN9" | "ISO885915" => "LATIN9",
        "LATIN10" | "ISO885916" => "LATIN10",
        "ISO88595" => "ISO_8859_5",
        "ISO88596" => "ISO_8859_6",
        "ISO88597" => "ISO_8859_7",
        "ISO88598" => "ISO_8859_8",
        "WIN1250" | "WINDOWS1250" => "WIN1250",
        "WIN1251" | "WINDOWS1251" | "WIN" => "WIN1251",
        "WIN1252" | "WINDOWS1252" => "WIN1252",
        "WIN1253" | "WINDOWS1253" => "WIN1253",
        "WIN1254" | "WINDOWS1254" => "WIN1254",
        "WIN1255" | "WINDOWS1255" => "WIN1255",
        "WIN1256" | "WINDOWS1256" => "WIN1256",
        "WIN1257" | "WINDOWS1257" => "WIN1257",
        "WIN1258" | "WINDOWS1258" | "ABC" | "TCVN" | "TCVN5712" | "VSCII" => "WIN1258",
        "WIN866" | "WINDOWS866" | "ALT" => "WIN866",
        "WIN874" | "WINDOWS874" => "WIN874",
        "KOI8" | "KOI8R" => "KOI8R",
        "KOI8U" => "KOI8U",
        "EUCCN" => "EUC_CN",
        "EUCJP" => "EUC_JP",
        "EUCJIS2004" => "EUC_JIS_2004",
        "EUCKR" => "EUC_KR",
        "EUCTW" => "EUC_TW",
        "GBK" | "WIN936" | "WINDOWS936" => "GBK",
        "GB18030" => "GB18030",
        "BIG5" | "WIN950" | "WINDOWS950" => "BIG5",
        "SJIS" | "MSKANJI" | "SHIFTJIS" | "WIN932" | "WINDOWS932" => "SJIS",
        "SHIFTJIS2004" => "SHIFT_JIS_2004",
        "JOHAB" => "JOHAB",
        "UHC" | "WIN949" | "WINDOWS949" => "UHC",
        "MULEINTERNAL" => "MULE_INTERNAL",
        _ => return Cow::Borrowed(bare),
    };
    Cow::Borrowed(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_names_are_sorted_for_the_search() {
        assert!(KNOWN.is_sorted_by(|left, right| compare(left, right).is_lt()));
        for known in KNOWN {
            assert_eq!(canonical_name(&known.to_ascii_uppercase()), known);
        }
        assert_eq!(canonical_name("hnsw.EF_search"), "hnsw.ef_search");
    }

    #[test]
    fn a_parameter_status_is_two_texts_and_nothing_else() {
        for (body, expected) in [
            (&b"TimeZone\0UTC\0"[..], Some(("TimeZone", "UTC"))),
            (b"application_name\0\0", Some(("application_name", ""))),
            (b"TimeZone\0UTC", None),
            (b"TimeZone\0", None),
            (b"TimeZone\0UTC\0x", None),
            (b"\0\0", None),
            (b"a\0\xff\0", None),
        ] {
            assert_eq!(parse_parameter_status(body), expected, "{body:?}");
        }
    }

    #[test]
    fn names_are_compared_without_case_and_spelt_as_the_server_does() {
        let mut set = ParameterSet::new();
        assert!(set.set("datestyle", "ISO, MDY"));
        assert!(!set.set("DATESTYLE", "ISO, MDY"));
        assert!(set.set("DateStyle", "German"));
        assert!(set.set("Work_Mem", "64MB"));
        assert_eq!(set.get("dateSTYLE"), Some("German"));
        let all: Vec<_> = set.iter().collect();
        assert_eq!(all, [("DateStyle", "German"), ("work_mem", "64MB")]);
        assert!(set.remove("DATEstyle") && !set.remove("DateStyle"));
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn the_difference_is_what_the_other_lacks() {
        let wanted: ParameterSet = [("a", "1"), ("B", "2"), ("c", "3")].into_iter().collect();
        let server: ParameterSet = [("A", "1"), ("b", "9"), ("d", "4")].into_iter().collect();
        let difference: Vec<_> = wanted.difference(&server).collect();
        assert_eq!(difference, [("b", "2"), ("c", "3")]);
        assert_eq!(wanted.difference(&wanted).count(), 0);
    }

    #[test]
    fn encodings_have_one_name() {
        for (given, expected) in [
            ("'utf-8'", "UTF8"),
            ("UTF8", "UTF8"),
            ("unicode", "UTF8"),
            ("\"Utf_8\"", "UTF8"),
            ("iso-8859-1", "LATIN1"),
            ("windows-1252", "WIN1252"),
            ("sql_ascii", "SQL_ASCII"),
            ("'klingon'", "klingon"),
            ("", ""),
        ] {
            assert_eq!(normalise_client_encoding(given), expected, "{given}");
        }
    }
}
