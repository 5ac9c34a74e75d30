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
    // What was recorded of the evaluation is what every replay does of it. What a run for real does of it may be less: on a
    // machine that is busy enough it is cut off.
    let work = round.was.measured.lanes[round.was.protected].finished;
    assert!(work > 0);
    for (name, prediction, measured) in &round.changes {
        let place = prediction.protected;
        assert!(prediction.new.complete, "{name}");
        assert_eq!(prediction.new.lanes[place].finished, work, "{name}");
        assert!(measured.lanes[place].finished > 0, "{name}");
    }
    let text = report.to_string();
    assert!(
        text.contains("two-slots") && text.contains("predicted"),
        "{text}"
    );
}
