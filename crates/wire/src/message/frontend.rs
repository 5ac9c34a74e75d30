//! What a client says to a server: logging in, and the statements of the proxy's own.

use bytes::{BufMut, BytesMut};

use super::{message, put_text};

/// PasswordMessage: a password or an md5 hash. A password cannot hold a zero byte.
pub fn password_message(out: &mut BytesMut, password: impl AsRef<[u8]>) {
    message(out, b'p', |out| put_text(out, password));
}

/// SASLInitialResponse: the mechanism chosen and the client's first message.
pub fn sasl_initial_response(out: &mut BytesMut, mechanism: &str, data: impl AsRef<[u8]>) {
    let data = data.as_ref();
    message(out, b'p', |out| {
        put_text(out, mechanism);
        out.put_u32(u32::try_from(data.len()).unwrap_or(u32::MAX));
        out.put_slice(data);
    });
}

/// SASLResponse: the client's next message of the exchange.
pub fn sasl_response(out: &mut BytesMut, data: impl AsRef<[u8]>) {
    message(out, b'p', |out| out.put_slice(data.as_ref()));
}

/// Query: one or more statements as text.
pub fn query(out: &mut BytesMut, sql: impl AsRef<[u8]>) {
    message(out, b'Q', |out| put_text(out, sql));
}

/// Parse: prepares a statement under a name, with the parameter types the client fixed
/// (object ids; 0 leaves one open). The protocol counts them in 16 bits: no more are said.
pub fn parse(out: &mut BytesMut, name: impl AsRef<[u8]>, sql: impl AsRef<[u8]>, types: &[u32]) {
    let count = u16::try_from(types.len()).unwrap_or(u16::MAX);
    message(out, b'P', |out| {
        put_text(out, name);
        put_text(out, sql);
        out.put_u16(count);
        for oid in &types[..usize::from(count)] {
            out.put_u32(*oid);
        }
    });
}

/// Close of a prepared statement; one that does not exist is no error.
pub fn close_statement(out: &mut BytesMut, name: impl AsRef<[u8]>) {
    message(out, b'C', |out| {
        out.put_u8(b'S');
        put_text(out, name);
    });
}

/// Sync: ends a batch of the extended protocol.
pub fn sync(out: &mut BytesMut) {
    message(out, b'S', |_| {});
}

/// Terminate: the session ends in good order.
pub fn terminate(out: &mut BytesMut) {
    message(out, b'X', |_| {});
}
