//! What there is to tell of the server past the lanes. Names of roles and clients are bounded in number and length where
//! they are gathered.

use pglanes_proxy::{ObservedView, View};

use super::families::Families;

pub(super) fn add(families: &mut Families, view: &View) {
    let observed = &view.observed;
    families.gauge("observer_up", f64::from(u8::from(observed.age.is_some())));
    waiting(families, observed);
    maintenance(families, observed);
    if observed.age.is_none() {
        return;
    }
    families.gauges(
        "direct_connections",
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
        observed
            .direct
            .iter()
            .map(|direct| f64::from(direct.busy))
            .sum(),
    );
    families.gauges(
        "oldest_transaction_seconds",
        observed
            .oldest
            .iter()
            .map(|(lane, open)| (vec![("lane", lane.as_str())], open.as_secs_f64())),
    );
    families.gauge("observer_hidden_backends", observed.hidden as f64);
}

fn waiting(families: &mut Families, observed: &ObservedView) {
    families.gauge("lock_waiting_backends", observed.waiting as f64);
    families.gauge("backends_lifted", observed.lifted as f64);
    families.counters(
        "lane_blocked_seconds_total",
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
    families.gauge("autovacuum_workers", observed.autovacuum as f64);
    families.gauge(
        "checkpoint_running",
        f64::from(u8::from(observed.checkpoint)),
    );
    families.counters(
        "maintenance_beside_lane_seconds_total",
        observed.maintenance.iter().map(|one| {
            let labels = vec![("what", one.what), ("lane", one.lane.as_str())];
            (labels, one.total.as_secs_f64())
        }),
    );
}
