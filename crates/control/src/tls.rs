//! TLS for the control plane's connections, by the same parameters and files as for the proxy's own.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pglanes_config::tls::certificate_hash;
use pglanes_config::{BindChannel, Negotiation, TlsMode, UpstreamTls};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::{ChannelBinding, SslMode, SslNegotiation};
use tokio_postgres::tls::{self, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;

use crate::address::Host;

/// Tells the driver what the URL's parameters ask for. The driver has no `allow`: with it TLS is tried first.
pub(crate) fn configure(config: &mut tokio_postgres::Config, host: &Host, tls: &UpstreamTls) {
    let mode = match (host, tls.mode) {
        // Never over a unix socket, as libpq has it.
        (Host::Unix(_), _) | (_, TlsMode::Disable) => SslMode::Disable,
        (_, TlsMode::Allow | TlsMode::Prefer) => SslMode::Prefer,
        (_, TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull) => SslMode::Require,
    };
    config.ssl_mode(mode);
    if mode == SslMode::Require && tls.negotiation == Negotiation::Direct {
        config.ssl_negotiation(SslNegotiation::Direct);
    }
    config.channel_binding(match tls.channel_binding {
        BindChannel::Disable => ChannelBinding::Disable,
        BindChannel::Prefer => ChannelBinding::Prefer,
        BindChannel::Require => ChannelBinding::Require,
    });
}

/// Makes the driver's connections TLS. Without material it is never asked to.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) material: Option<Arc<ClientConfig>>,
}

/// The same, for one host.
pub(crate) struct ForHost {
    material: Option<Arc<ClientConfig>>,
    host: String,
}

impl<S> MakeTlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type TlsConnect = ForHost;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<ForHost> {
        Ok(ForHost {
            material: self.material.clone(),
            host: host.to_owned(),
        })
    }
}

impl<S> TlsConnect<S> for ForHost
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let material = self.material.ok_or(io::ErrorKind::Unsupported)?;
            let name = ServerName::try_from(self.host).map_err(io::Error::other)?;
            let stream = TlsConnector::from(material).connect(name, stream).await?;
            Ok(Stream(stream))
        })
    }
}

/// One connection.
pub(crate) struct Stream<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> tls::TlsStream for Stream<S> {
    fn channel_binding(&self) -> tls::ChannelBinding {
        let chain = self.0.get_ref().1.peer_certificates();
        let hash = chain.and_then(|chain| certificate_hash(chain.first()?));
        hash.map_or_else(
            tls::ChannelBinding::none,
            tls::ChannelBinding::tls_server_end_point,
        )
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
