//! The fields of an ErrorResponse or a NoticeResponse, as far as they can be read.

/// What a server said of an error. Every field may be missing: errors without an SQLSTATE have
/// been seen in the wild (CVE-2026-6666), so nothing here can fail. A field in another
/// encoding than UTF-8 is cut where it stops being UTF-8.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorFields<'a> {
    severity: Option<&'a str>,
    sqlstate: Option<&'a str>,
    message: Option<&'a str>,
    detail: Option<&'a str>,
    hint: Option<&'a str>,
    context: Option<&'a str>,
    constraint: Option<&'a str>,
    routine: Option<&'a str>,
}

impl<'a> ErrorFields<'a> {
    /// Reads the body of an ErrorResponse or NoticeResponse. Of a field given twice the first
    /// counts; a field that does not end is taken to the end of the body.
    pub fn parse(body: &'a [u8]) -> Self {
        let mut fields = Self::default();
        let mut localized = None;
        let mut rest = body;
        while let Some((&code, after)) = rest.split_first() {
            if code == 0 {
                break;
            }
            let end = after.iter().position(|byte| *byte == 0);
            let text = valid_part(&after[..end.unwrap_or(after.len())]);
            let slot = match code {
                b'V' => &mut fields.severity,
                b'S' => &mut localized,
                b'C' => &mut fields.sqlstate,
                b'M' => &mut fields.message,
                b'D' => &mut fields.detail,
                b'H' => &mut fields.hint,
                b'W' => &mut fields.context,
                b'n' => &mut fields.constraint,
                b'R' => &mut fields.routine,
                _ => &mut None,
            };
            slot.get_or_insert(text);
            rest = end.map_or(&[], |end| &after[end + 1..]);
        }
        fields.severity = fields.severity.or(localized);
        fields
    }

    /// `ERROR`, `FATAL`, ...: the untranslated severity (`V`), or the translated one (`S`) of
    /// servers that send no other.
    pub fn severity(&self) -> Option<&'a str> {
        self.severity
    }

    /// The five characters of the error code.
    pub fn sqlstate(&self) -> Option<&'a str> {
        self.sqlstate
    }

    /// The primary message.
    pub fn message(&self) -> Option<&'a str> {
        self.message
    }

    /// A second, longer explanation.
    pub fn detail(&self) -> Option<&'a str> {
        self.detail
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'a str> {
        self.hint
    }

    /// Where it happened: a call stack of functions (`W`).
    pub fn context(&self) -> Option<&'a str> {
        self.context
    }

    /// The name of the constraint that was hurt.
    pub fn constraint(&self) -> Option<&'a str> {
        self.constraint
    }

    /// The server's own function that reported it (`R`).
    pub fn routine(&self) -> Option<&'a str> {
        self.routine
    }

    /// Whether the server closes the connection after this error.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity, Some("FATAL" | "PANIC"))
    }
}

fn valid_part(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_error_is_read() {
        let fields = ErrorFields::parse(
            b"SFEHLER\0VERROR\0C42P01\0Mrelation \"x\" does not exist\0P15\0Dd\0Hh\0Ww\0nc\0Rparser\0\0",
        );
        assert_eq!(fields.severity, Some("ERROR"));
        assert_eq!(fields.sqlstate, Some("42P01"));
        assert_eq!(fields.message, Some("relation \"x\" does not exist"));
        assert_eq!((fields.detail, fields.hint), (Some("d"), Some("h")));
        assert_eq!((fields.context, fields.constraint), (Some("w"), Some("c")));
        assert_eq!(fields.routine, Some("parser"));
        assert!(!fields.is_fatal());
    }

    #[test]
    fn a_severity_without_its_untranslated_twin_counts() {
        assert!(ErrorFields::parse(b"SFATAL\0Mgone\0\0").is_fatal());
        assert!(!ErrorFields::parse(b"SFATAL\0VERROR\0\0").is_fatal());
    }

    #[test]
    fn what_is_missing_or_broken_is_none() {
        assert_eq!(ErrorFields::parse(b""), ErrorFields::default());
        assert_eq!(ErrorFields::parse(b"\0"), ErrorFields::default());
        let unended = ErrorFields::parse(b"Mcut off");
        assert_eq!(unended.message, Some("cut off"));
        assert_eq!(unended.sqlstate, None);
        assert_eq!(ErrorFields::parse(b"Mgr\xfc\xdfe\0\0").message, Some("gr"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_fail(body: Vec<u8>) {
            ErrorFields::parse(&body);
        }
    }
}
