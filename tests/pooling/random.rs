//! Sessions at random: several clients, each with what it sets, makes and undoes, on one or two server connections, and every
//! answer is the one that each would have had on a connection of its own.
//!
//! A step is said straight to PostgreSQL by one session and through the proxy by another, in a database each; what they hear is
//! compared message by message. One client at a time may hold what nobody else can have (an open transaction, a pin), so that
//! the rest always finds a connection: the one it left, or the one it just used.
//!
//! `PGLANES_SEEDS=1000` runs so many seeds (12 if nothing is said); `PGLANES_SEED=17` that one alone, and shows what was said.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use pglanes_tests::{Answer, Pg, Proxy, Random, Raw, Script, invariants};

/// Clients at once.
const CLIENTS: usize = 4;
/// Steps of a seed.
const STEPS: usize = 60;

/// What every client finds. The tables of one name differ by schema.
const SCHEMA: &str = "
    CREATE TABLE t (id int PRIMARY KEY, name text);
    CREATE SCHEMA one; CREATE TABLE one.u (a int); INSERT INTO one.u VALUES (1);
    CREATE SCHEMA two; CREATE TABLE two.u (a text, b int); INSERT INTO two.u VALUES ('x', 2);
    CREATE TABLE u (a int, b int, c int); INSERT INTO u VALUES (7, 8, 9);
    CREATE TABLE copied (a int, b text); CREATE SEQUENCE s;
    CREATE FUNCTION fails() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'failed' USING ERRCODE = 'AB123'; END$$;
    CREATE FUNCTION warns() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE WARNING 'heard'; RETURN 1; END$$;
    CREATE FUNCTION zone(text) RETURNS text LANGUAGE sql AS $$SELECT set_config('TimeZone', $1, false)$$;
    INSERT INTO t SELECT n, 'name ' || n FROM generate_series(1, 5) n";

/// All that can be seen of a session's own state.
const PROBE: &str = "SELECT current_setting('TimeZone'), current_setting('DateStyle'), current_setting('work_mem'), \
    current_setting('search_path'), current_setting('statement_timeout'), current_setting('bytea_output'), \
    current_setting('default_transaction_isolation'), current_setting('default_transaction_read_only'), \
    current_setting('client_min_messages'), current_setting('extra_float_digits'), current_setting('client_encoding'), \
    current_setting('IntervalStyle'), coalesce(current_setting('my.one', true), ''), coalesce(current_setting('my.two', true), ''), \
    current_user, session_user, (SELECT count(*) FROM pg_listening_channels()), \
    (SELECT count(*) FROM pg_prepared_statements WHERE from_sql), (SELECT count(*) FROM pg_cursors WHERE is_holdable), \
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), \
    to_regclass('pg_temp.u') IS NOT NULL, (SELECT string_agg(a::text, ',') FROM (SELECT a FROM public.u) AS all_of_it)";

