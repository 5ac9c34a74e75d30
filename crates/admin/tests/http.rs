//! The HTTP side of a real proxy whose PostgreSQL is not there.
#![allow(clippy::unwrap_used)] // helpers of tests; clippy only knows the test functions themselves

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use pglanes_admin::access::{Access, Names};
use pglanes_admin::text_format::Exposition;
use pglanes_admin::{MAXIMUM_CONNECTIONS, Reachability, Status};
use pglanes_config::{Config, ListenAddress, UpstreamAddress};
use pglanes_proxy::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

const TOKEN: &str = "a-token-of-the-tests";
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    proxy: Proxy,
    address: SocketAddr,
    status: watch::Sender<Status>,
    serving: tokio::task::JoinHandle<()>,
}

async fn world() -> World {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config {
        listen: vec![ListenAddress::Tcp(loopback)],
        ..Config::default()
    };
    config.upstream.address = UpstreamAddress::Unix {
        directory: "/nonexistent".into(),
        port: 1,
    };
    let proxy = Proxy::start(config).unwrap();
    let listener = pglanes_admin::bind(loopback).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (status, receiver) = watch::channel(Status {
        upstream: Reachability::Untried,
        clients_limit: 10,
        started: SystemTime::UNIX_EPOCH,
        configured: SystemTime::UNIX_EPOCH,
    });
    let serving = tokio::spawn(pglanes_admin::serve(
        listener,
        proxy.handle().clone(),
        receiver,
        Access::new(watch::channel(Some(TOKEN.into())).1, Names::OfThisMachine),
    ));
    World {
        proxy,
        address,
        status,
        serving,
    }
}

/// The status line's number, and all that followed it.
async fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, format!("{head}\n{body}"))
}

#[tokio::test]
async fn metrics_are_well_formed_and_name_every_lane() {
    let world = world().await;
    let (status, answer) = ask(world.address, "GET /metrics").await;
    assert_eq!(status, 200);
    assert!(answer.contains("text/plain; version=0.0.4"), "{answer}");
    let body = &answer[answer.find("# HELP").unwrap()..];
    let exposition = Exposition::parse(body).unwrap();
    for lane in ["evaluation", "compaction", "ltst", "readonly", "default"] {
        for name in [
            "pglanes_queue_wait_seconds_count",
            "pglanes_transactions_total",
        ] {
            assert_eq!(
                exposition.value(name, &[("lane", lane)]),
                Some(0.0),
                "{name} {lane}"
            );
        }
    }
    assert_eq!(exposition.value("pglanes_upstream_slots", &[]), Some(40.0));
}

