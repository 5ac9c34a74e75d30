//! A relay that does to a connection what networks do: latency, single bytes, a cut in the middle, silence, a reset.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::soon;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From whoever connected to whom the relay stands for.
    Forth,
    /// The answers.
    Back,
}

/// What is done to the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toxic {
    /// Nothing.
    None,
    /// Each piece comes so much later.
    Latency(Duration),
    /// They come one by one.
    Slicer,
    /// Both sides are closed when so many bytes have passed in this direction since this was asked for.
    Cut(Direction, usize),
    /// They vanish; nobody is told.
    Blackhole,
    /// Both sides get a reset at once.
    Reset,
}

/// A relay on a port of its own. It ends when it is dropped, and with it all its connections.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    toxic: Arc<watch::Sender<Toxic>>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// A relay before this address, doing nothing yet.
    pub async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (toxic, seen) = watch::channel(Toxic::None);
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, upstream, seen.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            toxic: Arc::new(toxic),
            accepting,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does this from now on, to connections that are there and to new ones.
    pub fn set(&self, toxic: Toxic) {
        self.toxic.send_replace(toxic);
    }

    /// Resets every connection that is there, and relays new ones as they are.
    pub async fn reset_all(&self) {
        self.set(Toxic::Reset);
        // The connections hold a receiver each, beside the one that new ones are made from.
        let gone = async {
            while self.toxic.receiver_count() > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon(gone).await;
        self.set(Toxic::None);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut client: TcpStream, upstream: SocketAddr, toxic: watch::Receiver<Toxic>) {
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        return;
    };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a TCP socket");
    }
    let mut resets = toxic.clone();
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let forth = pump(from_client, to_server, Direction::Forth, toxic.clone());
        let back = pump(from_server, to_client, Direction::Back, toxic);
        tokio::select! {
            // How it ended does not matter: both sides are closed.
            _ = async { tokio::try_join!(forth, back) } => {}
            _ = resets.wait_for(|toxic| *toxic == Toxic::Reset) => {}
        }
    }
    if *resets.borrow() == Toxic::Reset {
        for stream in [&client, &server] {
            // Whoever has closed already needs no reset.
            let _ = stream.set_zero_linger();
        }
    }
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    mut toxic: watch::Receiver<Toxic>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut passed = 0;
    loop {
        if is_over(*toxic.borrow(), direction, passed) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let count = tokio::select! {
            count = from.read(&mut buffer) => count?,
            changed = toxic.changed() => {
                changed.map_err(io::Error::other)?;
                passed = 0;
                continue;
            }
        };
        if toxic.has_changed().unwrap_or(false) {
            toxic.mark_unchanged();
            passed = 0;
        }
        if count == 0 {
            return to.shutdown().await;
        }
        let now = *toxic.borrow();
        passed += pass(&mut to, &buffer[..count], now, direction, passed).await?;
    }
}

fn is_over(toxic: Toxic, direction: Direction, passed: usize) -> bool {
    matches!(toxic, Toxic::Cut(cut, at) if cut == direction && passed >= at)
}

/// Passes one piece on; gives how much of it.
async fn pass(
    to: &mut WriteHalf<'_>,
    piece: &[u8],
    toxic: Toxic,
    direction: Direction,
    passed: usize,
) -> io::Result<usize> {
    let piece = match toxic {
        Toxic::Cut(cut, at) if cut == direction => &piece[..piece.len().min(at - passed)],
        _ => piece,
    };
    match toxic {
        Toxic::Blackhole | Toxic::Reset => return Ok(piece.len()),
        Toxic::Latency(delay) => tokio::time::sleep(delay).await,
        Toxic::Slicer => {
            for byte in piece {
                to.write_all(&[*byte]).await?;
                tokio::task::yield_now().await;
            }
            return Ok(piece.len());
        }
        Toxic::None | Toxic::Cut(..) => {}
    }
    to.write_all(piece).await?;
    Ok(piece.len())
}
