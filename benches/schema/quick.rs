//! The bench in its quick mode, so that it goes on working: every script is applied to a loaded database, and every operation
//! runs with it and without.

use clap::Parser as _;
use pglanes_benches::schema::{Arguments, SCRIPTS, run};

#[tokio::test]
async fn every_operation_of_the_quick_mode_runs_with_each_script_and_without() {
    let lines = std::cell::RefCell::new(String::new());
    let told = |line: &str| lines.borrow_mut().push_str(line);
    let arguments = Arguments::parse_from(["schema", "--quick"]);
    let all = run(&arguments, &told).await.unwrap();
    let scripts: Vec<&str> = all.iter().map(|of| of.0).collect();
    assert_eq!(scripts, SCRIPTS);
    for (script, figures) in &all {
        // That one needs a server whose build has lz4.
        assert_eq!(
            figures.is_empty(),
            *script == "30-cache-compression",
            "{script}"
        );
        for figure in figures {
            assert!(!figure.before.is_empty(), "{script}: {figure:?}");
            assert_eq!(
                figure.before.len(),
                figure.after.len(),
                "{script}: {figure:?}"
            );
            assert!(
                lines.borrow().contains(&figure.what),
                "{script}: {figure:?}"
            );
        }
    }
}
