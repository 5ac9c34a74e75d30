//! Errors and notices of the proxy's own.

use bytes::{BufMut, BytesMut};

use super::{message, put_text};

/// How bad it is. Drivers act on it: an error before the connection closes has to be
/// [`Severity::Fatal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed, the session lives on.
    Error,
    /// The session ends with it.
    Fatal,
    /// The server goes down with it.
    Panic,
    /// A notice that deserves attention.
    Warning,
    /// A notice.
    Notice,
    /// A notice the client asked for.
    Info,
}

impl Severity {
    /// The word in the message.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Panic => "PANIC",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
            Self::Info => "INFO",
        }
    }
}

/// The fields of an error or a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorBody<'a> {
    /// How bad it is.
    pub severity: Severity,
    /// The error code, five characters.
    pub sqlstate: &'a str,
    /// What went wrong, in one line.
    pub message: &'a str,
    /// More about it.
    pub detail: Option<&'a str>,
    /// What to do about it.
    pub hint: Option<&'a str>,
}

impl<'a> ErrorBody<'a> {
    /// An error or notice without detail and hint.
    pub const fn new(severity: Severity, sqlstate: &'a str, message: &'a str) -> Self {
        Self {
            severity,
            sqlstate,
            message,
            detail: None,
            hint: None,
        }
    }

    /// The same with a detail.
    #[must_use]
    pub const fn with_detail(self, detail: &'a str) -> Self {
        Self {
            detail: Some(detail),
            ..self
        }
    }

    /// The same with a hint.
    #[must_use]
    pub const fn with_hint(self, hint: &'a str) -> Self {
        Self {
            hint: Some(hint),
            ..self
        }
    }
}

/// ErrorResponse.
pub fn error(out: &mut BytesMut, body: &ErrorBody<'_>) {
    message(out, b'E', |out| fields(out, body));
}

/// NoticeResponse.
pub fn notice(out: &mut BytesMut, body: &ErrorBody<'_>) {
    message(out, b'N', |out| fields(out, body));
}

fn fields(out: &mut BytesMut, body: &ErrorBody<'_>) {
    let mut field = |code: u8, text: &str| {
        out.put_u8(code);
        put_text(out, text);
    };
    field(b'S', body.severity.as_str());
    field(b'V', body.severity.as_str());
    field(b'C', body.sqlstate);
    field(b'M', body.message);
    if let Some(detail) = body.detail {
        field(b'D', detail);
    }
    if let Some(hint) = body.hint {
        field(b'H', hint);
    }
    out.put_u8(0);
}
