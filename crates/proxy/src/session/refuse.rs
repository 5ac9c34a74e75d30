//! Errors in the proxy's own name, at the start of a transaction: the message that
//! asked for it is answered, and the session lives on (design rule 7).

use bytes::BytesMut;
use pglanes_lanes::{Cap, LaneId, Rejection};
use pglanes_wire::frame;
use pglanes_wire::message::{self, ErrorBody, Severity};

use super::{PassTo, Session, State, Step};
use crate::hub::{Activity, Refusal};
use crate::server::{Because, Server};

/// For a session whose pool has no connection left, and no password to open one with. It
/// is over, so that its driver or its user connects anew, with the password.
pub(crate) const NONE_LEFT: &str = "the server connections of this login are gone, and pglanes knows no password to open \
     another: reconnect (or give the user's password or verifier: lanes.yaml, users)";

impl Session {
    /// Answers the transaction in the inbox with the reason why it got no slot.
    pub(super) fn refuse(&mut self, lane: LaneId, refusal: &Refusal) -> Step {
        if self.hub.recorder.is_on() && matches!(refusal, Refusal::Rejected(_)) {
            self.note_rejection(lane);
        }
        let live = self.hub.live();
        let name = live.lane_name(lane);
        let mut out = BytesMut::new();
        match refusal {
            Refusal::Rejected(Rejection::NoneLeft) => return self.fatal("28000", NONE_LEFT),
            Refusal::OpenFailed(error) => error.write_error(&mut out, Severity::Error),
            Refusal::Rejected(Rejection::QueueFull { length }) => {
                let text = format!(
                    "lane \"{name}\": its queue is full: {length} transactions are waiting (queue: length)"
                );
                message::error(&mut out, &ErrorBody::new(Severity::Error, "53300", &text));
            }
            Refusal::Rejected(Rejection::Capped { cap, slots, length }) => {
                let (whose, key) = match cap {
                    Cap::User => ("user", "per_user"),
                    Cap::Application => ("application", "per_application"),
                };
                let text = format!(
                    "lane \"{name}\": this {whose} has its share of slots (slots: {key} {slots}), and {length} of its transactions are waiting (queue: length)"
                );
                message::error(&mut out, &ErrorBody::new(Severity::Error, "53300", &text));
            }
            Refusal::Rejected(Rejection::Rule { rule, waited }) => {
                let rule = live.rule_name(lane, *rule);
                let waited = seconds(*waited);
                let text = format!(
                    "lane \"{name}\": rejected by rule \"{rule}\" after waiting for {waited}"
                );
                message::error(&mut out, &ErrorBody::new(Severity::Error, "57014", &text));
            }
            Refusal::Rejected(Rejection::TimedOut { waited, limit }) => {
                let text = format!(
                    "lane \"{name}\": no slot became free within {} (queue: timeout {})",
                    seconds(*waited),
                    seconds(*limit)
                );
                message::error(&mut out, &ErrorBody::new(Severity::Error, "57014", &text));
            }
            Refusal::Rejected(Rejection::OpenFailed { .. }) => {
                let text = "no server connection could be opened";
                message::error(&mut out, &ErrorBody::new(Severity::Error, "08006", text));
            }
        }
        self.answer_first(&out)
    }

    /// Tells the client something in between; it changes nothing.
    pub(super) fn say_notice(&mut self, text: &str) {
        let mut out = BytesMut::new();
        message::notice(&mut out, &ErrorBody::new(Severity::Notice, "01000", text));
        self.outbox.extend_from_slice(&out);
    }

    /// Answers the waiting transaction as a cancel request does.
    pub(super) fn refuse_cancelled(&mut self) -> Step {
        let mut out = BytesMut::new();
        let text = "canceling statement due to user request while it waited for a slot";
        message::error(&mut out, &ErrorBody::new(Severity::Error, "57014", text));
        self.answer_first(&out)
    }

    /// The error for a query that a cancel or a throttle met while the session's settings were
    /// being made, before it was sent.
    pub(super) fn cancelled_before(&self, server: &Server) -> Vec<u8> {
        if let Some(because) = server.face.cancelled_because.take() {
            return Self::cancelled_by_us(&because);
        }
        let mut out = BytesMut::new();
        let text = "canceling statement due to user request";
        message::error(&mut out, &ErrorBody::new(Severity::Error, "57014", text));
        out.to_vec()
    }

    /// The error for a query that the proxy itself cancelled.
    pub(super) fn cancelled_by_us(because: &Because) -> Vec<u8> {
        let mut out = BytesMut::new();
        let body = ErrorBody::new(Severity::Error, because.sqlstate, &because.text);
        let body = match because.hint {
            Some(hint) => body.with_hint(hint),
            None => body,
        };
        message::error(&mut out, &body);
        out.to_vec()
    }

    /// Puts `error` in the place of the answer to the first message of the inbox, as
    /// PostgreSQL would: a Query ends there, the extended protocol skips to its Sync.
    pub(super) fn answer_first(&mut self, error: &[u8]) -> Step {
        self.face.activity.replace(Activity::Idle);
        self.state = State::Idle;
        self.block.refused();
        self.outbox.extend_from_slice(error);
        self.unseen = true;
        let Ok(Some(header)) = frame::peek(&self.inbox) else {
            return self.protocol_violation("a transaction without a first message");
        };
        if matches!(header.tag, b'Q' | b'F') {
            let mut out = BytesMut::new();
            message::ready_for_query(&mut out, self.block.status());
            // What is left of it, should it be longer than what was read, is dropped.
            let have = header.total.min(self.inbox.len());
            self.inbox.drain(..have);
            self.passing = header.total - have;
            self.passing_to = PassTo::Nowhere;
            self.outbox.extend_from_slice(&out);
        } else {
            self.skipping = true;
        }
        Step::Again
    }
}

fn seconds(duration: std::time::Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
