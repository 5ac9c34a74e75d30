//! Cancel requests: to the query they were meant for, or to nothing (design rule 6).
//!
//! A session's query may run, wait for a slot, wait behind a query of ours (the session's
//! settings are being made), or be over (we ask what its settings are now). The first is
//! cancelled at the server, and the connection gets no other query, of whoever, before the request has
//! arrived there; the second leaves the queue; the third is cancelled when its turn comes;
//! for the last the request came too late.

use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use pglanes_wire::startup::write_cancel_request;

use crate::hub::{Activity, AskedOfSession, Hub};
use crate::server::{Ours, Server, ServerFace};
use crate::upstream::{Route, dial_any};

/// How long a cancel request may take to be delivered.
const DELIVERY_LIMIT: Duration = Duration::from_secs(10);
/// How long the first cancel of a left statement has before another follows; doubles each time.
const FIRST_PATIENCE: Duration = Duration::from_millis(20);
/// How long after a session got its connection a cancel may have come before its query.
const JUST_LINKED: Duration = Duration::from_secs(1);
/// How often a client's cancel is sent again: the last after 140 ms.
const MOST_REPEATS: u32 = 3;
/// How many cancels a left statement gets: the last after two and a half seconds.
const MOST_TRIES: u32 = 8;

/// Carries out a client's cancel request, and returns when it has arrived: the client
/// waits for the end of its connection to know that.
pub(crate) async fn requested(hub: &Rc<Hub>, process_id: i32, secret: &[u8]) {
    hub.metrics.cancel_requests.increment();
    let found = hub.sessions.borrow().find(process_id, secret);
    let Some(session) = found else {
        hub.visitors.cancel(process_id, secret);
        return;
    };
    let activity = session.activity.borrow().clone();
    match activity {
        // Nothing runs: a late cancel is no error.
        Activity::Idle => {}
        Activity::Waiting => session.ask(AskedOfSession::CancelWait),
        Activity::Linked(face) => {
            if is_for_client(&face)
                && let Some(under_way) = UnderWay::begin(hub, &face)
            {
                let meant = face.runs();
                send(hub, &face).await;
                drop(under_way);
                insist(hub, &face, meant);
            }
        }
    }
}

/// A cancel that arrives before PostgreSQL has read the query does nothing. A client that sent both one behind the other knows
/// of that; one whose query had waited for a slot, and got it just as the cancel came, does not. So where the connection was
/// got only just now and the same query goes on, the cancel is sent again, a few times at most.
fn insist(hub: &Rc<Hub>, face: &Rc<ServerFace>, meant: (u32, u32)) {
    let linked = face.linked_at.get();
    let is_the_same = move |hub: &Hub, face: &ServerFace| {
        face.runs() == meant
            && face.linked_at.get() == linked
            && hub.clock.now().since(linked) < JUST_LINKED
    };
    if !is_the_same(hub, face) {
        return;
    }
    let (hub, face) = (Rc::clone(hub), Rc::clone(face));
    tokio::task::spawn_local(async move {
        let mut patience = FIRST_PATIENCE;
        for _ in 0..MOST_REPEATS {
            tokio::time::sleep(patience).await;
            patience *= 2;
            if !is_the_same(&hub, &face) || !is_for_client(&face) {
                return;
            }
            let Some(under_way) = UnderWay::begin(&hub, &face) else {
                return;
            };
            send(&hub, &face).await;
            drop(under_way);
        }
    });
}

/// As [`forward`], unless a query of ours runs, which nobody else means to cancel.
pub(crate) fn forward_to_client(hub: &Rc<Hub>, face: Rc<ServerFace>) {
    if is_for_client(&face) {
        forward(hub, face);
    }
}

/// Whether a cancel is for what the server runs now. If what it is for comes later, that is
/// noted.
fn is_for_client(face: &ServerFace) -> bool {
    match face.ours.get() {
        Ours::None => true,
        Ours::BeforeClients => {
            face.ours.set(Ours::BeforeClientsCancelled);
            false
        }
        Ours::BeforeClientsCancelled | Ours::AfterClients => false,
    }
}

