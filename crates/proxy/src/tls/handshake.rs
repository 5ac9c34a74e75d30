//! The handshakes: a client's with us, and ours with PostgreSQL.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use pglanes_config::tls::ALPN;
use pglanes_config::{LoadedListenTls, LoadedUpstreamTls};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::channel::{Channel, Socket};

/// Answers a client's handshake. `ahead` was read already and is the handshake's start.
///
/// # Errors
/// The connection broke, or the two sides do not agree; the socket is then closed.
pub(crate) async fn accept(
    stream: TcpStream,
    ahead: Vec<u8>,
    material: &LoadedListenTls,
) -> io::Result<Channel> {
    let acceptor = TlsAcceptor::from(Arc::clone(&material.config));
    let stream = acceptor.accept(Socket::new(stream, ahead)).await?;
    Ok(Channel::new(stream))
}

/// Opens TLS to PostgreSQL at `host`.
///
/// # Errors
/// As above; among others for a certificate that is not believed.
pub(crate) async fn connect(
    stream: TcpStream,
    host: &str,
    material: &LoadedUpstreamTls,
) -> io::Result<Channel> {
    // A name that cannot stand in a certificate fits none: where names are looked at it
    // is refused as such, elsewhere it does not matter and is not sent.
    let name = ServerName::try_from(host.to_owned()).unwrap_or(ServerName::IpAddress(
        IpAddr::V4(Ipv4Addr::UNSPECIFIED).into(),
    ));
    let connector = TlsConnector::from(Arc::clone(&material.config));
    let stream = connector
        .connect(name, Socket::new(stream, Vec::new()))
        .await?;
    Ok(Channel::new(stream))
}

impl Channel {
    /// Whether both sides agreed by ALPN that PostgreSQL's protocol follows: without that
    /// a connection that begins with TLS could be meant for another service (ALPACA).
    pub(crate) fn speaks_postgresql(&self) -> bool {
        self.alpn() == Some(ALPN)
    }
}
