//! A byte stream to a client or a server: TCP or a unix socket. The poll functions
//! clear readiness after a short read or write, so that no system call is spent on
//! learning that there is nothing more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// One connected socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
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
        };
        polled.map_ok(|()| read.filled().len())
    }

    /// Writes what the socket takes of `bytes`.
    #[inline]
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    /// Sends what can be sent of `bytes` without waiting, as a last word.
    pub(crate) fn last_words(&self, bytes: &[u8]) {
        // A peer that is gone, or that does not read, misses them.
        let _ = match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        };
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
        Ok(())
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

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

/// Writes from the front of `held` and keeps the rest. Ready when all is written.
pub(crate) fn poll_flush(
    stream: &mut Stream,
    context: &mut Context<'_>,
    held: &mut Vec<u8>,
) -> Poll<io::Result<()>> {
    let mut written = 0;
    let result = loop {
        if written == held.len() {
            break Poll::Ready(Ok(()));
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
