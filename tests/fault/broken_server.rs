//! A server that breaks the protocol, played by a script: the client gets an error and nothing else, its connection is closed,
//! and the next client is served by another one.

use bytes::BytesMut;
use pglanes_tests::{Answer, Fake, Proxy, Raw, Script, Step, nothing_left, startup_packet, tags};
use pglanes_wire::message::{self, TransactionStatus};

/// The answer to the query that every script is asked: one row.
fn good_answer() -> Vec<u8> {
    let script = Script::new()
        .message(
            b'T',
            b"\0\x01value\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0",
        )
        .message(b'D', b"\0\x01\0\0\0\x04good")
        .message(b'C', b"SELECT 1\0")
        .message(b'Z', b"I");
    script.bytes().to_vec()
}

/// A proxy before a fake that plays these scripts, one a connection.
async fn before(scripts: Vec<Vec<Step>>) -> (Proxy, Fake) {
    let fake = Fake::plays(scripts).await;
    let proxy = Proxy::with("auth: { method: trust }")
        .slots(1)
        .upstream("connect_timeout: 2s")
        .upstream_port(fake.port())
        .run()
        .await;
    (proxy, fake)
}

/// A login, the session's application_name (none) set by the proxy, a query of the client's, and then this.
fn after_login(then: Vec<Step>) -> Vec<Step> {
    let set = Script::new()
        .message(b'S', b"application_name\0\0")
        .message(b'C', b"SET\0")
        .message(b'Z', b"I");
    let mut script = Step::login();
    script.push(Step::Read(b'Q'));
    script.push(Step::Say(set.bytes().to_vec()));
    script.push(Step::Read(b'Q'));
    script.extend(then);
    script
}

/// What a client gets for a query whose answer is this, up to the end of its connection or its ReadyForQuery. The next client
/// is served as if nothing had been.
async fn check(then: Vec<Step>) -> Vec<Answer> {
    let next = after_login(vec![Step::Say(good_answer()), Step::UntilClosed]);
    let (proxy, fake) = before(vec![after_login(then), next]).await;
    let mut raw = client(&proxy).await;
    raw.say(&Script::new().query("SELECT 'good'")).await;
    let answers = raw.until_ready_or_cut().await;
    drop(raw);
    let mut other = client(&proxy).await;
    assert_eq!(other.value("SELECT 'good'").await, "good");
    drop(other);
    nothing_left(&proxy).await;
    drop(proxy);
    fake.used_up().await;
    answers
}

/// A client without a name.
async fn client(proxy: &Proxy) -> Raw {
    Raw::login(proxy, &[]).await.0
}

fn last_error(answers: &[Answer]) -> String {
    let last = answers.last().expect("an answer");
    assert_eq!(last.tag, b'E', "{answers:?}");
    assert_eq!(last.fields()[&'S'], "FATAL");
    last.sqlstate()
}

#[tokio::test]
async fn notices_and_parameters_during_a_login_are_no_answer_to_it() {
    let notice = |text: &str| {
        let body = format!("SNOTICE\0VNOTICE\0C00000\0M{text}\0\0");
        Script::new()
            .message(b'N', body.as_bytes())
            .bytes()
            .to_vec()
    };
    let mut login = BytesMut::new();
    login.extend_from_slice(&notice("your password expires tomorrow"));
    message::auth_ok(&mut login);
    login.extend_from_slice(&notice("a login trigger speaks"));
    message::parameter_status(&mut login, "server_version", "17.0");
    message::parameter_status(&mut login, "client_encoding", "UTF8");
    message::parameter_status(&mut login, "application_name", "something else");
    message::parameter_status(&mut login, "application_name", "pglanes");
    message::backend_key_data(&mut login, 1, &[1, 2, 3, 4]);
    message::parameter_status(&mut login, "TimeZone", "Asia/Tokyo");
    login.extend_from_slice(&notice("and again"));
    message::ready_for_query(&mut login, TransactionStatus::Idle);
    let mut script = after_login(vec![Step::Say(good_answer()), Step::UntilClosed]);
    script[1] = Step::Say(login.to_vec());
    let (proxy, fake) = before(vec![script]).await;
    let (mut raw, welcome) = Raw::login(&proxy, &[]).await;
    assert_eq!(welcome.parameter("TimeZone").as_deref(), Some("Asia/Tokyo"));
    assert_eq!(raw.value("SELECT 'good'").await, "good");
    drop(raw);
    nothing_left(&proxy).await;
    drop(proxy);
    fake.used_up().await;
}

