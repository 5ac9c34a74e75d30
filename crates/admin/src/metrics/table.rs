//! Every metric there is: name, type, labels and meaning. What is told is held against this table, and the reference in
//! `deploy/metrics.md` is written from it.

use std::fmt::Write;

use crate::text_format::Kind;

/// What every name but the process' own begins with.
const PREFIX: &str = "pglanes_";

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Without the prefix.
    pub(super) name: &'static str,
    /// What kind of numbers it has.
    pub kind: Kind,
    /// What its series are told apart by, in this order.
    pub labels: &'static [&'static str],
    /// What it means, in a sentence.
    pub meaning: &'static str,
}

impl Definition {
    /// As Prometheus sees it.
    #[must_use]
    pub fn name(&self) -> String {
        match self.name {
            // The names that every client library gives them; dashboards expect them as they are.
            name if name.starts_with("process_") => self.name.to_owned(),
            name => format!("{PREFIX}{name}"),
        }
    }
}

/// The definition of the metric of this name, without the prefix.
pub(super) fn find(name: &str) -> Option<&'static Definition> {
    METRICS.iter().find(|metric| metric.name == name)
}

/// The table as a page of Markdown: what `pglanes metrics` prints and `deploy/metrics.md` holds.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         What `http://127.0.0.1:9433/metrics` tells. Written by `pglanes metrics`; a test fails where this page is stale.\n\
         Units are in the names, counters end with `_total`, histograms have the buckets `_bucket`, `_sum` and `_count`.\n\
         A label's values are names out of lanes.yaml or words of pglanes, but for `user` and `application_name` of\n\
         connections past the proxy, which are bounded in number and length. A metric without a series is left out.\n\n\
         | name | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels = metric.labels.join(", ");
        let name = metric.name();
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| `{name}` | {kind} | {labels} | {} |",
            metric.meaning
        );
    }
    page
}

