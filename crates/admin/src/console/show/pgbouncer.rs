//! The rows of PgBouncer's SHOWs. What it has and we have not is 0, empty or NULL, as it would be there without it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use pglanes_config::{Config, ListenAddress, NameUsed, UpstreamAddress, adjustable_keys};
use pglanes_proxy::view::{ServerState, ServerView, SessionState, SessionView};

use super::World;
use crate::console::table::{Row, Value, microseconds_beside, milliseconds, moment, row, seconds};

/// The PgBouncer whose columns these are.
const VERSION: &str = concat!("PgBouncer 1.25.0 (pglanes ", env!("CARGO_PKG_VERSION"), ")");

pub(super) fn version() -> Vec<Row> {
    vec![row![VERSION]]
}

/// What the process holds, where the system says so.
pub(super) fn memory() -> Vec<Row> {
    let resident = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = resident.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    let resident = pages.unwrap_or(0) * 4096;
    vec![row!["process", resident, 1, 0, resident]]
}

fn ago(now: SystemTime, age: Duration) -> String {
    moment(now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH))
}

/// The 21 columns that clients share with servers.
fn client(world: &World, session: &SessionView, state: &str) -> Row {
    let waited = session.waiting_for.unwrap_or_default();
    let link = session.server.map(|server| format!("{:#x}", server.0));
    row![
        "C",
        session.user.as_str(),
        session.database.as_str(),
        if session.replication {
            "physical"
        } else {
            "none"
        },
        state,
        address(session),
        session.port,
        listen_address(&world.config),
        listen_port(&world.config),
        ago(world.now, session.connected_for),
        ago(world.now, session.asked_ago),
        seconds(waited),
        microseconds_beside(waited),
        0,
        format!("{:#x}", session.id),
        link.unwrap_or_default(),
        0,
        if session.encrypted { "TLS" } else { "" },
        session.application_name.as_str(),
        session.prepared,
        session.id,
    ]
}

fn address(session: &SessionView) -> String {
    match session.address {
        pglanes_config::ClientAddress::Tcp(address) => address.to_string(),
        pglanes_config::ClientAddress::Local => "unix".to_owned(),
    }
}

fn listen_address(config: &Config) -> String {
    match config.listen.first() {
        Some(ListenAddress::Tcp(address)) => address.ip().to_string(),
        Some(ListenAddress::Unix(_)) | None => "unix".to_owned(),
    }
}

fn listen_port(config: &Config) -> u16 {
    match config.listen.first() {
        Some(ListenAddress::Tcp(address)) => address.port(),
        Some(ListenAddress::Unix(_)) | None => 0,
    }
}

fn server(world: &World, server: &ServerView, state: &str) -> Row {
    let link = server.session.map(|session| format!("{session:#x}"));
    let of_session = server.session.and_then(|id| {
        let found = world.sessions.iter().find(|session| session.id == id);
        found.map(|session| session.application_name.as_str())
    });
    let (host, port) = upstream(&world.config);
    row![
        "S",
        server.user.as_str(),
        server.database.as_str(),
        "none",
        state,
        host,
        port,
        "",
        0,
        ago(world.now, server.age),
        ago(world.now, server.in_state_for),
        0,
        0,
        server.retired,
        format!("{:#x}", server.id.0),
        link.unwrap_or_default(),
        server.backend,
        "",
        of_session.unwrap_or(""),
        server.prepared,
        // The low half is its place, which is small; the high half tells uses of the place apart.
        server.id.0 & 0x7fff_ffff,
    ]
}

fn upstream(config: &Config) -> (String, u16) {
    match &config.upstream.address {
        UpstreamAddress::Tcp { host, port } => (host.clone(), *port),
        UpstreamAddress::Unix { directory, port } => (directory.display().to_string(), *port),
    }
}