#[tokio::test]
async fn a_well_behaved_one_is_understood() {
    let (proxy, fake) = before(vec![after_login(vec![
        Step::Say(good_answer()),
        Step::UntilClosed,
    ])])
    .await;
    let mut raw = client(&proxy).await;
    assert_eq!(raw.value("SELECT 'good'").await, "good");
    drop(raw);
    pglanes_tests::invariants(&proxy).await;
    drop(proxy);
    fake.used_up().await;
}

#[tokio::test]
async fn an_unknown_type_of_message() {
    let answers = check(vec![Step::message(b'?', b"what"), Step::UntilClosed]).await;
    assert_eq!(last_error(&answers), "08P01");
}

#[tokio::test]
async fn a_row_behind_ready_for_query() {
    let mut bytes = good_answer();
    bytes.extend_from_slice(Script::new().message(b'D', b"\0\x01\0\0\0\x03bad").bytes());
    let answers = check(vec![Step::Say(bytes), Step::UntilClosed]).await;
    let rows = answers.iter().filter(|answer| answer.tag == b'D').count();
    assert!(
        rows <= 1,
        "the row that nobody asked for reached nobody: {answers:?}"
    );
}

#[tokio::test]
async fn one_ready_for_query_too_many() {
    let mut bytes = good_answer();
    bytes.extend_from_slice(Script::new().message(b'Z', b"I").bytes());
    let answers = check(vec![Step::Say(bytes), Step::UntilClosed]).await;
    // In one piece with the answer it makes that suspect too; behind it, it is found when the connection is next used.
    assert!(
        matches!(tags(&answers).as_str(), "TDCZ" | "E"),
        "{answers:?}"
    );
}

#[tokio::test]
async fn a_length_that_no_message_can_have() {
    for length in [0, 3, -1, i32::MIN] {
        let bytes = [&[b'T'][..], &length.to_be_bytes()].concat();
        let answers = check(vec![Step::Say(bytes), Step::UntilClosed]).await;
        assert_eq!(last_error(&answers), "08P01", "{length}");
    }
}

#[tokio::test]
async fn an_oversize_message_is_not_waited_for() {
    let mut bytes = [&[b'T'][..], &i32::MAX.to_be_bytes()].concat();
    bytes.extend_from_slice(&[b'x'; 100_000]);
    let answers = check(vec![Step::Say(bytes), Step::UntilClosed]).await;
    assert_eq!(last_error(&answers), "08P01");
}

#[tokio::test]
async fn a_row_that_ends_in_the_middle_is_never_made_whole() {
    let whole = Script::new()
        .message(b'D', b"\0\x01\0\0\0\x64")
        .bytes()
        .to_vec();
    // Its length says 100 bytes more than come.
    let mut row = [&[b'D'][..], &110_i32.to_be_bytes(), &whole[5..]].concat();
    row.extend_from_slice(&[b'x'; 50]);
    let answers = check(vec![Step::Say(row), Step::Close]).await;
    assert!(
        !answers.iter().any(|answer| answer.tag == b'D'),
        "filled up with something else: {answers:?}"
    );
}

#[tokio::test]
async fn a_truncated_header_and_the_end() {
    let answers = check(vec![Step::Say(b"T\0\0".to_vec()), Step::Close]).await;
    assert_eq!(last_error(&answers), "08006");
}

#[tokio::test]
async fn the_end_in_place_of_an_answer() {
    let answers = check(vec![Step::Close]).await;
    assert_eq!(last_error(&answers), "08006");
}

#[tokio::test]
async fn an_error_without_a_sqlstate_is_passed_on_as_it_is() {
    let error = Script::new()
        .message(b'E', b"SERROR\0Mno code here\0\0")
        .message(b'Z', b"I");
    let next = vec![
        Step::Say(error.bytes().to_vec()),
        Step::Read(b'Q'),
        Step::Say(good_answer()),
        Step::UntilClosed,
    ];
    let (proxy, fake) = before(vec![after_login(next)]).await;
    let mut raw = client(&proxy).await;
    let answers = raw.query("SELECT 1").await;
    assert_eq!(tags(&answers), "EZ");
    assert_eq!(answers[0].text(), "no code here");
    assert_eq!(raw.value("SELECT 'good'").await, "good");
    drop(raw);
    pglanes_tests::invariants(&proxy).await;
    drop(proxy);
    fake.used_up().await;
}

