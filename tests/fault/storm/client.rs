//! One client of the storm.

use std::sync::Arc;
use std::time::Duration;

use pglanes_tests::{Answer, Proxy, Raw, Script, Welcome, cancel, tags};
use tokio::time::Instant;

use super::random::Random;

/// What was done, all told.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) connections: u64,
    pub(super) actions: u64,
    pub(super) rows: u64,
    pub(super) cancelled: u64,
    pub(super) dropped: u64,
    /// Rows whose COMMIT was confirmed.
    pub(super) committed: u64,
    /// Rows of transactions whose client left before it could know.
    pub(super) unsure: u64,
    /// Rows that were not this client's: none, or the storm has failed.
    pub(super) wrong_rows: u64,
    /// Settings that were not this session's: the same.
    pub(super) leaked_settings: u64,
}

impl Done {
    pub(super) fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.actions += other.actions;
        self.rows += other.rows;
        self.cancelled += other.cancelled;
        self.dropped += other.dropped;
        self.committed += other.committed;
        self.unsure += other.unsure;
        self.wrong_rows += other.wrong_rows;
        self.leaked_settings += other.leaked_settings;
    }
}

/// Whether a connection is still there after an action.
#[derive(Debug, PartialEq, Eq)]
enum After {
    GoesOn,
    Dropped,
}

pub(super) struct Client {
    proxy: Arc<Proxy>,
    number: u64,
    random: Random,
    /// Counts up with each action: no two rows of the storm are alike.
    turn: u64,
    done: Done,
}

/// The client's connection, and what it knows of its session.
struct Session {
    raw: Raw,
    welcome: Welcome,
    prepared: bool,
    /// What `storm.tag` was set to; it must never be another's.
    setting: String,
}

impl Client {
    pub(super) fn new(proxy: Arc<Proxy>, number: u64, random: Random) -> Self {
        Self {
            proxy,
            number,
            random,
            turn: 0,
            done: Done::default(),
        }
    }

    pub(super) async fn runs_until(mut self, over: Instant) -> Done {
        while Instant::now() < over {
            let lane = self
                .random
                .one_of(&["evaluation", "ltst", "compaction", "other"]);
            let (raw, welcome) = Raw::login(&*self.proxy, &[("application_name", lane)]).await;
            let mut session = Session {
                raw,
                welcome,
                prepared: false,
                setting: String::new(),
            };
            self.done.connections += 1;
            let actions = 1 + self.random.below(40);
            for _ in 0..actions {
                if Instant::now() >= over || self.act(&mut session).await == After::Dropped {
                    break;
                }
            }
        }
        self.done
    }

    fn next_tag(&mut self) -> String {
        self.turn += 1;
        format!("c{}t{}", self.number, self.turn)
    }

    async fn act(&mut self, session: &mut Session) -> After {
        self.done.actions += 1;
        match self.random.below(16) {
            0..=2 => self.simple(session).await,
            3..=4 => self.pipeline(session).await,
            5..=6 => self.prepared(session).await,
            7..=8 => self.transaction(session).await,
            9 => self.failure(session).await,
            10 => self.cancelled(session).await,
            11 => self.copy(session).await,
            12 => self.setting(session).await,
            13 => self.session_state(session).await,
            14 => self.delete(session).await,
            _ => return self.vanish(session).await,
        }
        After::GoesOn
    }

    /// The values of the rows among answers that must be of these types.
    fn rows(&mut self, answers: &[Answer], expected: &str) -> Vec<String> {
        assert_eq!(
            tags(answers),
            expected,
            "client {}: {answers:?}",
            self.number
        );
        let rows = answers.iter().filter(|answer| answer.tag == b'D');
        let rows: Vec<String> = rows.map(Answer::value).collect();
        self.done.rows += rows.len() as u64;
        rows
    }

