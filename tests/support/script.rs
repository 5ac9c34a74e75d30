//! What a client of frames says: each method appends one message.

use bytes::{BufMut, BytesMut};
use pglanes_wire::message;

/// Messages of a client, in the order in which they are said.
#[derive(Debug, Clone, Default)]
pub struct Script(BytesMut);

impl Script {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// All of it, as it goes over the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A message of any type and body.
    #[must_use]
    pub fn message(mut self, tag: u8, body: &[u8]) -> Self {
        self.0.put_u8(tag);
        let length = u32::try_from(body.len() + 4).expect("a body below 4 GiB");
        self.0.put_u32(length);
        self.0.put_slice(body);
        self
    }

    /// Bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.put_slice(bytes);
        self
    }

    /// Query.
    #[must_use]
    pub fn query(mut self, sql: &str) -> Self {
        message::query(&mut self.0, sql);
        self
    }

    /// Parse; the server finds the parameters' types.
    #[must_use]
    pub fn parse(self, name: &str, sql: &str) -> Self {
        self.parse_typed(name, sql, &[])
    }

    /// Parse with types of parameters.
    #[must_use]
    pub fn parse_typed(mut self, name: &str, sql: &str, types: &[u32]) -> Self {
        message::parse(&mut self.0, name, sql, types);
        self
    }

    /// Bind of text values; results as text.
    #[must_use]
    pub fn bind(self, portal: &str, statement: &str, values: &[&str]) -> Self {
        let mut body = names(&[portal, statement]);
        body.put_u16(0);
        body.put_u16(u16::try_from(values.len()).expect("at most 65,535 parameters"));
        for value in values {
            body.put_u32(u32::try_from(value.len()).expect("a value below 4 GiB"));
            body.put_slice(value.as_bytes());
        }
        body.put_u16(0);
        self.message(b'B', &body)
    }

    /// Describe of a statement.
    #[must_use]
    pub fn describe_statement(self, name: &str) -> Self {
        self.message(b'D', &kind_and_name(b'S', name))
    }

    /// Describe of a portal.
    #[must_use]
    pub fn describe_portal(self, name: &str) -> Self {
        self.message(b'D', &kind_and_name(b'P', name))
    }

    /// Execute of at most `rows` rows; 0 for all.
    #[must_use]
    pub fn execute(self, portal: &str, rows: u32) -> Self {
        let mut body = names(&[portal]);
        body.put_u32(rows);
        self.message(b'E', &body)
    }

    /// Parse, Bind and Execute of one statement under the empty names.
    #[must_use]
    pub fn run(self, sql: &str, values: &[&str]) -> Self {
        self.parse("", sql).bind("", "", values).execute("", 0)
    }

    /// Bind and Execute of a named statement.
    #[must_use]
    pub fn run_prepared(self, name: &str, values: &[&str]) -> Self {
        self.bind("", name, values).execute("", 0)
    }

    /// Close of a statement.
    #[must_use]
    pub fn close_statement(self, name: &str) -> Self {
        self.message(b'C', &kind_and_name(b'S', name))
    }

    /// Close of a portal.
    #[must_use]
    pub fn close_portal(self, name: &str) -> Self {
        self.message(b'C', &kind_and_name(b'P', name))
    }

    /// Sync.
    #[must_use]
    pub fn sync(self) -> Self {
        self.message(b'S', b"")
    }

    /// Flush.
    #[must_use]
    pub fn flush(self) -> Self {
        self.message(b'H', b"")
    }

    /// CopyData.
    #[must_use]
    pub fn copy_data(self, data: &[u8]) -> Self {
        self.message(b'd', data)
    }

    /// CopyDone.
    #[must_use]
    pub fn copy_done(self) -> Self {
        self.message(b'c', b"")
    }

    /// CopyFail with a reason.
    #[must_use]
    pub fn copy_fail(self, reason: &str) -> Self {
        self.message(b'f', &names(&[reason]))
    }

    /// FunctionCall with text arguments and a text result.
    #[must_use]
    pub fn call(self, function: u32, arguments: &[&str]) -> Self {
        let mut body = BytesMut::new();
        body.put_u32(function);
        body.put_u16(0);
        body.put_u16(u16::try_from(arguments.len()).expect("few arguments"));
        for argument in arguments {
            body.put_u32(u32::try_from(argument.len()).expect("a short argument"));
            body.put_slice(argument.as_bytes());
        }
        body.put_u16(0);
        self.message(b'F', &body)
    }

    /// Terminate.
    #[must_use]
    pub fn terminate(self) -> Self {
        self.message(b'X', b"")
    }
}

fn names(texts: &[&str]) -> BytesMut {
    let mut body = BytesMut::new();
    for text in texts {
        body.put_slice(text.as_bytes());
        body.put_u8(0);
    }
    body
}

fn kind_and_name(kind: u8, name: &str) -> Vec<u8> {
    [&[kind], name.as_bytes(), &[0]].concat()
}
