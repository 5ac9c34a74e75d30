//! One TLS connection: rustls' state over a TCP socket.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// A TCP socket from which some bytes have been read already: those that told that the
/// client begins with TLS belong to its handshake.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    ahead: Vec<u8>,
}

impl Socket {
    /// `ahead` is read before anything that the socket has.
    pub(crate) fn new(stream: TcpStream, ahead: Vec<u8>) -> Self {
        Self { stream, ahead }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..count]);
        self.ahead.drain(..count);
        if self.ahead.is_empty() {
            self.ahead = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    // Several records go out with one system call. A handshake that fails makes only one,
    // and the alert that says why is the last record of it.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        records: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, records)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A connection whose handshake is over. Dropping it says close_notify, as far as the
/// socket takes it at that moment: a peer then knows that nothing was cut off.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: TlsStream<Socket>,
}

impl Channel {
    pub(crate) fn new(stream: impl Into<TlsStream<Socket>>) -> Self {
        Self {
            stream: stream.into(),
        }
    }

    /// The TCP socket below.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.stream.get_ref().0.stream
    }

    /// As [`crate::stream::Stream::poll_read`]. An end without close_notify is an end
    /// like any: every PostgreSQL message has its length, so that nothing can be cut
    /// short unseen.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            polled => polled,
        }
    }

    /// Encrypts what fits. What was taken may still lie here as records that the socket
    /// has not taken: [`Self::poll_flush`] sends those.
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    /// Ready when the socket has taken every record.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Says close_notify and ends the socket's writing side, but still reads.
    pub(crate) async fn close_writing(&mut self) -> io::Result<()> {
        use tokio::io::AsyncWriteExt;
        self.stream.shutdown().await
    }

    /// Sends what can be sent of `bytes` without waiting.
    pub(crate) fn last_words(&mut self, bytes: &[u8]) {
        // A peer that is gone, or that does not read, misses them.
        let _ = match &mut self.stream {
            TlsStream::Client(stream) => {
                let (socket, session) = stream.get_mut();
                say(socket, session, bytes)
            }
            TlsStream::Server(stream) => {
                let (socket, session) = stream.get_mut();
                say(socket, session, bytes)
            }
        };
    }

    /// The protocol both sides agreed on by ALPN.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.stream.get_ref().1.alpn_protocol()
    }

    /// The other side's own certificate, which the handshake verified as far as it was
    /// told to.
    pub(crate) fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.stream.get_ref().1.peer_certificates()?.first()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // As last words: whoever is gone misses it.
        let _ = match &mut self.stream {
            TlsStream::Client(stream) => {
                let (socket, session) = stream.get_mut();
                session.send_close_notify();
                say(socket, session, b"")
            }
            TlsStream::Server(stream) => {
                let (socket, session) = stream.get_mut();
                session.send_close_notify();
                say(socket, session, b"")
            }
        };
    }
}

fn say<Data>(
    socket: &Socket,
    session: &mut rustls::ConnectionCommon<Data>,
    bytes: &[u8],
) -> io::Result<()>
where
    Data: rustls::SideData,
{
    session.writer().write_all(bytes)?;
    while session.wants_write() {
        session.write_tls(&mut AtOnce(&socket.stream))?;
    }
    Ok(())
}

/// Writes what the socket takes at once, without waiting and without a waker.
struct AtOnce<'a>(&'a TcpStream);

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
