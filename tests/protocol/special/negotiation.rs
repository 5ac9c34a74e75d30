//! Protocol versions, on either side: 3.0, 3.2, what comes later, and servers that know less.

use bytes::{Buf, BufMut, BytesMut};
use pglanes_tests::{
    Answer, Fake, Proxy, Raw, Script, Step, Target, Welcome, cancel, invariants, tags,
};
use pglanes_wire::message;
use pglanes_wire::startup::{PROTOCOL_3_0, PROTOCOL_3_2, write_startup};

/// libpq's test of servers: a version that will never be.
const GREASE: i32 = (3 << 16) | 9999;

async fn login(proxy: &Proxy, version: i32, options: &[&str]) -> (Raw, Welcome) {
    let mut parameters = vec![("user", "postgres"), ("database", proxy.database())];
    parameters.extend(options.iter().map(|option| (*option, "")));
    let mut packet = BytesMut::new();
    write_startup(&mut packet, version, parameters.into_iter());
    let mut raw = proxy.raw().await;
    raw.send(&packet).await;
    let welcome = raw.welcome().await;
    (raw, welcome)
}

/// The version and the options of the one NegotiateProtocolVersion, which comes first; `None` without one.
fn negotiated(answers: &[Answer]) -> Option<(i32, Vec<String>)> {
    let count = answers.iter().filter(|answer| answer.tag == b'v').count();
    assert!(count <= 1, "negotiated {count} times: {}", tags(answers));
    let answer = answers.iter().find(|answer| answer.tag == b'v')?;
    assert_eq!(answers[0], *answer, "not the first: {}", tags(answers));
    let mut body = answer.body.clone();
    let version = body.get_i32();
    let count = body.get_i32();
    let texts = body.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let options: Vec<String> = texts
        .filter(|text| !text.is_empty())
        .map(Into::into)
        .collect();
    assert_eq!(usize::try_from(count), Ok(options.len()));
    Some((version, options))
}

async fn check(version: i32, options: &[&str], secret: usize, wanted: Option<(i32, Vec<String>)>) {
    let proxy = Proxy::with_slots(1).run().await;
    let (mut raw, welcome) = login(&proxy, version, options).await;
    assert_eq!(negotiated(&welcome.answers), wanted);
    assert_eq!(welcome.key.len(), secret);
    // Whatever its length, the key works, at a server that has keys of another length.
    raw.say(&Script::new().query("BEGIN; SELECT pg_sleep(600)"))
        .await;
    let direct = proxy.pg().direct().await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    pglanes_tests::eventually("it runs", || async {
        pglanes_tests::value(&direct, sql).await == "1"
    })
    .await;
    cancel(&proxy, &welcome).await;
    let answers = raw.until_ready().await;
    let error = answers.iter().find(|answer| answer.tag == b'E');
    assert_eq!(error.unwrap().sqlstate(), "57014", "{answers:?}");
    drop(raw);
    invariants(&proxy).await;
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn protocol_3_0_has_keys_of_four_bytes() {
    check(PROTOCOL_3_0, &[], 4, None).await;
}

#[tokio::test]
async fn protocol_3_2_has_keys_of_32_bytes() {
    check(PROTOCOL_3_2, &[], 32, None).await;
}

#[tokio::test]
async fn a_later_version_is_negotiated_down_to_3_2_once() {
    let options = ["_pq_.test_protocol_negotiation"];
    check(GREASE, &options, 32, Some((PROTOCOL_3_2, names(&options)))).await;
    check(GREASE, &[], 32, Some((PROTOCOL_3_2, Vec::new()))).await;
}

#[tokio::test]
async fn options_of_the_protocol_are_listed_and_the_version_stays() {
    let options = ["_pq_.one", "_pq_.two"];
    let at_3_0 = Some((PROTOCOL_3_0, names(&options)));
    check(PROTOCOL_3_0, &options, 4, at_3_0).await;
    let at_3_2 = Some((PROTOCOL_3_2, names(&options[..1])));
    check(PROTOCOL_3_2, &options[..1], 32, at_3_2).await;
}

/// AuthenticationOk and all that follows it, with a cancel key of this length.
fn rest_of_login(key: usize) -> Vec<u8> {
    let mut out = BytesMut::new();
    message::auth_ok(&mut out);
    message::parameter_status(&mut out, "client_encoding", "UTF8");
    message::backend_key_data(&mut out, 1, &vec![7; key]);
    message::ready_for_query(&mut out, message::TransactionStatus::Idle);
    out.to_vec()
}

/// A proxy before a server whose logins are these scripts; one client, one query on the last of them.
async fn check_server(mut scripts: Vec<Vec<Step>>) {
    let last = scripts.last_mut().expect("a script");
    // The proxy sets the session's application_name, none.
    last.push(Step::Read(b'Q'));
    last.push(Step::message(b'C', b"SET\0"));
    last.push(Step::message(b'Z', b"I"));
    last.push(Step::Read(b'Q'));
    last.push(Step::message(b'C', b"SELECT 0\0"));
    last.push(Step::message(b'Z', b"I"));
    last.push(Step::UntilClosed);
    let fake = Fake::plays(scripts).await;
    let proxy = Proxy::with("auth: { method: trust }")
        .slots(1)
        .upstream_port(fake.port())
        .run()
        .await;
    let mut raw = proxy.raw().await;
    raw.send(&pglanes_tests::startup_packet(&[("user", "u")]))
        .await;
    raw.welcome().await;
    assert_eq!(tags(&raw.query("SELECT").await), "CZ");
    drop(raw);
    invariants(&proxy).await;
    drop(proxy);
    fake.used_up().await;
}

fn negotiation(version: i32) -> Step {
    let mut body = BytesMut::new();
    body.put_i32(version);
    body.put_i32(0);
    Step::message(b'v', &body)
}

#[tokio::test]
async fn a_server_that_has_only_3_0_says_so_and_is_understood() {
    let login = vec![
        Step::Startup,
        negotiation(PROTOCOL_3_0),
        Step::Say(rest_of_login(4)),
    ];
    check_server(vec![login]).await;
}

#[tokio::test]
async fn a_server_may_have_keys_of_256_bytes() {
    check_server(vec![vec![Step::Startup, Step::Say(rest_of_login(256))]]).await;
}

#[tokio::test]
async fn a_server_that_refuses_3_2_is_asked_for_3_0() {
    let mut refusal = BytesMut::new();
    let body = message::ErrorBody::new(
        message::Severity::Fatal,
        "0A000",
        "unsupported frontend protocol 3.2",
    );
    message::error(&mut refusal, &body);
    let refused = vec![
        Step::Startup,
        Step::Say(refusal.to_vec()),
        Step::UntilClosed,
    ];
    let login = vec![Step::Startup, Step::Say(rest_of_login(4))];
    check_server(vec![refused, login]).await;
}
