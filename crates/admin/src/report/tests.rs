//! What a history tells: from records to runs, figures and sentences.

use super::distribution::Distribution;
use super::*;

/// The moment from which the tests count.
const START: u64 = 1_795_680_000_000;

/// So many transactions of so many microseconds each, in the bucket of those.
fn took(count: u64, us: u64) -> Distribution {
    let text = format!(
        "{{\"c\":[[{},{count}]],\"us\":{}}}",
        pglanes_proxy::BUCKET_BOUNDS_US.partition_point(|bound| *bound < us),
        count * us
    );
    serde_json::from_str(&text).unwrap()
}

fn lane(name: &str, count: u64, us: u64) -> LaneSample {
    LaneSample {
        n: name.to_owned(),
        x: count,
        run: took(count, us),
        limit: 4,
        ..LaneSample::default()
    }
}

/// A history in the making: a sample each second.
struct Tale {
    records: Vec<Record>,
    second: u64,
}

impl Tale {
    fn begin() -> Self {
        let begin = Begin {
            t: START,
            format: FORMAT,
            version: "1".to_owned(),
        };
        let protected = Protected {
            lane: "evaluation".to_owned(),
            times: None,
        };
        let lanes = Record::Lanes {
            t: START,
            protected: vec![protected],
        };
        Self {
            records: vec![Record::Begin(begin), lanes],
            second: 0,
        }
    }

    fn now(&self) -> u64 {
        START + self.second * 1000
    }

    fn seconds(mut self, count: u64, lanes: &[LaneSample]) -> Self {
        for _ in 0..count {
            self = self.second(Sample {
                lanes: lanes.to_vec(),
                ..Sample::default()
            });
        }
        self
    }

    fn second(mut self, sample: Sample) -> Self {
        self.second += 1;
        let (t, d) = (self.now(), 1000);
        self.records.push(Record::Sample(Sample { t, d, ..sample }));
        self
    }

    fn pause(mut self, seconds: u64) -> Self {
        self.second += seconds;
        self
    }

    fn event(mut self, what: &str, who: &str) -> Self {
        self.records.push(Record::Event(Happening {
            t: self.now(),
            what: what.to_owned(),
            lane: Some("evaluation".to_owned()),
            who: Some(who.to_owned()),
            detail: String::new(),
        }));
        self
    }

    fn restart(mut self) -> Self {
        self.records.push(Record::Begin(Begin {
            t: self.now(),
            format: FORMAT,
            version: "1".to_owned(),
        }));
        self
    }

    fn report(&self) -> Report {
        // As it is kept: through its lines.
        let lines: Vec<String> = self
            .records
            .iter()
            .map(|record| serde_json::to_string(record).unwrap())
            .collect();
        let history = History::of_lines(lines.iter().map(String::as_str));
        Report::of(&history, START, self.now())
    }

    fn run(&self) -> Run {
        let mut runs = self.report().runs;
        assert_eq!(runs.len(), 1, "{runs:#?}");
        runs.remove(0)
    }
}

/// The evaluation at its quiet self: 100 transactions a second of 1 ms.
fn quiet() -> LaneSample {
    lane("evaluation", 100, 1000)
}

#[test]
fn a_lease_is_a_run_and_what_is_held_back_for_it_is_told() {
    let held = LaneSample {
        n: "compaction".to_owned(),
        held: 1000,
        waiting: 2,
        by: vec!["compaction yields".to_owned()],
        ..LaneSample::default()
    };
    let throttle = |times| ThrottleSample {
        n: "compaction yields".to_owned(),
        watch: "evaluation".to_owned(),
        lane: "compaction".to_owned(),
        active: true,
        times,
        kept: 2,
        ..ThrottleSample::default()
    };
    let mut tale = Tale::begin()
        .seconds(5, &[lane("compaction", 1, 500_000)])
        .event("lease_taken", "ragchecker");
    for second in 0..60 {
        tale = tale.second(Sample {
            lanes: vec![quiet(), held.clone()],
            throttles: vec![throttle(u64::from(second % 10 == 0))],
            ..Sample::default()
        });
    }
    let run = tale.event("lease_ended", "ragchecker").run();
    assert_eq!((run.kind, run.end), (Kind::Lease, End::GivenBack));
    assert_eq!((run.name.as_str(), run.seconds), ("ragchecker", 60.0));
    assert_eq!(run.latency.count, 6000);
    assert_eq!(run.held_back[0].times, 6);
    assert_eq!(run.held_back[0].kept, 120);
    assert_eq!(run.beside[0].held_s, 60.0);
    assert_eq!(run.verdict.word, Word::Undisturbed);
    assert_eq!(
        run.verdict.sentence,
        "The evaluation run took 1 min; its transactions were as fast as in quiet; compaction was held back 6 times (1 min); no \
         lane disturbed it."
    );
}

