//! First packets as the proxy says them to a server.

use bytes::{BufMut, BytesMut};

use super::{CANCEL_REQUEST, SSL_REQUEST};
use crate::message::put_text;

/// Appends a startup packet. `version` is the 32-bit protocol version
/// ([`PROTOCOL_3_0`](super::PROTOCOL_3_0)); `parameters` are sent in their order, so a repeated
/// setting's last value counts. A name that is empty would end the list and is left out.
pub fn write_startup<'a>(
    out: &mut BytesMut,
    version: i32,
    parameters: impl Iterator<Item = (&'a str, &'a str)>,
) {
    let start = out.len();
    out.put_i32(0);
    out.put_i32(version);
    for (name, value) in parameters.filter(|(name, _)| !name.is_empty()) {
        put_text(out, name);
        put_text(out, value);
    }
    out.put_u8(0);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends an SSLRequest; the server answers with one byte.
pub fn write_ssl_request(out: &mut BytesMut) {
    out.put_i32(8);
    out.put_i32(SSL_REQUEST);
}

/// Appends a CancelRequest. The key goes out as the server gave it, of whatever length.
pub fn write_cancel_request(out: &mut BytesMut, pid: i32, key: &[u8]) {
    let length = u32::try_from(12 + key.len()).unwrap_or(u32::MAX);
    out.put_u32(length);
    out.put_i32(CANCEL_REQUEST);
    out.put_i32(pid);
    out.put_slice(key);
}