/// Said by anybody at any time; outside a transaction block they leave nothing that pins.
const ANYTIME: &[&str] = &[
    "SET TimeZone = 'Asia/Tokyo'",
    "SET TIME ZONE 'Africa/Cairo'",
    "SET TIME ZONE LOCAL",
    "SET TIME ZONE -3",
    "SET TimeZone TO DEFAULT",
    "SET DateStyle = 'German'",
    "SET DateStyle = 'SQL, DMY'",
    "SET work_mem = '7MB'",
    "SET SESSION work_mem = '9MB'",
    "SET work_mem = 'nonsense'",
    "SET search_path = one",
    "SET search_path = two, public",
    "SET search_path TO ''",
    "SET SCHEMA 'one'",
    "SET search_path = \"$user\", \"two\"",
    "SET statement_timeout = '40s'",
    "SET statement_timeout = 61001",
    "SET bytea_output = 'escape'",
    "SET extra_float_digits = 0",
    "SET client_min_messages = 'error'",
    "SET IntervalStyle = 'iso_8601'",
    "SET client_encoding = 'LATIN1'",
    "SET NAMES 'UTF8'",
    "SET my.one = 'it''s \\ 1'",
    "SET \"my\".\"two\" TO 'x'",
    "SET my.one TO DEFAULT",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE, ISOLATION LEVEL READ COMMITTED",
    "SET LOCAL work_mem = '3MB'",
    "SET LOCAL search_path = two",
    "SET LOCAL my.one = 'local'",
    "SET LOCAL TIME ZONE 'Asia/Tokyo'",
    "SET TRANSACTION READ ONLY",
    "RESET TimeZone",
    "RESET work_mem",
    "RESET search_path",
    "RESET my.one",
    "RESET ALL",
    "RESET client_encoding",
    "SELECT set_config('work_mem', '5MB', false)",
    "SELECT set_config('search_path', 'two', false)",
    "SELECT set_config('search_path', 'one', true)",
    "SELECT set_config('my.two', 'y', false), set_config('work_mem', '6MB', true)",
    "SELECT set_config('my.one', NULL, false)",
    "SELECT zone('Europe/Rome')",
    "RESET ALL; SELECT zone('Europe/Rome')",
    "SELECT zone('Europe/Rome'); RESET ALL",
    "SET work_mem = '8MB'; SELECT 1/0",
    "SET work_mem = '8MB'; SELECT fails()",
    "SET work_mem = '8MB'; ROLLBACK",
    "SET my.one = 'gone'; ROLLBACK",
    "RESET ALL; ROLLBACK",
    "RESET ALL; SELECT 1/0",
    "SET search_path = one; SELECT * FROM u",
    "BEGIN; SET search_path = two; SELECT * FROM u; COMMIT",
    "BEGIN; SET work_mem = '2MB'; SAVEPOINT a; SET work_mem = '1MB'; ROLLBACK TO a; COMMIT",
    "BEGIN; RESET ALL; ROLLBACK",
    "BEGIN; SET LOCAL work_mem = '2MB'; SET my.one = 'kept'; COMMIT",
    "BEGIN; LISTEN a; ROLLBACK",
    "BEGIN; CREATE TEMP TABLE u (a int) ON COMMIT DROP; SELECT * FROM u; COMMIT",
    "BEGIN; CREATE TEMP TABLE u (a int); ROLLBACK",
    "BEGIN; SELECT pg_advisory_xact_lock(1); COMMIT",
    "DISCARD ALL",
    "DISCARD PLANS",
    "DEALLOCATE ALL",
    "DEALLOCATE a",
    "UNLISTEN *",
    "CLOSE ALL",
    "RESET ROLE",
    "COMMIT",
    "ROLLBACK",
    "SELECT * FROM u",
    "SELECT count(*) FROM t",
    "SELECT warns()",
    "SELECT fails()",
    "SHOW TimeZone",
    "SHOW search_path",
    "SELECT now() IS NOT NULL; SELECT 2; SELECT 1/0; SELECT 3",
    "COPY t TO STDOUT",
    "COPY (SELECT generate_series(1, 3)) TO STDOUT; SELECT count(*) FROM copied; COPY t TO STDOUT",
    "COPY (SELECT 1 / (id - 3) FROM t ORDER BY id) TO STDOUT",
    "SELECT count(*), min(a), max(b) FROM copied",
    "TRUNCATE copied",
    "BEGIN; SET LOCAL statement_timeout = 20; SELECT pg_sleep(60); COMMIT",
    "SET LOCAL statement_timeout = 20; SELECT pg_sleep(60)",
    "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM t; SHOW transaction_isolation; COMMIT",
    "BEGIN READ ONLY; INSERT INTO copied VALUES (1, 'refused'); COMMIT",
    "SHOW transaction_isolation",
    "SHOW transaction_read_only",
    "",
    ";",
    "SELEC",
];

/// Said by the one that holds a connection.
const HOLDING: &[&str] = &[
    "BEGIN",
    "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "START TRANSACTION READ WRITE",
    "COMMIT",
    "COMMIT AND CHAIN",
    "ROLLBACK",
    "ROLLBACK AND CHAIN",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET TRANSACTION READ ONLY",
    "SET LOCAL statement_timeout = 20; SELECT pg_sleep(60)",
    "FETCH FORWARD 2 FROM c",
    "MOVE 1 IN c",
    "SAVEPOINT a",
    "SAVEPOINT b",
    "ROLLBACK TO a",
    "ROLLBACK TO SAVEPOINT b",
    "RELEASE a",
    "LISTEN a",
    "LISTEN b",
    "UNLISTEN a",
    "UNLISTEN *; ROLLBACK",
    "CREATE TEMP TABLE u (a int)",
    "CREATE TEMP TABLE mine (a int)",
    "DROP TABLE mine",
    "SELECT * FROM mine",
    "CREATE TEMP TABLE u AS SELECT 'temporary' AS a, 1 AS b",
    "DISCARD TEMP",
    "DISCARD TEMP; ROLLBACK",
    "SELECT pg_try_advisory_lock(7)",
    "SELECT pg_advisory_unlock(7)",
    "SELECT pg_advisory_unlock_all()",
    "SELECT pg_advisory_unlock_all(); ROLLBACK",
    "PREPARE p AS SELECT * FROM public.u",
    "PREPARE p AS SELECT set_config('work_mem', '11MB', false)",
    "EXECUTE p",
    "DEALLOCATE p",
    "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t ORDER BY id",
    "DECLARE c CURSOR FOR SELECT * FROM t ORDER BY id",
    "FETCH 2 FROM c",
    "CLOSE c",
    "SET ROLE pg_monitor",
    "SET ROLE NONE",
    "SET LOCAL ROLE pg_monitor",
    "RESET SESSION AUTHORIZATION",
    "SET SESSION AUTHORIZATION pg_monitor",
    "DO $$BEGIN PERFORM set_config('my.two', 'done', false); END$$",
    "SELECT set_config('my.' || 'two', 'dynamic', false)",
    "DISCARD SEQUENCES",
];