#[tokio::test]
async fn readiness_follows_the_upstream_and_health_does_not() {
    let world = world().await;
    let ready = async || ask(world.address, "GET /readyz").await;
    let reach = |upstream: Reachability| {
        world
            .status
            .send_modify(|status| status.upstream = upstream);
    };
    let (status, answer) = ready().await;
    assert_eq!(status, 503);
    assert!(
        answer.contains("PostgreSQL has not been reached yet"),
        "{answer}"
    );
    reach(Reachability::Reached);
    assert_eq!(ready().await.0, 200);
    reach(Reachability::Unreachable {
        why: "Connection refused".to_owned(),
    });
    let (status, answer) = ready().await;
    assert_eq!(status, 503);
    assert!(
        answer.contains(r#""reason":"PostgreSQL cannot be reached: Connection refused""#),
        "{answer}"
    );
    assert_eq!(ask(world.address, "GET /healthz").await.0, 200);
}

#[tokio::test]
async fn only_get_is_answered_and_only_what_is_there() {
    let world = world().await;
    assert_eq!(ask(world.address, "POST /metrics").await.0, 405);
    assert_eq!(ask(world.address, "DELETE /").await.0, 405);
    assert_eq!(ask(world.address, "GET /etc/passwd").await.0, 404);
    let (status, answer) = ask(world.address, "GET /").await;
    assert_eq!(status, 200);
    assert!(
        answer.contains("/metrics") && answer.contains("/readyz"),
        "{answer}"
    );
}

/// A request with a body and the token, or without it.
async fn ask_with(
    address: SocketAddr,
    line: &str,
    token: Option<&str>,
    body: &str,
) -> (u16, serde_json::Value) {
    let authorization = token.map_or(String::new(), |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}Content-Length: {length}\r\n\r\n{body}"
    );
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn leases_are_taken_renewed_and_ended_with_the_token() {
    let world = world().await;
    let ask = async |line: &str, body: &str| ask_with(world.address, line, Some(TOKEN), body).await;
    let wanted = r#"{"lane": "evaluation", "holder": "a test", "ttl_seconds": 60}"#;
    for token in [None, Some("another-token-0123")] {
        let (status, answer) = ask_with(world.address, "POST /leases", token, wanted).await;
        assert_eq!(status, 401, "{answer}");
    }
    let (status, lease) = ask("POST /leases", wanted).await;
    assert_eq!(status, 201, "{lease}");
    assert_eq!(lease["lane"], "evaluation");
    assert_eq!(lease["ttl_seconds"], 60.0);
    let path = format!("/leases/{}", lease["id"].as_str().unwrap());
    // Reading needs no token.
    let (_, listed) = ask_with(world.address, "GET /leases", None, "").await;
    assert_eq!(listed["leases"].as_array().unwrap().len(), 1);
    assert_eq!(listed["leases"][0]["holder"], "a test");
    let (status, renewed) = ask(&format!("PUT {path}"), r#"{"ttl_seconds": 90}"#).await;
    assert_eq!((status, renewed["ttl_seconds"].as_f64()), (200, Some(90.0)));
    assert_eq!(ask(&format!("PUT {path}"), "").await.0, 200);
    assert_eq!(ask(&format!("DELETE {path}"), "").await.0, 200);
    assert_eq!(ask(&format!("DELETE {path}"), "").await.0, 404);
    assert_eq!(ask(&format!("PUT {path}"), "").await.0, 404);
    let (_, listed) = ask("GET /leases", "").await;
    assert_eq!(listed["leases"].as_array().unwrap().len(), 0);
    let counters = world
        .proxy
        .handle()
        .metrics()
        .lane(pglanes_lanes::LaneId(0));
    assert_eq!(counters.leases_taken.get(), 1);
    assert_eq!(counters.leases_renewed.get(), 2);
    assert_eq!(counters.leases_ended.get(), 1);
}

#[tokio::test]
async fn what_cannot_be_leased_is_refused_with_what_would_be_right() {
    let world = world().await;
    for (body, status, right) in [
        (
            r#"{"lane": "evaluatoin", "holder": "x"}"#,
            404,
            "the lanes are evaluation",
        ),
        (
            r#"{"lane": "evaluation", "holder": ""}"#,
            400,
            "one line of 1 to 200",
        ),
        (
            r#"{"lane": "evaluation", "holder": "a\nb"}"#,
            400,
            "one line of 1 to 200",
        ),
        (
            r#"{"lane": "evaluation", "holder": "x", "ttl_seconds": 0}"#,
            400,
            "lives from 1 s",
        ),
        (
            r#"{"lane": "evaluation", "holder": "x", "ttl_seconds": 1e300}"#,
            400,
            "lives from 1 s",
        ),
        (
            r#"{"lane": "evaluation", "holder": "x", "ttl": 1}"#,
            400,
            "ttl_seconds",
        ),
        ("not json", 400, "ttl_seconds"),
    ] {
        let (found, answer) = ask_with(world.address, "POST /leases", Some(TOKEN), body).await;
        assert_eq!(found, status, "{body}: {answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(right), "{body}: {error}");
    }
    let (status, _) = ask_with(world.address, "PUT /leases/xyz", Some(TOKEN), "").await;
    assert_eq!(status, 404);
}

/// A request with header lines of the caller's: status, and head and body.
async fn saying(address: SocketAddr, line: &str, headers: &[&str]) -> (u16, String) {
    let headers: String = headers
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: 0\r\n\r\n"
    );
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

#[tokio::test]
async fn the_stream_tells_the_state_every_second() {
    let world = world().await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let request = b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut heard = Vec::new();
    let twice = async {
        while String::from_utf8_lossy(&heard).matches("data: {").count() < 2 {
            assert!(stream.read_buf(&mut heard).await.unwrap() > 0);
        }
    };
    tokio::time::timeout(PATIENCE, twice).await.unwrap();
    assert!(String::from_utf8_lossy(&heard).contains("text/event-stream"));
}

#[tokio::test]
async fn a_browser_gets_the_dashboard_and_nothing_from_elsewhere() {
    let world = world().await;
    let page = saying(world.address, "GET /", &["Accept: text/html"]).await;
    assert_eq!(page.0, 200);
    assert!(page.1.contains("default-src 'none'"), "{}", page.1);
    assert!(page.1.contains("frame-ancestors 'none'"), "{}", page.1);
    // Every part it names is there, and no part has another address in it.
    let mut parts = 0;
    for name in ["/dashboard.css", "/dashboard.js"] {
        assert!(page.1.contains(&format!("\"{name}\"")), "{name}");
        let (status, part) = ask(world.address, &format!("GET {name}")).await;
        assert_eq!(status, 200, "{name}");
        assert!(!part.contains("https://"), "{name}");
        assert!(!part.contains("innerHTML"), "{name}");
        parts += 1;
    }
    assert_eq!(
        page.1.matches("src=\"").count() + page.1.matches("rel=\"stylesheet\"").count(),
        parts
    );
    let (status, text) = ask(world.address, "GET /").await;
    assert_eq!(status, 200);
    assert!(
        text.contains("text/plain") && text.contains("/metrics"),
        "{text}"
    );
}

#[tokio::test]
async fn the_dashboards_state_names_every_lane_and_throttle() {
    let world = world().await;
    let (status, answer) = saying(world.address, "GET /state", &[]).await;
    assert_eq!(status, 200);
    let body = &answer[answer.find('{').unwrap()..];
    let state: serde_json::Value = serde_json::from_str(body).unwrap();
    let lanes: Vec<&str> = state["lanes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lane| lane["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        lanes,
        ["evaluation", "compaction", "ltst", "readonly", "default"]
    );
    assert_eq!(state["throttles"][0]["watch"], "evaluation");
    assert_eq!(state["clients"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn the_dashboards_actions_need_the_token_and_its_own_page() {
    let world = world().await;
    let token = format!("Authorization: Bearer {TOKEN}");
    let pause = "POST /lanes/ltst/pause";
    for headers in [
        vec![],
        vec!["Authorization: Bearer wrong"],
        vec![token.as_str(), "Origin: http://evil.example"],
        vec![token.as_str(), "Sec-Fetch-Site: cross-site"],
    ] {
        let (status, answer) = saying(world.address, pause, &headers).await;
        assert!(matches!(status, 401 | 403), "{headers:?}: {answer}");
    }
    let paused = async || {
        let view = world.proxy.handle().view().await.unwrap();
        view.operated.paused_lanes.len()
    };
    assert_eq!(paused().await, 0);
    assert_eq!(saying(world.address, pause, &[&token]).await.0, 200);
    assert_eq!(paused().await, 1);
    let (status, answer) = saying(world.address, pause, &[&token]).await;
    assert_eq!(status, 409);
    assert!(answer.contains("already paused"), "{answer}");
    let resume = "POST /lanes/ltst/resume";
    assert_eq!(saying(world.address, resume, &[&token]).await.0, 200);
    assert_eq!(paused().await, 0);
    let cancel = "POST /sessions/1/cancel";
    let (status, answer) = saying(world.address, cancel, &[&token]).await;
    assert_eq!(status, 409);
    assert!(answer.contains("no such client"), "{answer}");
}

#[tokio::test]
async fn a_header_without_end_is_refused() {
    let world = world().await;
    let request = format!("GET /{} HTTP/1.1\r\n", "x".repeat(100_000));
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    // The server may have closed before all of it was sent.
    let _ = writer.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut answer));
    let _ = read.await.expect("the server closes the connection");
    assert!(
        !answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn a_crowd_of_silent_connections_is_bounded_and_passes() {
    let world = world().await;
    let mut silent = Vec::new();
    for _ in 0..MAXIMUM_CONNECTIONS {
        silent.push(TcpStream::connect(world.address).await.unwrap());
    }
    // One more waits until a place is free: when one of them goes, it is answered.
    let asked = tokio::spawn(ask(world.address, "GET /"));
    drop(silent.pop());
    assert_eq!(asked.await.unwrap().0, 200);
}

#[tokio::test]
async fn serving_ends_with_the_proxy() {
    let world = world().await;
    world.proxy.handle().shutdown(Duration::ZERO).await;
    tokio::time::timeout(PATIENCE, world.serving)
        .await
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(world.address).await.is_err());
}
