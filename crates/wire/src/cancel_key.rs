//! The process id and secret of BackendKeyData, which a CancelRequest has to bring back.

use subtle::ConstantTimeEq;
use thiserror::Error;

/// The shortest secret: what protocol 3.0 has, exactly.
pub const MIN_SECRET: usize = 4;
/// The longest secret of protocol 3.2.
pub const MAX_SECRET: usize = 256;

/// Bytes of secret to make up for a client of protocol 3.0.
pub const SECRET_3_0: usize = 4;
/// Bytes of secret to make up for a client of protocol 3.2, as PostgreSQL 18 does.
pub const SECRET_3_2: usize = 32;

/// A session's cancel key. Compared in constant time, never printed.
#[derive(Clone)]
pub struct CancelKey {
    pid: i32,
    secret: Box<[u8]>,
}

/// A secret that is not 4 to 256 bytes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a cancel key of {length} bytes; {MIN_SECRET} to {MAX_SECRET} are possible")]
pub struct CancelKeyError {
    /// Bytes of secret that came.
    pub length: usize,
}

impl CancelKey {
    /// A key with this secret, kept at its full length.
    ///
    /// # Errors
    /// A secret shorter than 4 or longer than 256 bytes.
    pub fn new(pid: i32, secret: &[u8]) -> Result<Self, CancelKeyError> {
        if !(MIN_SECRET..=MAX_SECRET).contains(&secret.len()) {
            return Err(CancelKeyError {
                length: secret.len(),
            });
        }
        Ok(Self {
            pid,
            secret: secret.into(),
        })
    }

    /// Reads the body of a server's BackendKeyData: `None` without a process id and a secret
    /// of 4 to 256 bytes.
    pub fn parse_backend_key_data(body: &[u8]) -> Option<Self> {
        let (pid, secret) = body.split_first_chunk::<4>()?;
        Self::new(i32::from_be_bytes(*pid), secret).ok()
    }

    /// The key of a server that gave none (some poolers and clones): it matches nothing, and
    /// what runs there cannot be cancelled.
    pub fn none() -> Self {
        Self {
            pid: 0,
            secret: Box::default(),
        }
    }

    /// Whether there is no key to cancel with.
    pub fn is_none(&self) -> bool {
        self.secret.is_empty()
    }

    /// The process id: on the server's host, that of the backend.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The secret, to be sent and never to be logged.
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// Whether a CancelRequest's process id and key are these. The time it takes tells
    /// nothing of where the secrets differ.
    pub fn matches(&self, pid: i32, secret: &[u8]) -> bool {
        !self.is_none() && bool::from(self.pid.ct_eq(&pid) & self.secret.ct_eq(secret))
    }
}

impl PartialEq for CancelKey {
    fn eq(&self, other: &Self) -> bool {
        (self.pid.ct_eq(&other.pid) & self.secret.ct_eq(&other.secret)).into()
    }
}

impl Eq for CancelKey {}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CancelKey")
            .field("pid", &self.pid)
            .field("secret", &"redacted")
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_process_and_the_whole_secret_match() {
        let key = CancelKey::new(7, &[1, 2, 3, 4]).unwrap();
        assert!(key.matches(7, &[1, 2, 3, 4]));
        assert!(!key.matches(8, &[1, 2, 3, 4]));
        assert!(!key.matches(7, &[1, 2, 3, 5]));
        assert!(!key.matches(7, &[1, 2, 3]));
        assert!(!key.matches(7, &[1, 2, 3, 4, 0]));
        assert_ne!(key, CancelKey::new(7, &[1, 2, 3, 4, 5]).unwrap());
    }

    #[test]
    fn a_secret_keeps_its_length_and_its_bounds() {
        for length in [4, 32, 256] {
            let key = CancelKey::new(1, &vec![9; length]).unwrap();
            assert_eq!(key.secret().len(), length);
        }
        for length in [0, 3, 257] {
            assert_eq!(
                CancelKey::new(1, &vec![9; length]),
                Err(CancelKeyError { length })
            );
        }
    }

    #[test]
    fn backend_key_data_is_read() {
        let key = CancelKey::parse_backend_key_data(&[0, 0, 1, 0, 9, 8, 7, 6]).unwrap();
        assert_eq!((key.pid(), key.secret()), (256, &[9, 8, 7, 6][..]));
        assert_eq!(CancelKey::parse_backend_key_data(&[0, 0, 1]), None);
        assert_eq!(CancelKey::parse_backend_key_data(&[0, 0, 1, 0]), None);
    }

    #[test]
    fn no_key_matches_nothing() {
        assert!(!CancelKey::none().matches(0, &[]));
        assert!(!CancelKey::none().matches(0, &[0, 0, 0, 0]));
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", CancelKey::new(1, b"canary-secret").unwrap());
        assert_eq!(shown, "CancelKey { pid: 1, secret: \"redacted\" }");
    }
}
