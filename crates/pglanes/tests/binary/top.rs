//! `pglanes top --once` against a running proxy, and against none.

use crate::support::{Folder, Serving, eventually, lanes_yaml, pglanes, run, text};

const LANES: &str = "\
lanes:
  evaluation: { match: [{ application_name: evaluation }], slots: { min: 1, max: 4 }, priority: 10 }
  default: { slots: { max: 4 } }
throttles:
  - { name: default yields, while: { lane: evaluation, is: connected, linger: 0s }, lane: default, slots: 1 }
";

#[test]
fn top_prints_one_frame_of_the_running_proxy_as_plain_text() {
    let postgres = pglanes_testbed::shared().unwrap();
    let folder = Folder::new();
    let upstream = format!("{{ url: \"{}\" }}", postgres.url("postgres"));
    folder.write("lanes.yaml", &lanes_yaml(&upstream, LANES));
    let serving = Serving::start(&folder);
    let url = format!("http://{}", serving.http);
    let frame = || {
        let output = pglanes(&folder)
            .args(["top", "--once", "--url", &url, "--config", "lanes.yaml"])
            .env("COLUMNS", "140")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    eventually("the proxy has reached PostgreSQL", || {
        frame().contains("PostgreSQL up")
    });
    let connection = format!(
        "postgresql://{}/postgres?application_name=evaluation",
        serving.clients
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let connection = format!("{connection}&user=postgres&sslmode=disable");
    let (client, driver) = runtime
        .block_on(tokio_postgres::connect(&connection, tokio_postgres::NoTls))
        .unwrap();
    let talking = runtime.spawn(driver);
    runtime
        .block_on(client.batch_execute("BEGIN; SELECT 1"))
        .unwrap();
    let shown = frame();
    for expected in [
        "evaluation runs undisturbed; default yield.",
        "1/4",
        "█···",
        "holds back",
        "default yields",
        "idle in transaction",
    ] {
        assert!(shown.contains(expected), "{expected}\nis not in\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    drop(client);
    runtime.block_on(talking).unwrap().unwrap();
}

#[test]
fn top_says_where_it_looked_for_a_proxy_that_is_not_there() {
    let folder = Folder::new();
    folder.write("lanes.yaml", &lanes_yaml(crate::support::NOWHERE, ""));
    let output = run(
        &folder,
        &[
            "top",
            "--once",
            "--url",
            "127.0.0.1:1",
            "--config",
            "lanes.yaml",
        ],
    );
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("no proxy answers at http://127.0.0.1:1"),
        "{said}"
    );
}