pub(super) fn clients(world: &World) -> Vec<Row> {
    let sessions = world.sessions.iter();
    let rows = sessions.map(|session| {
        let mut row = client(world, session, session.state.in_pgbouncers_words());
        row.extend(row![
            session.lane_name.as_str(),
            session.rule,
            session.state.label(),
            session.pins.join(" "),
            session.pinned_for.map(seconds),
            session.in_state_for.map(milliseconds),
            session.transactions,
            session.bytes_in,
            session.bytes_out,
        ]);
        row
    });
    rows.collect()
}

pub(super) fn servers(world: &World) -> Vec<Row> {
    let rows = world.servers.iter().map(|view| {
        let mut row = server(world, view, view.state.label());
        row.extend(row![
            view.lane_name.as_str(),
            seconds(view.age),
            milliseconds(view.in_state_for),
            view.transactions,
            view.session,
        ]);
        row
    });
    rows.collect()
}

/// Both kinds, with the positions in PgBouncer's buffers, which we have none of.
pub(super) fn sockets(world: &World, wanted: impl Fn(bool) -> bool) -> Vec<Row> {
    let behind = |row: &mut Row, lane: &str, state: &str| {
        row.extend(row![0, 0, 0, 0, 0, 0, 0, lane, state]);
    };
    let mut rows = Vec::new();
    for session in &world.sessions {
        let active = session.state != SessionState::Idle;
        if wanted(active) {
            let state = match session.state {
                SessionState::Idle => "cl_idle",
                SessionState::Waiting => "cl_waiting",
                _ => "cl_active",
            };
            let mut row = client(world, session, state);
            behind(&mut row, &session.lane_name, session.state.label());
            rows.push(row);
        }
    }
    for view in &world.servers {
        if wanted(view.state != ServerState::Idle) {
            let state = match view.state {
                ServerState::Login => "sv_login",
                ServerState::Idle => "sv_idle",
                ServerState::Active => "sv_active",
                ServerState::BeingCancelled => "sv_being_canceled",
            };
            let mut row = server(world, view, state);
            behind(&mut row, &view.lane_name, view.state.label());
            rows.push(row);
        }
    }
    rows
}

/// What is counted of a pool.
#[derive(Default)]
struct Pool<'w> {
    clients: usize,
    waiting: usize,
    longest: Duration,
    servers: [usize; 4],
    lanes: BTreeSet<&'w str>,
}

type PoolName<'w> = (&'w str, &'w str, &'w str);

fn counted<'w>(
    world: &'w World,
    name: impl Fn(&'w str, &'w str, &'w str) -> PoolName<'w>,
) -> BTreeMap<PoolName<'w>, Pool<'w>> {
    let mut pools: BTreeMap<PoolName<'w>, Pool<'w>> = BTreeMap::new();
    for session in &world.sessions {
        let name = name(&session.database, &session.user, &session.lane_name);
        let pool = pools.entry(name).or_default();
        pool.lanes.insert(&session.lane_name);
        match session.waiting_for {
            Some(waited) => {
                pool.waiting += 1;
                pool.longest = pool.longest.max(waited);
            }
            // As PgBouncer's: clients that are linked, and idle ones.
            None => pool.clients += 1,
        }
    }
    for server in &world.servers {
        let name = name(&server.database, &server.user, &server.lane_name);
        let pool = pools.entry(name).or_default();
        pool.lanes.insert(&server.lane_name);
        let place = match server.state {
            ServerState::Active => 0,
            ServerState::BeingCancelled => 1,
            ServerState::Idle => 2,
            ServerState::Login => 3,
        };
        pool.servers[place] += 1;
    }
    pools
}

fn pool_row((database, user, _): PoolName<'_>, pool: &Pool<'_>, last: Value) -> Row {
    let [active, cancelled, idle, login] = pool.servers;
    let mut row = row![
        database,
        user,
        pool.clients,
        pool.waiting,
        0,
        0,
        active,
        0,
        cancelled,
        idle,
        0,
        0,
        login,
        seconds(pool.longest),
        microseconds_beside(pool.longest),
        "transaction",
        None::<&str>,
    ];
    row.push(last);
    row
}

