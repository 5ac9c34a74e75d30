//! Session state that keeps a session on its server connection, by reason.

use pglanes_wire::sql::Effects;

use super::Session;
use crate::events::EventKind;

/// Why a session keeps its server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reason {
    Listen,
    TemporaryTable,
    HoldCursor,
    AdvisoryLock,
    SqlPrepare,
    Load,
    Role,
    CustomSetting,
    LargeStatement,
    FunctionCall,
    Sequence,
    SessionPooling,
    Replication,
}

impl Reason {
    pub(crate) const ALL: [Self; 13] = [
        Self::Listen,
        Self::TemporaryTable,
        Self::HoldCursor,
        Self::AdvisoryLock,
        Self::SqlPrepare,
        Self::Load,
        Self::Role,
        Self::CustomSetting,
        Self::LargeStatement,
        Self::FunctionCall,
        Self::Sequence,
        Self::SessionPooling,
        Self::Replication,
    ];

    /// As metrics and SHOW name it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::TemporaryTable => "temporary_table",
            Self::HoldCursor => "hold_cursor",
            Self::AdvisoryLock => "advisory_lock",
            Self::SqlPrepare => "sql_prepare",
            Self::Load => "load",
            Self::Role => "role",
            Self::CustomSetting => "custom_setting",
            Self::LargeStatement => "large_statement",
            Self::FunctionCall => "function_call",
            Self::Sequence => "sequence",
            Self::SessionPooling => "session_pooling",
            Self::Replication => "replication",
        }
    }
}

/// A set of reasons.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pins(u16);

impl Pins {
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn contains(self, reason: Reason) -> bool {
        self.0 & (1 << reason as u8) != 0
    }

    pub(super) fn with(self, reason: Reason) -> Self {
        Self(self.0 | 1 << reason as u8)
    }

    /// What a text with these effects adds.
    pub(crate) fn made_by(effects: Effects) -> Self {
        let makes = [
            (Effects::LISTEN, Reason::Listen),
            (Effects::DECLARE_HOLD, Reason::HoldCursor),
            (Effects::ADVISORY_LOCK, Reason::AdvisoryLock),
            (Effects::SQL_PREPARE, Reason::SqlPrepare),
            (Effects::LOAD, Reason::Load),
            (Effects::ROLE, Reason::Role),
        ];
        let mut pins = Self::default();
        for (effect, reason) in makes {
            if effects.contains(effect) {
                pins = pins.with(reason);
            }
        }
        if effects.contains(Effects::TEMPORARY)
            && !effects.contains(Effects::TEMPORARY_ON_COMMIT_DROP)
        {
            pins = pins.with(Reason::TemporaryTable);
        }
        pins
    }

    /// What a text with these effects undoes, once it has succeeded outside a
    /// transaction block (inside one, a rollback would bring it back).
    pub(crate) fn undone_by(effects: Effects) -> Self {
        let undoes = [
            (Effects::UNLISTEN_ALL, Reason::Listen),
            (Effects::CLOSE_ALL, Reason::HoldCursor),
            // Called, perhaps, and perhaps not: it may stand in a CASE, or before no row.
            (Effects::DISCARD_ALL, Reason::AdvisoryLock),
            (Effects::DEALLOCATE_ALL, Reason::SqlPrepare),
            (Effects::DISCARD_TEMP, Reason::TemporaryTable),
            // RESET ROLE leaves the session's authorization as it is.
            (Effects::DISCARD_ALL, Reason::Role),
            (Effects::DISCARD_SEQUENCES, Reason::Sequence),
            (Effects::DISCARD_ALL, Reason::CustomSetting),
            (Effects::DISCARD_ALL, Reason::LargeStatement),
            (Effects::DISCARD_ALL, Reason::FunctionCall),
        ];
        let mut pins = Self::default();
        for (effect, reason) in undoes {
            if effects.contains(effect) || effects.contains(Effects::DISCARD_ALL) {
                pins = pins.with(reason);
            }
        }
        pins
    }

    /// What a text with these effects may have undone, wholly or in part: only the server knows. It counts inside a
    /// transaction block too, for the server is asked when that is over.
    pub(super) fn doubted_by(effects: Effects) -> Self {
        let undoes = [
            (Effects::UNLISTEN, Reason::Listen),
            (Effects::UNLISTEN_ALL, Reason::Listen),
            (Effects::CLOSE, Reason::HoldCursor),
            (Effects::CLOSE_ALL, Reason::HoldCursor),
            (Effects::ADVISORY_UNLOCK, Reason::AdvisoryLock),
            (Effects::ADVISORY_UNLOCK_ALL, Reason::AdvisoryLock),
            (Effects::SQL_DEALLOCATE, Reason::SqlPrepare),
            (Effects::DEALLOCATE_ALL, Reason::SqlPrepare),
            (Effects::DROP, Reason::TemporaryTable),
            (Effects::DISCARD_TEMP, Reason::TemporaryTable),
            (Effects::ROLE_RESET, Reason::Role),
        ];
        let mut pins = Self::default();
        for (effect, reason) in undoes {
            if effects.contains(effect) || effects.contains(Effects::DISCARD_ALL) {
                pins = pins.with(reason);
            }
        }
        pins
    }

