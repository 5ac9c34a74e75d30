//! The messages the proxy says itself, to a client or to a server: each function appends one
//! whole message with its correct length to a buffer. What is only passed on is never built.
//!
//! A text ends at its first zero byte if it holds one: the protocol cannot carry it, and a
//! message's fields must not be extended by what stands in another's value.
//!
//! `backend` has what a server says to a client, `frontend` what a client says to a server,
//! `error` the errors and notices.

mod backend;
mod error;
mod frontend;
#[cfg(test)]
mod tests;

use bytes::{BufMut, BytesMut};

pub use backend::{
    TransactionStatus, auth_cleartext, auth_md5, auth_ok, auth_sasl, auth_sasl_continue,
    auth_sasl_final, backend_key_data, close_complete, negotiate_protocol_version,
    parameter_status, parse_complete, ready_for_query,
};
pub use error::{ErrorBody, Severity, error, notice};
pub use frontend::{
    close_statement, parse, password_message, query, sasl_initial_response, sasl_response, sync,
    terminate,
};

// First packets have no type byte; they are said by the same code as messages are.
pub use crate::startup::{write_cancel_request, write_ssl_request, write_startup};

/// Appends a message of this type, its body written by `body`, and fills in the length.
/// Bodies here are far below the 2 GiB a length can say.
fn message(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let start = out.len();
    out.put_u32(0);
    body(out);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends a zero-terminated text, cut at the first zero byte it holds.
pub(crate) fn put_text(out: &mut BytesMut, text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    let end = text.iter().position(|byte| *byte == 0);
    out.put_slice(&text[..end.unwrap_or(text.len())]);
    out.put_u8(0);
}
