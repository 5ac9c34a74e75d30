//! Which lane the session, and each transaction of it, belongs to; and the lane that it chooses for itself.

use std::rc::Rc;

use bytes::{BufMut, BytesMut};
use pglanes_lanes::classify::{Needs, SessionFacts, TransactionFacts, USUAL_SCHEMA};
use pglanes_lanes::{Input, LaneId};
use pglanes_wire::frame::{self, Frame, HEADER};
use pglanes_wire::message::{self, Severity};
use pglanes_wire::sql::{self, OneSetting, StatementKind};

use super::Session;
use super::lazily::Block;
use crate::choice::LANE_SETTING;
use crate::kinds;
use crate::settings::Settings;

impl Session {
    fn facts(&self) -> SessionFacts<'_> {
        SessionFacts {
            application_name: self.application_name(),
            user: &self.identity.user,
            database: &self.identity.database,
            origin: self.origin,
        }
    }

    /// The lane of a transaction that begins with this message.
    pub(super) fn transaction_lane(&mut self, header: Frame, body: &[u8]) -> LaneId {
        self.classify();
        let live = self.hub.live();
        let Some(needs) = live.classifier.needs(self.class) else {
            return self.class.lane;
        };
        let prepared = (header.tag == b'B')
            .then(|| self.bound_statement(body))
            .flatten();
        let (kind, text) = match (&prepared, query_text(header.tag, body)) {
            (Some(statement), _) => (statement.inspection.first, statement.text()),
            (None, Some(text)) => (sql::inspect(text).first, text),
            (None, None) => return self.class.lane,
        };
        self.lane_for(kind, text, needs)
    }

    /// The statement that a Bind names.
    fn bound_statement(&self, body: &[u8]) -> Option<Rc<pglanes_wire::prepared::Statement>> {
        let (_, rest) = frame::split_cstr(body)?;
        let (name, _) = frame::split_cstr(rest)?;
        self.statements.as_ref()?.get(name).map(Rc::clone)
    }

    /// The lane of a transaction that begins with this statement. Only what the rules ask about is found out.
    fn lane_for(&self, kind: StatementKind, text: &[u8], needs: Needs) -> LaneId {
        let live = self.hub.live();
        let mut statement = kinds::for_rules(kind);
        if needs.breadth {
            statement = kinds::in_bulk(statement, text);
        }
        let mut tags = Vec::new();
        if needs.tags {
            sql::tags(text, |key, value| {
                tags.push((key.to_owned(), value.to_owned()));
            });
        }
        let mut tables = Vec::new();
        if needs.tables {
            sql::tables(text, |schema, name| {
                tables.push((schema.unwrap_or(USUAL_SCHEMA).to_owned(), name.to_owned()));
            });
        }
        let texts = if needs.texts {
            live.texts.matches(text)
        } else {
            0
        };
        let tags: Vec<(&str, &str)> = tags.iter().map(borrowed).collect();
        let tables: Vec<(&str, &str)> = tables.iter().map(borrowed).collect();
        let facts = TransactionFacts {
            statement,
            tags: &tags,
            tables: &tables,
            texts,
        };
        live.classifier
            .transaction(self.class, &self.facts(), &facts)
            .lane
    }

    /// Brings the session's lane up to date: its application_name, its choice, or the rules, may
    /// have changed since its last transaction.
    pub(super) fn classify(&mut self) {
        let live = self.hub.live();
        if self.class_generation == live.generation {
            return;
        }
        self.class_generation = live.generation;
        self.moved = None;
        let chosen = self.settings.get(LANE_SETTING);
        let (class, denied) = live.class_of(&self.facts(), chosen);
        if let Some(denied) = denied {
            // It was made where nobody could refuse it: in a transaction, by set_config, before a reload.
            let mut out = BytesMut::new();
            message::notice(&mut out, &denied.body(Severity::Warning));
            self.outbox.extend_from_slice(&out);
        }
        self.face.rule.set(class.rule());
        let before = std::mem::replace(&mut self.class, class);
        if before.lane != class.lane {
            self.face.lane.set(class.lane);
            self.hub.tell(Input::SessionOpened { lane: class.lane });
            self.hub.tell(Input::SessionClosed { lane: before.lane });
        }
    }

    /// The next transaction classifies anew.
    pub(super) fn reclassify_next(&mut self) {
        self.class_generation = self.class_generation.wrapping_sub(1);
    }

    /// Takes over settings that were learned or reset.
    pub(super) fn have_settings(&mut self, settings: Rc<Settings>) {
        if settings.get(LANE_SETTING) != self.settings.get(LANE_SETTING) {
            self.reclassify_next();
        }
        self.settings = settings;
    }

    /// Answers a statement that is nothing but SET, RESET or SHOW of `pglanes.lane`, between transactions: it needs no
    /// server connection, and so no slot of the lane that is to be left. False: it is none, or is for PostgreSQL like
    /// any other.
    pub(super) fn answer_choice(&mut self, header: Frame, rest: &[u8]) -> bool {
        let body = &rest[HEADER..header.total.min(rest.len())];
        let Some(text) = query_text(header.tag, body).filter(|text| may_be_setting(text)) else {
            return false;
        };
        if !matches!(self.block, Block::None) {
            return false;
        }
        let Some(asked) = sql::one_setting(text, LANE_SETTING) else {
            return false;
        };
        let simple = header.tag == b'Q';
        match asked {
            OneSetting::Set(name) => return self.choose(name, simple),
            // The extended protocol's are answered by PostgreSQL, and followed as any setting is.
            _ if !simple => return false,
            OneSetting::SetToDefault => {
                self.set_choice(None);
                self.complete("SET");
            }
            OneSetting::Reset => {
                self.set_choice(None);
                self.complete("RESET");
            }
            OneSetting::Show => {
                self.classify();
                self.show_lane();
            }
        }
        true
    }

    fn choose(&mut self, name: String, simple: bool) -> bool {
        let live = self.hub.live();
        let (_, denied) = live.class_of(&self.facts(), Some(&name));
        match denied {
            Some(denied) => {
                let mut out = BytesMut::new();
                message::error(&mut out, &denied.body(Severity::Error));
                if simple {
                    message::ready_for_query(&mut out, self.block.status());
                } else {
                    self.skipping = true;
                }
                self.outbox.extend_from_slice(&out);
                true
            }
            None if simple => {
                self.set_choice(Some(name));
                self.complete("SET");
                true
            }
            None => false,
        }
    }

    /// Notes the choice, or goes back to that of the startup packet.
    fn set_choice(&mut self, chosen: Option<String>) {
        let own = self.identity.initial.get(LANE_SETTING);
        let chosen = chosen.or_else(|| own.map(str::to_owned));
        let others = self
            .settings
            .iter()
            .filter(|(name, _)| *name != LANE_SETTING);
        let others = others.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let chosen = chosen.map(|lane| (LANE_SETTING.to_owned(), lane));
        let settings = Settings::new(others.chain(chosen));
        let settings = self.hub.settings.borrow_mut().intern(settings);
        self.have_settings(settings);
    }

    /// One row: the lane that the session is in, chosen or not.
    fn show_lane(&mut self) {
        const TEXT: i32 = 25;
        let live = self.hub.live();
        let lane = live.lane_name(self.class.lane);
        let mut row = BytesMut::new();
        row.put_i16(1);
        row.put_slice(LANE_SETTING.as_bytes());
        row.put_u8(0);
        // No column of a table; of variable length, no modifier, as text.
        row.put_i32(0);
        row.put_i16(0);
        row.put_i32(TEXT);
        row.put_i16(-1);
        row.put_i32(-1);
        row.put_i16(0);
        let mut out = BytesMut::new();
        put_message(&mut out, b'T', &row);
        row.clear();
        row.put_i16(1);
        // A lane's name has at most 63 bytes.
        row.put_i32(lane.len() as i32);
        row.put_slice(lane.as_bytes());
        put_message(&mut out, b'D', &row);
        self.outbox.extend_from_slice(&out);
        self.complete("SHOW");
    }
}

fn put_message(out: &mut BytesMut, tag: u8, body: &[u8]) {
    out.put_u8(tag);
    // A hundred bytes.
    out.put_i32(body.len() as i32 + 4);
    out.put_slice(body);
}

fn borrowed((first, second): &(String, String)) -> (&str, &str) {
    (first, second)
}

/// The text of a Query or a Parse. The message's own NUL ends it; a comment may stand before that.
fn query_text(tag: u8, body: &[u8]) -> Option<&[u8]> {
    match tag {
        b'Q' => Some(body.strip_suffix(b"\0").unwrap_or(body)),
        b'P' => {
            let (_, rest) = frame::split_cstr(body)?;
            Some(frame::split_cstr(rest).map_or(rest, |(text, _)| text))
        }
        _ => None,
    }
}

/// Whether it begins as SET, SHOW or RESET do: all that most statements are looked at for.
fn may_be_setting(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let begins = |word: &[u8]| {
        text.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    match text.first() {
        Some(b's' | b'S') => begins(b"set") || begins(b"show"),
        Some(b'r' | b'R') => begins(b"reset"),
        _ => false,
    }
}
