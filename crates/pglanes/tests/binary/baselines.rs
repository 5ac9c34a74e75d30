//! Quiet latencies that outlive a restart.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::support::{Folder, Serving, eventually, run, text};

/// Enough transactions for a 95th percentile to be believed.
const ENOUGH: usize = 45;

/// Runs transactions through the proxy, one after the other.
fn evaluate(serving: &Serving, user: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let clients = serving.clients;
    let user = user.to_owned();
    runtime.block_on(async move {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(clients.port());
        config.user(&user).dbname("postgres");
        config.application_name("ragchecker");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        for number in 0..ENOUGH {
            let text = format!("SELECT {number}");
            client.simple_query(&text).await.unwrap();
        }
        drop(client);
        connection.await.unwrap().unwrap();
    });
}

fn samples(serving: &Serving) -> f64 {
    let body = serving.get("/metrics").1;
    let lines = body.lines();
    let of_a_class =
        |line: &&str| line.starts_with("pglanes_objective_baseline_samples{lane=\"evaluation\"");
    lines
        .filter(of_a_class)
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[test]
fn what_an_evaluation_takes_in_quiet_is_known_after_a_restart_and_forgotten_with_its_settings() {
    let postgres = pglanes_testbed::shared().unwrap();
    // The state is that of a port, which must be the same after the restart.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let folder = Folder::new();
    let lanes = |settings: &str| {
        format!(
            "listen: 127.0.0.1:{port}\nhttp: 127.0.0.1:0\nlogging: {{ format: json }}\n\
             upstream: {{ url: \"{}\", unix_socket: \"{}\" }}\nlanes:\n  evaluation:\n    \
             match: [{{ application_name: ragchecker }}]\n    priority: 10\n    settings: {{ {settings} }}\n    \
             objective: {{ p95: 1.2x }}\n",
            postgres.url("postgres"),
            postgres.socket_dir().display()
        )
    };
    folder.write("lanes.yaml", &lanes("work_mem: 8MB"));
    let mut first = Serving::start(&folder);
    evaluate(&first, "postgres");
    // What is fetched now and then is what is written at the end.
    eventually("it is learned", || samples(&first) >= ENOUGH as f64 / 2.0);
    std::thread::sleep(std::time::Duration::from_secs(6));
    let learned = samples(&first);
    first.signal(Signal::TERM);
    assert_eq!(first.end().code(), Some(0));
    let shown = run(&folder, &["check", "--offline", "--config", "lanes.yaml"]);
    let shown = text(&shown.stdout);
    assert!(
        shown.contains("its quiet latency is kept: 1 classes, as of "),
        "{shown}"
    );
    let mut second = Serving::start(&folder);
    second.hear("quiet latencies of before are known");
    assert_eq!(samples(&second), learned);
    second.signal(Signal::TERM);
    second.end();
    folder.write("lanes.yaml", &lanes("work_mem: 16MB"));
    let third = Serving::start(&folder);
    assert_eq!(samples(&third), 0.0);
}