/// One row a database and user: tools take these for the name of a pool.
pub(super) fn pools(world: &World) -> Vec<Row> {
    let pools = counted(world, |database, user, _| (database, user, ""));
    let rows = pools.iter().map(|(name, pool)| {
        let lanes: Vec<&str> = pool.lanes.iter().copied().collect();
        pool_row(*name, pool, lanes.join(" ").into())
    });
    rows.collect()
}

/// One row a database, user and lane.
pub(super) fn pools_extended(world: &World) -> Vec<Row> {
    let pools = counted(world, |database, user, lane| (database, user, lane));
    let rows = pools.iter();
    rows.map(|(name, pool)| pool_row(*name, pool, name.2.into()))
        .collect()
}

/// The real names that are known: of sessions, of server connections, and of the file.
fn names(world: &World, of_session: impl Fn(&SessionView) -> &str) -> BTreeSet<String> {
    let of_sessions = world.sessions.iter().map(of_session);
    of_sessions.map(str::to_owned).collect()
}

fn database_names(world: &World) -> BTreeSet<String> {
    let mut all = names(world, |session| &session.database);
    all.extend(world.servers.iter().map(|server| server.database.clone()));
    all.extend(
        world
            .config
            .databases
            .iter()
            .map(|database| database.name.clone()),
    );
    all.extend(world.view.operated.paused_databases.iter().cloned());
    all.extend(world.view.operated.disabled_databases.iter().cloned());
    all
}

fn user_names(world: &World) -> BTreeSet<String> {
    let mut all = names(world, |session| &session.user);
    all.extend(world.servers.iter().map(|server| server.user.clone()));
    all.extend(world.config.users.iter().map(|user| user.name.clone()));
    all
}

pub(super) fn databases(world: &World) -> Vec<Row> {
    let (host, port) = upstream(&world.config);
    let slots = world.config.upstream.slots;
    let mut rows = Vec::new();
    let real = database_names(world);
    let aliases = world.config.databases.iter().flat_map(|database| {
        let aliases = database.aliases.iter();
        aliases.map(|alias| (alias.clone(), database.name.clone(), NameUsed::Alias))
    });
    let named = real
        .into_iter()
        .map(|name| (name.clone(), name, NameUsed::Real));
    let operated = &world.view.operated;
    for (name, database, used) in named.chain(aliases) {
        // What an alias has is counted with the real name.
        let counts = used == NameUsed::Real;
        let servers = world
            .servers
            .iter()
            .filter(|server| server.database == database);
        let clients = world
            .sessions
            .iter()
            .filter(|session| session.database == database);
        let (servers, clients) = if counts {
            (servers.count(), clients.count())
        } else {
            (0, 0)
        };
        rows.push(row![
            name,
            host.as_str(),
            port,
            database.as_str(),
            None::<&str>,
            slots,
            0,
            0,
            None::<i32>,
            None::<&str>,
            None::<&str>,
            0,
            servers,
            0,
            clients,
            operated.paused || operated.paused_databases.contains(&database),
            operated.disabled_databases.contains(&database),
            0,
        ]);
    }
    rows
}

pub(super) fn users(world: &World) -> Vec<Row> {
    let rows = user_names(world).into_iter().map(|name| {
        let servers = world.servers.iter().filter(|server| server.user == name);
        let clients = world.sessions.iter().filter(|session| session.user == name);
        let (servers, clients) = (servers.count(), clients.count());
        row![name, "", "", None::<&str>, 0, servers, 0, clients]
    });
    rows.collect()
}

