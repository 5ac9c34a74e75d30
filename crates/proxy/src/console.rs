//! The way to the admin console: clients of the databases `pglanes` and `pgbouncer` log in here, by our own
//! authentication, and are handed on to whoever serves the console. Their socket then lives on another thread; the
//! data thread has no more to do with them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use pglanes_auth::Secret;
use pglanes_config::ClientAddress;
use pglanes_wire::cancel_key::{CancelKey, SECRET_3_2};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::stream::Stream;

/// The databases that are the console, whatever PostgreSQL has. The second is for tools that know PgBouncer.
pub const CONSOLE_DATABASES: [&str; 2] = ["pglanes", "pgbouncer"];
/// Visitors whose cancel keys are remembered; whoever serves the console takes fewer.
const MOST_KEYS: usize = 256;

/// What a user of the console may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Stats,
    /// Look and change.
    Admin,
}

/// How a visitor showed who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// By a password, the operating system, or the token.
    Given,
    /// It was taken at its word (`trust`).
    None,
}

/// Serves the console; installed by the binary.
pub trait ConsoleDoor: Send + Sync + fmt::Debug {
    /// The token that opens the console to the user `pglanes`, while there is one.
    fn token(&self) -> Option<Secret<String>>;

    /// Takes over a client that has logged in and was told so. Returns at once: it is called on the data thread.
    fn open(&self, visitor: Visitor);
}

/// A client of the console that has logged in.
#[derive(Debug)]
pub struct Visitor {
    /// As whom: the real name.
    pub user: String,
    /// What it may do.
    pub role: Role,
    /// How it showed who it is.
    pub proof: Proof,
    /// By which name it asked for the console.
    pub database: String,
    /// What it calls itself.
    pub application_name: String,
    /// Where it comes from.
    pub address: ClientAddress,
    /// Its port; 0 over a unix socket.
    pub port: u16,
    /// Told when the client sends a cancel request.
    pub cancelled: Arc<Notify>,
    /// Its socket.
    pub stream: ConsoleStream,
}

/// A client's socket on its way to another thread.
#[derive(Debug)]
pub struct ConsoleStream {
    socket: Socket,
    /// What the client said behind its login.
    ahead: Vec<u8>,
}

#[derive(Debug)]
enum Socket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
    /// rustls' state stays where it is; so does its socket's registration with the data thread's reactor.
    Tls(Stream),
}

impl ConsoleStream {
    pub(crate) fn new(stream: Stream, ahead: Vec<u8>) -> io::Result<Self> {
        let socket = match stream {
            Stream::Tcp(stream) => Socket::Tcp(stream.into_std()?),
            Stream::Unix(stream) => Socket::Unix(stream.into_std()?),
            tls @ Stream::Tls(_) => Socket::Tls(tls),
            Stream::Closed => return Err(io::ErrorKind::NotConnected.into()),
        };
        Ok(Self { socket, ahead })
    }

    /// The stream for the runtime that this is called in.
    ///
    /// # Errors
    /// The operating system's.
    pub fn arrive(self) -> io::Result<ConsoleConnection> {
        let stream = match self.socket {
            Socket::Tcp(stream) => tokio::net::TcpStream::from_std(stream)?.into(),
            Socket::Unix(stream) => tokio::net::UnixStream::from_std(stream)?.into(),
            Socket::Tls(stream) => stream,
        };
        Ok(ConsoleConnection {
            stream,
            ahead: self.ahead,
        })
    }
}

/// The stream of a client of the console.
#[derive(Debug)]
pub struct ConsoleConnection {
    stream: Stream,
    ahead: Vec<u8>,
}

impl AsyncRead for ConsoleConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..count]);
            self.ahead.drain(..count);
            return Poll::Ready(Ok(()));
        }
        let room = buffer.initialize_unfilled();
        match self.stream.poll_read(context, room) {
            Poll::Ready(Ok(count)) => {
                buffer.advance(count);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for ConsoleConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_sent(context)
    }

    // The end is said when it is dropped, over TLS with close_notify.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_sent(context)
    }
}

/// The visitors' cancel keys.
#[derive(Debug, Default)]
pub(crate) struct Visitors {
    by_process_id: RefCell<BTreeMap<i32, (CancelKey, Weak<Notify>)>>,
}

impl Visitors {
    /// A key for another visitor, with so many bytes of secret; `None` without randomness, or when there are too many.
    pub(crate) fn register(
        &self,
        secret: usize,
        taken: impl Fn(i32) -> bool,
    ) -> Option<(CancelKey, Arc<Notify>)> {
        let mut keys = self.by_process_id.borrow_mut();
        keys.retain(|_, (_, visitor)| visitor.strong_count() > 0);
        if keys.len() >= MOST_KEYS {
            return None;
        }
        loop {
            let mut random = [0; 4 + SECRET_3_2];
            getrandom::fill(&mut random).ok()?;
            let [a, b, c, d, random @ ..] = random;
            let process_id = (i32::from_be_bytes([a, b, c, d]) & i32::MAX).max(1);
            if keys.contains_key(&process_id) || taken(process_id) {
                continue;
            }
            let key = CancelKey::new(process_id, random.get(..secret)?).ok()?;
            let notify = Arc::new(Notify::new());
            keys.insert(process_id, (key.clone(), Arc::downgrade(&notify)));
            return Some((key, notify));
        }
    }

    /// Tells the visitor whose key this is.
    pub(crate) fn cancel(&self, process_id: i32, secret: &[u8]) {
        let keys = self.by_process_id.borrow();
        if let Some((key, visitor)) = keys.get(&process_id)
            && key.matches(process_id, secret)
            && let Some(visitor) = visitor.upgrade()
        {
            visitor.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reaches_its_visitor_and_is_forgotten_with_it() {
        let visitors = Visitors::default();
        let (key, notify) = visitors.register(4, |_| false).unwrap();
        visitors.cancel(key.pid(), b"none");
        visitors.cancel(key.pid(), key.secret());
        let mut told = Box::pin(notify.notified());
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(told.as_mut().poll(&mut context).is_ready());
        drop(told);
        drop(notify);
        visitors.register(32, |_| false).unwrap();
        assert_eq!(visitors.by_process_id.borrow().len(), 1);
    }

    #[test]
    fn keys_are_bounded() {
        let visitors = Visitors::default();
        let all: Vec<_> = (0..=MOST_KEYS)
            .map(|_| visitors.register(4, |_| false))
            .collect();
        assert!(all[MOST_KEYS - 1].is_some() && all[MOST_KEYS].is_none());
    }
}
