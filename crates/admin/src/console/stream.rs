//! A limit on the messages that reach pgwire's decoder, whose own is about a gigabyte: no command needs more than a few
//! kilobytes, and who sends more is cut off before memory is taken for it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pglanes_proxy::ConsoleConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest message of a client, in bytes.
pub(super) const LONGEST_MESSAGE: u32 = 64 * 1024;
/// A message's type and its length.
const HEADER: usize = 5;

/// Follows the headers of the messages that pass.
#[derive(Debug, Default)]
struct Headers {
    header: [u8; HEADER],
    have: usize,
    /// Bytes of the present message that are still to come.
    rest: u32,
}

impl Headers {
    fn pass(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let passed = bytes.len().min(self.rest as usize);
                self.rest -= passed as u32;
                bytes = &bytes[passed..];
                continue;
            }
            self.header[self.have] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            if self.have == HEADER {
                self.have = 0;
                let [_, length @ ..] = self.header;
                let length = u32::from_be_bytes(length);
                if !(4..=LONGEST_MESSAGE).contains(&length) {
                    let text = format!("a message of {length} bytes");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
                self.rest = length - 4;
            }
        }
        Ok(())
    }
}

/// The connection, with the limit.
#[derive(Debug)]
pub(super) struct Limited {
    connection: ConsoleConnection,
    headers: Headers,
}

impl Limited {
    pub(super) fn new(connection: ConsoleConnection) -> Self {
        Self {
            connection,
            headers: Headers::default(),
        }
    }
}

impl AsyncRead for Limited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.connection).poll_read(context, buffer))?;
        let read = this.headers.pass(&buffer.filled()[before..]);
        if read.is_err() {
            // Nothing of it is decoded.
            buffer.set_filled(before);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Limited {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u32) -> Vec<u8> {
        let mut message = vec![b'Q'];
        message.extend_from_slice(&length.to_be_bytes());
        message.resize(
            message.len() + (length.saturating_sub(4) as usize).min(100_000),
            0,
        );
        message
    }

    #[test]
    fn messages_pass_up_to_the_limit_however_they_are_cut() {
        let mut bytes = message(4);
        bytes.extend(message(LONGEST_MESSAGE));
        bytes.extend(message(10));
        let mut whole = Headers::default();
        whole.pass(&bytes).unwrap();
        let mut cut = Headers::default();
        bytes.iter().for_each(|byte| cut.pass(&[*byte]).unwrap());
        assert_eq!((whole.have, whole.rest), (0, 0));
        assert_eq!((cut.have, cut.rest), (0, 0));
        for length in [0, 3, LONGEST_MESSAGE + 1, u32::MAX] {
            assert!(
                Headers::default().pass(&message(length)).is_err(),
                "{length}"
            );
        }
    }
}
