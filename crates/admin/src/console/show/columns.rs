//! The columns of each SHOW. PgBouncer 1.25's come first, by its names and in its order; what stands behind them is ours.

use crate::console::command::Show;
use crate::console::table::{Column, big, int, text};

/// A kind and a name for each column.
macro_rules! columns {
    ($($kind:ident $name:ident),* $(,)?) => {
        const { &[$($kind(stringify!($name))),*] }
    };
}

/// Those that CLIENTS, SERVERS and the SOCKETS share, and what stands behind them.
macro_rules! socket_columns {
    ($($kind:ident $name:ident),* $(,)?) => {
        columns! {
            text type, text user, text database, text replication, text state, text addr, int port,
            text local_addr, int local_port, text connect_time, text request_time, int wait,
            int wait_us, int close_needed, text ptr, text link, int remote_pid, text tls,
            text application_name, int prepared_statements, int id,
            $($kind $name),*
        }
    };
}

/// Those that POOLS and POOLS EXTENDED share, and what stands behind them.
macro_rules! pool_columns {
    ($kind:ident $name:ident) => {
        columns! {
            text database, text user, int cl_active, int cl_waiting, int cl_active_cancel_req,
            int cl_waiting_cancel_req, int sv_active, int sv_active_cancel, int sv_being_canceled,
            int sv_idle, int sv_used, int sv_tested, int sv_login, int maxwait, int maxwait_us,
            text pool_mode, text load_balance_hosts, $kind $name,
        }
    };
}

const CLIENTS: &[Column] = socket_columns! {
    text lane, int rule, text lane_state, text pinned, int pinned_s, big state_ms,
    big transactions, big bytes_in, big bytes_out,
};
const SERVERS: &[Column] = socket_columns! {
    text lane, big age_s, big state_ms, big transactions, int client,
};
const SOCKETS: &[Column] = socket_columns! {
    int recv_pos, int pkt_pos, int pkt_remain, int send_pos, int send_remain, int pkt_avail,
    int send_avail, text lane, text lane_state,
};
const POOLS: &[Column] = pool_columns! { text lanes };
const POOLS_EXTENDED: &[Column] = pool_columns! { text lane };
/// The last one as PgBouncer before 1.24 calls it, and its exporter still does.
const DATABASES: &[Column] = columns! {
    text name, text host, int port, text database, text force_user, int pool_size,
    int min_pool_size, int reserve_pool_size, int server_lifetime, text pool_mode,
    text load_balance_hosts, int max_connections, int current_connections,
    int max_client_connections, int current_client_connections, int paused, int disabled,
    int reserve_pool,
};
const USERS: &[Column] = columns! {
    text name, text pool_size, text reserve_pool_size, text pool_mode, int max_user_connections,
    int current_connections, int max_user_client_connections, int current_client_connections,
};
const STATS: &[Column] = columns! {
    text database, big total_server_assignment_count, big total_xact_count, big total_query_count,
    big total_received, big total_sent, big total_xact_time, big total_query_time,
    big total_wait_time, big total_client_parse_count, big total_server_parse_count,
    big total_bind_count, big avg_server_assignment_count, big avg_xact_count,
    big avg_query_count, big avg_recv, big avg_sent, big avg_xact_time, big avg_query_time,
    big avg_wait_time, big avg_client_parse_count, big avg_server_parse_count, big avg_bind_count,
};
const STATS_TOTALS: &[Column] = columns! {
    text database, big server_assignment_count, big xact_count, big query_count,
    big bytes_received, big bytes_sent, big xact_time, big query_time, big wait_time,
    big client_parse_count, big server_parse_count, big bind_count,
};
const STATS_AVERAGES: &[Column] = columns! {
    text database, big server_assignment_count, big xact_count, big query_count,
    big bytes_received, big bytes_sent, big xact_time, big query_time, big wait_time,
    big avg_client_parse_count, big avg_server_parse_count, big avg_bind_count,
};
const PEER_POOLS: &[Column] = columns! {
    int peer_id, int cl_active_cancel_req, int cl_waiting_cancel_req, int sv_active_cancel,
    int sv_login,
};
const LANES: &[Column] = columns! {
    text lane, text mode, int paused, int min, int max, int effective, int busy, int idle,
    int opening, int waiting, big oldest_wait_ms, int sessions, int leases, int priority,
    int weight, text cpu, text throttled_by, big throttled_ms, big transactions, big errors,
    big cancelled, int retired,
};
const QUEUES: &[Column] = columns! {
    text lane, int waiting, int length, big oldest_wait_ms, big timeout_ms, int paused,
    big granted, big rejected_full, big rejected_timeout, big rejected_upstream, big withdrawn,
};
const THROTTLES: &[Column] = columns! {
    text throttle, text watched, text lane, text mode, int active, int limit, big activations,
    big held_back, big cancelled,
};
const PINNED: &[Column] = columns! {
    int id, text user, text database, text application_name, text lane, text reasons,
    big pinned_s, text state, int remote_pid,
};
const RUNS: &[Column] = columns! {
    text lane, text run, text kind, text began, text ended, big seconds, text end,
    big transactions, text against_quiet, big delayed_ms, big held_back_ms, text verdict,
    text sentence,
};
const BASELINES: &[Column] = columns! {
    text lane, text objective, text statements, text shape, big samples, big p50_us, big p95_us,
    big p99_us,
};

/// The columns of a SHOW.
pub(in crate::console) fn columns(show: Show) -> &'static [Column] {
    match show {
        // A notice, and a refusal.
        Show::Help | Show::Fds => &[],
        Show::Version => columns! { text version },
        Show::Config => columns! { text key, text value, text default, text changeable },
        Show::Clients => CLIENTS,
        Show::Servers => SERVERS,
        Show::Sockets | Show::ActiveSockets => SOCKETS,
        Show::Pools => POOLS,
        Show::PoolsExtended => POOLS_EXTENDED,
        Show::Lists => columns! { text list, int items },
        Show::Databases => DATABASES,
        Show::Users => USERS,
        Show::Stats => STATS,
        Show::StatsTotals => STATS_TOTALS,
        Show::StatsAverages => STATS_AVERAGES,
        Show::Totals => columns! { text name, big value },
        Show::Mem => columns! { text name, big size, big used, big free, big memtotal },
        Show::DnsHosts => columns! { text hostname, big ttl, text addrs },
        Show::DnsZones => columns! { text zonename, big serial, int count },
        Show::State => columns! { text key, text value },
        Show::Peers => columns! { int peer_id, text host, int port, int pool_size },
        Show::PeerPools => PEER_POOLS,
        Show::Lanes => LANES,
        Show::Queues => QUEUES,
        Show::Throttles => THROTTLES,
        Show::Leases => {
            columns! { text id, text lane, text holder, big ttl_s, big held_s, big expires_in_s }
        }
        Show::Rules => columns! { int rule, text lane, text match, int line, int sessions },
        Show::Pinned => PINNED,
        Show::Aliases => {
            columns! { text kind, text alias, text name, big used, text last_used, text last_client }
        }
        Show::Events => {
            columns! { big number, text time, text event, text lane, text detail, big untold }
        }
        Show::Baselines => BASELINES,
        Show::Runs => RUNS,
    }
}
