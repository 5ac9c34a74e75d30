//! The bench in its quick mode, so that it goes on working: every phase runs, on little data, against a real server.

use std::collections::BTreeMap;

use clap::Parser as _;
use pglanes::demo::phases::Evaluated;
use pglanes_benches::contention::{arguments::Arguments, measure};

#[tokio::test]
async fn every_phase_of_the_quick_mode_does_work_without_an_error() {
    let arguments = Arguments::parse_from(["contention", "--quick"]);
    let report = measure::run(&arguments).await.unwrap();
    assert_eq!(report.summaries.len(), 5);
    for (summary, arm) in report.summaries.iter().zip(&report.arms) {
        let name = &summary.name;
        assert_eq!(arm.measured.len(), 1, "{name}");
        assert_eq!(summary.unasked_errors(), BTreeMap::new(), "{name}");
        let measured = &arm.measured[0];
        // On a machine that is busy enough an evaluation is cut off: that is no mistake of the bench.
        if let Some(Evaluated::Finished(evaluation)) = &measured.evaluation {
            // Ten operations a case, and none left out.
            assert_eq!(evaluation.all.count, report.amount.rounds * 150, "{name}");
        }
        if let Some(lanes) = &measured.lanes {
            assert_eq!((lanes.out_of_sync, lanes.rejected), (0, 0), "{name}");
        }
    }
    let json = serde_json::to_value(&report).unwrap();
    assert!(json["summaries"][4]["ratios"]["time s"]["median"].is_number());
}
