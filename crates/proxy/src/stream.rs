//! A byte stream to a client or a server: TCP, a unix socket, or TLS over TCP. The poll
//! functions clear readiness after a short read or write, so that no system call is spent
//! on learning that there is nothing more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::priority::Peer;
use crate::tls::Channel;

fn peer_over_tcp(stream: &TcpStream) -> Peer {
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) if peer.ip().is_loopback() || peer.ip() == local.ip() => {
            Peer::Loopback(local.port())
        }
        _ => Peer::Elsewhere,
    }
}

/// One connected socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Boxed: rustls' state is large, and most streams are none.
    Tls(Box<Channel>),
    /// Its socket has gone into a handshake, and did not come out of it.
    Closed,
}

impl Stream {
    /// The TLS connection, if this is one.
    pub(crate) fn tls(&self) -> Option<&Channel> {
        match self {
            Self::Tls(channel) => Some(channel),
            Self::Tcp(_) | Self::Unix(_) | Self::Closed => None,
        }
    }

    /// Whom it shows at its other end, if that is this machine.
    pub(crate) fn peer(&self) -> Peer {
        match self {
            Self::Unix(stream) => {
                let listener = stream.peer_cred().ok().and_then(|peer| peer.pid());
                // The kernel says 0 of a process that has no number here.
                Peer::Listener(listener.filter(|pid| *pid > 0))
            }
            Self::Tcp(stream) => peer_over_tcp(stream),
            Self::Tls(channel) => peer_over_tcp(channel.tcp()),
            Self::Closed => Peer::Elsewhere,
        }
    }

    /// Reads into `buffer`; `Ready(0)` is the end of the stream.
    #[inline]
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buffer);
        let polled = match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, &mut read),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, &mut read),
            Self::Tls(channel) => channel.poll_read(context, &mut read),
            Self::Closed => Poll::Ready(Ok(())),
        };
        polled.map_ok(|()| read.filled().len())
    }

    /// Writes what the socket takes of `bytes`. Over TLS, what was taken may need
    /// [`Self::poll_sent`] to go out.
    #[inline]
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(channel) => channel.poll_write(context, bytes),
            Self::Closed => Poll::Ready(Ok(0)),
        }
    }

    /// Ready when everything that was written is with the socket: at once, but for TLS.
    #[inline]
    pub(crate) fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Unix(_) | Self::Closed => Poll::Ready(Ok(())),
            Self::Tls(channel) => channel.poll_flush(context),
        }
    }

    /// Sends what can be sent of `bytes` without waiting, as a last word.
    pub(crate) fn last_words(&mut self, bytes: &[u8]) {
        match self {
            // A peer that is gone, or that does not read, misses them.
            Self::Tcp(stream) => drop(stream.try_write(bytes)),
            Self::Unix(stream) => drop(stream.try_write(bytes)),
            Self::Tls(channel) => channel.last_words(bytes),
            Self::Closed => {}
        }
    }

    /// Waits until `bytes` are written.
    ///
    /// Not cancel-safe: a part may have been written.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = std::future::poll_fn(|context| self.poll_write(context, bytes)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
        }
        std::future::poll_fn(|context| self.poll_sent(context)).await
    }

    /// Says no more, but still reads.
    pub(crate) async fn close_writing(&mut self) -> io::Result<()> {
        use tokio::io::AsyncWriteExt;
        match self {
            Self::Tcp(stream) => stream.shutdown().await,
            Self::Unix(stream) => stream.shutdown().await,
            Self::Tls(channel) => channel.close_writing().await,
            Self::Closed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Reads and drops all that comes, up to the end of the stream.
    pub(crate) async fn read_to_end(&mut self) {
        let mut buffer = Vec::new();
        while self
            .read_some(&mut buffer, 16 * 1024)
            .await
            .is_ok_and(|read| read > 0)
        {
            buffer.clear();
        }
    }

    /// Waits for bytes and appends them to `buffer`, at most `most`; 0 is the end.
    pub(crate) async fn read_some(
        &mut self,
        buffer: &mut Vec<u8>,
        most: usize,
    ) -> io::Result<usize> {
        let from = buffer.len();
        buffer.resize(from + most, 0);
        let read =
            std::future::poll_fn(|context| self.poll_read(context, &mut buffer[from..])).await;
        buffer.truncate(from + *read.as_ref().unwrap_or(&0));
        read
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<Channel> for Stream {
    fn from(channel: Channel) -> Self {
        Self::Tls(Box::new(channel))
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

/// Writes from the front of `held` and keeps the rest. Ready when all is written and sent.
pub(crate) fn poll_flush(
    stream: &mut Stream,
    context: &mut Context<'_>,
    held: &mut Vec<u8>,
) -> Poll<io::Result<()>> {
    let mut written = 0;
    let result = loop {
        if written == held.len() {
            break stream.poll_sent(context);
        }
        match stream.poll_write(context, &held[written..]) {
            Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(count)) => written += count,
            Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
            Poll::Pending => break Poll::Pending,
        }
    };
    if written == held.len() {
        // Idle connections own no buffer.
        *held = Vec::new();
    } else if written > 0 {
        held.drain(..written);
    }
    result
}

/// Sends `bytes` now if it can, and keeps in `held` what the socket does not take.
/// `held` must be empty: order is kept by flushing it first.
pub(crate) fn send_or_hold(
    stream: &mut Stream,
    context: &mut Context<'_>,
    bytes: &[u8],
    held: &mut Vec<u8>,
) -> io::Result<()> {
    if !held.is_empty() {
        held.extend_from_slice(bytes);
        return Ok(());
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        match stream.poll_write(context, rest) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(count)) => rest = &rest[count..],
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => {
                held.extend_from_slice(rest);
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_stream_is_no_larger_for_the_sake_of_tls() {
        let plain = size_of::<TcpStream>().max(size_of::<UnixStream>());
        assert!(size_of::<Stream>() <= plain + size_of::<usize>());
    }
}
