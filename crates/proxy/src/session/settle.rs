//! The end of a transaction: what it did to the session is followed, and the server
//! connection goes back unless something keeps it.

use std::rc::Rc;

use pglanes_lanes::{Input, Time};
use pglanes_wire::error_fields::ErrorFields;
use pglanes_wire::frame::HEADER;
use pglanes_wire::message::TransactionStatus;
use pglanes_wire::replies::OutOfSync;
use pglanes_wire::sql::{self, Effects};

use super::Session;
use super::answers::APPLICATION_NAME;
use super::pins::{Pins, Reason};
use super::relay::{Parting, Progress};
use super::requests::Said;
use crate::hub::{OWN_APPLICATION_NAME, count};
use crate::server::{Ours, OwnQuery, Server};
use crate::settings::{Settings, capture_query};

/// Custom settings (those with a dot) that are followed for one session; a session
/// that makes more is pinned.
const MOST_CUSTOM_SETTINGS: usize = 64;
/// How often the server is asked again for the settings after a cancel met the question. One cancel at most
/// is on its way to a connection, so more than once is another's doing (a statement_timeout of next to nothing).
const MOST_ASKED_AGAIN: u32 = 3;

/// What is known of the session's settings since they were last asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Touched {
    /// Nothing can have changed them.
    #[default]
    No,
    /// They were all reset, outside a transaction block, and no error came of it.
    Reset,
    /// As above, and more was asked since: should the server report a parameter, a function may have set it again.
    ResetAndMore,
    /// The server has to be asked.
    Unknown,
}

/// What the statements since the last transaction's end may have done.
#[derive(Debug, Default)]
pub(super) struct Work {
    settings: Touched,
    custom: Vec<String>,
    /// Effects of statements outside transaction blocks, all successful so far.
    undoes: Effects,
    /// Pins made meanwhile: those hold, whatever else the same text undid.
    made: Pins,
    /// Those before a DISCARD ALL that has not been answered.
    made_before: Pins,
    /// Pins whose state may be gone: the server is asked when the transaction is over.
    doubted: Pins,
    /// What was bound last, outside a transaction block: done once it is executed.
    bound: Effects,
    /// What was altered, and makes other connections out of date.
    altered: Effects,
    forgets_prepared: bool,
    /// What names mean, where the session's settings do not tell: the search path was changed since they were learned.
    pub(super) scope: Option<Box<[u8]>>,
    /// A COMMIT is among what was sent in this transaction.
    commits: bool,
    /// The transaction is over, and nothing has been asked since.
    ended: bool,
}

impl Work {
    pub(super) fn will_run(
        &mut self,
        effects: Effects,
        in_transaction: bool,
        said: Said,
        text: &[u8],
    ) {
        let in_block = in_transaction || effects.contains(Effects::BEGIN);
        let rolls_back = effects.intersects(Effects::ROLLBACK.union(Effects::SAVEPOINT_ROLLBACK));
        match said {
            // Outside a transaction block it rolls back what stands before it in the same text or batch.
            _ if rolls_back => self.nothing_is_undone(),
            _ if in_block => {}
            Said::Query => self.undoes.insert(effects),
            Said::Bind => self.bound = effects,
        }
        let alters = Effects::ALTER.union(Effects::DEFAULTS).union(Effects::DROP);
        self.altered.insert(effects.intersection(alters));
        self.commits |= effects.contains(Effects::COMMIT);
        if effects.contains(Effects::DISCARD_ALL) {
            let made = std::mem::take(&mut self.made);
            self.made_before = self.made_before.union(made);
        }
        self.made = self.made.union(Pins::made_by(effects));
        self.doubted = self.doubted.union(Pins::doubted_by(effects));
        if rolls_back {
            self.doubted = self.doubted.union(self.made).union(self.made_before);
        }
        self.forgets_prepared |=
            effects.intersects(Effects::DEALLOCATE_ALL.union(Effects::DISCARD_ALL));
        let resets = Effects::SETTINGS_RESET_ALL.union(Effects::DISCARD_ALL);
        // What is bound may never be executed.
        let for_certain = !in_block
            && said == Said::Query
            && effects.intersects(resets)
            && sql::ends_in_reset(text);
        if effects.contains(Effects::SETTINGS) || (!for_certain && effects.intersects(resets)) {
            self.settings = Touched::Unknown;
        } else if effects.intersects(resets) && self.settings == Touched::No {
            self.settings = Touched::Reset;
        }
    }

