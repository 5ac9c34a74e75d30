//! The same bytes, sent straight to PostgreSQL and through the proxy, get the same frames back.
//!
//! Each case is said by a new session, once to the server and several times to the proxy: as one piece, byte by byte, and cut
//! at random places. The table `t` has the same ten rows before each. Only what must differ is masked: process ids, and the object ids
//! of tables. The proxy has one server connection, so each session finds it as the one before left it.

use std::time::Duration;

use bytes::Bytes;
use pglanes_tests::{Answer, Proxy, Random, Raw, Script, Target, invariants, soon};

/// What every case finds. Made once: statements that a server connection keeps prepared are not to be outdated by tables made
/// anew behind the proxy's back.
const SCHEMA: &str = "
    CREATE TABLE t (id int PRIMARY KEY, name text CHECK (name <> 'bad'));
    CREATE FUNCTION warns(word text) RETURNS text LANGUAGE plpgsql AS
        $$BEGIN RAISE WARNING 'heard %', word USING HINT = 'a hint', DETAIL = 'a detail'; RETURN word; END$$;
    CREATE FUNCTION fails(word text) RETURNS text LANGUAGE plpgsql AS
        $$BEGIN RAISE EXCEPTION 'not %', word USING ERRCODE = 'AB123', TABLE = 'a table', COLUMN = 'a column'; END$$;";

/// Done before every run of a case.
const ROWS: &str =
    "TRUNCATE t; INSERT INTO t SELECT n, 'name ' || n FROM generate_series(1, 10) n; ANALYZE t";

/// How long a case may take, sent byte by byte on a busy machine.
const LONGEST_CASE: Duration = Duration::from_secs(20);

/// Said behind every case: it ends what is open, and its row is the last there is to read.
const LAST: &str = "SELECT 'this is the end'";

/// Whether an error must name the very statement that the server names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Exact,
    Any,
}

/// An error's fields without what its message has in quotes.
fn without_name(body: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = body.split(|byte| *byte == b'"').collect();
    if parts.len() == 3 {
        parts[1] = b"";
    }
    parts.join(&b'"')
}

/// Something a client says in parts, waiting for these message types after each part but the last.
pub(crate) struct Case {
    name: String,
    batches: Vec<Script>,
    parts: Vec<(Script, &'static str)>,
    last: Script,
    names: Names,
}

impl Case {
    /// Said in one go.
    pub(crate) fn new(name: impl Into<String>, script: Script) -> Self {
        Self {
            name: name.into(),
            batches: Vec::new(),
            parts: Vec::new(),
            last: script,
            names: Names::Exact,
        }
    }

    /// Batches that end in one ReadyForQuery each, which is waited for before the next is said.
    pub(crate) fn batches(name: impl Into<String>, batches: Vec<Script>) -> Self {
        let mut case = Self::new(name, Script::new());
        case.batches = batches;
        case
    }

    /// Of statements with one text any name will do.
    pub(crate) fn with_any_names(mut self) -> Self {
        self.names = Names::Any;
        self
    }