/// Prepared, bound and executed.
const PREPARED: &[&str] = &[
    "SELECT 1 / (id - 2) FROM public.t ORDER BY id",
    "SELECT count(*) FROM public.t",
    "SET work_mem = '4321kB'",
    "SET search_path = one",
    "RESET ALL",
    "SELECT set_config('my.one', 'bound', false)",
    "SELEC",
    "ROLLBACK",
    "SHOW search_path",
];

/// Prepared, run, and closed at once: directly PostgreSQL refuses the same name in another search path, which behind a pool
/// it does only where it had prepared it before.
const MEANT: &[&str] = &[
    "SELECT * FROM u",
    "SELECT a FROM u WHERE a = $1",
    "SELECT count(*) FROM t",
];

/// What a client says in a step, and in words.
pub(super) struct Step {
    pub(super) script: Script,
    /// ReadyForQuery messages that answer it.
    pub(super) ready: usize,
    pub(super) words: String,
}

impl Step {
    pub(super) fn new() -> Self {
        Self {
            script: Script::new(),
            ready: 0,
            words: String::new(),
        }
    }

    pub(super) fn query(mut self, sql: &str) -> Self {
        let _ = write!(self.words, "Q[{sql}] ");
        self.script = self.script.query(sql);
        self.ready += 1;
        self
    }

    /// A COPY in, by a Query.
    fn copy(mut self, random: &mut Random) -> Self {
        let (sql, data, end) = copied(random);
        let _ = write!(self.words, "Q[{sql}] {data:?} {end:?} ");
        self.script = with_data(self.script.query(sql), data, end);
        self.ready += 1;
        self
    }

    /// A portal that gives its rows in parts, perhaps not all of them.
    fn portal(mut self, random: &mut Random) -> Self {
        let sql = "SELECT * FROM public.t ORDER BY id";
        let _ = write!(self.words, "P[m:{sql}] B[p]");
        let parsed = self.script.parse("m", sql);
        self.script = parsed.bind("p", "m", &[]).describe_portal("p");
        for _ in 0..=random.below(3) {
            let rows = random.below(4) as u32;
            let _ = write!(self.words, " E{rows}");
            self.script = self.script.execute("p", rows);
        }
        self.words.push_str(" C[p] C[m] ");
        self.script = self.script.close_portal("p").close_statement("m");
        self
    }

    /// A batch of the extended protocol.
    fn batch(mut self, random: &mut Random, names: &[&str]) -> Self {
        for _ in 0..=random.below(3) {
            let name = random.pick(names);
            let sql = random.pick(PREPARED);
            match random.below(8) {
                7 => self = self.portal(random),
                6 => {
                    let sql = random.pick(MEANT);
                    let _ = write!(self.words, "P[m:{sql}] B[m] E C[m] ");
                    let parsed = self.script.parse("m", sql).describe_statement("m");
                    let values: &[&str] = if sql.contains('$') { &["1"] } else { &[] };
                    self.script = parsed.run_prepared("m", values).close_statement("m");
                }
                0..=2 => {
                    let _ = write!(self.words, "P[{name}:{sql}] B[{name}] E ");
                    let parsed = self.script.parse(name, sql);
                    self.script = parsed.describe_statement(name).bind("", name, &[]);
                    self.script = self.script.execute("", 0);
                }
                3 | 4 => {
                    let _ = write!(self.words, "B[{name}] E ");
                    self.script = self.script.run_prepared(name, &[]);
                }
                _ => {
                    let _ = write!(self.words, "C[{name}] ");
                    self.script = self.script.close_statement(name);
                }
            }
        }
        self.words.push_str("S ");
        self.script = self.script.sync();
        self.ready += 1;
        self
    }
}

