//! Telling systemd how far the service is, as sd_notify(3) describes: a datagram to the socket that NOTIFY_SOCKET names.
//! Elsewhere, and without that variable, nothing happens.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It listens.
    Ready,
    /// Transactions finish, nothing new begins.
    Stopping,
}

impl Told {
    fn words(self) -> &'static str {
        match self {
            Told::Ready => "READY=1\nSTATUS=serving",
            Told::Stopping => "STOPPING=1\nSTATUS=ending: transactions finish, nothing new begins",
        }
    }
}

/// Tells it, if somebody wants to know. A failure is logged: the service runs all the same, and systemd ends it when it waits
/// in vain.
pub(super) fn tell(told: Told) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&socket, told.words()) {
        tracing::warn!(%error, "systemd was not told (NOTIFY_SOCKET)");
    }
}

fn send(socket: &OsStr, words: &str) -> io::Result<()> {
    let datagram = UnixDatagram::unbound()?;
    match socket.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt as _;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            datagram.send_to_addr(words.as_bytes(), &address)?;
        }
        _ => {
            datagram.send_to(words.as_bytes(), socket)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut room = [0; 200];
        let length = socket.recv(&mut room).unwrap();
        String::from_utf8(room[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_socket_by_path_hears_what_is_told() {
        let path = std::env::temp_dir().join(format!("pglanes-notify-{}", std::process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), Told::Ready.words()).unwrap();
        let said = heard(&socket);
        std::fs::remove_file(&path).unwrap();
        assert!(said.starts_with("READY=1\n"), "{said}");
        assert!(send(path.as_os_str(), "x").is_err(), "nobody is there");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_without_a_path_hears_it_too() {
        use std::os::linux::net::SocketAddrExt as _;
        let name = format!("pglanes-notify-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        send(OsStr::new(&format!("@{name}")), Told::Stopping.words()).unwrap();
        assert!(heard(&socket).starts_with("STOPPING=1\n"));
    }
}
