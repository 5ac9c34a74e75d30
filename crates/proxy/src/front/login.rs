//! The client's login: who it says it is, under which aliases, and its password.

use bytes::BytesMut;
use pglanes_auth::Verifier;
use pglanes_auth::scram_server::ScramServer;
use pglanes_config::{Authentication, NameUsed};
use pglanes_wire::startup::Startup;
use pglanes_wire::{frame, message};

use super::{Arrival, Turned};

/// A client whose login has succeeded.
pub(super) struct Known {
    /// The role at PostgreSQL.
    pub(super) user: String,
    /// The database at PostgreSQL.
    pub(super) database: String,
}

impl Arrival {
    /// Carries out the authentication that the configuration asks for.
    pub(super) async fn authenticate(&mut self, startup: &Startup) -> Result<Known, Turned> {
        let live = self.hub.live();
        let (database, database_used) = live.config.real_database(&startup.database);
        let user = live.config.real_user(&startup.user);
        // A configured password is asked for, whatever the method for others is: it was
        // configured to be checked.
        let must_prove =
            live.config.authentication == Authentication::ScramSha256 || user.credential.is_some();
        if must_prove {
            let (verifiers, secret) = (&self.hub.verifiers, &self.hub.mock_secret);
            let verifier = verifiers.get(&startup.user, user.credential, secret).await;
            let proved = self.prove(&startup.user, verifier.as_ref()).await;
            if let Err(turned) = proved {
                self.hub.metrics.login_failures.increment();
                return Err(turned);
            }
        }
        let mut out = BytesMut::new();
        message::auth_ok(&mut out);
        self.stream.write_all(&out).await?;
        self.hub.metrics.logins.increment();
        let known = Known {
            user: user.name.to_owned(),
            database: database.to_owned(),
        };
        if user.used == NameUsed::Alias || database_used == NameUsed::Alias {
            self.hub.metrics.aliases_used.increment();
            self.hub.log_alias(startup, &known.user, &known.database);
        }
        Ok(known)
    }

    /// SCRAM-SHA-256. For an unknown user the exchange looks the same and fails.
    async fn prove(&mut self, user: &str, verifier: Option<&Verifier>) -> Result<(), Turned> {
        let refused = || {
            let text = format!("password authentication failed for user \"{user}\"");
            Turned::away("28P01", text)
        };
        let mut nonce = [0; 18];
        getrandom::fill(&mut nonce)
            .map_err(|_| Turned::away("58000", "no randomness for the login"))?;
        let mut scram = ScramServer::new(
            verifier,
            &self.hub.mock_secret,
            user,
            nonce,
            self.channel_binding.clone(),
        );
        let mut out = BytesMut::new();
        message::auth_sasl(&mut out, scram.mechanisms());
        self.stream.write_all(&out).await?;

        let initial = self.password_message().await?;
        let (mechanism, data) = split_initial(&initial)
            .ok_or_else(|| Turned::away("08P01", "malformed SASLInitialResponse"))?;
        let challenge =
            scram
                .client_first(mechanism, data)
                .map_err(|error| match error.sqlstate() {
                    "28P01" => refused(),
                    other => Turned::away(other, error.to_string()),
                })?;
        out.clear();
        message::auth_sasl_continue(&mut out, &challenge);
        self.stream.write_all(&out).await?;

        let last = self.password_message().await?;
        let accepted = scram.client_final(&last).map_err(|_| refused())?;
        out.clear();
        message::auth_sasl_final(&mut out, &accepted.server_final);
        self.stream.write_all(&out).await?;
        Ok(())
    }

    /// The body of the next message, which must be a password message (`p`).
    async fn password_message(&mut self) -> Result<Vec<u8>, Turned> {
        loop {
            let header = frame::peek(&self.inbox)
                .map_err(|error| Turned::away("08P01", error.to_string()))?;
            if let Some(header) = header {
                if header.tag != b'p' {
                    let text = format!("expected SASL response, got message type {}", header.tag);
                    return Err(Turned::away("08P01", text));
                }
                if header.total > super::MOST_BEFORE_LOGIN {
                    return Err(Turned::away("08P01", "the password message is too long"));
                }
                if self.inbox.len() >= header.total {
                    let body = self.inbox[frame::HEADER..header.total].to_vec();
                    self.inbox.drain(..header.total);
                    return Ok(body);
                }
            }
            self.read_more().await?;
        }
    }
}

/// SASLInitialResponse: the mechanism's name, the length of the data, the data.
fn split_initial(body: &[u8]) -> Option<(&str, &[u8])> {
    let (name, rest) = frame::split_cstr(body)?;
    let (length, data) = rest.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    (data.len() == length).then_some((std::str::from_utf8(name).ok()?, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_response_must_be_exactly_as_long_as_it_says() {
        let body = b"SCRAM-SHA-256\0\0\0\0\x03abc";
        assert_eq!(split_initial(body), Some(("SCRAM-SHA-256", &b"abc"[..])));
        assert_eq!(split_initial(&body[..body.len() - 1]), None);
        assert_eq!(split_initial(b"X\0\xff\xff\xff\xffabc"), None);
        assert_eq!(split_initial(b"X\0\0"), None);
    }
}
