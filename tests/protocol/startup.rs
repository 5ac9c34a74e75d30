//! The first packets of a connection, and the welcome.

use pglanes_tests::{Proxy, Raw, Target, invariants, psql, startup_packet};

#[tokio::test]
async fn psql_runs_through_the_proxy() {
    let proxy = Proxy::with("").run().await;
    let output = psql(&proxy, "mine", &["-c", "SHOW application_name"]).await;
    assert_eq!(
        (output.succeeded, output.stdout.as_str()),
        (true, "mine"),
        "{output:?}"
    );
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_startup_packet_may_come_byte_by_byte() {
    let proxy = Proxy::with("").run().await;
    let mut raw = proxy.raw().await;
    let packet = startup_packet(&[("user", "postgres"), ("database", proxy.database())]);
    raw.send_byte_by_byte(&packet).await;
    raw.welcome().await;
    assert_eq!(
        raw.value("SELECT current_database()").await,
        proxy.database()
    );
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn the_welcome_reports_the_parameters_that_the_server_itself_reports() {
    let proxy = Proxy::with("").run().await;
    let asked = [
        ("application_name", "mine"),
        ("TimeZone", "Asia/Tokyo"),
        ("DateStyle", "German"),
    ];
    let statuses = |answers: &[pglanes_tests::Answer]| {
        let of_parameters = answers.iter().filter(|answer| answer.tag == b'S');
        let mut all: Vec<_> = of_parameters
            .map(pglanes_tests::Answer::parameter)
            .collect();
        all.sort();
        all
    };
    let (direct, there) = Raw::login(proxy.pg(), &asked).await;
    let (raw, here) = Raw::login(&proxy, &asked).await;
    assert_eq!(statuses(&here.answers), statuses(&there.answers));
    drop((direct, raw));
    invariants(&proxy).await;
}
