//! The client side's key material: the stretched password, and the two keys that come of it.

use crate::crypto::{self, KEY_BYTES, Key};
use crate::secret::{Password, Secret};

/// A password stretched with one salt and one iteration count (`SaltedPassword` of RFC 5802). Dear to
/// compute, cheap to use, and worth keeping for as long as the server's salt and count stay the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaltedPassword(Secret<Key>);

impl SaltedPassword {
    /// Stretches a password with PBKDF2: `iterations` HMACs of CPU, milliseconds for PostgreSQL's
    /// default of 4096. **Run it off the event loop.** Zero iterations count as one. The password is
    /// prepared as PostgreSQL does: SASLprep, or the bytes as they are where that fails.
    pub fn derive(password: &Password, salt: &[u8], iterations: u32) -> Self {
        let prepared = crypto::prepared(password.expose());
        Self(Secret::new(crypto::stretch(&prepared, salt, iterations)))
    }

    /// The two keys an exchange needs.
    pub fn keys(&self) -> ScramKeys {
        ScramKeys {
            client_key: Secret::new(crypto::hmac(self.0.expose(), &[b"Client Key"])),
            server_key: Secret::new(crypto::hmac(self.0.expose(), &[b"Server Key"])),
        }
    }
}

/// What proves either side of a SCRAM exchange: the client's key and the server's.
///
/// The proxy learns them without a password when a client logs in: the client's key from
/// [`crate::scram_server::ScramOk`], the server's from the [`crate::Verifier`]. With them it can log in
/// to a server that stores the very same verifier (same salt, same iterations), and to no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramKeys {
    client_key: Secret<[u8; KEY_BYTES]>,
    server_key: Secret<[u8; KEY_BYTES]>,
}

impl ScramKeys {
    /// Keys from where the caller got them.
    pub fn new(client_key: Secret<[u8; 32]>, server_key: Secret<[u8; 32]>) -> Self {
        Self {
            client_key,
            server_key,
        }
    }

    /// `ClientKey`: who holds it can log in.
    pub(crate) fn client_key(&self) -> &Key {
        self.client_key.expose()
    }

    /// `ServerKey`: who holds it can pass for the server.
    pub(crate) fn server_key(&self) -> &Key {
        self.server_key.expose()
    }
}

impl From<&SaltedPassword> for ScramKeys {
    fn from(salted: &SaltedPassword) -> Self {
        salted.keys()
    }
}
