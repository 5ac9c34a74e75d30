//! The bench in its quick mode, so that it goes on working: what was recorded is whole, and can be replayed with every file.

use clap::Parser as _;
use pglanes_benches::what_if::{Arguments, run};

#[tokio::test]
async fn what_the_quick_mode_records_is_predicted_and_measured_in_the_same_terms() {
    let report = run(&Arguments::parse_from(["what_if", "--quick"]))
        .await
        .unwrap();
    assert_eq!(report.rounds.len(), 1);
    let round = &report.rounds[0];
    assert_eq!(round.lost, 0);
    // The evaluation's work is the same in every run and every replay.
    let work = round.was.measured.lanes[round.was.protected].finished;
    assert!(work > 0);
    for (name, prediction, measured) in &round.changes {
        let place = prediction.protected;
        assert!(prediction.new.complete, "{name}");
        assert_eq!(prediction.new.lanes[place].finished, work, "{name}");
        assert_eq!(measured.lanes[place].finished, work, "{name}");
    }
    let text = report.to_string();
    assert!(
        text.contains("two-slots") && text.contains("predicted"),
        "{text}"
    );
}
