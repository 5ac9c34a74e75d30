//! A relay before the server that holds back one piece of what the proxy says, and lets it go when the test says so: for
//! what happens in between, which no delay makes certain.

use std::net::SocketAddr;

use pglanes_tests::soon;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a CancelRequest begins with, behind its length.
pub(crate) const CANCEL: &[u8] = &[0x04, 0xd2, 0x16, 0x2e];

/// Whether pieces with the marker pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// They do; none has come since it was opened.
    Open,
    /// They do not; none has come yet.
    Shut,
    /// They do not, and one waits.
    Holding,
}

/// The relay. It ends when it is dropped.
pub(crate) struct Gate {
    address: SocketAddr,
    door: watch::Sender<Door>,
    accepting: JoinHandle<()>,
}

impl Gate {
    /// Before this server; open. When it is shut it holds back what contains `marker`.
    pub(crate) async fn before(upstream: SocketAddr, marker: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (door, _) = watch::channel(Door::Open);
        let doors = door.clone();
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(upstream).await.expect("the server");
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let held = Some((marker, doors.clone()));
                connections.spawn(pump(from_client, to_server, held));
                connections.spawn(pump(from_server, to_client, None));
            }
        });
        Self {
            address,
            door,
            accepting,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn shut(&self) {
        self.door.send_replace(Door::Shut);
    }

    /// Waits until something is held back.
    pub(crate) async fn holds(&self) {
        let mut door = self.door.subscribe();
        let held = door.wait_for(|door| *door == Door::Holding);
        soon(held).await.expect("the gate is there");
    }

    pub(crate) fn open(&self) {
        self.door.send_replace(Door::Open);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    held: Option<(&'static [u8], watch::Sender<Door>)>,
) {
    let mut buffer = vec![0; 64 * 1024];
    // An end or an error of one side is the end of the other.
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let piece = &buffer[..count];
        if let Some((marker, door)) = &held
            && piece.windows(marker.len()).any(|window| window == *marker)
        {
            door.send_if_modified(|door| {
                let shut = *door == Door::Shut;
                if shut {
                    *door = Door::Holding;
                }
                shut
            });
            let mut seen = door.subscribe();
            if seen.wait_for(|door| *door == Door::Open).await.is_err() {
                return;
            }
        }
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
}