pub(super) fn lists(world: &World) -> Vec<Row> {
    let limit = world.config.limits.clients as usize;
    let (opening, idle, in_use) = world.view.servers;
    let servers = opening + idle + in_use;
    let slots = world.config.upstream.slots as usize;
    let pools = counted(world, |database, user, _| (database, user, "")).len();
    let lists = [
        ("databases", database_names(world).len()),
        ("users", user_names(world).len()),
        ("peers", 0),
        ("pools", pools),
        ("peer_pools", 0),
        ("free_clients", limit.saturating_sub(world.view.sessions)),
        ("used_clients", world.view.sessions),
        ("login_clients", world.view.logins as usize),
        ("free_servers", slots.saturating_sub(servers)),
        ("used_servers", servers),
        ("dns_names", 0),
        ("dns_zones", 0),
        ("dns_queries", 0),
        ("dns_pending", 0),
    ];
    lists
        .into_iter()
        .map(|(list, items)| row![list, items])
        .collect()
}

pub(super) fn state(world: &World) -> Vec<Row> {
    let word = |is: bool| if is { "yes" } else { "no" };
    let paused = world.view.operated.paused;
    vec![
        row!["active", word(!paused)],
        row!["paused", word(paused)],
        row!["suspended", "no"],
    ]
}

/// PgBouncer's names for what we have, and our own keys. No secret is among them.
pub(super) fn config(world: &World) -> Vec<Row> {
    let config = &world.config;
    let defaults = Config::default();
    let time = |limit: Option<Duration>| limit.map_or(0, |limit| limit.as_secs());
    let mut rows: Vec<Row> = [
        (
            "listen_port",
            u64::from(listen_port(config)),
            u64::from(listen_port(&defaults)),
            "no",
        ),
        (
            "max_client_conn",
            u64::from(config.limits.clients),
            u64::from(defaults.limits.clients),
            "yes",
        ),
        ("max_user_connections", 0, 0, "no"),
        ("max_db_connections", 0, 0, "no"),
        (
            "default_pool_size",
            u64::from(config.upstream.slots),
            u64::from(defaults.upstream.slots),
            "no",
        ),
        (
            "client_login_timeout",
            config.limits.login_timeout.as_secs(),
            defaults.limits.login_timeout.as_secs(),
            "yes",
        ),
        (
            "idle_transaction_timeout",
            time(config.limits.client_idle_in_transaction),
            time(defaults.limits.client_idle_in_transaction),
            "yes",
        ),
        (
            "server_connect_timeout",
            config.upstream.connect_timeout.as_secs(),
            defaults.upstream.connect_timeout.as_secs(),
            "yes",
        ),
    ]
    .into_iter()
    .map(|(key, value, default, changeable)| {
        row![key, value.to_string(), default.to_string(), changeable]
    })
    .collect();
    rows.push(row!["pool_mode", "transaction", "transaction", "no"]);
    for key in adjustable_keys() {
        rows.push(row![
            key,
            of_key(config, key),
            of_key(&defaults, key),
            "yes"
        ]);
    }
    for (key, value) in &world.view.operated.set {
        rows.push(row![
            format!("{key} (set at run time)"),
            value.as_str(),
            "",
            "yes"
        ]);
    }
    rows
}

fn of_key(config: &Config, key: &str) -> Value {
    let seconds = |limit: Option<Duration>| match limit {
        Some(limit) => format!("{}s", limit.as_secs_f64()),
        None => "off".to_owned(),
    };
    let limits = &config.limits;
    match key {
        "upstream.slots" => config.upstream.slots.to_string().into(),
        "upstream.connect_timeout" => seconds(Some(config.upstream.connect_timeout)).into(),
        "limits.clients" => limits.clients.to_string().into(),
        "limits.login_timeout" => seconds(Some(limits.login_timeout)).into(),
        "limits.message_before_slot" => limits.message_before_slot.to_string().into(),
        "limits.client_idle_in_transaction" => seconds(limits.client_idle_in_transaction).into(),
        "limits.half_sent_message" => seconds(limits.half_sent_message).into(),
        "limits.slow_reader" => seconds(limits.slow_reader).into(),
        "limits.cancels" => limits.cancels.to_string().into(),
        _ => Value::Null,
    }
}
