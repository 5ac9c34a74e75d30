//! What there is to tell of the server past the lanes. Names of roles and clients are bounded in number and length where
//! they are gathered.

use pglanes_proxy::{ObservedView, View};

use super::families::Families;

pub(super) fn add(families: &mut Families, view: &View) {
    let observed = &view.observed;
    families.gauge(
        "observer_up",
        "1 while PostgreSQL's activity is looked at (observe).",
        f64::from(u8::from(observed.age.is_some())),
    );
    waiting(families, observed);
    maintenance(families, observed);
    if observed.age.is_none() {
        return;
    }
    families.gauges(
        "direct_connections",
        "Clients that connect to PostgreSQL past the proxy, by role and name, and the lane that they would be in.",
        observed.direct.iter().map(|direct| {
            let labels = vec![
                ("user", direct.user.as_str()),
                ("application_name", direct.application_name.as_str()),
                ("lane", direct.lane.as_str()),
            ];
            (labels, f64::from(direct.connections))
        }),
    );
    families.gauge(
        "direct_connections_busy",
        "Those of them that are in a transaction.",
        observed
            .direct
            .iter()
            .map(|direct| f64::from(direct.busy))
            .sum(),
    );
    families.gauges(
        "oldest_transaction_seconds",
        "The age of the oldest open transaction of each lane, of `direct` (past the proxy), `autovacuum` and `other`.",
        observed
            .oldest
            .iter()
            .map(|(lane, open)| (vec![("lane", lane.as_str())], open.as_secs_f64())),
    );
    families.gauge(
        "observer_hidden_backends",
        "Backends of which the observer may not see what they do: it lacks pg_monitor.",
        observed.hidden as f64,
    );
}

fn waiting(families: &mut Families, observed: &ObservedView) {
    families.gauge(
        "lock_waiting_backends",
        "Backends that wait for a lock.",
        observed.waiting as f64,
    );
    families.gauge(
        "backends_lifted",
        "Lowered backends that are at normal priority because others wait for them.",
        observed.lifted as f64,
    );
    families.counters(
        "lane_blocked_seconds_total",
        "How long transactions of one lane (blocked) have waited for locks of another (blocker).",
        observed.blocked.iter().map(|pair| {
            let labels = vec![
                ("blocker", pair.blocker.as_str()),
                ("blocked", pair.blocked.as_str()),
            ];
            (labels, pair.total.as_secs_f64())
        }),
    );
}

fn maintenance(families: &mut Families, observed: &ObservedView) {
    families.gauge(
        "autovacuum_workers",
        "Autovacuum workers that run.",
        observed.autovacuum as f64,
    );
    families.gauge(
        "checkpoint_running",
        "1 while a checkpoint is being written.",
        f64::from(u8::from(observed.checkpoint)),
    );
    families.counters(
        "maintenance_beside_lane_seconds_total",
        "How long autovacuum or a checkpoint ran while a protected lane was busy.",
        observed.maintenance.iter().map(|one| {
            let labels = vec![("what", one.what), ("lane", one.lane.as_str())];
            (labels, one.total.as_secs_f64())
        }),
    );
}
