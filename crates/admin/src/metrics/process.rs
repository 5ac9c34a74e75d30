//! What there is to tell of the proxy as a whole.

use std::time::{SystemTime, UNIX_EPOCH};

use pglanes_proxy::{Metrics, View};

use super::families::Families;
use crate::{Reachability, Status};

pub(super) fn add(families: &mut Families, metrics: &Metrics, view: &View, status: &Status) {
    families.gauges(
        "build_info",
        "1, with the version that runs.",
        [(vec![("version", env!("CARGO_PKG_VERSION"))], 1.0)],
    );
    families.gauge(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970.",
        since_1970(status.started),
    );
    families.gauge(
        "draining",
        "1 while the proxy is ending.",
        truth(view.draining),
    );
    clients(families, metrics, view, status);
    servers(families, metrics, view, status);
    configuration(families, metrics, status);
}

fn clients(families: &mut Families, metrics: &Metrics, view: &View, status: &Status) {
    families.gauge("clients", "Sessions logged in.", view.sessions as f64);
    families.gauge(
        "clients_limit",
        "Clients that may be connected at once (limits.clients).",
        f64::from(status.clients_limit),
    );
    families.gauge(
        "logins_in_progress",
        "Logins that have not finished.",
        f64::from(view.logins),
    );
    let counters = [
        (
            "connections_accepted_total",
            "Connections accepted.",
            &metrics.accepted,
        ),
        (
            "accept_failures_total",
            "Attempts to accept a connection that failed (no descriptors left, most likely).",
            &metrics.accept_failures,
        ),
        (
            "connections_refused_total",
            "Connections refused because there were too many.",
            &metrics.refused,
        ),
        ("logins_total", "Logins that succeeded.", &metrics.logins),
        (
            "login_failures_total",
            "Logins that failed.",
            &metrics.login_failures,
        ),
        (
            "aliases_used_total",
            "Logins under an alias of a user or a database.",
            &metrics.aliases_used,
        ),
        (
            "cancel_requests_total",
            "Cancel requests received.",
            &metrics.cancel_requests,
        ),
        (
            "cancels_forwarded_total",
            "Cancel requests carried to PostgreSQL.",
            &metrics.cancels_forwarded,
        ),
    ];
    for (name, help, counter) in counters {
        families.counter(name, help, counter.get());
    }
    encryption(families, metrics);
}

fn encryption(families: &mut Families, metrics: &Metrics) {
    let counters = [
        (
            "tls_handshakes_total",
            "TLS handshakes with clients that succeeded.",
            &metrics.tls_handshakes,
        ),
        (
            "tls_handshake_failures_total",
            "TLS handshakes with clients that failed.",
            &metrics.tls_handshake_failures,
        ),
        (
            "certificate_reloads_total",
            "Changed certificates put in force.",
            &metrics.certificate_reloads,
        ),
        (
            "certificate_reload_failures_total",
            "Changed certificates that could not be used; the old ones stayed in force.",
            &metrics.certificate_reload_failures,
        ),
    ];
    for (name, help, counter) in counters {
        families.counter(name, help, counter.get());
    }
}

fn servers(families: &mut Families, metrics: &Metrics, view: &View, status: &Status) {
    families.gauge(
        "upstream_up",
        "1 while PostgreSQL answers.",
        truth(status.upstream == Reachability::Reached),
    );
    families.gauge(
        "upstream_slots",
        "Server connections that all lanes may have together (upstream.slots).",
        f64::from(view.scheduler.total_slots),
    );
    let (opening, idle, in_use) = view.servers;
    families.gauges(
        "server_connections",
        "Connections to PostgreSQL, by what they are doing.",
        [("opening", opening), ("idle", idle), ("in_use", in_use)]
            .map(|(state, count)| (vec![("state", state)], count as f64)),
    );
    let counters = [
        (
            "server_opened_total",
            "Server connections opened.",
            &metrics.servers_opened,
        ),
        (
            "server_open_failures_total",
            "Attempts to open a server connection that failed.",
            &metrics.open_failures,
        ),
        (
            "server_closed_total",
            "Server connections closed by the proxy.",
            &metrics.servers_closed,
        ),
        (
            "server_lost_total",
            "Server connections that ended or broke while a session used them.",
            &metrics.servers_lost,
        ),
        (
            "out_of_sync_total",
            "Server connections closed because nobody could say what they still owed: stays 0.",
            &metrics.out_of_sync,
        ),
        (
            "backend_priority_overruns_total",
            "Backends left at their priority because too many others had to be set.",
            &metrics.priority_overruns,
        ),
    ];
    for (name, help, counter) in counters {
        families.counter(name, help, counter.get());
    }
}

fn configuration(families: &mut Families, metrics: &Metrics, status: &Status) {
    families.counter(
        "config_reloads_total",
        "Configurations put in force after the first.",
        metrics.reloads.get(),
    );
    families.counter(
        "config_reload_failures_total",
        "Configurations refused.",
        metrics.reload_failures.get(),
    );
    families.gauge(
        "config_last_reload_successful",
        "1 if the last configuration read was put in force.",
        truth(metrics.last_reload_succeeded.get()),
    );
    families.gauge(
        "config_last_reload_success_timestamp_seconds",
        "When the configuration in force was read, in seconds since 1970.",
        since_1970(status.configured),
    );
}

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

/// Zero for a clock that stands before 1970.
fn since_1970(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}