/// A COPY in, what is sent for it, and how that ends.
fn copied(random: &mut Random) -> (&'static str, &'static str, Option<&'static str>) {
    let sql = random.pick(&[
        "COPY copied FROM STDIN",
        "COPY public.copied (a) FROM STDIN",
        "COPY nowhere FROM STDIN",
    ]);
    let data = random.pick(&["1\tone\n2\ttwo\n", "7\n8\n", "x\ty\n", ""]);
    let end = [None, None, Some("enough")][random.below(3)];
    (sql, data, end)
}

fn with_data(script: Script, data: &str, end: Option<&str>) -> Script {
    let script = match data {
        "" => script,
        data => script.copy_data(data.as_bytes()),
    };
    match end {
        None => script.copy_done(),
        Some(reason) => script.copy_fail(reason),
    }
}

/// What makes a session free of all that it may hold.
const LET_GO: [&[&str]; 3] = [
    &["ROLLBACK", "DISCARD ALL"],
    &["COMMIT", "DISCARD ALL"],
    &[
        "ROLLBACK",
        "RESET SESSION AUTHORIZATION",
        "RESET ROLE",
        "UNLISTEN *",
        "CLOSE ALL",
        "SELECT pg_advisory_unlock_all()",
        "DEALLOCATE ALL",
        "DISCARD TEMP",
    ],
];

/// One session, twice.
struct Twin {
    direct: Raw,
    proxied: Raw,
    /// Only DISCARD ALL frees what was set without a name.
    unnamed: bool,
    /// It has a transaction block open.
    in_block: bool,
}

/// What an answer says, without what differs between any two sessions.
fn masked(answer: &Answer) -> Answer {
    let mut body = answer.body_of_any_session();
    // Of two names of one text the proxy may name the other one; and which message of a batch finds the transaction
    // aborted may be another.
    let may_differ = |state: &str| matches!(state, "42P05" | "26000" | "25P02" | "42601");
    if answer.tag == b'E' && may_differ(&answer.sqlstate()) {
        body.clear();
    }
    Answer {
        tag: answer.tag,
        body: Bytes::from(body),
    }
}

/// Masked, and what is said at once of several parameters in one order: PostgreSQL's own depends on what was set before.
fn in_order(answers: &[Answer]) -> Vec<Answer> {
    let mut masked: Vec<Answer> = answers.iter().map(masked).collect();
    let runs = masked.chunk_by_mut(|one, next| one.tag == b'S' && next.tag == b'S');
    runs.for_each(|run| run.sort_by(|one, other| one.body.cmp(&other.body)));
    masked
}

pub(super) async fn hear(raw: &mut Raw, step: &Step) -> Option<Vec<Answer>> {
    /// Far less than the limit of a test, for the seeds that follow.
    const LONGEST: Duration = Duration::from_secs(20);
    let all = async {
        raw.send_anyway(step.script.bytes()).await;
        let mut heard = Vec::new();
        for _ in 0..step.ready {
            heard.extend(raw.until_ready_or_cut().await);
        }
        heard
    };
    tokio::time::timeout(LONGEST, all).await.ok()
}

struct World<'w> {
    pg: &'w Pg,
    proxy: &'w Proxy,
    random: Random,
    twins: Vec<Twin>,
    /// Who may hold a connection.
    holder: Option<usize>,
    said: Vec<String>,
}

