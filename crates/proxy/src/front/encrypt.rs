//! A client's connection becomes TLS: after SSLRequest, or at once
//! (`sslnegotiation=direct`).

use pglanes_config::TlsDemand;

use super::{Arrival, Turned};
use crate::stream::Stream;
use crate::tls;

impl Arrival {
    /// `S` and a handshake where there is TLS, else `N`. A unix socket never has it, as in
    /// PostgreSQL.
    pub(super) async fn answer_ssl_request(&mut self) -> Result<(), Turned> {
        let offered = self.hub.tls().listen.is_some() && matches!(self.stream, Stream::Tcp(_));
        if !offered {
            self.stream.write_all(b"N").await?;
            return Ok(());
        }
        self.stream.write_all(b"S").await?;
        self.shake_hands(Vec::new()).await
    }

    /// TLS without a request for it. The client must say by ALPN that it means PostgreSQL:
    /// otherwise a browser could be made to send us what was meant for a web server.
    pub(super) async fn begin_tls_directly(&mut self) -> Result<(), Turned> {
        let ahead = std::mem::take(&mut self.inbox);
        self.shake_hands(ahead).await?;
        match self.stream.tls() {
            Some(channel) if channel.speaks_postgresql() => Ok(()),
            _ => {
                tracing::debug!("a direct TLS connection without ALPN was refused");
                Err(Turned::Gone)
            }
        }
    }

    async fn shake_hands(&mut self, ahead: Vec<u8>) -> Result<(), Turned> {
        // Kept while the handshake lasts: certificate and binding are of one moment.
        let material = self.hub.tls();
        let Some(listen) = &material.listen else {
            // A server without TLS drops the connection; an answer in the clear would
            // only confuse a TLS client.
            return Err(Turned::Gone);
        };
        let stream = match std::mem::replace(&mut self.stream, Stream::Closed) {
            Stream::Tcp(stream) => stream,
            other => {
                self.stream = other;
                return Err(Turned::Gone);
            }
        };
        match tls::accept(stream, ahead, listen).await {
            Ok(channel) => {
                self.hub.metrics.tls_handshakes.increment();
                self.stream = channel.into();
                self.channel_binding = listen.channel_binding.clone();
                Ok(())
            }
            Err(error) => {
                self.hub.metrics.tls_handshake_failures.increment();
                tracing::debug!(%error, "a TLS handshake with a client failed");
                Err(Turned::Gone)
            }
        }
    }

    /// With `tls: { mode: require }` nobody logs in over plain TCP. A unix socket does not
    /// leave the machine, and a cancel request carries nothing but its key.
    pub(super) fn refuse_plain_login(&self) -> Result<(), Turned> {
        let live = self.hub.live();
        let demand = live.config.tls.as_ref().map(|tls| tls.demand);
        if demand != Some(TlsDemand::Require) || !matches!(self.stream, Stream::Tcp(_)) {
            return Ok(());
        }
        Err(Turned::Away {
            sqlstate: "28000",
            message: "this pglanes takes logins over TLS only (tls: mode: require)".into(),
            hint: Some("Connect with sslmode=require."),
        })
    }
}