    /// A statement makes what pins for this reason.
    pub(super) fn makes(&mut self, reason: Reason) {
        self.made = self.made.with(reason);
    }

    /// Another statement is bound.
    pub(super) fn binds(&mut self) {
        self.bound = Effects::NONE;
    }

    /// What was bound is executed.
    pub(super) fn executes(&mut self) {
        self.undoes.insert(self.bound);
    }

    /// The server reports a parameter that no statement was seen to set: a function did.
    pub(super) fn reported(&mut self) {
        if matches!(self.settings, Touched::No | Touched::ResetAndMore) {
            self.settings = Touched::Unknown;
        }
    }

    /// A statement failed: nothing is known to have been undone.
    pub(super) fn failed(&mut self) {
        self.made = self.all_made();
        self.doubted = self.doubted.union(self.made);
        self.nothing_is_undone();
    }

    /// Takes what was made, before and behind a DISCARD ALL that did not succeed.
    fn all_made(&mut self) -> Pins {
        let before = std::mem::take(&mut self.made_before);
        std::mem::take(&mut self.made).union(before)
    }

    /// A DISCARD ALL has succeeded. It runs outside transaction blocks alone, and no rollback brings anything back.
    pub(super) fn discarded_all(&mut self) {
        self.made_before = Pins::default();
        self.undoes.insert(Effects::DISCARD_ALL);
    }

    fn nothing_is_undone(&mut self) {
        self.undoes = Effects::NONE;
        self.bound = Effects::NONE;
        if matches!(self.settings, Touched::Reset | Touched::ResetAndMore) {
            self.settings = Touched::Unknown;
        }
    }

    /// The server could not say what is left of these: it is asked again.
    pub(super) fn doubt(&mut self, pins: Pins) {
        self.doubted = self.doubted.union(pins);
    }

    pub(super) fn forgets_prepared(&self) -> bool {
        self.forgets_prepared
    }

    /// Something was asked of the server.
    pub(super) fn asked(&mut self) {
        self.ended = false;
        if self.settings == Touched::Reset {
            self.settings = Touched::ResetAndMore;
        }
    }

    pub(super) fn commits(&self) -> bool {
        self.commits
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Nothing runs, and no transaction block is open.
    pub(super) fn is_between_transactions(&self, server: &Server) -> bool {
        server.replies.is_settled() && server.replies.status() == TransactionStatus::Idle
    }
}

impl Session {
    /// Follows what a statement does to the session's settings.
    pub(super) fn follow_settings(&mut self, effects: Effects, text: &[u8]) {
        if !effects.contains(Effects::SETTINGS) {
            return;
        }
        for name in sql::custom_settings(text) {
            let name = name.to_string();
            if !name.is_ascii() {
                // Which name that is depends on the client's encoding.
                self.pin_for_statement(Reason::CustomSetting);
            } else if !self.work.custom.contains(&name) {
                self.work.custom.push(name);
            }
        }
        if self.work.custom.len() > MOST_CUSTOM_SETTINGS || sql::set_config_dynamic(text) {
            // Names the server would not list and we cannot know.
            self.pin_for_statement(Reason::CustomSetting);
        }
    }

    /// ReadyForQuery.
    pub(super) fn ready(&mut self, server: &mut Server, settled: bool) -> Progress {
        let turns = &server.face.turns;
        turns.set(turns.get().wrapping_add(1));
        let now = self.hub.clock.now();
        let lane = self.hub.metrics.lane(server.lane);
        if let Some(asked_at) = server.asked_at.take() {
            lane.statement_time.record(now.since(asked_at));
        }
        self.forget_why(server);
        self.channels_answered(server);
        if !settled || server.replies.status() != TransactionStatus::Idle {
            if !settled {
                // What was sent behind its Sync begins to run now.
                server.asked_at = Some(now);
            } else if server.meter.is_on() {
                server.meter.pause(now);
            }
            // The statement that a rule cancels ended by itself: its transaction is meant.
            if settled && server.face.is_to_abort() {
                self.abort_idle(server);
            }
            return Progress::Going;
        }
        self.count_transaction(server, now);
        self.work.ended = true;
        if std::mem::take(&mut self.work.forgets_prepared)
            && let Some(names) = &mut self.statements
        {
            // What was bound and not executed has forgotten nothing.
            names.forget_all_failed();
        }
        let altered = std::mem::take(&mut self.work.altered);
        // What was dropped may be there again with other columns. Who has temporary tables mostly drops those.
        let drops = altered.contains(Effects::DROP) && !self.pins.contains(Reason::TemporaryTable);
        if altered.contains(Effects::ALTER) || drops {
            self.hub.change_plans();
        }
        if altered.contains(Effects::DEFAULTS) {
            self.hub.change_defaults();
        }
        self.work.binds();
        self.hand_over_channels(server);
        self.work.commits = false;
        let undoes = std::mem::take(&mut self.work.undoes);
        let made = self.work.all_made();
        if !undoes.is_empty() {
            self.unpin_after(Pins::undone_by(undoes).minus(made));
        }
        self.settle_scope();
        let doubted = std::mem::take(&mut self.work.doubted);
        if !doubted.is_empty() && self.ask_what_is_left(server, doubted) {
            return Progress::Going;
        }
        self.settle(server)
    }