/// Sees a connection off whose client has left while a statement ran on it: cancels until PostgreSQL has
/// closed it. Once is not always enough: a cancel that arrives before PostgreSQL has read the statement does
/// nothing, and the next statement of a pipeline needs another. It keeps its slot meanwhile, so that
/// PostgreSQL never has more connections than there are slots.
pub(crate) async fn see_off(hub: &Rc<Hub>, server: &mut Server) {
    if server.face.key.is_none() {
        return;
    }
    // PostgreSQL closes when it next looks for a message. Nothing is said: the last message may be cut off,
    // and would take it for its end.
    if server.stream.close_writing().await.is_err() {
        send(hub, &server.face).await;
        return;
    }
    let mut patience = FIRST_PATIENCE;
    for _ in 0..MOST_TRIES {
        send(hub, &server.face).await;
        let closed = tokio::time::timeout(patience, server.stream.read_to_end());
        if closed.await.is_ok() {
            return;
        }
        patience *= 2;
    }
    tracing::warn!(
        server = server.face.id.0,
        "a statement whose client has left did not follow its cancel"
    );
}

/// Cancels what runs on a server connection, in the background.
pub(crate) fn forward(hub: &Rc<Hub>, face: Rc<ServerFace>) {
    let hub = Rc::clone(hub);
    // Counted now: the connection may be given back before the task first runs.
    let Some(under_way) = UnderWay::begin(&hub, &face) else {
        return;
    };
    let meant = face.runs();
    tokio::task::spawn_local(async move {
        send(&hub, &face).await;
        drop(under_way);
        insist(&hub, &face, meant);
    });
}

/// A cancel on its way: while it exists the connection is not handed on, and gets no other query.
struct UnderWay {
    hub: Rc<Hub>,
    face: Rc<ServerFace>,
}

impl UnderWay {
    /// `None` when the server gave no key, one is on its way there already, or too many are in all.
    fn begin(hub: &Rc<Hub>, face: &Rc<ServerFace>) -> Option<Self> {
        let most = hub.live().config.limits.cancels;
        if face.key.is_none()
            || face.cancels_under_way.get() > 0
            || hub.cancels_in_flight.get() >= most
        {
            return None;
        }
        face.cancels_under_way.set(face.cancels_under_way.get() + 1);
        hub.cancels_in_flight.set(hub.cancels_in_flight.get() + 1);
        Some(Self {
            hub: Rc::clone(hub),
            face: Rc::clone(face),
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let (hub, face) = (&self.hub, &self.face);
        hub.cancels_in_flight.set(hub.cancels_in_flight.get() - 1);
        face.cancels_under_way.set(face.cancels_under_way.get() - 1);
        face.cancels_done.notify_one();
        let waiting = face.next_waits.take();
        if let Some(session) = waiting {
            session.wake();
        }
    }
}

async fn send(hub: &Rc<Hub>, face: &ServerFace) {
    let live = hub.live();
    let delivered = tokio::time::timeout(DELIVERY_LIMIT, async {
        let mut stream = dial_any(&live.target, &hub.tls(), Route::SocketFirst)
            .await
            .ok()?;
        let mut request = BytesMut::new();
        write_cancel_request(&mut request, face.key.pid(), face.key.secret());
        stream.write_all(&request).await.ok()?;
        // PostgreSQL closes once the signal has been sent.
        let mut rest = Vec::new();
        while stream.read_some(&mut rest, 64).await.ok()? > 0 {
            rest.clear();
        }
        Some(())
    });
    if let Ok(Some(())) = delivered.await {
        hub.metrics.cancels_forwarded.increment();
    } else {
        tracing::warn!(
            server = face.id.0,
            "a cancel request did not reach PostgreSQL"
        );
    }
}
