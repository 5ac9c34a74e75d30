//! Who is at the other end of a socket, as far as the operating system knows.

use std::net::SocketAddr;

use nix::unistd::{Uid, User, geteuid};
use pglanes_config::{ClientAddress, PeerMapping, peer_may_be};
use tokio::net::UnixStream;

use super::{Arrival, Turned};

/// The other end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: ClientAddress,
    /// 0 over a unix socket.
    pub(crate) port: u16,
    /// The operating system user, over a unix socket.
    user_id: Option<u32>,
}

impl Peer {
    pub(super) fn over_tcp(address: SocketAddr) -> Self {
        Self {
            address: ClientAddress::Tcp(address.ip()),
            port: address.port(),
            user_id: None,
        }
    }

    pub(super) fn over_unix(stream: &UnixStream) -> Self {
        Self {
            address: ClientAddress::Local,
            port: 0,
            // The credentials are those of whoever called connect(2); a socket that has
            // none is nobody's.
            user_id: stream.peer_cred().ok().map(|peer| peer.uid()),
        }
    }

    /// Whether the operating system says that this is the user pglanes itself runs as.
    pub(super) fn is_own_user(self) -> bool {
        self.user_id == Some(geteuid().as_raw())
    }
}

/// The name of the user pglanes itself runs as, if the system knows one.
pub(super) async fn own_name() -> Option<String> {
    name_of(geteuid().as_raw()).await
}

/// Looks a user up. That may ask a directory over the network: not on this thread.
async fn name_of(user_id: u32) -> Option<String> {
    let look_up = move || User::from_uid(Uid::from_raw(user_id)).ok().flatten();
    let found = tokio::task::spawn_blocking(look_up).await.ok().flatten();
    found.map(|user| user.name)
}

impl Arrival {
    /// The client is the database user that its certificate may be: the handshake has verified
    /// that an authority of `client_ca` signed it, for whoever holds its key.
    pub(super) fn is_certified(
        &self,
        map: &[PeerMapping],
        asked: &str,
        user: &str,
    ) -> Result<(), Turned> {
        let channel = self.stream.tls();
        let Some(certificate) = channel.and_then(|channel| channel.peer_certificate()) else {
            let text = "connection requires a valid client certificate";
            return Err(Turned::away("28000", text));
        };
        let name = pglanes_config::common_name(certificate);
        if name.is_some_and(|name| !name.is_empty() && peer_may_be(map, &name, user)) {
            return Ok(());
        }
        let text = format!("certificate authentication failed for user \"{asked}\"");
        Err(Turned::away("28000", text))
    }

    /// The client is the database user that its operating system user may be.
    pub(super) async fn is_peer(
        &self,
        map: &[PeerMapping],
        asked: &str,
        user: &str,
    ) -> Result<(), Turned> {
        let refused = || {
            let text = format!("Peer authentication failed for user \"{asked}\"");
            Turned::away("28000", text)
        };
        let user_id = self.peer.user_id.ok_or_else(refused)?;
        let name = name_of(user_id).await.ok_or_else(refused)?;
        match peer_may_be(map, &name, user) {
            true => Ok(()),
            false => {
                tracing::info!(system_user = name, user, "peer authentication failed");
                Err(refused())
            }
        }
    }
}
