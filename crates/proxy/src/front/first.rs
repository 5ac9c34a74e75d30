//! The first packets of a connection.

use bytes::BytesMut;
use pglanes_wire::message;
use pglanes_wire::startup::{First, PROTOCOL_3_2, Startup, StartupError, parse_first};

use super::{Arrival, Turned};

/// What the next first packet was, without borrowing the inbox.
enum Seen {
    Ssl,
    GssEnc,
    Cancel { process_id: i32, key: Vec<u8> },
    Startup(Startup),
    DirectTls,
}

impl Arrival {
    /// Answers requests for encryption and carries out a cancel request, until there is
    /// a startup packet.
    pub(super) async fn first(&mut self) -> Result<Startup, Turned> {
        let (mut ssl_asked, mut gss_asked) = (false, false);
        loop {
            match self.next_first().await? {
                Seen::Ssl | Seen::GssEnc if self.stream.tls().is_some() => {
                    // As PostgreSQL, to which it is then the startup of an unknown protocol.
                    let text = "encryption was asked for inside TLS";
                    return Err(Turned::away("0A000", text));
                }
                Seen::Ssl if !ssl_asked => ssl_asked = true,
                Seen::GssEnc if !gss_asked => {
                    gss_asked = true;
                    self.refuse_stuffed()?;
                    self.stream.write_all(b"N").await?;
                    continue;
                }
                Seen::Ssl | Seen::GssEnc => {
                    return Err(Turned::away("08P01", "encryption was asked for twice"));
                }
                Seen::Cancel { process_id, key } => {
                    crate::cancel::requested(&self.hub, process_id, &key).await;
                    return Err(Turned::Gone);
                }
                Seen::DirectTls if ssl_asked || gss_asked => return Err(Turned::Gone),
                Seen::DirectTls => {
                    self.begin_tls_directly().await?;
                    continue;
                }
                Seen::Startup(startup) => {
                    self.refuse_plain_login()?;
                    self.negotiate(&startup).await?;
                    return Ok(startup);
                }
            }
            self.refuse_stuffed()?;
            self.answer_ssl_request().await?;
        }
    }

    /// What was sent without waiting for the answer was stuffed in by somebody between
    /// (CVE-2021-3935): it would be taken for the client's word inside TLS.
    fn refuse_stuffed(&self) -> Result<(), Turned> {
        if self.inbox.is_empty() {
            return Ok(());
        }
        Err(Turned::away(
            "08P01",
            "received unencrypted data after a request for encryption",
        ))
    }

    async fn next_first(&mut self) -> Result<Seen, Turned> {
        loop {
            let parsed = parse_first(&self.inbox).map_err(|error| refused(&error))?;
            let Some((first, used)) = parsed else {
                self.read_more().await?;
                continue;
            };
            let seen = match first {
                First::Ssl => Seen::Ssl,
                First::GssEnc => Seen::GssEnc,
                First::Cancel(request) => Seen::Cancel {
                    process_id: request.pid,
                    key: request.key.to_vec(),
                },
                First::Startup(startup) => Seen::Startup(startup),
                First::DirectTls => Seen::DirectTls,
            };
            self.inbox.drain(..used);
            return Ok(seen);
        }
    }

    /// Minor versions newer than 3.2 and protocol options, none of which are known, are negotiated
    /// down, once, and never refused.
    async fn negotiate(&mut self, startup: &Startup) -> Result<(), Turned> {
        if startup.version.code() <= PROTOCOL_3_2 && startup.unknown_options.is_empty() {
            return Ok(());
        }
        let mut out = BytesMut::new();
        let version = startup.version.code().min(PROTOCOL_3_2);
        message::negotiate_protocol_version(&mut out, version, &startup.unknown_options);
        self.stream.write_all(&out).await?;
        Ok(())
    }
}

fn refused(error: &StartupError) -> Turned {
    if matches!(error, StartupError::CancelLength { .. }) {
        // A cancel request is never answered, not even one that cannot be read.
        return Turned::Gone;
    }
    Turned::away(error.sqlstate(), error.to_string())
}
