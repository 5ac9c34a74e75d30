//! What a transaction of a lane with an objective takes of PostgreSQL's time, and what class of transaction it is.
//!
//! **Time.** PostgreSQL has work from the moment it is sent something while it owed nothing, until it owes nothing again
//! (ReadyForQuery). A transaction's time is the sum of those spans: what the client thinks inside a transaction is not in it,
//! and a transaction of one exchange is measured as one of several. The clock is read where it is read anyway, and beyond that
//! once at each further exchange of a transaction.
//!
//! **Class.** The kind of the first statement that does something, and a hash of what the transaction's statements look like:
//! their texts without numbers and quoted values, in their order, each once in a row (a loop of inserts is one class whatever
//! its length). Transactions that failed, or that copied in at the client's pace, are not comparable and are left out.

use std::time::Duration;

use pglanes_lanes::Time;
use pglanes_lanes::classify::StatementKind as Kind;
use pglanes_lanes::objective::{ClassKey, Sample};

/// Bytes of a statement that are looked at.
const LOOKED_AT: usize = 1024;
/// Statements of a transaction that count for its class.
const MOST_STATEMENTS: u8 = 8;

/// One transaction's time and class, as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    state: State,
    waited: Duration,
    busy: Duration,
    /// Since when PostgreSQL has had work.
    since: Option<Time>,
    kind: Option<Kind>,
    shape: u64,
    last: u64,
    statements: u8,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// The lane has no objective.
    #[default]
    Off,
    On,
    /// The transaction is not comparable.
    Spoilt,
}

impl Meter {
    /// A transaction begins in a lane with an objective, after a wait.
    pub(crate) fn begin(&mut self, waited: Duration) {
        *self = Self {
            state: State::On,
            waited,
            ..Self::default()
        };
    }

    /// A transaction begins in a lane without.
    pub(crate) fn off(&mut self) {
        self.state = State::Off;
    }

    pub(crate) fn is_on(&self) -> bool {
        self.state != State::Off
    }

    /// Whether PostgreSQL is known to have work.
    #[cfg(test)]
    pub(crate) fn runs(&self) -> bool {
        self.since.is_some()
    }

    /// PostgreSQL is given work.
    pub(crate) fn run(&mut self, now: Time) {
        self.since.get_or_insert(now);
    }

    /// PostgreSQL owes nothing any more.
    pub(crate) fn pause(&mut self, now: Time) {
        if let Some(since) = self.since.take() {
            self.busy += now.since(since);
        }
    }

    /// What was measured says nothing of this class.
    pub(crate) fn spoil(&mut self) {
        if self.state == State::On {
            self.state = State::Spoilt;
        }
    }

    /// A statement is going to run.
    pub(crate) fn statement(&mut self, kind: Kind, text: &[u8]) {
        match kind {
            // They frame a transaction and do nothing.
            Kind::Begin | Kind::Commit | Kind::Rollback | Kind::Savepoint | Kind::Set => return,
            Kind::Copy => self.spoil(),
            _ => {}
        }
        let looks = look_of(text);
        self.kind.get_or_insert(kind);
        if looks != self.last && self.statements < MOST_STATEMENTS {
            self.statements += 1;
            self.last = looks;
            self.shape = mixed(self.shape.rotate_left(7) ^ looks);
        }
    }

    /// The transaction is over: what was measured, if it is comparable. The next one on this connection begins.
    pub(crate) fn end(&mut self, began: Time) -> Option<Sample> {
        let ended = std::mem::take(self);
        self.state = State::On;
        let kind = ended.kind?;
        // Zero is the name of the pool.
        let shape = ended.shape.max(1);
        (ended.state == State::On).then_some(Sample {
            class: ClassKey { kind, shape },
            began,
            served: ended.busy,
            waited: ended.waited,
        })
    }
}

