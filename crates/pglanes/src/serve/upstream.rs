//! Whether PostgreSQL answers: for readiness, and to say so once when it does not. Clients do not wait for this; the data
//! path finds out by itself when it opens a connection.

use std::io;
use std::time::Duration;

use pglanes_admin::{Reachability, Status};
use pglanes_config::{Upstream, UpstreamAddress};
use pglanes_proxy::Handle;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// How often PostgreSQL is asked while it answers and no connection proves it.
const WHILE_REACHED: Duration = Duration::from_secs(15);
/// How often it is asked while it does not.
const WHILE_UNREACHABLE: Duration = Duration::from_secs(2);
/// SSLRequest (protocol, "SSL Session Encryption"): answered with one byte before any login, by every version, and
/// nothing is logged when the client then goes away.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Publishes whether PostgreSQL answers until the proxy has ended, and logs each change once.
pub(super) async fn watch(upstream: Upstream, handle: Handle, status: watch::Sender<Status>) {
    let ended = handle.clone();
    let looking = async {
        loop {
            let found = look(&upstream, &handle).await;
            let pause = match &found {
                Reachability::Reached => WHILE_REACHED,
                Reachability::Untried | Reachability::Unreachable { .. } => WHILE_UNREACHABLE,
            };
            publish(&upstream, &status, found);
            sleep(pause).await;
        }
    };
    tokio::select! {
        () = ended.ended() => {}
        () = looking => {}
    }
}

/// An open connection is proof enough; without any, PostgreSQL is asked.
async fn look(upstream: &Upstream, handle: &Handle) -> Reachability {
    let open = handle.view().await.is_some_and(|view| {
        let (_, idle, in_use) = view.servers;
        idle + in_use > 0
    });
    if open && handle.metrics().upstream_up.get() {
        return Reachability::Reached;
    }
    let asked = timeout(upstream.connect_timeout, ask(upstream)).await;
    match asked {
        Ok(Ok(())) => Reachability::Reached,
        Ok(Err(error)) => Reachability::Unreachable {
            why: format!("{}: {error}", place(upstream)),
        },
        Err(_) => Reachability::Unreachable {
            why: format!(
                "{}: no answer within {:?}",
                place(upstream),
                upstream.connect_timeout
            ),
        },
    }
}

fn publish(upstream: &Upstream, status: &watch::Sender<Status>, found: Reachability) {
    let before = status.borrow().upstream.clone();
    // First, so that whoever reads the line finds readiness as it says.
    status.send_modify(|status| status.upstream = found.clone());
    match (&before, &found) {
        // One line an outage, whatever the words.
        (Reachability::Unreachable { .. }, Reachability::Unreachable { .. })
        | (Reachability::Reached, Reachability::Reached) => {}
        (_, Reachability::Unreachable { why }) => {
            tracing::warn!("PostgreSQL cannot be reached: {why}; clients are told so until it can");
        }
        (Reachability::Unreachable { .. }, Reachability::Reached) => {
            tracing::info!("PostgreSQL is reached again at {}", place(upstream));
        }
        (_, Reachability::Reached | Reachability::Untried) => {}
    }
}

/// Asks as the data path dials: a unix socket where there is one, else TCP.
async fn ask(upstream: &Upstream) -> io::Result<()> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for socket in upstream.unix_sockets() {
        match UnixStream::connect(&socket).await {
            Ok(stream) => return answer(stream).await,
            Err(error) => last = error,
        }
    }
    match &upstream.address {
        UpstreamAddress::Tcp { host, port } => {
            answer(TcpStream::connect((host.as_str(), *port)).await?).await
        }
        UpstreamAddress::Unix { .. } => Err(last),
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.write_all(&SSL_REQUEST).await?;
    let mut answer = [0];
    stream.read_exact(&mut answer).await?;
    match answer {
        // Yes, no, or an error: PostgreSQL speaks.
        [b'S' | b'N' | b'E'] => Ok(()),
        _ => Err(io::Error::other("what listens there is not PostgreSQL")),
    }
}

/// The server's address, for people.
pub(super) fn place(upstream: &Upstream) -> String {
    match &upstream.address {
        UpstreamAddress::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        UpstreamAddress::Tcp { host, port } => format!("{host}:{port}"),
        UpstreamAddress::Unix { directory, port } => {
            let socket = directory.join(pglanes_config::socket_name(*port));
            socket.display().to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pglanes_config::Config;
    use tokio::net::TcpListener;

    /// Asks somebody who answers with these bytes.
    async fn ask_one_who_says(bytes: &[u8]) -> io::Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut upstream = Config::default().upstream;
        upstream.unix_socket = pglanes_config::UnixSocket::Off;
        upstream.address = UpstreamAddress::Tcp {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
        };
        let says = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(request, SSL_REQUEST);
            stream.write_all(bytes).await.unwrap();
        };
        let (asked, ()) = tokio::join!(ask(&upstream), says);
        asked
    }

    #[tokio::test]
    async fn postgres_is_told_apart_from_others_and_from_silence() {
        assert!(ask_one_who_says(b"N").await.is_ok());
        assert!(ask_one_who_says(b"S").await.is_ok());
        let other = ask_one_who_says(b"H").await.unwrap_err();
        assert!(other.to_string().contains("not PostgreSQL"), "{other}");
        let silent = ask_one_who_says(b"").await.unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::UnexpectedEof);
    }
}