    /// Said before the rest, and answered by messages of these types.
    pub(crate) fn after(mut self, script: Script, answered: &'static str) -> Self {
        self.parts.push((script, answered));
        self
    }
}

/// How a case's bytes are sent.
#[derive(Debug, Clone, Copy)]
enum Way {
    Whole,
    ByteByByte,
    CutAtRandom,
}

impl Way {
    /// Where to cut so many bytes. Long scripts are not cut at every byte, but at uneven places.
    fn cuts(self, random: &mut Random, length: usize) -> Vec<usize> {
        match self {
            Self::Whole => Vec::new(),
            Self::ByteByByte if length <= 2000 => (1..length).collect(),
            Self::ByteByByte => (1..length).step_by(499).collect(),
            Self::CutAtRandom => cuts(random, length),
        }
    }
}

/// Holds every case against the server, at one server connection.
pub(crate) async fn check(cases: Vec<Case>) {
    let proxy = Proxy::with_slots(1).run().await;
    let pg = proxy.pg().clone();
    let direct = pg.direct().await;
    soon(direct.batch_execute(SCHEMA))
        .await
        .expect("the schema");
    let mut differences = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        reset(&direct).await;
        let wanted = run(&pg, case, &mut |_| Vec::new()).await;
        assert!(wanted.len() > 3, "{}: no answer at all", case.name);
        let mut random = Random(number as u64 + 1);
        for way in [Way::Whole, Way::ByteByByte, Way::Whole, Way::CutAtRandom] {
            reset(&direct).await;
            let mut cuts = |length| way.cuts(&mut random, length);
            let got = tokio::time::timeout(LONGEST_CASE, run(&proxy, case, &mut cuts)).await;
            let Ok(got) = got else {
                panic!("{}, {way:?}: hangs", case.name);
            };
            if let Some(difference) = difference(&wanted, &got) {
                differences.push(format!("{}, {way:?}: {difference}", case.name));
                break;
            }
        }
    }
    let all = differences.join("\n");
    assert!(
        differences.is_empty(),
        "{} cases differ:\n{all}",
        differences.len()
    );
    invariants(&proxy).await;
}

/// The first message that differs, with those around it.
fn difference(wanted: &[Answer], got: &[Answer]) -> Option<String> {
    let longest = wanted.len().max(got.len());
    let at = (0..longest).find(|at| wanted.get(*at) != got.get(*at))?;
    let around = |answers: &[Answer]| {
        let end = answers.len().min(at + 3);
        let shown: Vec<String> = answers[at.saturating_sub(2).min(end)..end]
            .iter()
            .map(|answer| format!("    {answer:?}"))
            .collect();
        shown.join("\n")
    };
    Some(format!(
        "message {at}; the server says\n{}\n  the proxy\n{}",
        around(wanted),
        around(got)
    ))
}

async fn reset(direct: &tokio_postgres::Client) {
    soon(direct.batch_execute(ROWS)).await.expect("the rows");
}

async fn run(
    target: &impl Target,
    case: &Case,
    cuts: &mut dyn FnMut(usize) -> Vec<usize>,
) -> Vec<Answer> {
    let mut raw = Raw::ready(target).await;
    let mut answers = Vec::new();
    for batch in &case.batches {
        raw.send_in_pieces(batch.bytes(), &cuts(batch.bytes().len()))
            .await;
        answers.extend(raw.until_ready().await);
    }
    for (script, tags) in &case.parts {
        raw.send_in_pieces(script.bytes(), &cuts(script.bytes().len()))
            .await;
        answers.extend(raw.expect(tags).await);
    }
    let end = Script::new().sync().query("ROLLBACK").query(LAST);
    let bytes = [case.last.bytes(), end.bytes()].concat();
    raw.send_in_pieces(&bytes, &cuts(bytes.len())).await;
    let is_last = |answer: &Answer| answer.tag == b'D' && answer.value() == "this is the end";
    while let Some(answer) = raw.next().await {
        let last = is_last(&answer);
        answers.push(answer);
        if last {
            answers.extend(raw.expect("CZ").await);
            raw.say(&Script::new().terminate()).await;
        }
    }
    answers
        .into_iter()
        .map(|answer| masked(answer, case.names))
        .collect()
}

/// The message without what differs between any two sessions of the server itself.
fn masked(answer: Answer, names: Names) -> Answer {
    let mut body = answer.body_of_any_session();
    if answer.tag == b'E' && names == Names::Any {
        // Of two names of one text the proxy may name the other one in an error.
        body = without_name(&body);
    }
    Answer {
        tag: answer.tag,
        body: Bytes::from(body),
    }
}

/// Some places in so many bytes, in order.
fn cuts(random: &mut Random, length: usize) -> Vec<usize> {
    let count = 1 + random.below(12);
    let mut cuts: Vec<usize> = (0..count).map(|_| random.below(length.max(1))).collect();
    cuts.sort_unstable();
    cuts
}
