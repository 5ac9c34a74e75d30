//! Sockets that somebody else holds open for us, as systemd does (sd_listen_fds(3)): clients that connect while pglanes is
//! restarted wait in them and are not refused. They take the place of `listen`; one called `http` that of `http`.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd;

use listenfd::ListenFd;
use pglanes_config::{Config, RemoteClients};
use pglanes_proxy::Passed;
use thiserror::Error;

/// More than anybody has a use for.
const MOST: usize = 64;
/// The name (`FileDescriptorName=`) of the one for metrics.
const HTTP: &str = "http";

/// What was passed; empty where nothing was.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For clients.
    pub(super) clients: Vec<Passed>,
    /// For metrics.
    pub(super) http: Option<TcpListener>,
}

/// Why what was passed cannot be used.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The number makes no sense.
    #[error("LISTEN_FDS says {said:?}: at most {MOST} sockets are taken")]
    Many {
        /// What it says.
        said: String,
    },
    /// It is something else.
    #[error(
        "descriptor {place} of those that were passed (LISTEN_FDS) is no socket that listens for streams: {why}"
    )]
    Strange {
        /// Which, from 1.
        place: usize,
        /// The system's words, or ours.
        why: String,
    },
    /// Others reach it.
    #[error(
        "the socket that was passed listens on {address}, which other machines can reach; use 127.0.0.1 in the socket unit, or \
         say `allow_remote: true` in lanes.yaml"
    )]
    Reachable {
        /// Where.
        address: SocketAddr,
    },
}

impl Sockets {
    /// Takes them, and the variables that told of them: no child is to believe that they are its own. To be called before
    /// there are threads, as the environment is everybody's.
    ///
    /// # Errors
    /// [`SocketError`]: something was passed that is no listening socket.
    pub fn take() -> Result<Self, SocketError> {
        if let Ok(said) = std::env::var("LISTEN_FDS")
            && said.parse::<usize>().is_ok_and(|count| count > MOST)
        {
            return Err(SocketError::Many { said });
        }
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        // Meant for another process (LISTEN_PID), they are none.
        let mut passed = ListenFd::from_env();
        let mut sockets = Self::default();
        for at in 0..passed.len() {
            let listener = take_one(&mut passed, at)?;
            match (names.next(), listener) {
                (Some(HTTP), Passed::Tcp(listener)) => sockets.http = Some(listener),
                (_, listener) => sockets.clients.push(listener),
            }
        }
        Ok(sockets)
    }

    /// Whether they may be listened on as lanes.yaml has it.
    ///
    /// # Errors
    /// [`SocketError::Reachable`].
    pub(super) fn check(&self, config: &Config) -> Result<(), SocketError> {
        let clients = self.clients.iter().filter_map(Passed::address);
        let http = self.http.as_ref().and_then(|http| http.local_addr().ok());
        let is_here = |address: &SocketAddr| match address.ip() {
            IpAddr::V4(address) => address.is_loopback(),
            IpAddr::V6(address) => address.is_loopback(),
        };
        match clients.chain(http).find(|address| !is_here(address)) {
            Some(address) if config.remote != RemoteClients::Allowed => {
                Err(SocketError::Reachable { address })
            }
            _ => Ok(()),
        }
    }
}

fn take_one(passed: &mut ListenFd, at: usize) -> Result<Passed, SocketError> {
    let strange = |why: String| SocketError::Strange { place: at + 1, why };
    // What is none of TCP stays where it is, and may be a unix socket.
    let listener = match passed.take_tcp_listener(at) {
        Ok(listener) => listener.map(Passed::Tcp),
        Err(_) => {
            let listener = passed.take_unix_listener(at);
            listener
                .map_err(|error| strange(error.to_string()))?
                .map(Passed::Unix)
        }
    };
    let listener = listener.ok_or_else(|| strange("it is taken already".to_owned()))?;
    let listens = match &listener {
        Passed::Tcp(listener) => listens(listener),
        Passed::Unix(listener) => listens(listener),
    };
    match listens {
        Ok(true) => {}
        Ok(false) => return Err(strange("it does not listen".to_owned())),
        Err(error) => return Err(strange(error.to_string())),
    }
    let prepared = match &listener {
        Passed::Tcp(listener) => listener.set_nonblocking(true),
        Passed::Unix(listener) => listener.set_nonblocking(true),
    };
    prepared.map_err(|error| strange(error.to_string()))?;
    Ok(listener)
}

/// Whether it is one to accept connections from. macOS has no answer to that (SO_ACCEPTCONN): there the first accept tells.
fn listens(socket: impl AsFd) -> std::io::Result<bool> {
    #[cfg(not(target_vendor = "apple"))]
    return Ok(rustix::net::sockopt::socket_acceptconn(socket)?);
    #[cfg(target_vendor = "apple")]
    {
        let _ = socket;
        Ok(true)
    }
}