impl World<'_> {
    async fn arrive(&mut self) {
        let twin = Twin {
            direct: Raw::ready(self.pg).await,
            proxied: Raw::ready(self.proxy).await,
            unnamed: false,
            in_block: false,
        };
        self.twins.push(twin);
    }

    /// Says a step twice. An error tells how the answers differ.
    async fn say(&mut self, client: usize, step: Step) -> Result<(), String> {
        self.said.push(format!("{client}: {}", step.words));
        let twin = &mut self.twins[client];
        let wanted = hear(&mut twin.direct, &step).await;
        let got = hear(&mut twin.proxied, &step).await;
        let (Some(wanted), Some(got)) = (wanted, got) else {
            return Err("hangs".to_owned());
        };
        let (wanted, got) = (in_order(&wanted), in_order(&got));
        let ready = wanted.iter().rfind(|answer| answer.tag == b'Z');
        twin.in_block = ready.is_some_and(|ready| ready.body.as_ref() != b"I");
        match wanted == got {
            true => Ok(()),
            false => Err(format!("wanted {wanted:#?}\ngot {got:#?}")),
        }
    }

    fn next(&mut self) -> (usize, Step) {
        let random = &mut self.random;
        let client = random.below(self.twins.len());
        let may_hold = self.holder.is_none_or(|holder| holder == client);
        let holds = self.holder == Some(client);
        if may_hold && random.below(if holds { 2 } else { 8 }) == 0 {
            self.holder = Some(client);
            let mut step = Step::new();
            for _ in 0..=random.below(3) {
                let sql = random.pick(HOLDING);
                // So are those of a prepared text that sets.
                self.twins[client].unnamed |= sql.contains("my.") || sql.contains("EXECUTE");
                step = step.query(sql);
            }
            return (client, step);
        }
        if random.below(4) == 0 {
            // What is left of an unnamed statement behind an error differs in a pipeline, which no client can mean.
            return (client, Step::new().batch(random, &["", "a", "b"]));
        }
        let mut step = Step::new();
        for _ in 0..=random.below(3) {
            step = match random.below(6) {
                0 | 1 => step.batch(random, &["a", "b"]),
                2 if random.below(2) == 0 => step.copy(random),
                _ => step.query(random.pick(ANYTIME)),
            };
        }
        (client, step)
    }

    /// A client that holds a connection gives up all that it may hold, one thing after the other.
    async fn let_go(&mut self, client: usize) -> Result<(), String> {
        let how = match self.twins[client].unnamed {
            true => self.random.below(2),
            false => self.random.below(3),
        };
        self.holder = None;
        self.twins[client].unnamed = false;
        for sql in LET_GO[how] {
            self.say(client, Step::new().query(sql)).await?;
        }
        Ok(())
    }

    async fn run(&mut self) -> Result<(), String> {
        for _ in 0..CLIENTS {
            self.arrive().await;
        }
        for _ in 0..STEPS {
            // With one connection the others wait while it is held.
            if let Some(holder) = self.holder
                && self.random.below(10) == 0
            {
                self.let_go(holder).await?;
            }
            let (mut client, mut step) = self.next();
            if self.proxy.view().await.scheduler.total_slots == 1
                && let Some(holder) = self.holder
                && holder != client
            {
                client = holder;
                step = Step::new().query(self.random.pick(ANYTIME));
            }
            self.say(client, step).await?;
            if self.twins[client].in_block && self.holder != Some(client) {
                self.say(client, Step::new().query("ROLLBACK")).await?;
            }
            if self.random.below(2) == 0 {
                self.say(client, Step::new().query(PROBE)).await?;
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn sessions_at_random_are_answered_as_each_alone_by_the_server() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let only: Option<u64> = number("PGLANES_SEED");
    let seeds = match only {
        Some(seed) => seed..=seed,
        None => 1..=number("PGLANES_SEEDS").unwrap_or(12),
    };
    let (pg, behind) = (Pg::fresh().await, Pg::fresh().await);
    for database in [&pg, &behind] {
        let direct = database.direct().await;
        direct.batch_execute(SCHEMA).await.unwrap();
    }
    let mut proxies = Vec::new();
    for lane in [
        "{ slots: { max: 1 } }",
        "{ slots: { max: 2 } }",
        "{ slots: { max: 2 }, reuse_plans: true }",
        "{ slots: { max: 2 }, lazy_begin: true }",
    ] {
        let slots = if lane.contains("max: 1") { 1 } else { 2 };
        let proxy = Proxy::with(&format!("lanes: {{ default: {lane} }}"));
        let naming = if lane.contains("reuse") {
            "both"
        } else {
            "keep"
        };
        let proxy = proxy.over(&behind).slots(slots);
        let proxy = proxy.upstream(&format!("application_name: {naming}"));
        proxies.push(proxy.lives(Duration::from_secs(7200)).run().await);
    }
    let (mut steps, mut differ) = (0, Vec::new());
    for seed in seeds {
        let mut world = World {
            pg: &pg,
            proxy: &proxies[seed as usize % proxies.len()],
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            twins: Vec::new(),
            holder: None,
            said: Vec::new(),
        };
        let outcome = world.run().await;
        steps += world.said.len();
        if let Err(difference) = outcome {
            let said = world.said.join("\n  ");
            println!("seed {seed} after\n  {said}\n{difference}");
            differ.push(seed);
        } else if only.is_some() {
            println!("{}", world.said.join("\n"));
        }
        if differ.len() > 20 {
            break;
        }
    }
    println!("{steps} steps");
    assert!(differ.is_empty(), "seeds that differ: {differ:?}");
    for proxy in &proxies {
        invariants(proxy).await;
    }
}