    /// A transaction is over: it is measured, counted, and noted where that is wanted.
    fn count_transaction(&mut self, server: &mut Server, now: Time) {
        let mut class = None;
        if server.meter.is_on() {
            server.meter.pause(now);
            if let Some(sample) = server.meter.end(server.face.since.get()) {
                class = Some(sample.class);
                let lane = server.lane;
                self.hub.tell(Input::Measured { lane, sample });
            }
        }
        let lane = self.hub.metrics.lane(server.lane);
        lane.transactions.add(1);
        let face = &server.face;
        let granted = face.since.replace(now);
        let took = now.since(granted);
        lane.transaction_time.record(took);
        self.turns.served(took);
        if self.hub.recorder.is_on() {
            self.note_end(server.lane, granted, now, class);
        }
        count(&face.counts.transactions, 1);
        count(&face.counts.transaction_us, took.as_micros() as u64);
        count(&face.transactions, 1);
        face.prepared.set(server.statements.len() as u32);
        let deeds = &self.face.deeds;
        count(&deeds.transactions, 1);
        let named = self.statements.as_ref().map_or(0, |names| names.len());
        deeds.prepared.set(named as u32);
    }

    /// What a transaction did to pins is known: its settings are followed, unless the session keeps its connection.
    fn settle(&mut self, server: &mut Server) -> Progress {
        if self.pins.is_empty() {
            match self.work.settings {
                Touched::No => {}
                Touched::Reset | Touched::ResetAndMore => self.settings_were_reset(server),
                Touched::Unknown => return self.ask_for_settings(server),
            }
        } else {
            self.restore_name(server);
        }
        let progress = self.over_at_rest(server);
        if progress == Progress::Going {
            self.rest_linked(server);
        }
        progress
    }

    /// A reset gave a session that stays on its connection the name the connection was
    /// opened with: it gets its own default back.
    fn restore_name(&mut self, server: &mut Server) {
        let own = Some(OWN_APPLICATION_NAME);
        let (is, told) = (&server.parameters, &self.told);
        if is.get(APPLICATION_NAME) != own || told.get(APPLICATION_NAME) == own {
            return;
        }
        let value = told.get(APPLICATION_NAME).unwrap_or_default().to_owned();
        let named = Settings::new([(APPLICATION_NAME.to_owned(), value)]);
        let live = self.hub.live();
        let change = named.change_from(&Settings::default(), live.naming(server.lane));
        if let Some(change) = change {
            // Refused only inside a COPY, and nothing runs here.
            let _ = Self::ask_ourselves(server, OwnQuery::Renaming, change.sql);
        }
    }

    /// Whether the connection can go back now.
    pub(super) fn over(&self, server: &Server) -> Progress {
        // `carry` is looked at when the connection is given back.
        if self.work.ended && self.pins.is_empty() && self.passing == 0 && server.unsent.is_empty()
        {
            Progress::Over
        } else {
            Progress::Going
        }
    }

    fn settings_were_reset(&mut self, server: &mut Server) {
        self.work.settings = Touched::No;
        self.work.custom.clear();
        server.applied = self.hub.settings.borrow_mut().intern(Settings::default());
        self.have_settings(Rc::clone(&self.identity.initial));
    }

