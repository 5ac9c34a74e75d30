//! Proofs of a password that the proxy itself checks: SCRAM-SHA-256, md5, and the
//! password in clear. Unknown users meet the same questions, the same work and the same
//! words as those whose password is wrong.

use bytes::BytesMut;
use pglanes_auth::scram_server::ScramServer;
use pglanes_auth::{DEFAULT_ITERATIONS, Password, Secret, StoredCredential, Verifier, md5_verify};
use pglanes_wire::{frame, message};

use super::{Arrival, Turned};

/// A proof that was good.
pub(super) enum Proof {
    /// Nothing is learned from it.
    Plain,
    /// The key that it was made with.
    Key(Secret<[u8; 32]>, Verifier),
}

/// What every wrong password is told, and everybody who does not exist.
pub(super) fn refused(user: &str) -> Turned {
    let text = format!("password authentication failed for user \"{user}\"");
    Turned::away("28P01", text)
}

impl Arrival {
    /// SCRAM-SHA-256. For an unknown user the exchange looks the same and fails.
    pub(super) async fn prove_scram(
        &mut self,
        user: &str,
        credential: Option<&StoredCredential>,
    ) -> Result<Proof, Turned> {
        let (verifiers, secret) = (&self.hub.verifiers, &self.hub.mock_secret);
        let verifier = verifiers.get(user, credential, secret).await;
        let mut nonce = [0; 18];
        getrandom::fill(&mut nonce).map_err(no_randomness)?;
        let mock = &self.hub.mock_secret;
        let mut scram = ScramServer::new(
            verifier.as_ref(),
            mock,
            user,
            nonce,
            self.channel_binding.clone(),
        );
        let mut out = BytesMut::new();
        message::auth_sasl(&mut out, scram.mechanisms());
        self.stream.write_all(&out).await?;

        let initial = self.password_message().await?;
        let (mechanism, data) = split_initial(initial.expose())
            .ok_or_else(|| Turned::away("08P01", "malformed SASLInitialResponse"))?;
        let challenge =
            scram
                .client_first(mechanism, data)
                .map_err(|error| match error.sqlstate() {
                    "28P01" => refused(user),
                    other => Turned::away(other, error.to_string()),
                })?;
        out.clear();
        message::auth_sasl_continue(&mut out, &challenge);
        self.stream.write_all(&out).await?;

        let last = self.password_message().await?;
        let accepted = scram
            .client_final(last.expose())
            .map_err(|_| refused(user))?;
        out.clear();
        message::auth_sasl_final(&mut out, &accepted.server_final);
        self.stream.write_all(&out).await?;
        Ok(match verifier {
            Some(verifier) => Proof::Key(accepted.client_key, verifier),
            None => Proof::Plain,
        })
    }

    /// md5 over password, user name and a salt that is used once. What is known as a
    /// SCRAM verifier is proven by SCRAM, as PostgreSQL's `md5` does it. The name in the
    /// hash is the one that the client asked for.
    pub(super) async fn prove_md5(
        &mut self,
        asked: &str,
        credential: Option<&StoredCredential>,
    ) -> Result<Proof, Turned> {
        if let Some(StoredCredential::Scram(_)) = credential {
            return self.prove_scram(asked, credential).await;
        }
        let mut salt = [0; 4];
        getrandom::fill(&mut salt).map_err(no_randomness)?;
        let mut out = BytesMut::new();
        message::auth_md5(&mut out, salt);
        self.stream.write_all(&out).await?;
        let answer = self.password_message().await?;
        let answer = text(answer.expose()).ok_or_else(|| refused(asked))?;
        // A hash that nothing is known of stands in for an unknown user's: the same work.
        let nobody = StoredCredential::Password(Password::from(""));
        let known = credential.and_then(|credential| credential.md5(asked));
        let exists = known.is_some();
        let held = known.or_else(|| nobody.md5(asked));
        let fits = held.is_some_and(|hash| md5_verify(&hash, salt, answer));
        let right = exists & fits;
        match right {
            true => Ok(Proof::Plain),
            false => Err(refused(asked)),
        }
    }

    /// The password itself, where nobody can listen.
    pub(super) async fn prove_password(
        &mut self,
        asked: &str,
        credential: Option<&StoredCredential>,
    ) -> Result<Proof, Turned> {
        if !self.is_private() {
            return Err(Turned::Away {
                sqlstate: "28000",
                message: "the access rule asks for the password in clear, and this connection is not encrypted"
                    .into(),
                hint: Some("Connect with TLS or through a unix socket, or use scram-sha-256."),
            });
        }
        let mut out = BytesMut::new();
        message::auth_cleartext(&mut out);
        self.stream.write_all(&out).await?;
        let answer = self.password_message().await?;
        let given = text(answer.expose()).and_then(|text| std::str::from_utf8(text).ok());
        let given = Password::from(given.unwrap_or_default());
        let known = credential.cloned();
        let name = asked.to_owned();
        // As dear for a user who does not exist: a verifier is made and compared.
        let check = move || {
            let candidate = Verifier::from_password(&given, &[0; 16], DEFAULT_ITERATIONS);
            let right = match &known {
                Some(StoredCredential::Password(password)) => given == *password,
                Some(StoredCredential::Md5(hash)) => {
                    StoredCredential::Password(given.clone())
                        .md5(&name)
                        .as_ref()
                        == Some(hash)
                }
                Some(StoredCredential::Scram(verifier)) => verifier.matches(&given),
                None => false,
            };
            right && candidate.iterations() > 0 && !given.expose().is_empty()
        };
        match tokio::task::spawn_blocking(check).await {
            Ok(true) => Ok(Proof::Plain),
            Ok(false) | Err(_) => Err(refused(asked)),
        }
    }

    /// Whether what is said on the connection can be heard by nobody else.
    pub(super) fn is_private(&self) -> bool {
        self.stream.tls().is_some() || self.peer.address == pglanes_config::ClientAddress::Local
    }

    /// The body of the next message, which must be a password message (`p`).
    pub(super) async fn password_message(&mut self) -> Result<Secret<Vec<u8>>, Turned> {
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
                    // What is drained would stay behind in the inbox's memory.
                    self.inbox[..header.total].fill(0);
                    self.inbox.drain(..header.total);
                    return Ok(Secret::new(body));
                }
            }
            self.read_more().await?;
        }
    }
}

fn no_randomness(_: getrandom::Error) -> Turned {
    Turned::away("58000", "no randomness for the login")
}

/// The text of a PasswordMessage, without its terminating zero.
fn text(body: &[u8]) -> Option<&[u8]> {
    let (text, rest) = frame::split_cstr(body)?;
    rest.is_empty().then_some(text)
}

/// SASLInitialResponse: the mechanism's name, the length of the data, the data.
pub(super) fn split_initial(body: &[u8]) -> Option<(&str, &[u8])> {
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

    #[test]
    fn a_password_ends_with_its_one_zero() {
        assert_eq!(text(b"secret\0"), Some(&b"secret"[..]));
        assert_eq!(text(b"secret"), None);
        assert_eq!(text(b"sec\0ret\0"), None);
    }
}
