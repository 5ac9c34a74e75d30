//! Every key of lanes.yaml: its kind, its default, its meaning. The reader accepts exactly what stands here, the
//! documentation is printed from here, and tests hold config/lanes.yaml against it.

mod lookup;

pub use lookup::text;
pub(crate) use lookup::{has, is_key, keys_of};

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands: `*` is a name of the user's choice, `[]` an entry of a list.
    pub path: &'static str,
    /// What kind of value it takes.
    pub kind: &'static str,
    /// What holds where it is not written.
    pub default: &'static str,
    /// What it is for.
    pub meaning: &'static str,
}

const fn entry(
    path: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Entry {
    Entry {
        path,
        kind,
        default,
        meaning,
    }
}

/// All keys, in the order in which a file is best written.
pub const ENTRIES: &[Entry] = &[
    entry(
        "listen",
        "address or list",
        "127.0.0.1:6433",
        "where clients connect: host:port, or the path of a unix socket; several as a list",
    ),
    entry(
        "http",
        "address or off",
        "127.0.0.1:9433",
        "where /metrics, /healthz and /readyz are served",
    ),
    entry(
        "allow_remote",
        "true or false",
        "false",
        "allows addresses that are not loopback, which should have tls; trust is then refused for them",
    ),
    entry(
        "upstream",
        "section",
        "",
        "the PostgreSQL server behind the lanes",
    ),
    entry(
        "upstream.url",
        "URL",
        "postgresql://localhost:5432",
        "the server's address; user, password, a unix socket directory as the host, and libpq's sslmode, sslrootcert, \
         sslcert, sslkey, sslnegotiation and channel_binding are accepted",
    ),
    entry(
        "upstream.slots",
        "number",
        "40",
        "server connections of all lanes together; keep it below max_connections",
    ),
    entry(
        "upstream.connect_timeout",
        "duration",
        "5s",
        "how long opening a server connection may take",
    ),
    entry(
        "upstream.password",
        "env or file",
        "none",
        "the password for PostgreSQL where a user has no upstream_password",
    ),
    entry(
        "upstream.password.env",
        "name",
        "",
        "the environment variable that holds it",
    ),
    entry(
        "upstream.password.file",
        "path",
        "",
        "the file that holds it, readable by its owner alone",
    ),
    entry(
        "upstream.unix_socket",
        "auto, off or path",
        "auto",
        "auto: a local server is reached through its unix socket where there is one",
    ),
    entry(
        "tls",
        "section",
        "off",
        "TLS for clients, on every TCP address of listen; changed files take effect by themselves",
    ),
    entry(
        "tls.certificate",
        "path",
        "",
        "the certificate in PEM, followed by its chain",
    ),
    entry(
        "tls.key",
        "path",
        "",
        "its key in PEM, not encrypted, readable by its owner alone",
    ),
    entry(
        "tls.client_ca",
        "path",
        "none",
        "the authorities whose signature clients' certificates must bear; without it none is asked for",
    ),
    entry(
        "tls.client_certificates",
        "require or request",
        "require",
        "request lets clients do without a certificate; beside client_ca",
    ),
    entry(
        "tls.mode",
        "allow or require",
        "allow",
        "require refuses logins over TCP without TLS; unix sockets are exempt",
    ),
    entry("auth", "section", "", "how clients prove who they are"),
    entry(
        "auth.method",
        "relay, trust or scram-sha-256",
        "relay",
        "where there is no access list. relay checks what is known of the user, and carries the login out with PostgreSQL where nothing is; trust takes every client at its word (a user with a password here must still prove it); scram-sha-256 lets in only users whose password is known",
    ),
    entry(
        "access",
        "list of rules",
        "none",
        "who may come in, from where, and how it is proven, as in pg_hba.conf: the first rule that fits decides, and where none fits the client is turned away; takes the place of auth.method",
    ),
    entry(
        "access[].address",
        "any, local or network",
        "any",
        "the client's address: a network such as 10.0.0.0/8, local for unix sockets",
    ),
    entry(
        "access[].database",
        "pattern",
        "*",
        "the database's real name, as a glob",
    ),
    entry(
        "access[].user",
        "pattern",
        "*",
        "the user's real name, as a glob",
    ),
    entry(
        "access[].method",
        "relay, scram-sha-256, md5, password, peer, cert, trust or reject",
        "",
        "how the client proves who it is; password (in clear) only over TLS or a unix socket, peer only over a unix socket, cert only over TLS",
    ),
    entry(
        "access[].map",
        "list",
        "[]",
        "for peer: which operating system user may be which database user; without it, the one of its own name",
    ),
    entry(
        "access[].map[].system_user",
        "name",
        "",
        "the operating system user",
    ),
    entry(
        "access[].map[].user",
        "pattern",
        "",
        "the database users it may be",
    ),
    entry(
        "users_file",
        "path",
        "none",
        "a userlist.txt of PgBouncer, with passwords, md5 hashes or SCRAM verifiers; read again at each reload; users below take precedence",
    ),
    entry(
        "auth_query",
        "section",
        "none",
        "asks PostgreSQL for the verifiers of users that are named neither here nor in users_file",
    ),
    entry(
        "auth_query.query",
        "statement",
        "one on pg_catalog.pg_authid that honours VALID UNTIL",
        "gives a row of user name and stored password for the name in $1; search_path is pg_catalog, so other names are written with their schema",
    ),
    entry(
        "auth_query.user",
        "name",
        "the user of upstream.url",
        "who asks; its password is its upstream_password, or upstream.password",
    ),
    entry(
        "auth_query.database",
        "name",
        "the database of upstream.url, else postgres",
        "where it is asked",
    ),
    entry(
        "databases",
        "mapping by name",
        "{}",
        "databases that are known under other names too",
    ),
    entry("databases.*", "section", "", "the database's real name"),
    entry(
        "databases.*.aliases",
        "list of names",
        "[]",
        "names that clients use and that mean this database",
    ),
    entry(
        "users",
        "mapping by name",
        "{}",
        "users with a password or with other names",
    ),
    entry("users.*", "section", "", "the user's real name"),
    entry(
        "users.*.password",
        "env, file or verifier",
        "none",
        "what the client must prove: from the environment, a file, or a SCRAM-SHA-256 verifier",
    ),
    entry(
        "users.*.password.env",
        "name",
        "",
        "the environment variable that holds it",
    ),
    entry(
        "users.*.password.file",
        "path",
        "",
        "the file that holds it, readable by its owner alone",
    ),
    entry(
        "users.*.aliases",
        "list of names, or of name and password",
        "[]",
        "names that clients use and that mean this user",
    ),
    entry("users.*.aliases[].name", "name", "", "the alias"),
    entry(
        "users.*.aliases[].password",
        "env, file or verifier",
        "the user's",
        "the alias's own password",
    ),
    entry(
        "users.*.aliases[].password.env",
        "name",
        "",
        "the environment variable that holds it",
    ),
    entry(
        "users.*.aliases[].password.file",
        "path",
        "",
        "the file that holds it, readable by its owner alone",
    ),
    entry(
        "users.*.upstream_password",
        "env or file",
        "upstream.password",
        "the user's password at PostgreSQL",
    ),
    entry(
        "users.*.upstream_password.env",
        "name",
        "",
        "the environment variable that holds it",
    ),
    entry(
        "users.*.upstream_password.file",
        "path",
        "",
        "the file that holds it, readable by its owner alone",
    ),
    entry("limits", "section", "", "bounds on what clients may hold"),
    entry(
        "limits.clients",
        "number",
        "10000",
        "clients connected at once; the next one is answered 53300",
    ),
    entry(
        "limits.login_timeout",
        "duration",
        "15s",
        "how long a client may take to log in",
    ),
    entry(
        "limits.message_before_slot",
        "size",
        "1MB",
        "the largest statement that is held in memory while it waits for a slot; the rest of a larger one stays in the socket",
    ),
    entry(
        "limits.client_idle_in_transaction",
        "duration or off",
        "off",
        "a client that is silent inside a transaction for so long loses its connection, so that its slot comes back",
    ),
    entry(
        "limits.half_sent_message",
        "duration or off",
        "60s",
        "a client that begins a message in a transaction and does not go on with it for so long loses its connection: PostgreSQL would wait for the rest for ever",
    ),
    entry(
        "limits.slow_reader",
        "duration or off",
        "off",
        "a client that leaves its result unread for so long loses its connection, so that its slot comes back",
    ),
    entry(
        "limits.cancels",
        "number",
        "64",
        "cancel requests in progress at once",
    ),
    entry("shutdown", "section", "", "how the proxy ends"),
    entry(
        "shutdown.grace",
        "duration",
        "30s",
        "how long running transactions may take to finish after SIGTERM",
    ),
    entry("reload", "section", "", "how a changed file takes effect"),
    entry(
        "reload.watch",
        "true or false",
        "true",
        "a changed lanes.yaml takes effect by itself; false leaves it to SIGHUP",
    ),
    entry(
        "logging",
        "section",
        "",
        "what is logged, on standard error",
    ),
    entry(
        "logging.format",
        "human or json",
        "human",
        "lines for people or for machines",
    ),
    entry(
        "logging.level",
        "error, warn, info, debug or trace",
        "info",
        "how much is logged",
    ),
    entry(
        "lanes",
        "mapping by name, in order",
        "those of the default file",
        "the classes of work; the first lane with a matching rule takes a transaction, `default` takes the rest",
    ),
    entry("lanes.*", "section", "", "the lane's name"),
    entry(
        "lanes.*.match",
        "list of rules",
        "[]",
        "which work belongs here; one rule's conditions must all hold, one rule is enough",
    ),
    entry(
        "lanes.*.match[].application_name",
        "glob",
        "",
        "the session's application_name; * is any text, ? one character",
    ),
    entry("lanes.*.match[].user", "glob", "", "the session's user"),
    entry(
        "lanes.*.match[].database",
        "glob",
        "",
        "the session's database",
    ),
    entry(
        "lanes.*.match[].lane",
        "lane",
        "",
        "the lane that the session is in by its names; beside statement or tag",
    ),
    entry(
        "lanes.*.match[].statement",
        "list of kinds",
        "",
        "the first statement of the transaction: DELETE, VACUUM, CREATE INDEX, ...",
    ),
    entry(
        "lanes.*.match[].tag",
        "mapping",
        "",
        "a comment such as /*job='compaction'*/ in the statement",
    ),
    entry(
        "lanes.*.slots",
        "section",
        "",
        "how many server connections the lane has",
    ),
    entry(
        "lanes.*.slots.min",
        "number",
        "0",
        "slots that no other lane can take for long",
    ),
    entry(
        "lanes.*.slots.max",
        "number",
        "upstream.slots",
        "slots that the lane never goes beyond",
    ),
    entry(
        "lanes.*.pooling",
        "transaction or session",
        "transaction",
        "whether a slot is held for a transaction or for the session",
    ),
    entry(
        "lanes.*.lazy_begin",
        "true or false",
        "false",
        "whether a lone BEGIN takes no slot until the first statement behind it; now() is then that statement's",
    ),
    entry(
        "lanes.*.reuse_plans",
        "true or false",
        "false",
        "whether an unnamed statement that comes again stays prepared on the server connection, so that its plan is used again by every client",
    ),
    entry(
        "lanes.*.priority",
        "number",
        "0",
        "the lane with the higher number is served first",
    ),
    entry(
        "lanes.*.weight",
        "number",
        "1",
        "shares between lanes of the same priority",
    ),
    entry(
        "lanes.*.queue",
        "section",
        "",
        "transactions that wait for a slot",
    ),
    entry(
        "lanes.*.queue.length",
        "number",
        "200",
        "how many may wait; the next one is answered 53300",
    ),
    entry(
        "lanes.*.queue.timeout",
        "duration",
        "60s",
        "how long one may wait; then it is answered 57014",
    ),
    entry(
        "lanes.*.settings",
        "mapping",
        "{}",
        "PostgreSQL settings that the lane's connections start with, passed as written",
    ),
    entry(
        "lanes.*.cpu",
        "normal, low or background",
        "normal",
        "the operating system's priority for the lane's server processes, on the same host",
    ),
    entry(
        "lanes.*.mode",
        "enforce, observe or off",
        "enforce",
        "observe counts what the lane's bounds would hold back, and holds nothing back",
    ),
    entry(
        "lanes.*.idle_timeout",
        "duration",
        "10m",
        "an idle server connection is closed after so long; 0 keeps it",
    ),
    entry(
        "lanes.*.server_lifetime",
        "duration",
        "1h",
        "a server connection is replaced after so long, between transactions; 0 keeps it",
    ),
    entry(
        "lanes.*.objective",
        "section",
        "none",
        "the lane's latency target",
    ),
    entry(
        "lanes.*.objective.p95",
        "ratio",
        "none",
        "the 95th percentile relative to the lane's own quiet baseline, such as 1.2x",
    ),
    entry(
        "throttles",
        "list",
        "those of the default file, where the lanes are too",
        "what yields to what",
    ),
    entry(
        "throttles[].name",
        "text",
        "X yields to Y",
        "how logs and metrics call it",
    ),
    entry("throttles[].while", "section", "", "when it holds"),
    entry("throttles[].while.lane", "lane", "", "the protected lane"),
    entry(
        "throttles[].while.is",
        "busy, connected or leased",
        "busy",
        "busy: a transaction runs or waits; connected: a session is there; leased: a lease is held",
    ),
    entry(
        "throttles[].while.linger",
        "duration",
        "0",
        "how long it holds on after that",
    ),
    entry("throttles[].lane", "lane", "", "the lane that yields"),
    entry(
        "throttles[].slots",
        "number or share",
        "0",
        "what it keeps: no slot, some slots, or a share of the time such as 25%",
    ),
    entry(
        "throttles[].running",
        "finish or cancel_after",
        "finish",
        "what happens to its running statements",
    ),
    entry(
        "throttles[].running.cancel_after",
        "duration",
        "",
        "they are cancelled when they run on for so long",
    ),
    entry(
        "throttles[].mode",
        "enforce, observe or off",
        "enforce",
        "observe counts what it would hold back, and holds nothing back",
    ),
];

#[cfg(test)]
mod tests;
