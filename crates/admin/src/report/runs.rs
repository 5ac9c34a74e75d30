//! Where evaluations began and ended: by their leases, and where nobody took one, by the work of protected lanes.

use std::collections::BTreeSet;

use serde::Serialize;

use super::history::History;

/// Work of a protected lane that pauses no longer than this is one run. An evaluation waits for model APIs.
const JOINED_MS: u64 = 30_000;
/// A lease that is taken anew within this time by the same holder, after the proxy was started anew, is the same run.
const TAKEN_ANEW_MS: u64 = 120_000;
/// As long as a lane is leased or busy there are samples. Without any for so long the proxy was gone.
const SILENT_MS: u64 = 150_000;
/// Fewer transactions without a lease are somebody who looked at something.
const LEAST_TRANSACTIONS: u64 = 10;

/// What makes it a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A lease: somebody said so.
    Lease,
    /// The lane was busy.
    Busy,
}

impl Kind {
    /// As JSON has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Busy => "busy",
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The lease was given back.
    GivenBack,
    /// Its time was up, or its holder was gone.
    Expired,
    /// The proxy ended, and nobody took the lease anew.
    Interrupted,
    /// The lane had nothing more to do.
    Quiet,
    /// It had not, at the last moment that is known.
    Running,
}

impl End {
    /// As JSON has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::GivenBack => "given_back",
            Self::Expired => "expired",
            Self::Interrupted => "interrupted",
            Self::Quiet => "quiet",
            Self::Running => "running",
        }
    }
}

/// A run's place in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) lane: String,
    /// The lease's holder.
    pub(super) holder: Option<String>,
    pub(super) kind: Kind,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) end: End,
}

/// All runs that were going on between two moments, in the order in which they began.
pub(super) fn find(history: &History, since: u64, until: u64) -> Vec<Span> {
    let mut spans = leases(history);
    let busy = busy(history, &spans);
    spans.extend(busy);
    // The lane may go on a little after the last sample.
    for span in spans.iter_mut().filter(|span| span.end == End::Running) {
        if until.saturating_sub(span.ended) > SILENT_MS {
            span.end = match span.kind {
                Kind::Lease => End::Interrupted,
                Kind::Busy => End::Quiet,
            };
        }
    }
    spans.retain(|span| span.ended >= since && span.began <= until);
    spans.sort_by(|one, other| (one.began, &one.lane).cmp(&(other.began, &other.lane)));
    spans
}

fn leases(history: &History) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut begins = history.begins.iter().copied().peekable();
    for event in &history.events {
        while begins.next_if(|begin| *begin <= event.t).is_some() {
            interrupt(history, &mut spans, event.t);
        }
        let (Some(lane), Some(who)) = (&event.lane, &event.who) else {
            continue;
        };
        let of_holder = |span: &&mut Span| span.lane == *lane && span.holder.as_ref() == Some(who);
        let mut latest = spans.iter_mut().rev();
        let mut ends = |end: End| {
            let mut open = latest.by_ref().filter(|span| span.end == End::Running);
            if let Some(span) = open.find(of_holder) {
                (span.ended, span.end) = (event.t, end);
            }
        };
        match event.what.as_str() {
            "lease_ended" => ends(End::GivenBack),
            "lease_expired" => ends(End::Expired),
            "lease_taken" => {
                let goes_on = latest.find(|span| {
                    of_holder(span)
                        && span.end == End::Interrupted
                        && event.t.saturating_sub(span.ended) <= TAKEN_ANEW_MS
                });
                match goes_on {
                    Some(span) => span.end = End::Running,
                    None => spans.push(Span {
                        lane: lane.clone(),
                        holder: Some(who.clone()),
                        kind: Kind::Lease,
                        began: event.t,
                        ended: event.t,
                        end: End::Running,
                    }),
                }
            }
            _ => {}
        }
    }
    if begins.next().is_some() {
        interrupt(history, &mut spans, u64::MAX);
    }
    for span in &mut spans {
        if span.end == End::Running {
            span.ended = history.last;
        }
    }
    spans
}

/// A proxy began before `at`: leases of the one before are over, as of the last that was heard of it.
fn interrupt(history: &History, spans: &mut [Span], at: u64) {
    let begin = history.begins.iter().rev().find(|begin| **begin <= at);
    let begin = begin.copied().unwrap_or(at);
    let heard = history.samples.partition_point(|sample| sample.t < begin);
    let heard = heard
        .checked_sub(1)
        .map_or(0, |last| history.samples[last].t);
    for span in spans.iter_mut().filter(|span| span.end == End::Running) {
        (span.ended, span.end) = (heard.max(span.began), End::Interrupted);
    }
}

/// Periods in which a protected lane was busy without a lease.
fn busy(history: &History, leases: &[Span]) -> Vec<Span> {
    let lanes = history.protected.iter().flat_map(|(_, lanes)| lanes);
    let lanes: BTreeSet<&str> = lanes.map(|lane| lane.lane.as_str()).collect();
    let mut spans = Vec::new();
    for lane in lanes {
        let leased: Vec<(u64, u64)> = leases
            .iter()
            .filter(|span| span.lane == lane)
            .map(|span| (span.began, span.ended))
            .collect();
        spans.extend(busy_of(history, lane, &leased));
    }
    spans
}

fn busy_of(history: &History, lane: &str, leased: &[(u64, u64)]) -> Vec<Span> {
    let mut spans: Vec<(Span, u64)> = Vec::new();
    for sample in &history.samples {
        let is_protected = || {
            let mut protected = history.protected_at(sample.t).iter();
            protected.any(|one| one.lane == lane)
        };
        let Some(seen) = sample.lane(lane).filter(|seen| seen.x + seen.busy > 0) else {
            continue;
        };
        let touches = |(from, until): &(u64, u64)| sample.began() < *until && sample.t > *from;
        if leased.iter().any(touches) || !is_protected() {
            continue;
        }
        match spans.last_mut() {
            Some((span, transactions))
                if sample.began().saturating_sub(span.ended) <= JOINED_MS
                    && !leased
                        .iter()
                        .any(|(from, _)| (span.ended..sample.t).contains(from)) =>
            {
                span.ended = sample.t;
                *transactions += seen.x;
            }
            _ => {
                let span = Span {
                    lane: lane.to_owned(),
                    holder: None,
                    kind: Kind::Busy,
                    began: sample.began(),
                    ended: sample.t,
                    end: End::Quiet,
                };
                spans.push((span, seen.x));
            }
        }
    }
    if let Some((span, _)) = spans.last_mut()
        && history.last.saturating_sub(span.ended) == 0
    {
        span.end = End::Running;
    }
    let enough = spans.into_iter();
    let enough = enough.filter(|(_, transactions)| *transactions >= LEAST_TRANSACTIONS);
    enough.map(|(span, _)| span).collect()
}
