//! Password authentication for both sides of the proxy: SCRAM-SHA-256 (and PLUS) as server and as
//! client, md5, stored credentials, and secrets that do not print.
//!
//! What it is: the payloads. SASL bytes go in, SASL bytes come out. What it is not: message framing
//! (that is `wire` and `proxy`), TLS, or a source of randomness. Nonces and salts are arguments, so
//! that the same inputs give the same exchange and nothing here can block.
//!
//! The types that matter:
//! - [`Secret`]: a value that never prints, is wiped when dropped and compares in constant time;
//! - [`StoredCredential`] and [`Verifier`]: what is known about a user, as PostgreSQL stores it;
//! - [`scram_server::ScramServer`] and [`scram_client::ScramClient`]: one exchange each.
//!
//! What costs CPU: [`SaltedPassword::derive`], and so [`Verifier::from_password`] and
//! [`scram_client::ScramClient::server_first`], run PBKDF2: thousands of HMACs. Callers on an event
//! loop run them elsewhere; the SCRAM server side costs a handful of HMACs and may run in place.
//!
//! ```
//! use pglanes_auth::{Password, Verifier, scram_client::ScramClient, scram_server::ScramServer};
//! # fn main() -> Result<(), pglanes_auth::ScramError> {
//! let password = Password::from("pencil".to_owned());
//! let verifier = Verifier::from_password(&password, b"0123456789abcdef", 4096);
//! let mut server = ScramServer::new(Some(&verifier), &[7; 32], "alice", [1; 18], None);
//! let mut client = ScramClient::new(&password, [2; 18], 100_000);
//!
//! let server_first = server.client_first(client.mechanism(), &client.client_first())?;
//! let accepted = server.client_final(&client.server_first(&server_first)?)?;
//! client.server_final(&accepted.server_final)?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod credential;
mod crypto;
mod keys;
mod md5;
mod scram;
pub mod scram_client;
pub mod scram_server;
mod secret;
mod verifier;

pub use credential::{CredentialError, StoredCredential};
pub use keys::{SaltedPassword, ScramKeys};
pub use md5::{Md5Hash, md5_response, md5_verify};
pub use scram::{
    ChannelBinding, MAX_NONCE_BYTES, MAX_SALT_BYTES, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramError,
};
pub use secret::{Password, Secret};
pub use verifier::{DEFAULT_ITERATIONS, Verifier, VerifierError};
