//! Which signs show. Rates and percentiles are those of Prometheus: growth over a window, interpolated within a bucket.

use std::collections::VecDeque;
use std::time::Duration;

use pglanes_proxy::BUCKET_BOUNDS_US;

use super::sample::{Buckets, Lane, Sample};
use super::signs::{self, Sign};

const MINUTE: Duration = Duration::from_secs(60);
/// What a queue's time is looked at over, and what is turned away.
const FIVE_MINUTES: Duration = Duration::from_secs(300);
/// What expired leases are looked at over.
const TEN_MINUTES: Duration = Duration::from_secs(600);

/// A sign that shows in something.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) sign: &'static Sign,
    pub(super) about: String,
    pub(super) says: String,
}

/// What has been found so far.
#[derive(Default)]
struct Findings(Vec<Found>);

impl Findings {
    /// Notes that the sign shows where `value` is above what its alert compares with.
    fn above(&mut self, alert: &str, value: f64, about: &str, says: impl FnOnce() -> String) {
        let Some(sign) = signs::find(alert) else {
            debug_assert!(false, "{alert} is no sign");
            return;
        };
        if value > sign.threshold {
            self.0.push(Found {
                sign,
                about: about.to_owned(),
                says: says(),
            });
        }
    }

    fn holds(&mut self, alert: &str, holds: bool, about: &str, says: impl FnOnce() -> String) {
        let value = if holds {
            f64::INFINITY
        } else {
            f64::NEG_INFINITY
        };
        self.above(alert, value, about, says);
    }
}

/// All that shows now, held against the samples before, oldest first.
pub(super) fn findings(before: &VecDeque<Sample>, now: &Sample) -> Vec<Found> {
    let mut found = Findings::default();
    protected(&mut found, before, now);
    for lane in &now.lanes {
        of_lane(&mut found, before, now, lane);
    }
    holders(&mut found, now);
    whole(&mut found, now);
    found.0
}

/// The oldest sample within the window; the oldest there is where there are not so many.
fn then<'s>(before: &'s VecDeque<Sample>, now: &Sample, window: Duration) -> Option<&'s Sample> {
    before.iter().find(|sample| sample.at + window >= now.at)
}

/// What disturbs a protected lane.
fn protected(found: &mut Findings, before: &VecDeque<Sample>, now: &Sample) {
    for (lane, percentile, ratio, target) in &now.ratios {
        found.above("EvaluationDisturbed", ratio / target, lane, || {
            format!(
                "{lane} is at {ratio:.2} times its quiet {percentile}, and may be at {target:.2}"
            )
        });
    }
    let Some(then) = then(before, now, MINUTE) else {
        return;
    };
    let passed = now.at.saturating_sub(then.at).as_secs_f64();
    for (blocker, blocked, total) in &now.blocked {
        let protected = now.lane(blocked).is_some_and(|lane| lane.protected);
        if !protected || passed <= 0.0 {
            continue;
        }
        let old = then
            .blocked
            .iter()
            .find(|(by, whom, _)| (by, whom) == (blocker, blocked));
        let old = old.map_or(Duration::ZERO, |(_, _, total)| *total);
        let share = total.saturating_sub(old).as_secs_f64() / passed;
        found.above("EvaluationBlockedByLane", share, blocked, || {
            format!("{blocked} waits for locks of {blocker}")
        });
    }
}

fn of_lane(found: &mut Findings, before: &VecDeque<Sample>, now: &Sample, lane: &Lane) {
    let name = lane.name.as_str();
    let wait = |window| {
        let then = then(before, now, window)?.lane(name)?;
        percentile(&then.queue_wait, &lane.queue_wait, 0.95)
    };
    if lane.protected {
        let waits = wait(MINUTE).unwrap_or(0.0);
        found.above("EvaluationWaitsForSlots", waits, name, || {
            format!("transactions of {name} wait {waits:.3} s for a slot (p95 of the last minute)")
        });
    } else if !lane.held_back {
        let waits = wait(FIVE_MINUTES).unwrap_or(0.0);
        found.above("QueueTimeOverObjective", waits, name, || {
            format!("transactions of {name} wait {waits:.1} s for a slot (p95 of five minutes)")
        });
    }
    let full =
        !lane.held_back && lane.effective > 0 && lane.in_use >= lane.effective && lane.waiting > 0;
    found.holds("LaneSaturated", full, name, || {
        let waiting = counted(lane.waiting as u64, "transaction");
        format!(
            "{name} uses all of its {} slots; waiting: {waiting}",
            lane.effective
        )
    });
    let grown = |window, of: fn(&Lane) -> u64| {
        let then = then(before, now, window).and_then(|then| then.lane(name));
        then.map_or(0, |then| of(lane).saturating_sub(of(then)))
    };
    let turned_away = grown(FIVE_MINUTES, |lane| lane.turned_away);
    found.above("TransactionsTurnedAway", turned_away as f64, name, || {
        let turned_away = counted(turned_away, "transaction");
        format!("{name} turned away {turned_away} within five minutes")
    });
    let expired = grown(TEN_MINUTES, |lane| lane.leases_expired);
    found.above("LeaseExpired", expired as f64, name, || {
        format!("a lease on {name} ended by its time: nobody renewed it")
    });
    let pinned = lane.pinned as f64;
    found.above(
        "PinsTakeSlots",
        pinned / f64::from(lane.max.max(1)),
        name,
        || {
            format!(
                "pinned sessions keep {pinned} of the {} slots of {name}",
                lane.max
            )
        },
    );
    found.above("PinnedTooLong", pinned, name, || {
        let sessions = counted(lane.pinned.unsigned_abs(), "pinned session");
        format!("{sessions} of {name}: each keeps a server connection")
    });
}