/// A hash of a statement without its numbers, its quoted values and its spacing. The same in every process, as it is kept.
fn look_of(text: &[u8]) -> u64 {
    /// FNV-1a's, for 64 bits.
    const PRIME: u64 = 0x0100_0000_01b3;
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut take = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    let mut bytes = text.iter().copied().take(LOOKED_AT).peekable();
    let mut before = b' ';
    while let Some(byte) = bytes.next() {
        let now = match byte {
            b'\'' => {
                // To the next quote; a doubled one begins another value at once, which looks the same.
                while bytes.next().is_some_and(|byte| byte != b'\'') {}
                b'?'
            }
            b'0'..=b'9' if !is_word(before) || before == b'?' => b'?',
            _ if byte.is_ascii_whitespace() => b' ',
            _ => byte.to_ascii_lowercase(),
        };
        // A run of values, or of spaces, is as good as one: lists of any length look alike.
        let repeats = now == before && matches!(now, b'?' | b' ');
        if !repeats {
            take(now);
        }
        before = now;
    }
    mixed(hash)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The finisher of splitmix64: every bit of the input moves half of the output's.
fn mixed(word: u64) -> u64 {
    let mut mixed = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Time {
        Time::from_nanos(micros * 1000)
    }

    fn class(statements: &[(Kind, &str)]) -> Option<ClassKey> {
        let mut meter = Meter::default();
        meter.begin(Duration::ZERO);
        for (kind, text) in statements {
            meter.statement(*kind, text.as_bytes());
        }
        meter.end(at(0)).map(|sample| sample.class)
    }

    #[test]
    fn values_and_spacing_make_no_class_and_names_do() {
        let one = class(&[(
            Kind::Select,
            "SELECT a1 FROM t  WHERE x = 17 AND y = 'it''s'",
        )]);
        let same = class(&[(Kind::Select, "select a1 from t where x = 4 and y = 'b'")]);
        let other = class(&[(Kind::Select, "select a2 from t where x = 4 and y = 'b'")]);
        assert!(one.is_some() && one == same && one != other);
    }

    #[test]
    fn a_loop_is_one_class_and_what_frames_it_does_not_count() {
        let insert = (Kind::Insert, "INSERT INTO t VALUES ($1)");
        let update = (Kind::Update, "UPDATE t SET a = $1");
        let framed = [
            (Kind::Begin, "BEGIN"),
            insert,
            insert,
            insert,
            (Kind::Commit, "COMMIT"),
        ];
        assert_eq!(class(&framed), class(&[insert]));
        assert_ne!(class(&[insert, update]), class(&[update, insert]));
        assert_eq!(
            class(&[(Kind::Begin, "BEGIN"), (Kind::Commit, "COMMIT")]),
            None
        );
        let many: Vec<(Kind, String)> = (0..100)
            .map(|n| (Kind::Select, format!("SELECT {}", "a".repeat(n))))
            .collect();
        let many: Vec<(Kind, &str)> = many.iter().map(|(kind, text)| (*kind, &text[..])).collect();
        assert_eq!(class(&many), class(&many[..8]));
    }

    #[test]
    fn the_clients_pauses_are_not_the_servers_time() {
        let mut meter = Meter::default();
        meter.begin(Duration::from_micros(5));
        meter.run(at(10));
        meter.statement(Kind::Insert, b"INSERT");
        meter.pause(at(30));
        meter.pause(at(500));
        meter.run(at(1000));
        meter.run(at(1010));
        meter.pause(at(1030));
        let sample = meter.end(at(10)).unwrap();
        assert_eq!(sample.served, Duration::from_micros(50));
        assert_eq!(sample.waited, Duration::from_micros(5));
        assert!(meter.is_on() && !meter.runs());
    }

    #[test]
    fn what_failed_or_copied_says_nothing() {
        let mut meter = Meter::default();
        meter.begin(Duration::ZERO);
        meter.statement(Kind::Select, b"SELECT");
        meter.spoil();
        assert_eq!(meter.end(at(0)), None);
        meter.statement(Kind::Copy, b"COPY");
        assert_eq!(meter.end(at(0)), None);
        meter.statement(Kind::Select, b"SELECT");
        assert!(meter.end(at(0)).is_some());
        meter.off();
        assert!(!meter.is_on());
    }
}