    /// Those that are among both.
    pub(super) fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Each of them, in a fixed order.
    pub(crate) fn reasons(self) -> impl Iterator<Item = Reason> {
        let all = Reason::ALL.into_iter();
        all.filter(move |reason| self.contains(*reason))
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl Session {
    /// Pins the session for a reason of its own.
    pub(super) fn pin(&mut self, reason: Reason) {
        self.set_pins(self.pins.with(reason));
    }

    /// Pins for what a statement that is being sent may make, and its text does not name: nothing that was sent before it, and
    /// is answered with it, undoes that.
    pub(super) fn pin_for_statement(&mut self, reason: Reason) {
        self.work.makes(reason);
        self.pin(reason);
    }

    /// Pins for what the text is about to make. Counted before the answer: a statement
    /// that fails pins for nothing, which is safe; the other way round is not.
    pub(super) fn pin_for(&mut self, effects: Effects) {
        let made = Pins::made_by(effects);
        if !made.is_empty() {
            self.set_pins(Pins(self.pins.0 | made.0));
        }
    }

    pub(super) fn unpin_after(&mut self, undone: Pins) {
        self.set_pins(self.pins.minus(undone));
    }

    pub(super) fn unpin_all(&mut self) {
        self.set_pins(Pins::default());
    }

    fn set_pins(&mut self, pins: Pins) {
        if pins == self.pins {
            return;
        }
        self.face.pinned.set(!pins.is_empty());
        for reason in Reason::ALL {
            match (self.pins.contains(reason), pins.contains(reason)) {
                (false, true) => self.hub.metrics.pinned(self.face.lane.get(), reason).add(1),
                (true, false) => self
                    .hub
                    .metrics
                    .pinned(self.face.lane.get(), reason)
                    .add(-1),
                _ => {}
            }
        }
        if self.pins.is_empty() {
            self.face.pinned_at.set(self.hub.clock.now());
        }
        self.note_pins(pins.minus(self.pins));
        self.face.pins.set(pins);
        self.pins = pins;
    }

    fn note_pins(&self, made: Pins) {
        // What a lane is configured to do is no event.
        for reason in made
            .reasons()
            .filter(|reason| *reason != Reason::SessionPooling)
        {
            self.hub.events.push(EventKind::Pinned {
                session: self.face.key.pid(),
                lane: self.hub.live().lane_name(self.face.lane.get()).to_owned(),
                reason: reason.label(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pglanes_wire::sql::inspect;

    fn check(sql: &str, made: &[Reason], undone: &[Reason]) {
        let effects = inspect(sql.as_bytes()).effects;
        let set = |reasons: &[Reason]| {
            let add = |pins: Pins, reason: &Reason| pins.with(*reason);
            reasons.iter().fold(Pins::default(), add)
        };
        assert_eq!(Pins::made_by(effects), set(made), "{sql}");
        assert_eq!(Pins::undone_by(effects), set(undone), "{sql}");
    }

    #[test]
    fn session_state_pins_and_its_undoing_unpins() {
        use Reason::*;
        check("SELECT 1", &[], &[]);
        check("listen a", &[Listen], &[]);
        check("UNLISTEN *", &[], &[Listen]);
        check("CREATE TEMP TABLE t (a int)", &[TemporaryTable], &[]);
        check("CREATE TEMP TABLE t (a int) ON COMMIT DROP", &[], &[]);
        check(
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            &[HoldCursor],
            &[],
        );
        check("SELECT pg_advisory_lock(1)", &[AdvisoryLock], &[]);
        check("PREPARE p AS SELECT 1", &[SqlPrepare], &[]);
        check("LOAD 'auto_explain'", &[Load], &[]);
        check("SET ROLE r", &[Role], &[]);
        check(
            "DISCARD ALL",
            &[],
            &[
                Listen,
                HoldCursor,
                AdvisoryLock,
                SqlPrepare,
                TemporaryTable,
                Role,
                Sequence,
                CustomSetting,
                LargeStatement,
                FunctionCall,
            ],
        );
        check(
            "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL",
            &[],
            &[HoldCursor, Listen],
        );
    }
}