/// A number of things, in words.
fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Who holds something, or goes round the lanes.
fn holders(found: &mut Findings, now: &Sample) {
    for throttle in &now.throttles {
        found.holds("ThrottledTooLong", true, throttle, || {
            format!("the throttle {throttle:?} is active")
        });
    }
    for (lane, holder, left) in &now.leases {
        let ending = signs::find("LeaseEnding").is_some_and(|sign| *left < sign.threshold);
        found.holds("LeaseEnding", ending, lane, || {
            format!("the lease of {holder:?} on {lane} ends soon, and was not renewed")
        });
    }
    for (who, connections) in &now.direct {
        found.above(
            "ConnectionsPastTheProxy",
            f64::from(*connections),
            who,
            || format!("{who} connects to PostgreSQL past the proxy, {connections} times"),
        );
    }
    for (lane, age) in now.oldest.iter().filter(|(lane, _)| lane != "autovacuum") {
        found.above(
            "LongTransactionHoldsVacuum",
            age.as_secs_f64(),
            lane,
            || {
                format!(
                    "a transaction of {lane} has been open for {} minutes",
                    age.as_secs() / 60
                )
            },
        );
    }
}

/// The proxy and its server.
fn whole(found: &mut Findings, now: &Sample) {
    let exhausted = now.connections >= now.slots && now.waiting > 0;
    found.holds("PoolExhausted", exhausted, "upstream", || {
        format!(
            "all {} server connections are taken, and {} transactions wait",
            now.slots, now.waiting
        )
    });
    let down = now.upstream_down.as_deref();
    found.holds("UpstreamDown", down.is_some(), "upstream", || {
        format!("PostgreSQL cannot be reached: {}", down.unwrap_or_default())
    });
    found.holds(
        "ConfigReloadFailed",
        now.reload_failed,
        "lanes.yaml",
        || "lanes.yaml does not hold; the one before is in force".to_owned(),
    );
    found.above("OutOfSync", now.out_of_sync as f64, "server", || {
        "a server connection was closed because nobody could say what it owed".to_owned()
    });
    let clients = now.clients as f64 / f64::from(now.clients_limit.max(1));
    found.above("ClientsNearLimit", clients, "clients", || {
        format!(
            "{} clients are connected; {} may be",
            now.clients, now.clients_limit
        )
    });
}

