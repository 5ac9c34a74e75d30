//! What there is to tell of the proxy as a whole.

use std::time::{SystemTime, UNIX_EPOCH};

use pglanes_proxy::view::AliasView;
use pglanes_proxy::{Metrics, ServerEnd, View};

use super::families::Families;
use super::usage::Usage;
use crate::{Reachability, Status};

/// By whom old names are still used.
pub(super) fn add_aliases(families: &mut Families, aliases: &[AliasView]) {
    let series = aliases.iter().map(|alias| {
        let labels = vec![
            ("kind", alias.kind),
            ("alias", alias.alias.as_str()),
            ("name", alias.name.as_str()),
        ];
        (labels, alias.used as f64)
    });
    families.counters("alias_logins_total", series);
}

fn prepared(families: &mut Families, metrics: &Metrics, view: &View) {
    let prepared = view.prepared;
    families.gauges(
        "prepared_statements",
        [
            (vec![("where", "known")], prepared.texts as f64),
            (vec![("where", "servers")], prepared.on_servers as f64),
        ],
    );
    families.counters(
        "prepared_parses_total",
        [
            (vec![("side", "client")], prepared.client_parses as f64),
            (vec![("side", "server")], prepared.server_parses as f64),
        ],
    );
    families.counter("prepared_binds_total", prepared.binds);
    families.counter("prepared_evictions_total", metrics.prepared_evictions.get());
}

/// Why server connections went: what the scheduler decided, and what befell them.
fn closed(families: &mut Families, metrics: &Metrics, view: &View) {
    let decided = view.scheduler.closings.iter();
    let decided = decided.map(|(why, count)| (why.label(), *count));
    let befell = ServerEnd::ALL.into_iter();
    let befell = befell.map(|why| (why.label(), metrics.servers_ended(why)));
    let series = decided.chain(befell);
    families.counters(
        "server_closed_total",
        series.map(|(reason, count)| (vec![("reason", reason)], count as f64)),
    );
}

pub(super) fn add(families: &mut Families, metrics: &Metrics, view: &View, status: &Status) {
    families.gauges(
        "build_info",
        [(vec![("version", env!("CARGO_PKG_VERSION"))], 1.0)],
    );
    families.gauge("process_start_time_seconds", since_1970(status.started));
    if let Some(usage) = Usage::now() {
        let cpu = usage.cpu_seconds;
        families.counters("process_cpu_seconds_total", [(Vec::new(), cpu)]);
        families.gauge("process_resident_memory_bytes", usage.resident_bytes);
    }
    families.gauge("draining", truth(view.draining));
    clients(families, metrics, view, status);
    servers(families, metrics, view, status);
    closed(families, metrics, view);
    prepared(families, metrics, view);
    configuration(families, metrics, status);
}

fn clients(families: &mut Families, metrics: &Metrics, view: &View, status: &Status) {
    families.gauge("clients", view.sessions as f64);
    families.gauge("clients_limit", f64::from(status.clients_limit));
    families.gauge("logins_in_progress", f64::from(view.logins));
    let counters = [
        ("connections_accepted_total", &metrics.accepted),
        ("accept_failures_total", &metrics.accept_failures),
        ("connections_refused_total", &metrics.refused),
        ("logins_total", &metrics.logins),
        ("login_failures_total", &metrics.login_failures),
        ("aliases_used_total", &metrics.aliases_used),
        ("cancel_requests_total", &metrics.cancel_requests),
        ("cancels_forwarded_total", &metrics.cancels_forwarded),
    ];
    for (name, counter) in counters {
        families.counter(name, counter.get());
    }
    encryption(families, metrics);
}

fn encryption(families: &mut Families, metrics: &Metrics) {
    let counters = [
        ("tls_handshakes_total", &metrics.tls_handshakes),
        (
            "tls_handshake_failures_total",
            &metrics.tls_handshake_failures,
        ),
        ("certificate_reloads_total", &metrics.certificate_reloads),
        (
            "certificate_reload_failures_total",
            &metrics.certificate_reload_failures,
        ),
    ];
    for (name, counter) in counters {
        families.counter(name, counter.get());
    }
}

fn servers(families: &mut Families, metrics: &Metrics, view: &View, status: &Status) {
    families.gauge(
        "upstream_up",
        truth(status.upstream == Reachability::Reached),
    );
    families.gauge("upstream_slots", f64::from(view.scheduler.total_slots));
    let (opening, idle, in_use) = view.servers;
    families.gauges(
        "server_connections",
        [("opening", opening), ("idle", idle), ("in_use", in_use)]
            .map(|(state, count)| (vec![("state", state)], count as f64)),
    );
    let counters = [
        ("server_opened_total", &metrics.servers_opened),
        ("server_open_failures_total", &metrics.open_failures),
        ("server_lost_total", &metrics.servers_lost),
        ("out_of_sync_total", &metrics.out_of_sync),
        (
            "backend_priority_overruns_total",
            &metrics.priority_overruns,
        ),
    ];
    for (name, counter) in counters {
        families.counter(name, counter.get());
    }
}

fn configuration(families: &mut Families, metrics: &Metrics, status: &Status) {
    families.counter("config_reloads_total", metrics.reloads.get());
    families.counter(
        "config_reload_failures_total",
        metrics.reload_failures.get(),
    );
    families.gauge(
        "config_last_reload_successful",
        truth(metrics.last_reload_succeeded.get()),
    );
    families.gauge(
        "config_last_reload_success_timestamp_seconds",
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