    /// Counts the rows that are not those that were asked for.
    fn rows_are<T: AsRef<str>>(&mut self, found: &[String], wanted: &[T]) {
        let longest = found.len().max(wanted.len());
        let wrong = (0..longest)
            .filter(|&at| found.get(at).map(String::as_str) != wanted.get(at).map(AsRef::as_ref))
            .count();
        if wrong > 0 {
            eprintln!("client {}: wrong rows {found:?}", self.number);
        }
        self.done.wrong_rows += wrong as u64;
    }

    async fn simple(&mut self, session: &mut Session) {
        let (one, other) = (self.next_tag(), self.next_tag());
        let sql = format!("SELECT '{one}'; SELECT '{other}' FROM generate_series(1, 3)");
        let answers = session.raw.query(&sql).await;
        let rows = self.rows(&answers, "TDCTDDDCZ");
        self.rows_are(&rows, &[&one, &other, &other, &other]);
    }

    async fn pipeline(&mut self, session: &mut Session) {
        let count = 1 + self.random.below(6);
        let mut script = Script::new();
        let mut wanted = Vec::new();
        let mut expected = String::new();
        for place in 0..count {
            let tag = self.next_tag();
            script = script.run("SELECT $1::text", &[&tag]);
            wanted.push(tag);
            expected.push_str("12DC");
            if place % 3 == 2 {
                script = script.sync();
                expected.push('Z');
            }
        }
        script = script.sync();
        expected.push('Z');
        session.raw.say(&script).await;
        let mut answers = Vec::new();
        for _ in 0..expected.matches('Z').count() {
            answers.extend(session.raw.until_ready().await);
        }
        let rows = self.rows(&answers, &expected);
        self.rows_are(&rows, &wanted);
    }

    async fn prepared(&mut self, session: &mut Session) {
        let tag = self.next_tag();
        let mut script = Script::new();
        let mut expected = String::new();
        if !session.prepared {
            // The same name in every client, and a text of its own for each third of them.
            let sql = format!("SELECT $1 || '/{}'", self.number % 3);
            script = script.parse("mine", &sql);
            expected.push('1');
            session.prepared = true;
        }
        let answers = session
            .raw
            .ask(&script.run_prepared("mine", &[&tag]).sync())
            .await;
        let rows = self.rows(&answers, &format!("{expected}2DCZ"));
        self.rows_are(&rows, &[format!("{tag}/{}", self.number % 3)]);
    }

    async fn transaction(&mut self, session: &mut Session) {
        let tag = self.next_tag();
        self.rows(&session.raw.query("BEGIN").await, "CZ");
        let insert = Script::new()
            .run("INSERT INTO kept VALUES ($1, 1)", &[&tag])
            .sync();
        let answers = session.raw.ask(&insert).await;
        self.rows(&answers, "12CZ");
        let count = format!("SELECT '{tag}' || count(*) FROM kept WHERE tag = '{tag}'");
        let answers = session.raw.query(&count).await;
        let rows = self.rows(&answers, "TDCZ");
        self.rows_are(&rows, &[format!("{tag}1")]);
        let commits = self.random.below(2) == 0;
        let answers = session
            .raw
            .query(if commits { "COMMIT" } else { "ROLLBACK" })
            .await;
        self.rows(&answers, "CZ");
        self.done.committed += u64::from(commits);
    }

    async fn failure(&mut self, session: &mut Session) {
        let tag = self.next_tag();
        let script = Script::new()
            .run("SELECT $1::text", &[&tag])
            .run("SELECT 1/(length($1) - length($1))", &[&tag])
            .run("SELECT 'skipped'", &[])
            .sync();
        let answers = session.raw.ask(&script).await;
        // The planner sees the division when the values are bound.
        let rows = self.rows(&answers, "12DC1EZ");
        self.rows_are(&rows, &[tag]);
        assert_eq!(answers[5].sqlstate(), "22012");
    }