/// What a client's login comes to when the server's says this.
async fn check_login(script: Vec<Step>) -> Answer {
    let fake = Fake::plays(vec![script]).await;
    let builder = Proxy::with("auth: { method: trust }")
        .slots(1)
        .upstream("connect_timeout: 2s")
        .upstream("password: { env: PASSWORD }");
    let proxy = builder
        .secret("PASSWORD", "secret")
        .upstream_port(fake.port())
        .run()
        .await;
    let mut raw = proxy.raw().await;
    let who = [("user", "postgres"), ("database", "postgres")];
    raw.send(&startup_packet(&who)).await;
    let mut answers = raw.until_end().await;
    nothing_left(&proxy).await;
    drop(proxy);
    fake.used_up().await;
    let last = answers.pop().expect("an error");
    assert_eq!(last.tag, b'E', "{last:?}");
    last
}

fn scram_asked() -> Step {
    let mut out = BytesMut::new();
    message::auth_sasl(&mut out, &["SCRAM-SHA-256"]);
    Step::Say(out.to_vec())
}

/// AuthenticationSASLContinue for the client's first message, with this many iterations.
fn challenge(iterations: &'static str) -> Step {
    Step::Answer(Box::new(move |initial| {
        let text = String::from_utf8_lossy(initial);
        let nonce = text.split("r=").nth(1).expect("a nonce");
        let mut out = BytesMut::new();
        let first = format!("r={nonce}server,s=c2FsdHNhbHRzYWx0c2FsdA==,i={iterations}");
        message::auth_sasl_continue(&mut out, first);
        out.to_vec()
    }))
}

#[tokio::test]
async fn a_wrong_sasl_signature_is_not_believed() {
    let mut out = BytesMut::new();
    message::auth_sasl_final(&mut out, "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    message::auth_ok(&mut out);
    message::ready_for_query(&mut out, TransactionStatus::Idle);
    let script = vec![
        Step::Startup,
        scram_asked(),
        Step::Read(b'p'),
        challenge("4096"),
        Step::Read(b'p'),
        Step::Say(out.to_vec()),
        Step::UntilClosed,
    ];
    assert_eq!(check_login(script).await.sqlstate(), "08006");
}

#[tokio::test]
async fn two_thousand_million_iterations_are_not_computed() {
    let script = vec![
        Step::Startup,
        scram_asked(),
        Step::Read(b'p'),
        challenge("2147483648"),
        Step::UntilClosed,
    ];
    assert_eq!(check_login(script).await.sqlstate(), "08006");
    // Not one that fits a number either.
    let script = vec![
        Step::Startup,
        scram_asked(),
        Step::Read(b'p'),
        challenge("2147483647"),
        Step::UntilClosed,
    ];
    assert_eq!(check_login(script).await.sqlstate(), "08006");
}

#[tokio::test]
async fn a_login_refused_without_a_sqlstate_is_still_a_refusal() {
    let error = Step::message(b'E', b"SFATAL\0Mgo away\0\0");
    let last = check_login(vec![Step::Startup, error, Step::Close]).await;
    assert_eq!(last.text(), "go away");
}

#[tokio::test]
async fn a_login_message_of_two_gigabytes_is_not_waited_for() {
    let huge = [&[b'S'][..], &i32::MAX.to_be_bytes()].concat();
    let last = check_login(vec![Step::Startup, Step::Say(huge), Step::UntilClosed]).await;
    assert_eq!(last.sqlstate(), "08006");
}

#[tokio::test]
async fn authentication_that_was_never_asked_for_is_not_answered_with_a_password() {
    // A method of another product, and one that does not exist.
    for kind in [2_u32, 99] {
        let asked = Step::message(b'R', &kind.to_be_bytes());
        let last = check_login(vec![Step::Startup, asked, Step::UntilClosed]).await;
        assert_eq!(last.sqlstate(), "08006");
        assert!(!last.text().contains("secret"), "{last:?}");
    }
}
