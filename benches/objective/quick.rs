//! The bench in its quick mode, so that it goes on working: every arm runs, on little data, against a real server.

use std::collections::BTreeMap;

use clap::Parser as _;
use pglanes_benches::objective::arguments::Arguments;
use pglanes_benches::objective::{arms, real};

#[tokio::test]
async fn every_arm_of_the_quick_mode_does_work_without_an_error() {
    let out = std::env::temp_dir().join(format!("pglanes-objective-{}", std::process::id()));
    let folder = out.display().to_string();
    let arguments = Arguments::parse_from(["objective", "--quick", "--out", &folder]);
    let report = real::run(&arguments).await.unwrap();
    assert_eq!(report.summaries.len(), arms::ALL.len() + 2);
    for (summary, arm) in report.summaries.iter().zip(&report.arms) {
        assert_eq!(
            summary.unasked_errors(),
            BTreeMap::new(),
            "{}",
            summary.name
        );
        if let Some(lanes) = &arm.measured[0].lanes {
            assert_eq!(
                (lanes.out_of_sync, lanes.rejected),
                (0, 0),
                "{}",
                summary.name
            );
        }
    }
    let trace = std::fs::read_to_string(out.join("loop-1.csv")).unwrap();
    assert!(trace.lines().count() > 5, "{trace}");
    std::fs::remove_dir_all(&out).unwrap();
}
