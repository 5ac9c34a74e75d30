//! What a server said, frame by frame.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

/// One message of a server.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its type.
    pub tag: u8,
    /// What is behind its length.
    pub body: Bytes,
}

impl Answer {
    /// Its body without what differs between any two sessions of the server itself: the sender's process id of a
    /// NotificationResponse, and each column's table in a RowDescription.
    pub fn body_of_any_session(&self) -> Vec<u8> {
        let mut body = self.body.to_vec();
        match self.tag {
            b'A' => body[..4].fill(0),
            b'T' => {
                let mut at = 2;
                while let Some(end) = body[at..].iter().position(|byte| *byte == 0) {
                    at += end + 1;
                    body[at..at + 4].fill(0);
                    at += 18;
                    if at >= body.len() {
                        break;
                    }
                }
            }
            _ => {}
        }
        body
    }

    /// The fields of an error or a notice by their letter.
    pub fn fields(&self) -> BTreeMap<char, String> {
        let parts = self.body.split(|byte| *byte == 0);
        let field = |part: &[u8]| {
            let (code, text) = part.split_first()?;
            Some((
                char::from(*code),
                String::from_utf8_lossy(text).into_owned(),
            ))
        };
        parts.filter_map(field).collect()
    }

    /// The SQLSTATE of an error or a notice.
    ///
    /// # Panics
    /// If this is neither, or has none.
    pub fn sqlstate(&self) -> String {
        assert!(matches!(self.tag, b'E' | b'N'), "not an error: {self:?}");
        self.fields().remove(&'C').expect("every error has a code")
    }

    /// The message text of an error or a notice.
    pub fn text(&self) -> String {
        self.fields().remove(&'M').unwrap_or_default()
    }

    /// The values of a row as text; NULL as `None`.
    ///
    /// # Panics
    /// If this is no row.
    pub fn row(&self) -> Vec<Option<String>> {
        assert_eq!(self.tag, b'D', "not a row: {self:?}");
        let mut rest = &self.body[2..];
        let mut values = Vec::new();
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*length)).ok();
            let (value, behind) = behind.split_at(length.unwrap_or(0));
            values.push(length.map(|_| String::from_utf8_lossy(value).into_owned()));
            rest = behind;
        }
        values
    }

    /// The one value of a row that has one.
    ///
    /// # Panics
    /// If this is no row, or its first value is NULL.
    pub fn value(&self) -> String {
        let first = self.row().into_iter().next().flatten();
        first.expect("a value")
    }

    /// A text up to its zero byte: a command's tag, for one.
    pub fn cstr(&self) -> String {
        let end = self.body.iter().position(|byte| *byte == 0);
        let text = &self.body[..end.unwrap_or(self.body.len())];
        String::from_utf8_lossy(text).into_owned()
    }

    /// The name and value of a ParameterStatus.
    ///
    /// # Panics
    /// If this is none.
    pub fn parameter(&self) -> (String, String) {
        assert_eq!(self.tag, b'S', "not a ParameterStatus: {self:?}");
        let mut parts = self.body.split(|byte| *byte == 0);
        let mut next = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        (next(), next())
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.body[..self.body.len().min(200)];
        write!(
            formatter,
            "{} {:?}",
            char::from(self.tag),
            String::from_utf8_lossy(shown)
        )
    }
}

/// The types of messages, one letter each.
pub fn tags(answers: &[Answer]) -> String {
    answers
        .iter()
        .map(|answer| char::from(answer.tag))
        .collect()
}