const fn of(
    kind: Kind,
    name: &'static str,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> Definition {
    Definition {
        name,
        kind,
        labels,
        meaning,
    }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> Definition {
    of(Kind::Counter, name, labels, meaning)
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> Definition {
    of(Kind::Gauge, name, labels, meaning)
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> Definition {
    of(Kind::Histogram, name, labels, meaning)
}

/// All of them, in the order of their writing.
pub const METRICS: &[Definition] = &[
    gauge("build_info", &["version"], "1, with the version that runs."),
    gauge(
        "process_start_time_seconds",
        &[],
        "When the process started, in seconds since 1970.",
    ),
    counter(
        "process_cpu_seconds_total",
        &[],
        "Processor time of the process, where the system has /proc.",
    ),
    gauge(
        "process_resident_memory_bytes",
        &[],
        "Memory of the process that is resident, likewise.",
    ),
    gauge("draining", &[], "1 while the proxy is ending."),
    gauge("clients", &[], "Sessions logged in."),
    gauge(
        "clients_limit",
        &[],
        "Clients that may be connected at once (limits.clients).",
    ),
    gauge("logins_in_progress", &[], "Logins that have not finished."),
    counter("connections_accepted_total", &[], "Connections accepted."),
    counter(
        "accept_failures_total",
        &[],
        "Attempts to accept a connection that failed (no descriptors left, most likely).",
    ),
    counter(
        "connections_refused_total",
        &[],
        "Connections refused because there were too many.",
    ),
    counter("logins_total", &[], "Logins that succeeded."),
    counter("login_failures_total", &[], "Logins that failed."),
    counter(
        "aliases_used_total",
        &[],
        "Logins under an alias of a user or a database.",
    ),
    counter(
        "alias_logins_total",
        &["kind", "alias", "name"],
        "The same by alias, with the name that it stands for: those of lanes.yaml, used or not.",
    ),
    counter("cancel_requests_total", &[], "Cancel requests received."),
    counter(
        "cancels_forwarded_total",
        &[],
        "Cancel requests carried to PostgreSQL.",
    ),
    counter(
        "tls_handshakes_total",
        &[],
        "TLS handshakes with clients that succeeded.",
    ),
    counter(
        "tls_handshake_failures_total",
        &[],
        "TLS handshakes with clients that failed.",
    ),
    counter(
        "certificate_reloads_total",
        &[],
        "Changed certificates put in force.",
    ),
    counter(
        "certificate_reload_failures_total",
        &[],
        "Changed certificates that could not be used; the old ones stayed in force.",
    ),
    gauge("upstream_up", &[], "1 while PostgreSQL answers."),
    gauge(
        "upstream_slots",
        &[],
        "Server connections that all lanes may have together (upstream.slots).",
    ),
    gauge(
        "server_connections",
        &["state"],
        "Connections to PostgreSQL: opening, idle, in_use.",
    ),
    counter("server_opened_total", &[], "Server connections opened."),
    counter(
        "server_open_failures_total",
        &[],
        "Attempts to open a server connection that failed.",
    ),
    counter(
        "server_closed_total",
        &["reason"],
        "Server connections that are gone: unused for too long (idle), too old (age), for another's sake (room), a reload or flush (changed, out_of_date), what a session left on them (session), ended by the server (lost, found_dead), out_of_sync.",
    ),
    counter(
        "server_lost_total",
        &[],
        "Server connections that ended or broke while a session used them.",
    ),
    counter(
        "out_of_sync_total",
        &[],
        "Server connections closed because nobody could say what they still owed: stays 0.",
    ),
    gauge(
        "prepared_statements",
        &["where"],
        "Prepared statements: texts that are known (known), and what is prepared on server connections now (servers).",
    ),
    counter(
        "prepared_parses_total",
        &["side"],
        "Statements that clients asked to prepare (client), and those that had to be prepared on a connection (server).",
    ),
    counter("prepared_binds_total", &[], "Bind messages of clients."),
    counter(
        "prepared_evictions_total",
        &[],
        "Prepared statements closed on a connection to make room for others.",
    ),
    counter(
        "backend_priority_overruns_total",
        &[],
        "Backends left at their priority because too many others had to be set.",
    ),
    counter(
        "config_reloads_total",
        &[],
        "Configurations put in force after the first.",
    ),
    counter(
        "config_reload_failures_total",
        &[],
        "Configurations refused.",
    ),
    gauge(
        "config_last_reload_successful",
        &[],
        "1 if the last configuration read was put in force.",
    ),
    gauge(
        "config_last_reload_success_timestamp_seconds",
        &[],
        "When the configuration in force was read, in seconds since 1970.",
    ),
    histogram(
        "queue_wait_seconds",
        &["lane"],
        "From asking for a slot to getting it.",
    ),
    histogram(
        "transaction_seconds",
        &["lane"],
        "From getting the slot to the end of the transaction, the client's pauses included.",
    ),
    histogram(
        "statement_seconds",
        &["lane"],
        "From sending it to ReadyForQuery: a simple query, or what stands before a Sync.",
    ),
    counter("transactions_total", &["lane"], "Transactions that ended."),
    counter(
        "errors_total",
        &["lane"],
        "Errors of PostgreSQL passed to clients.",
    ),
    counter(
        "received_bytes_total",
        &["lane"],
        "Bytes received from clients while they had a server connection.",
    ),
    counter("sent_bytes_total", &["lane"], "Bytes sent to clients."),
    gauge(
        "slots",
        &["lane", "kind"],
        "Server connections of a lane: guaranteed (min), configured (max), allowed now (effective), with a transaction (in_use), idle, opening; of the guaranteed ones those not taken (reserved), and those taken beyond them (borrowed).",
    ),
    gauge(
        "lane_paused",
        &["lane"],
        "1 while an operator has paused the lane, or all of them.",
    ),
    counter(
        "throttled_seconds_total",
        &["lane"],
        "How long throttles and objectives have kept a lane's limit below its maximum.",
    ),
    gauge(
        "waiting_clients",
        &["lane"],
        "Transactions that wait for a slot.",
    ),
    gauge(
        "oldest_wait_seconds",
        &["lane"],
        "How long the oldest of them has waited; zero without any.",
    ),
    counter(
        "rejected_total",
        &["lane", "reason", "sqlstate"],
        "Transactions that got no slot.",
    ),
    counter(
        "withdrawn_total",
        &["lane"],
        "Transactions that were given up while they waited: cancelled, or their client gone.",
    ),
    gauge(
        "capped_clients",
        &["lane"],
        "Transactions that wait for others of their own user or application to end.",
    ),
    counter(
        "held_by_cap_total",
        &["lane", "cap"],
        "Transactions that had to wait for others of their own client, or would have.",
    ),
    counter(
        "queue_notices_total",
        &["lane"],
        "Clients that were told that they wait, or would have been.",
    ),
    counter(
        "rule_actions_total",
        &["lane", "rule", "action"],
        "Transactions that a rule had consequences for.",
    ),
    counter(
        "rule_met_total",
        &["lane", "rule", "action"],
        "Transactions that met a rule, also where the lane only observes.",
    ),
    counter(
        "preempted_total",
        &["lane"],
        "Statements cancelled to give a borrowed slot back.",
    ),
    gauge(
        "sessions",
        &["lane"],
        "Client sessions by the lane of their names.",
    ),
    gauge("leases", &["lane"], "Leases held on a lane."),
    gauge(
        "lease_left_ratio",
        &["lane"],
        "The share of its time that the lease nearest its end has left; a renewal makes it 1.",
    ),
    counter(
        "leases_total",
        &["lane", "event"],
        "What became of leases on a lane; one that expired was left by its holder.",
    ),
    gauge(
        "pinned_sessions",
        &["lane", "reason"],
        "Sessions that keep their server connection, by what keeps them.",
    ),
    counter(
        "observed_total",
        &["lane", "decision"],
        "What a lane in mode observe would have done to a transaction.",
    ),
    counter(
        "backend_priority_total",
        &["lane", "change"],
        "Backends put to the lane's CPU and I/O priority (set), their parallel workers (worker), put back (raised), and put back because somebody protected waited for them (lifted).",
    ),
    counter(
        "backend_priority_refused_total",
        &["lane", "reason"],
        "Backends whose priority could not be set, by what was missing.",
    ),
    gauge(
        "throttle_active",
        &["throttle", "lane"],
        "1 while the throttle's condition holds.",
    ),
    counter(
        "throttle_active_seconds_total",
        &["throttle", "lane"],
        "How long that was, all told.",
    ),
    counter(
        "throttle_activations_total",
        &["throttle", "lane"],
        "How often the throttle became active.",
    ),
    counter(
        "throttle_held_back_total",
        &["throttle", "lane"],
        "Transactions that the throttle kept waiting, or would have.",
    ),
    counter(
        "throttle_cancels_total",
        &["throttle", "lane"],
        "Transactions that the throttle cancelled.",
    ),
    gauge(
        "objective_ratio",
        &["lane", "percentile"],
        "The lane's latency relative to its own in quiet, as measured last.",
    ),
    gauge(
        "objective_quiet_drift",
        &["lane"],
        "How many times slower than its baseline the lane is just now while all others are quiet: the ratio is judged by it.",
    ),
    gauge(
        "objective_target",
        &["lane", "percentile"],
        "What objective_ratio may be.",
    ),
    gauge(
        "objective_phase",
        &["lane", "phase"],
        "1 for what the objective does now.",
    ),
    gauge(
        "objective_enforced",
        &["lane"],
        "1 when it holds others back, 0 when it only observes.",
    ),
    gauge(
        "controller_limit",
        &["objective", "lane"],
        "Slots that the objective of another lane leaves a lane, parts as shares of the time; none while it holds nothing back.",
    ),
    gauge(
        "controller_total_limit",
        &["lane"],
        "The same for all lanes that it may hold back together.",
    ),
    gauge(
        "objective_known_ratio",
        &["lane"],
        "The share of the lane's latest transactions whose quiet latency is known.",
    ),
    gauge(
        "objective_classes",
        &["lane"],
        "Classes of the lane's transactions that are told apart.",
    ),
    gauge(
        "objective_baseline_seconds",
        &["lane", "class"],
        "A class's quiet latency at the first target's quantile; the most used classes only.",
    ),
    gauge(
        "objective_baseline_samples",
        &["lane", "class"],
        "Quiet transactions that it is known by; old ones count less.",
    ),
    gauge(
        "objective_baseline_age_seconds",
        &["lane", "class"],
        "How long ago the class's last quiet transaction was; none since the start without one.",
    ),
    counter(
        "objective_activations_total",
        &["lane"],
        "How often the objective began to hold others back.",
    ),
    counter(
        "objective_active_seconds_total",
        &["lane"],
        "How long the objective has not been at rest, all told.",
    ),
    counter(
        "objective_held_back_total",
        &["lane"],
        "Transactions that it kept waiting, or would have.",
    ),
    counter(
        "objective_moves_total",
        &["lane", "direction"],
        "How often the limit was moved.",
    ),
    counter(
        "objective_probes_total",
        &["lane", "result"],
        "Moments of quiet that were made to measure, and those that did not become quiet.",
    ),
    gauge(
        "observer_up",
        &[],
        "1 while PostgreSQL's activity is looked at (observe).",
    ),
    gauge(
        "direct_connections",
        &["user", "application_name", "lane"],
        "Clients that connect to PostgreSQL past the proxy, by role and name (bounded in number), and the lane that they would be in.",
    ),
    gauge(
        "direct_connections_busy",
        &[],
        "Those of them that are in a transaction.",
    ),
    gauge(
        "oldest_transaction_seconds",
        &["lane"],
        "The age of the oldest open transaction of each lane, of `direct` (past the proxy), `autovacuum` and `other`.",
    ),
    gauge(
        "observer_hidden_backends",
        &[],
        "Backends of which the observer may not see what they do: it lacks pg_monitor.",
    ),
    gauge(
        "lock_waiting_backends",
        &[],
        "Backends that wait for a lock.",
    ),
    gauge(
        "backends_lifted",
        &[],
        "Lowered backends that are at normal priority because others wait for them.",
    ),
    counter(
        "lane_blocked_seconds_total",
        &["blocker", "blocked"],
        "How long transactions of one lane (blocked) have waited for locks of another (blocker).",
    ),
    gauge("autovacuum_workers", &[], "Autovacuum workers that run."),
    gauge(
        "checkpoint_running",
        &[],
        "1 while a checkpoint is being written.",
    ),
    counter(
        "maintenance_beside_lane_seconds_total",
        &["what", "lane"],
        "How long autovacuum or a checkpoint ran while a protected lane was busy.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_once_and_say_their_unit_and_type() {
        let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        for metric in METRICS {
            let name = metric.name;
            let total = name.ends_with("_total");
            assert_eq!(metric.kind == Kind::Counter, total, "{name}");
            assert!(
                metric.kind != Kind::Histogram || name.ends_with("_seconds"),
                "{name}"
            );
            let unit = ["_ms", "_us", "_milliseconds", "_kb", "_mb", "_percent"];
            let base = name.trim_end_matches("_total");
            assert!(!unit.iter().any(|unit| base.ends_with(unit)), "{name}");
            assert!(
                metric.meaning.ends_with('.') && !metric.meaning.contains('|'),
                "{name}"
            );
        }
    }

    #[test]
    fn the_reference_has_a_row_for_each() {
        let page = reference();
        assert_eq!(page.matches("\n| `").count(), METRICS.len());
        assert!(
            page.contains("| `process_start_time_seconds` | gauge |  |"),
            "{page}"
        );
        assert!(
            page.contains("| `pglanes_slots` | gauge | lane, kind |"),
            "{page}"
        );
    }
}
