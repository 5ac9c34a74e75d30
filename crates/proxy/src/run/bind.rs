//! Binding the configured addresses, before anything runs.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use pglanes_config::ListenAddress;

use super::StartError;

/// A socket that listens already, does not block, and is somebody else's to remove: taken instead of the configured addresses.
#[derive(Debug)]
pub enum Passed {
    /// Over TCP.
    Tcp(std::net::TcpListener),
    /// Over a unix socket.
    Unix(std::os::unix::net::UnixListener),
}

impl Passed {
    /// Its address, where it is one of TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

/// A bound socket which no reactor knows yet. A path is removed with the proxy.
pub(super) enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, Option<PathBuf>),
}

impl From<Passed> for Bound {
    fn from(passed: Passed) -> Self {
        match passed {
            Passed::Tcp(listener) => Self::Tcp(listener),
            Passed::Unix(listener) => Self::Unix(listener, None),
        }
    }
}

impl Bound {
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }
}

pub(super) fn bind_all(addresses: &[ListenAddress]) -> Result<Vec<Bound>, StartError> {
    addresses.iter().map(bind).collect()
}

fn bind(address: &ListenAddress) -> Result<Bound, StartError> {
    let failed = |address: String| move |cause| StartError::Bind { address, cause };
    match address {
        ListenAddress::Tcp(address) => bind_tcp(*address).map_err(failed(address.to_string())),
        ListenAddress::Unix(path) => {
            bind_unix(path.clone()).map_err(failed(path.display().to_string()))
        }
    }
}

/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;

fn bind_tcp(address: SocketAddr) -> io::Result<Bound> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(Bound::Tcp(socket.into()))
}

/// A socket file left by a process that is gone is replaced; a living one's is not.
fn bind_unix(path: PathBuf) -> io::Result<Bound> {
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    Ok(Bound::Unix(listener, Some(path)))
}

/// Removes a socket's file when the proxy ends.
pub(super) struct SocketFile(pub(super) PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(&self.0);
    }
}
