//! A replication connection, once it is logged in: bytes go both ways as they come.
//!
//! Nothing is looked at, so COPY BOTH, base backups and whatever a later protocol brings pass
//! through. For the same reason the server connection is never given back: when either side
//! ends it is closed. An ending proxy ends it at once, as streaming has no end to wait for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pglanes_lanes::Input;

use crate::hub::{AskedOfSession, Hub, LinkedServer, Phase, SessionFace};
use crate::session::Reason;
use crate::stream::{Stream, poll_flush, send_or_hold};

/// Bytes read at once. Each connection owns its buffer: there are few, and they are busy.
const READ_BUFFER: usize = 64 * 1024;

/// One client with its server connection, until either ends.
pub(crate) struct Replication {
    hub: Rc<Hub>,
    client: Stream,
    face: Rc<SessionFace>,
    /// `None` once it is over.
    server: Option<LinkedServer>,
    buffer: Box<[u8]>,
    /// What the client's socket did not take.
    outbox: Vec<u8>,
}

/// What one direction came to.
enum Flow {
    Moved(usize),
    Blocked,
    Ended,
}

impl Replication {
    /// `inbox` is what the client said behind its startup packet.
    pub(crate) fn new(
        hub: Rc<Hub>,
        client: Stream,
        face: Rc<SessionFace>,
        mut server: LinkedServer,
        inbox: Vec<u8>,
    ) -> Self {
        let lane = face.lane.get();
        hub.metrics.clients.add(1);
        hub.metrics.pinned(lane, Reason::Replication).add(1);
        hub.tell(Input::SessionOpened { lane });
        server.unsent = inbox;
        server.face.session.set(face.key.pid());
        Self {
            hub,
            client,
            face,
            server: Some(server),
            buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            outbox: Vec::new(),
        }
    }

    fn is_told_to_end(&self) -> bool {
        let asked = self.face.asked.get();
        self.hub.phase.get() == Phase::Draining
            || matches!(asked, AskedOfSession::End | AskedOfSession::Kill)
    }

    /// Moves bytes until both directions wait. Ready when the connection is over.
    fn relay(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let lane = self.face.lane.get();
        let Self {
            hub,
            client,
            server: Some(server),
            buffer,
            outbox,
            face,
        } = self
        else {
            return Poll::Ready(());
        };
        loop {
            let to_client = flow(context, &mut server.stream, client, outbox, buffer);
            let server = &mut **server;
            let to_server = flow(
                context,
                client,
                &mut server.stream,
                &mut server.unsent,
                buffer,
            );
            match (to_client, to_server) {
                // Nothing is read before all that was read has been sent on: at the end of what
                // the server says the client has all of it.
                (Ok(Flow::Ended) | Err(_), _) | (_, Ok(Flow::Ended) | Err(_)) => {
                    return Poll::Ready(());
                }
                (Ok(Flow::Blocked), Ok(Flow::Blocked)) => return Poll::Pending,
                (Ok(Flow::Moved(count)), _) => {
                    hub.metrics.lane(lane).bytes_out.add(count as u64);
                    crate::hub::count(&face.deeds.bytes_out, count as u64);
                }
                (Ok(Flow::Blocked), Ok(Flow::Moved(count))) => {
                    hub.metrics.lane(lane).bytes_in.add(count as u64);
                }
            }
        }
    }
}

/// One read and one write of one direction. Nothing is read while the other side has not taken
/// what it has.
fn flow(
    context: &mut Context<'_>,
    from: &mut Stream,
    to: &mut Stream,
    held: &mut Vec<u8>,
    buffer: &mut [u8],
) -> io::Result<Flow> {
    match poll_flush(to, context, held) {
        Poll::Pending => return Ok(Flow::Blocked),
        Poll::Ready(flushed) => flushed?,
    }
    match from.poll_read(context, buffer) {
        Poll::Pending => Ok(Flow::Blocked),
        Poll::Ready(Ok(0)) => Ok(Flow::Ended),
        Poll::Ready(Ok(count)) => {
            send_or_hold(to, context, &buffer[..count], held)?;
            Ok(Flow::Moved(count))
        }
        Poll::Ready(Err(error)) => Err(error),
    }
}

impl Future for Replication {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.face.waker.replace(Some(context.waker().clone()));
        if this.is_told_to_end() {
            return Poll::Ready(());
        }
        this.relay(context)
    }
}

impl Drop for Replication {
    fn drop(&mut self) {
        let lane = self.face.lane.get();
        self.hub.sessions.borrow_mut().remove(self.face.key.pid());
        self.hub.metrics.clients.add(-1);
        self.hub.metrics.pinned(lane, Reason::Replication).add(-1);
        // First the server connection, which is closed by that, then the session itself.
        if let Some(mut server) = self.server.take() {
            // Not with a Terminate: the client's last message may not be whole.
            server.dying = true;
        }
        self.hub.tell(Input::SessionClosed { lane });
    }
}