    fn ask_for_settings(&mut self, server: &mut Server) -> Progress {
        let followed = self.settings.custom_names();
        let custom = followed.chain(self.work.custom.iter().map(String::as_str));
        let sql = capture_query(custom);
        if Self::capture(server, sql, 0).is_ok() {
            self.work.settings = Touched::No;
            self.work.custom.clear();
        }
        Progress::Going
    }

    fn capture(server: &mut Server, sql: String, asked: u32) -> Result<(), OutOfSync> {
        let capturing = OwnQuery::Capturing {
            sql: sql.clone(),
            asked,
            rows: Vec::new(),
            unreadable: false,
        };
        Self::ask_ourselves(server, capturing, sql)
    }

    /// ReadyForQuery of a query of ours.
    pub(super) fn own_ready(
        &mut self,
        server: &mut Server,
        settled: bool,
    ) -> Result<Progress, Parting> {
        let failed = server.own_error.is_some();
        let cancelled = server.face.ours.get() == Ours::BeforeClientsCancelled;
        let Some(own) = server.own_answered() else {
            return Err(Parting::OutOfSync("an answer to no query of ours".into()));
        };
        if failed {
            return self.own_failed(server, own, cancelled);
        }
        match own {
            OwnQuery::AdjustingFirst { target, .. } if cancelled => {
                // The client's query has not been sent: it is cancelled by not being sent.
                server.applied = target;
                server.own_error = Some(self.cancelled_before(server));
                Ok(Progress::NeverBegan)
            }
            OwnQuery::AdjustingFirst { target, .. } | OwnQuery::Adjusting { target } => {
                server.applied = target;
                self.tell_differences(server);
                let begun = self.begin_for_real(server);
                begun.map_err(|error| Parting::OutOfSync(error.to_string()))?;
                self.cancel_what_follows(server, cancelled);
                Ok(Progress::Going)
            }
            // It is meant to fail; the client has a savepoint of that very name.
            OwnQuery::Aborting => Ok(Progress::Going),
            OwnQuery::Beginning | OwnQuery::Discarding | OwnQuery::Renaming => {
                self.cancel_what_follows(server, cancelled);
                Ok(Progress::Going)
            }
            OwnQuery::Looking { doubted, left } => {
                self.looked(server, doubted, left);
                Ok(self.settle(server))
            }
            OwnQuery::Capturing {
                unreadable: true, ..
            } => {
                self.pin(Reason::CustomSetting);
                Ok(Progress::Going)
            }
            OwnQuery::Capturing { rows, .. } => {
                self.settings_captured(server, rows);
                Ok(if settled {
                    self.over_at_rest(server)
                } else {
                    Progress::Going
                })
            }
            OwnQuery::Resting { target } => {
                server.applied = target;
                Ok(self.over(server))
            }
        }
    }

    /// A query of ours failed: a limit on statements, or a cancel that came too late for the
    /// client's, may have met it; anything else nobody counted on.
    fn own_failed(
        &mut self,
        server: &mut Server,
        own: OwnQuery,
        cancelled: bool,
    ) -> Result<Progress, Parting> {
        let met = met_by_cancel(server);
        match own {
            // The limit that the session before had set was too little for this.
            OwnQuery::AdjustingFirst { target, sql, asked }
                if met && !cancelled && asked < MOST_ASKED_AGAIN =>
            {
                let asked = Self::adjust_first(server, target, sql, asked + 1);
                asked.map_err(|error| Parting::OutOfSync(error.to_string()))?;
            }
            OwnQuery::AdjustingFirst { .. } => {
                // It may be what others have left that makes it impossible here: nobody else is to find that.
                if !met && server.face.transactions.get() > 0 {
                    server.face.retired.set(true);
                }
                return Ok(Progress::NeverBegan);
            }
            // The transaction is aborted, as was meant.
            OwnQuery::Aborting => {}
            // A name is all that was not set, and will be with the next transaction.
            OwnQuery::Adjusting { .. } if met => {}
            OwnQuery::Capturing { sql, asked, .. } if met && asked < MOST_ASKED_AGAIN => {
                let asked = Self::capture(server, sql, asked + 1);
                asked.map_err(|error| Parting::OutOfSync(error.to_string()))?;
            }
            // Its settings cannot be learned (a statement_timeout of next to nothing): the
            // session keeps the connection that has them.
            OwnQuery::Capturing { .. } => self.pin(Reason::CustomSetting),
            OwnQuery::Looking { doubted, left } => {
                self.looked(server, doubted, left);
                return Ok(self.settle(server));
            }
            // A limit on statements of next to nothing: nobody else is to have the connection.
            OwnQuery::Resting { .. } => server.face.retired.set(true),
            OwnQuery::Renaming if met => {
                server.own_error = None;
                self.restore_name(server);
            }
            _ => return Err(Parting::OutOfSync("a query of ours failed".into())),
        }
        server.own_error = None;
        Ok(Progress::Going)
    }

