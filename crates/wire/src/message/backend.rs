//! What a server says to a client.

use bytes::{BufMut, BytesMut};

use super::{message, put_text};

/// Where a session stands, as ReadyForQuery tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TransactionStatus {
    /// `I`: in no transaction.
    #[default]
    Idle,
    /// `T`: in a transaction block.
    InTransaction,
    /// `E`: in a failed transaction block; only its end is accepted.
    Failed,
}

impl TransactionStatus {
    /// The status a byte of ReadyForQuery stands for.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::InTransaction),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }

    /// The byte that stands for it.
    pub const fn as_byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }
}

fn authentication(out: &mut BytesMut, code: i32, rest: impl FnOnce(&mut BytesMut)) {
    message(out, b'R', |out| {
        out.put_i32(code);
        rest(out);
    });
}

/// AuthenticationOk: the client is who it says it is.
pub fn auth_ok(out: &mut BytesMut) {
    authentication(out, 0, |_| {});
}

/// AuthenticationCleartextPassword: asks for the password as it is.
pub fn auth_cleartext(out: &mut BytesMut) {
    authentication(out, 3, |_| {});
}

/// AuthenticationMD5Password: asks for the md5 hash with this salt.
pub fn auth_md5(out: &mut BytesMut, salt: [u8; 4]) {
    authentication(out, 5, |out| out.put_slice(&salt));
}

/// AuthenticationSASL: offers these mechanisms, the preferred one first.
pub fn auth_sasl(out: &mut BytesMut, mechanisms: &[impl AsRef<str>]) {
    authentication(out, 10, |out| {
        for mechanism in mechanisms {
            put_text(out, mechanism.as_ref());
        }
        out.put_u8(0);
    });
}

/// AuthenticationSASLContinue: the server's next message of the exchange.
pub fn auth_sasl_continue(out: &mut BytesMut, data: impl AsRef<[u8]>) {
    authentication(out, 11, |out| out.put_slice(data.as_ref()));
}

/// AuthenticationSASLFinal: the server's last message of the exchange.
pub fn auth_sasl_final(out: &mut BytesMut, data: impl AsRef<[u8]>) {
    authentication(out, 12, |out| out.put_slice(data.as_ref()));
}

/// ParameterStatus: the value of a reported setting.
pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    message(out, b'S', |out| {
        put_text(out, name);
        put_text(out, value);
    });
}

/// BackendKeyData: what a CancelRequest has to bring. Clients of protocol 3.0 expect a secret
/// of exactly 4 bytes.
pub fn backend_key_data(out: &mut BytesMut, pid: i32, secret: &[u8]) {
    message(out, b'K', |out| {
        out.put_i32(pid);
        out.put_slice(secret);
    });
}

/// ReadyForQuery.
pub fn ready_for_query(out: &mut BytesMut, status: TransactionStatus) {
    message(out, b'Z', |out| out.put_u8(status.as_byte()));
}

/// ParseComplete, for a Parse the server did not need to see.
pub fn parse_complete(out: &mut BytesMut) {
    message(out, b'1', |_| {});
}

/// CloseComplete, for a Close the server did not need to see.
pub fn close_complete(out: &mut BytesMut) {
    message(out, b'3', |_| {});
}

/// NegotiateProtocolVersion. `newest_minor` is the whole 32-bit version, as PostgreSQL sends
/// it: [`PROTOCOL_3_0`](crate::startup::PROTOCOL_3_0), not 0. `options` are the `_pq_.` names that
/// are not known.
pub fn negotiate_protocol_version(
    out: &mut BytesMut,
    newest_minor: i32,
    options: &[impl AsRef<str>],
) {
    message(out, b'v', |out| {
        out.put_i32(newest_minor);
        out.put_u32(u32::try_from(options.len()).unwrap_or(u32::MAX));
        for option in options {
            put_text(out, option.as_ref());
        }
    });
}
