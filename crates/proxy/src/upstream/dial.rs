//! The socket to PostgreSQL: a unix socket where there is one, else TCP.

use std::path::PathBuf;

use pglanes_config::{Upstream, UpstreamAddress};
use tokio::net::{TcpStream, UnixStream};

use super::OpenError;
use crate::stream::Stream;

/// Where PostgreSQL listens.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Tried first, in order; those that do not exist are passed over.
    sockets: Vec<PathBuf>,
    /// Host and port, unless only a unix socket was asked for.
    tcp: Option<(String, u16)>,
}

impl Target {
    pub(crate) fn new(upstream: &Upstream) -> Self {
        let tcp = match &upstream.address {
            UpstreamAddress::Tcp { host, port } => Some((host.clone(), *port)),
            UpstreamAddress::Unix { .. } => None,
        };
        Self {
            sockets: upstream.unix_sockets(),
            tcp,
        }
    }

    /// For messages to people.
    pub(crate) fn place(&self) -> String {
        match (&self.tcp, self.sockets.first()) {
            (Some((host, port)), _) => format!("{host}:{port}"),
            (None, Some(socket)) => socket.display().to_string(),
            (None, None) => "nowhere".to_owned(),
        }
    }
}

/// Connects. A unix socket costs PostgreSQL and us about a sixth less per transaction
/// than TCP over loopback.
///
/// # Errors
/// The last attempt's.
pub(crate) async fn dial(target: &Target) -> Result<Stream, OpenError> {
    let failed = |cause| OpenError::Connect {
        place: target.place(),
        cause,
    };
    let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
    for socket in &target.sockets {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream.into()),
            Err(error) => last = error,
        }
    }
    let Some((host, port)) = &target.tcp else {
        return Err(failed(last));
    };
    let stream = TcpStream::connect((host.as_str(), *port))
        .await
        .map_err(failed)?;
    // Both matter for latency and for noticing a dead peer, neither for correctness.
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(&stream).set_keepalive(true);
    Ok(stream.into())
}