    /// Delivers a cancel that came while a query of ours ran ahead of the client's, which was
    /// sent behind it and runs now.
    fn cancel_what_follows(&self, server: &Server, cancelled: bool) {
        if cancelled && server.face.ours.get() == Ours::None {
            crate::cancel::forward(&self.hub, Rc::clone(&server.face));
        }
    }

    fn settings_captured(&mut self, server: &mut Server, rows: Vec<(String, String)>) {
        let mut captured = Settings::new(rows);
        let mut own = captured.clone();
        self.take_off_lane(server, &mut captured, &mut own);
        // A setting of the startup packet that was reset comes back (protocol: those
        // are the session's defaults).
        for (name, value) in self.identity.initial.iter() {
            if own.get(name).is_none() {
                own.set(name.to_owned(), value.to_owned());
            }
        }
        let mut interner = self.hub.settings.borrow_mut();
        server.applied = interner.intern(captured);
        let own = interner.intern(own);
        drop(interner);
        self.have_settings(own);
    }

    /// What is kept of a name, for the connection and for the session, is the client's, without the lane that we have put
    /// behind it.
    fn take_off_lane(&self, server: &Server, captured: &mut Settings, own: &mut Settings) {
        let live = self.hub.live();
        let naming = live.naming(server.lane);
        let reported = captured.get(APPLICATION_NAME).filter(|_| !naming.is_kept());
        let Some(reported) = reported.map(str::to_owned) else {
            return;
        };
        match self.without_lane(server, &reported) {
            Some(clients) => {
                captured.set(APPLICATION_NAME.to_owned(), clients.clone());
                own.set(APPLICATION_NAME.to_owned(), clients);
            }
            // The client's own SET: the lane is put behind it with the next transaction.
            None if naming.shown(&reported) != reported => captured.remove(APPLICATION_NAME),
            None => {}
        }
    }
}

/// Whether what failed of ours was cancelled.
fn met_by_cancel(server: &Server) -> bool {
    let error = server.own_error.as_deref();
    let fields = error.and_then(|frame| frame.get(HEADER..));
    fields.is_some_and(|body| ErrorFields::parse(body).sqlstate() == Some("57014"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(texts: &[(&str, bool)]) -> Touched {
        let mut work = Work::default();
        for (text, in_transaction) in texts {
            let effects = sql::inspect(text.as_bytes()).effects;
            work.will_run(effects, *in_transaction, Said::Query, text.as_bytes());
        }
        work.settings
    }

    #[test]
    fn the_server_is_asked_only_when_settings_may_have_changed() {
        assert_eq!(touched(&[("SELECT 1", false)]), Touched::No);
        assert_eq!(
            touched(&[("SET LOCAL work_mem = '1MB'", true)]),
            Touched::No
        );
        assert_eq!(
            touched(&[("SET work_mem = '1MB'", false)]),
            Touched::Unknown
        );
        assert_eq!(touched(&[("RESET ALL", false)]), Touched::Reset);
        assert_eq!(touched(&[("RESET ALL", true)]), Touched::Unknown);
        assert_eq!(touched(&[("RESET ALL; ROLLBACK", false)]), Touched::Unknown);
        assert_eq!(
            touched(&[("RESET ALL; SELECT f()", false)]),
            Touched::Unknown
        );
        assert_eq!(
            touched(&[("SELECT f(); RESET ALL;", false)]),
            Touched::Reset
        );
        assert_eq!(
            touched(&[("SET a.b = 1", false), ("RESET ALL", false)]),
            Touched::Unknown
        );
        assert_eq!(
            touched(&[("SELECT set_config('search_path', '', false)", false)]),
            Touched::Unknown
        );
    }

    #[test]
    fn after_a_failure_a_reset_is_not_believed() {
        let mut work = Work::default();
        let effects = sql::inspect(b"RESET ALL").effects;
        work.will_run(effects, false, Said::Query, b"RESET ALL");
        work.failed();
        assert_eq!(work.settings, Touched::Unknown);
    }
}