#[test]
fn a_throttle_that_observes_is_told_by_what_it_would_have_done() {
    let mut tale = Tale::begin().event("lease_taken", "me");
    for _ in 0..10 {
        let throttle = ThrottleSample {
            n: "compaction yields".to_owned(),
            watch: "evaluation".to_owned(),
            lane: "compaction".to_owned(),
            observes: true,
            active: true,
            kept: 3,
            ..ThrottleSample::default()
        };
        tale = tale.second(Sample {
            lanes: vec![quiet(), lane("compaction", 3, 100_000)],
            throttles: vec![throttle],
            ..Sample::default()
        });
    }
    let run = tale.event("lease_ended", "me").run();
    assert!(run.held_back[0].observed);
    let expected =
        "nobody was held back (30 transactions would have waited if its throttles were enforced)";
    assert!(
        run.verdict.sentence.contains(expected),
        "{}",
        run.verdict.sentence
    );
}

#[test]
fn who_delays_it_is_named_with_cause_and_time() {
    let mut tale = Tale::begin()
        .event("lease_taken", "quietly")
        .seconds(20, &[quiet()])
        .event("lease_ended", "quietly")
        .pause(60)
        .event("lease_taken", "beside ltst");
    for _ in 0..20 {
        let evaluation = LaneSample {
            wait: took(100, 500),
            cpu: Some((60, 90)),
            busy: 1,
            ..lane("evaluation", 100, 3000)
        };
        let ltst = LaneSample {
            cpu: Some((900, 10)),
            busy: 2,
            ..lane("ltst", 10, 150_000)
        };
        tale = tale.second(Sample {
            lanes: vec![evaluation, ltst],
            blocked: vec![("compaction".to_owned(), "evaluation".to_owned(), 40)],
            ..Sample::default()
        });
    }
    let report = tale.event("lease_ended", "beside ltst").report();
    let run = &report.runs[1];
    assert_eq!(run.ratio, Some(3.5));
    assert_eq!(run.verdict.word, Word::Disturbed);
    let found: Vec<(Cause, Option<&str>, f64)> = run
        .delays
        .iter()
        .map(|delay| {
            (
                delay.cause,
                delay.by.as_deref(),
                (delay.seconds * 10.0).round() / 10.0,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (Cause::Cpu, Some("ltst"), 1.8),
            (Cause::Elsewhere, None, 1.4),
            (Cause::Queue, Some("ltst"), 1.0),
            (Cause::Locks, Some("compaction"), 0.8),
        ]
    );
    assert_eq!(
        run.verdict.sentence,
        "The evaluation run took 20 s; its transactions were 3.5 times as slow as in quiet; nobody was held back; ltst delayed \
         it (1.8 s for a processor, 1.0 s for slots), compaction delayed it (800 ms for locks)."
    );
    assert_eq!(report.runs[0].verdict.word, Word::Undisturbed);
    assert!(
        report.runs[0]
            .verdict
            .sentence
            .contains("nobody else worked")
    );
}

#[test]
fn without_a_lease_a_busy_period_is_a_run_and_pauses_for_a_model_are_part_of_it() {
    let tale = Tale::begin()
        .seconds(5, &[quiet()])
        .pause(20)
        .seconds(5, &[quiet()])
        .pause(300)
        .seconds(3, &[quiet()])
        .seconds(1, &[])
        .seconds(200, &[lane("ltst", 5, 1000)]);
    let runs = tale.report().runs;
    let found: Vec<_> = runs
        .iter()
        .map(|run| (run.kind, run.seconds, run.end))
        .collect();
    assert_eq!(
        found,
        [
            (Kind::Busy, 30.0, End::Quiet),
            (Kind::Busy, 3.0, End::Quiet)
        ]
    );
    // Somebody who looks at something is no evaluation.
    let look = Tale::begin().seconds(1, &[lane("evaluation", 3, 500)]);
    assert_eq!(look.report().runs, []);
}

#[test]
fn a_lease_outlives_a_restart_if_it_is_taken_anew_and_else_ends_with_the_proxy() {
    let before = || {
        Tale::begin()
            .event("lease_taken", "me")
            .seconds(10, &[quiet()])
            .pause(5)
            .restart()
            .pause(1)
    };
    let again = before()
        .event("lease_taken", "me")
        .seconds(10, &[quiet()])
        .event("lease_ended", "me");
    let run = again.run();
    assert_eq!((run.seconds, run.end), (26.0, End::GivenBack));
    let gone = before().seconds(200, &[lane("ltst", 1, 1000)]).run();
    assert_eq!((gone.seconds, gone.end), (10.0, End::Interrupted));
    assert!(
        gone.verdict
            .sentence
            .contains("the proxy ended before it did")
    );
    let expired = Tale::begin()
        .event("lease_taken", "me")
        .seconds(10, &[quiet()])
        .event("lease_expired", "me");
    assert_eq!(expired.run().end, End::Expired);
    let running = Tale::begin()
        .event("lease_taken", "me")
        .seconds(4, &[quiet()]);
    assert!(
        running
            .run()
            .verdict
            .sentence
            .contains("has been running for 4.0 s")
    );
}

#[test]
fn the_objectives_own_measure_comes_before_means_of_any_mix() {
    let measured = LaneSample {
        ratio: Some(1150),
        ..lane("evaluation", 100, 9000)
    };
    let run = Tale::begin()
        .seconds(60, &[quiet()])
        .event("lease_taken", "me")
        .seconds(20, &[measured, lane("ltst", 3, 100_000)])
        .event("lease_ended", "me")
        .report()
        .runs
        .remove(1);
    assert_eq!(
        (run.ratio, run.ratio_of),
        (Some(1.15), "objective"),
        "{run:#?}"
    );
}

#[test]
fn what_is_not_known_is_said_to_be_unknown() {
    let empty = Report::of(&History::default(), START, START + 1000);
    assert!(
        empty.notes[0].starts_with("nothing is written down"),
        "{:?}",
        empty.notes
    );
    let history = History::of_lines(["{\"k\":\"sample\",\"t\":5,\"d\":1}", "{\"k\":\"sam"]);
    let report = Report::of(&history, START, START + 1000);
    assert!(report.notes.iter().any(|note| note.starts_with("1 lines")));
    let run = Tale::begin()
        .event("lease_taken", "me")
        .seconds(
            20,
            &[lane("evaluation", 10, 1000), lane("ltst", 10, 90_000)],
        )
        .event("lease_ended", "me")
        .run();
    assert_eq!((run.ratio, run.quiet.as_ref()), (None, None));
    assert!(
        run.verdict
            .sentence
            .contains("what it takes in quiet is not known yet")
    );
    assert!(!run.cpu_measured);
    let idle = Tale::begin()
        .event("lease_taken", "me")
        .pause(90)
        .event("lease_ended", "me");
    assert_eq!(
        idle.run().verdict.sentence,
        "The evaluation run took 1 min 30 s and ended no transaction."
    );
}

#[test]
fn a_long_run_has_few_points_and_every_transaction_is_in_one() {
    let run = Tale::begin()
        .event("lease_taken", "me")
        .seconds(3000, &[quiet(), lane("ltst", 2, 1000)])
        .event("lease_ended", "me")
        .run();
    assert!(
        (100..=240).contains(&run.timeline.len()),
        "{}",
        run.timeline.len()
    );
    let points: u64 = run.timeline.iter().map(|point| point.transactions).sum();
    assert_eq!(points, run.latency.count);
    let ends = run.timeline.last().map(|point| point.at + point.lasts);
    assert!(ends.is_some_and(|end| end <= run.seconds + 1.0), "{ends:?}");
}

#[test]
fn the_page_loads_nothing_runs_nothing_and_takes_no_name_for_markup() {
    let name = "<script>alert(1)</script>\"'&";
    let report = Tale::begin()
        .event("lease_taken", name)
        .seconds(30, &[quiet(), lane("ltst", 10, 90_000)])
        .event("lease_ended", name)
        .report();
    let page = page(&report);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
    for forbidden in [
        "<script", "http:", "https:", "src=", "@import", "url(", "onload",
    ] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("<svg") && page.contains("prefers-color-scheme: dark"));
    let text = text(&report);
    assert!(text.contains("1 evaluation run between"), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 110),
        "{text}"
    );
}

#[test]
fn samples_are_small_and_nothing_is_written_of_what_did_nothing() {
    let record = Record::Sample(Sample {
        t: START,
        d: 5000,
        lanes: vec![quiet(), lane("ltst", 3, 90_000)],
        ..Sample::default()
    });
    let line = serde_json::to_string(&record).unwrap();
    assert!(line.len() < 250, "{line}");
    assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
}
