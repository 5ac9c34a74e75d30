//! What a session notes for a recording, while there is one.

use pglanes_lanes::objective::ClassKey;
use pglanes_lanes::{LaneId, Time};

use super::Session;
use crate::recording::{Entry, RecordedTransaction};

/// What is noted of one transaction.
#[derive(Debug)]
pub(super) struct Notes {
    /// Bytes from and to the client before it.
    before: (u64, u64),
    /// It is over, and its last bytes are being passed on.
    ended: Option<RecordedTransaction>,
}

impl Session {
    /// A transaction has its slot.
    pub(super) fn take_notes(&mut self) {
        self.notes = self.hub.recorder.is_on().then(|| self.fresh_notes());
    }

    fn fresh_notes(&self) -> Box<Notes> {
        Box::new(Notes {
            before: self.bytes_so_far(),
            ended: None,
        })
    }

    fn bytes_so_far(&self) -> (u64, u64) {
        let deeds = &self.face.deeds;
        (deeds.bytes_in.get(), deeds.bytes_out.get())
    }

    /// A transaction is over.
    pub(super) fn note_end(
        &mut self,
        lane: LaneId,
        granted: Time,
        now: Time,
        class: Option<ClassKey>,
    ) {
        // Of several that end in one answer, the last one has its bytes.
        self.hand_in_notes();
        let asked = self.face.asked_at.get();
        // One that was kept over the recording's beginning was not seen asking.
        let began = self.hub.recorder.began().unwrap_or(now);
        let asked = if asked < began {
            granted
        } else {
            asked.min(granted)
        };
        let mut notes = self.notes.take().unwrap_or_else(|| self.fresh_notes());
        notes.ended = Some(self.recorded(lane, class, (asked, granted, now)));
        self.notes = Some(notes);
        // A session that keeps its connection asks for its next one nowhere.
        self.face.asked_at.set(now);
    }

    fn recorded(
        &self,
        lane: LaneId,
        class: Option<ClassKey>,
        (asked, granted, ended): (Time, Time, Time),
    ) -> RecordedTransaction {
        RecordedTransaction {
            session: self.face.key.pid(),
            lane,
            pool: self.identity.pool,
            user: self.hub.number_of(&self.identity.user),
            application: self.hub.number_of(self.application_name()),
            asked,
            granted,
            ended,
            bytes_in: 0,
            bytes_out: 0,
            class,
            rejected: false,
        }
    }

    /// What was passed on has been counted.
    pub(super) fn hand_in_notes(&mut self) {
        let now = self.bytes_so_far();
        let Some(notes) = &mut self.notes else {
            return;
        };
        if let Some(mut ended) = notes.ended.take() {
            ended.bytes_in = now.0.saturating_sub(notes.before.0);
            ended.bytes_out = now.1.saturating_sub(notes.before.1);
            notes.before = now;
            self.hub.recorder.note(Entry::Transaction(ended));
        }
    }

    /// A transaction got no slot.
    pub(super) fn note_rejection(&self, lane: LaneId) {
        let now = self.hub.clock.now();
        let times = (self.face.asked_at.get(), now, now);
        let rejected = RecordedTransaction {
            rejected: true,
            ..self.recorded(lane, None, times)
        };
        self.hub.recorder.note(Entry::Transaction(rejected));
    }
}