/// A percentile of what was counted between two moments, in seconds.
fn percentile(then: &Buckets, now: &Buckets, share: f64) -> Option<f64> {
    let grown: Vec<u64> = now
        .iter()
        .zip(then)
        .map(|(now, then)| now.saturating_sub(*then))
        .collect();
    let all = grown.iter().sum::<u64>() as f64;
    if all == 0.0 {
        return None;
    }
    let seconds = |bound: usize| BUCKET_BOUNDS_US[bound] as f64 / 1e6;
    let mut passed = 0.0;
    for (place, count) in grown.iter().enumerate() {
        let count = *count as f64;
        if count > 0.0 && passed + count >= share * all {
            let low = place.checked_sub(1).map_or(0.0, seconds);
            // What is above every bound is told as the last one.
            let high = if place < BUCKET_BOUNDS_US.len() {
                seconds(place)
            } else {
                low
            };
            return Some(low + (high - low) * (share * all - passed) / count);
        }
        passed += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::{MOST_SAMPLES, Watch};
    use super::*;

    /// A healthy proxy with a protected lane and another.
    fn healthy(seconds: u64) -> Sample {
        let lane = |name: &str, protected| Lane {
            name: name.to_owned(),
            protected,
            effective: 4,
            max: 4,
            ..Lane::default()
        };
        Sample {
            at: Duration::from_secs(seconds),
            lanes: vec![lane("evaluation", true), lane("ltst", false)],
            slots: 8,
            connections: 2,
            clients_limit: 100,
            ratios: vec![("evaluation".to_owned(), "p95".to_owned(), 1.1, 1.2)],
            leases: vec![("evaluation".to_owned(), "run".to_owned(), 0.7)],
            oldest: vec![("autovacuum".to_owned(), Duration::from_secs(9000))],
            ..Sample::default()
        }
    }

    /// The signs that show when a healthy minute is followed by this.
    fn check(expected: &[&str], spoil: impl FnOnce(&mut Sample)) {
        let before = VecDeque::from([healthy(0), healthy(30)]);
        let mut now = healthy(60);
        spoil(&mut now);
        let found = findings(&before, &now);
        let names: Vec<&str> = found.iter().map(|found| found.sign.alert).collect();
        assert_eq!(names, expected, "{found:#?}");
    }

    #[test]
    fn a_healthy_proxy_shows_no_sign() {
        check(&[], |_| {});
        assert_eq!(findings(&VecDeque::new(), &healthy(0)), []);
    }

    #[test]
    fn each_sign_shows_in_what_it_is_of() {
        check(&["EvaluationDisturbed"], |now| now.ratios[0].2 = 1.21);
        check(&["EvaluationWaitsForSlots"], |now| {
            now.lanes[0].queue_wait[10] = 5
        });
        check(&["QueueTimeOverObjective"], |now| {
            now.lanes[1].queue_wait[14] = 5
        });
        check(&[], |now| {
            now.lanes[1].queue_wait[14] = 5;
            now.lanes[1].held_back = true;
        });
        let blocked = |seconds| {
            let (by, whom) = ("ltst".to_owned(), "evaluation".to_owned());
            vec![(by, whom, Duration::from_secs(seconds))]
        };
        check(&["EvaluationBlockedByLane"], |now| now.blocked = blocked(4));
        check(&[], |now| now.blocked = blocked(2));
        check(&["LaneSaturated"], |now| {
            now.lanes[1].in_use = 4;
            now.lanes[1].waiting = 1;
        });
        check(&[], |now| {
            now.lanes[1].in_use = 4;
            now.lanes[1].waiting = 1;
            now.lanes[1].held_back = true;
        });
        check(&["TransactionsTurnedAway"], |now| {
            now.lanes[1].turned_away = 1
        });
        check(&["LeaseExpired"], |now| now.lanes[0].leases_expired = 1);
        check(&["PinnedTooLong"], |now| now.lanes[1].pinned = 2);
        check(&["PinsTakeSlots", "PinnedTooLong"], |now| {
            now.lanes[1].pinned = 3
        });
        check(&["ThrottledTooLong"], |now| {
            now.throttles.push("yields".to_owned())
        });
        check(&["LeaseEnding"], |now| now.leases[0].2 = 0.19);
        check(&["ConnectionsPastTheProxy"], |now| {
            now.direct.push(("psql (me)".to_owned(), 1))
        });
        check(&["LongTransactionHoldsVacuum"], |now| {
            now.oldest
                .push(("ltst".to_owned(), Duration::from_secs(1801)));
        });
        check(&["PoolExhausted"], |now| {
            (now.connections, now.waiting) = (8, 1)
        });
        check(&["UpstreamDown"], |now| {
            now.upstream_down = Some("refused".to_owned())
        });
        check(&["ConfigReloadFailed"], |now| now.reload_failed = true);
        check(&["OutOfSync"], |now| now.out_of_sync = 1);
        check(&["ClientsNearLimit"], |now| now.clients = 91);
    }

    #[test]
    fn a_sign_is_watched_first_and_a_warning_when_it_has_lasted() {
        let mut watch = Watch::default();
        let mut look = |seconds, ratio| {
            let mut now = healthy(seconds);
            now.ratios[0].2 = ratio;
            let warnings = watch.look(now);
            warnings
                .first()
                .map(|warning| (warning.fires(), warning.shown_for.as_secs()))
        };
        assert_eq!(look(0, 1.0), None);
        // Not at once, and then with a word of warning.
        assert_eq!(look(10, 2.0), None);
        assert_eq!(look(39, 2.0), None);
        assert_eq!(look(40, 2.0), Some((false, 30)));
        assert_eq!(look(69, 2.0), Some((false, 59)));
        assert_eq!(look(70, 2.0), Some((true, 60)));
        // It begins anew once it was gone.
        assert_eq!(look(71, 1.0), None);
        assert_eq!(look(72, 2.0), None);
        assert_eq!(look(102, 2.0), Some((false, 30)));
    }

    #[test]
    fn what_was_turned_away_long_ago_is_told_no_more_and_samples_are_bounded() {
        let mut watch = Watch::default();
        let mut look = |seconds, turned_away| {
            let mut now = healthy(seconds);
            now.lanes[1].turned_away = turned_away;
            watch.look(now).len()
        };
        // At the first look, too: what was counted was counted since the start.
        assert_eq!((look(3, 1), look(5, 1)), (1, 1));
        let told: Vec<usize> = (1..100).map(|step| look(step * 10, 1)).collect();
        assert_eq!(told[28], 1);
        assert_eq!(told[40], 0);
        assert_eq!(watch.samples.len(), MOST_SAMPLES);
    }
}
