//! One sentence.

use std::time::Duration;

use serde::Serialize;

use super::delays::Cause;
use super::findings::Run;
use super::runs::End;
use super::words::{counted, lasting, slower, times};

/// The part of a run's transaction time that others may delay it by before it counts as disturbed.
const DISTURBING_SHARE: f64 = 0.05;
/// Less than this is no disturbance, whatever its share.
const DISTURBING_SECONDS: f64 = 0.1;
/// The part of all that others delayed it by below which a cause is not told in a sentence.
const TOLD_SHARE: f64 = 0.01;
/// Lanes that a sentence names.
const MOST_NAMED: usize = 2;

/// A word for filters and colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// It ran as if it were alone.
    Undisturbed,
    /// Other lanes delayed it.
    Disturbed,
    /// It was slower than it may be, and other lanes account for little of that.
    Slower,
    /// What it takes in quiet is not known, or it did nothing.
    #[default]
    Unknown,
}

impl Word {
    /// As JSON has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Undisturbed => "undisturbed",
            Self::Disturbed => "disturbed",
            Self::Slower => "slower",
            Self::Unknown => "unknown",
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// In a word.
    pub word: Word,
    /// In a sentence.
    pub sentence: String,
}

pub(super) fn of(run: &Run) -> Verdict {
    let lasted = lasting(Duration::from_secs_f64(run.seconds.max(0.0)));
    let took = match run.end {
        End::Running => format!("has been running for {lasted}"),
        _ => format!("took {lasted}"),
    };
    let lane = &run.lane;
    if run.latency.count == 0 {
        let sentence = format!("The {lane} run {took} and ended no transaction.");
        return Verdict {
            word: Word::Unknown,
            sentence,
        };
    }
    let word = word(run);
    let speed = match run.ratio {
        Some(ratio) => format!("its transactions were {} in quiet", slower(ratio)),
        None => "what it takes in quiet is not known yet".to_owned(),
    };
    let parts = [Some(held_back(run)), Some(by_whom(run, word)), end(run.end)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    Verdict {
        word,
        sentence: format!("The {lane} run {took}; {speed}; {}.", parts.join("; ")),
    }
}

/// What of its delays is other lanes' doing, most first.
fn of_others(run: &Run) -> Vec<(&str, f64, Cause)> {
    let delays = run.delays.iter().filter_map(|delay| {
        let by = delay.by.as_deref().filter(|by| *by != run.lane)?;
        Some((by, delay.seconds, delay.cause))
    });
    delays.collect()
}

fn word(run: &Run) -> Word {
    let is_much = |seconds: f64| {
        let took = run.latency.total_s + run.queue.total_s;
        seconds > DISTURBING_SECONDS && seconds > took * DISTURBING_SHARE
    };
    let others = of_others(run);
    let delayed = is_much(others.iter().map(|(_, seconds, _)| seconds).sum());
    // What was not measured may be anybody's who was there.
    let unclear = !run.cpu_measured && !run.beside.is_empty();
    match run.ratio {
        Some(ratio) if ratio > run.allowed && (delayed || unclear) => Word::Disturbed,
        Some(ratio) if ratio > run.allowed => Word::Slower,
        Some(_) => {
            // Slots and locks are waited for whatever the mean says.
            let waits = others.iter().filter(|(_, _, cause)| *cause != Cause::Cpu);
            match is_much(waits.map(|(_, seconds, _)| seconds).sum()) {
                true => Word::Disturbed,
                false => Word::Undisturbed,
            }
        }
        None if delayed => Word::Disturbed,
        None => Word::Unknown,
    }
}

fn held_back(run: &Run) -> String {
    let mut held: Vec<_> = run
        .beside
        .iter()
        .filter(|other| other.held_s >= 0.05)
        .collect();
    held.sort_by(|one, other| other.held_s.total_cmp(&one.held_s));
    let told = held.iter().take(MOST_NAMED).map(|other| {
        let by = run.held_back.iter();
        let by = by.filter(|held| held.lanes.contains(&other.lane));
        // A throttle and an objective that act together hold back once.
        let activations = by.map(|held| held.times).max().unwrap_or(0);
        let time = lasting(Duration::from_secs_f64(other.held_s));
        match activations {
            0 => format!("{} was held back for {time}", other.lane),
            _ => format!(
                "{} was held back {} ({time})",
                other.lane,
                times(activations)
            ),
        }
    });
    let told: Vec<String> = told.collect();
    match told.is_empty() {
        true if run.beside.is_empty() => "nobody else worked".to_owned(),
        true if run.held_back.iter().any(|held| held.observed) => would_be_held_back(run),
        true => "nobody was held back".to_owned(),
        false => told.join(", "),
    }
}

/// Where throttles only observe.
fn would_be_held_back(run: &Run) -> String {
    let observed = run.held_back.iter().filter(|held| held.observed);
    let kept: u64 = observed.map(|held| held.kept).sum();
    format!(
        "nobody was held back ({} would have waited if its throttles were enforced)",
        counted(kept, "transaction")
    )
}

fn by_whom(run: &Run, word: Word) -> String {
    let others = of_others(run);
    match (word, others.is_empty()) {
        (Word::Undisturbed, _) => "no lane disturbed it".to_owned(),
        (Word::Unknown, true) => "no lane is known to have delayed it".to_owned(),
        (Word::Slower, _) if run.beside.is_empty() => {
            "no lane ran beside it, so it was not the lanes' doing".to_owned()
        }
        (Word::Slower, _) => {
            let seconds = others.iter().map(|(_, seconds, _)| seconds).sum();
            let time = lasting(Duration::from_secs_f64(seconds));
            format!(
                "other lanes account for {time} of its transaction time, so it was not their doing"
            )
        }
        (Word::Disturbed, true) => "what delayed it was not measured".to_owned(),
        (Word::Disturbed | Word::Unknown, false) => {
            let mut lanes: Vec<(&str, f64, Vec<String>)> = Vec::new();
            let least = TOLD_SHARE * others.iter().map(|(_, seconds, _)| seconds).sum::<f64>();
            let told = others
                .into_iter()
                .filter(|(_, seconds, _)| *seconds >= least);
            for (by, seconds, cause) in told {
                let time = lasting(Duration::from_secs_f64(seconds));
                let told = format!("{time} {}", cause.words());
                match lanes.iter_mut().find(|(known, _, _)| *known == by) {
                    Some((_, all, causes)) => {
                        *all += seconds;
                        causes.push(told);
                    }
                    None => lanes.push((by, seconds, vec![told])),
                }
            }
            lanes.sort_by(|one, other| other.1.total_cmp(&one.1));
            let told = lanes.iter().take(MOST_NAMED);
            let told: Vec<String> = told
                .map(|(by, _, causes)| format!("{by} delayed it ({})", causes.join(", ")))
                .collect();
            told.join(", ")
        }
    }
}

fn end(end: End) -> Option<String> {
    match end {
        End::Expired => Some("its lease ran out".to_owned()),
        End::Interrupted => Some("the proxy ended before it did".to_owned()),
        End::GivenBack | End::Quiet | End::Running => None,
    }
}