    /// A query and its cancel, which may come too late. Whatever comes next must not feel it.
    async fn cancelled(&mut self, session: &mut Session) {
        let tag = self.next_tag();
        let naps = self.random.below(20);
        let sql = format!("SELECT '{tag}' FROM pg_sleep({})", naps as f64 / 1000.0);
        session.raw.say(&Script::new().query(&sql)).await;
        let delay = Duration::from_millis(self.random.below(20));
        let proxy = Arc::clone(&self.proxy);
        let welcome = session.welcome.clone();
        let cancelling = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            cancel(&*proxy, &welcome).await;
        });
        let answers = session.raw.until_ready().await;
        pglanes_tests::soon(cancelling).await.unwrap();
        match answers.iter().find(|answer| answer.tag == b'E') {
            Some(error) => {
                assert_eq!(error.sqlstate(), "57014", "{error:?}");
                self.done.cancelled += 1;
            }
            None => {
                let rows = self.rows(&answers, "TDCZ");
                self.rows_are(&rows, &[tag]);
            }
        }
    }

    async fn copy(&mut self, session: &mut Session) {
        let tag = self.next_tag();
        let sql = format!(
            "COPY (SELECT '{tag}', number FROM generate_series(1, 50) AS number) TO STDOUT"
        );
        let answers = session.raw.query(&sql).await;
        let expected = format!("H{}cCZ", "d".repeat(50));
        self.rows(&answers, &expected);
        for (number, line) in answers[1..=50].iter().enumerate() {
            assert_eq!(line.body, format!("{tag}\t{}\n", number + 1));
        }
    }

    async fn setting(&mut self, session: &mut Session) {
        let answers = session
            .raw
            .query("SELECT current_setting('storm.tag', true)")
            .await;
        assert_eq!(tags(&answers), "TDCZ");
        let value = answers[1].row().remove(0).unwrap_or_default();
        if value != session.setting {
            eprintln!("client {}: a setting of another: {value}", self.number);
            self.done.leaked_settings += 1;
        }
        let tag = self.next_tag();
        let answers = session.raw.query(&format!("SET storm.tag = '{tag}'")).await;
        assert!(tags(&answers).ends_with("CZ"), "{answers:?}");
        session.setting = tag;
    }

    /// A temporary table of the same name in every client: the session keeps its connection until it is discarded.
    async fn session_state(&mut self, session: &mut Session) {
        let tag = self.next_tag();
        let answers = session
            .raw
            .query(&format!("CREATE TEMP TABLE mine AS SELECT '{tag}' AS tag"))
            .await;
        self.rows(&answers, "CZ");
        let answers = session.raw.query("SELECT tag FROM mine").await;
        let rows = self.rows(&answers, "TDCZ");
        self.rows_are(&rows, &[tag]);
        let answers = session.raw.query("DISCARD ALL").await;
        assert!(tags(&answers).ends_with("CZ"), "{answers:?}");
        session.prepared = false;
        session.setting = String::new();
    }

    /// From an `ltst` session this runs in the compaction lane, with that lane's settings.
    async fn delete(&mut self, session: &mut Session) {
        let tag = self.next_tag();
        let sql = format!("DELETE FROM kept WHERE tag = 'not {tag}'");
        let answers = session.raw.query(&sql).await;
        self.rows(&answers, "CZ");
    }

    /// Says something and is gone.
    async fn vanish(&mut self, session: &mut Session) -> After {
        let tag = self.next_tag();
        let script = match self.random.below(6) {
            0 => Script::new().query("SELECT pg_sleep(600)"),
            1 => Script::new().query("BEGIN; SELECT 1"),
            2 => {
                self.done.unsure += 1;
                Script::new().query(&format!("INSERT INTO kept VALUES ('{tag}', 2)"))
            }
            3 => Script::new()
                .run("SELECT pg_sleep(600)", &[])
                .run("SELECT 1", &[])
                .sync(),
            4 => Script::new()
                .query("BEGIN")
                .query("COPY kept FROM STDIN")
                .copy_data(b"half a li"),
            _ => Script::new()
                .query("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 100000)) TO STDOUT"),
        };
        session.raw.say(&script).await;
        if self.random.below(2) == 0 {
            tokio::time::sleep(Duration::from_millis(self.random.below(10))).await;
        }
        self.done.dropped += 1;
        After::Dropped
    }
}
