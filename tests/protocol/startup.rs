//! The first packets of a connection, and the welcome.

use bytes::BytesMut;
use pglanes_tests::{
    Answer, Proxy, Raw, Target, config, invariants, psql, soon, startup_packet, tags, value,
};
use pglanes_wire::startup::{write_ssl_request, write_startup};

/// GSSENCRequest (PostgreSQL documentation, "Message Formats").
const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x30];

fn ssl_request() -> BytesMut {
    let mut request = BytesMut::new();
    write_ssl_request(&mut request);
    request
}

fn packet(proxy: &Proxy) -> BytesMut {
    startup_packet(&[("user", "postgres"), ("database", proxy.database())])
}

fn statuses(answers: &[Answer]) -> Vec<(String, String)> {
    let of_parameters = answers.iter().filter(|answer| answer.tag == b'S');
    let mut all: Vec<_> = of_parameters.map(Answer::parameter).collect();
    all.sort();
    all
}

#[tokio::test]
async fn psql_runs_through_the_proxy() {
    let proxy = Proxy::with("").run().await;
    let output = psql(&proxy, "mine", &["-c", "SHOW application_name"]).await;
    assert!(output.succeeded, "{output:?}");
    assert_eq!(output.stdout, "mine");
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_startup_packet_may_come_byte_by_byte() {
    let proxy = Proxy::with("").run().await;
    let mut raw = proxy.raw().await;
    raw.send_byte_by_byte(&packet(&proxy)).await;
    raw.welcome().await;
    let database = raw.value("SELECT current_database()").await;
    assert_eq!(database, proxy.database());
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn encryption_is_declined_with_one_byte_and_the_login_goes_on() {
    let proxy = Proxy::with("").run().await;
    let both = [ssl_request().to_vec(), GSSENC_REQUEST.to_vec()];
    let reversed = [both[1].clone(), both[0].clone()];
    for requests in [&both[..1], &both[1..], &both[..], &reversed[..]] {
        let mut raw = proxy.raw().await;
        for request in requests {
            raw.send_byte_by_byte(request).await;
            assert_eq!(raw.byte().await, Some(b'N'));
        }
        raw.send(&packet(&proxy)).await;
        raw.welcome().await;
    }
    invariants(&proxy).await;
}

/// CVE-2021-3935 and CVE-2021-23214: what was sent in the clear behind a request for encryption is never taken for part of it.
#[tokio::test]
async fn bytes_stuffed_behind_a_request_for_encryption_are_refused() {
    let proxy = Proxy::with("").run().await;
    let mut raw = proxy.raw().await;
    raw.send(&[&ssl_request()[..], &packet(&proxy)].concat())
        .await;
    let mut bytes = Vec::new();
    while let Some(byte) = raw.byte().await {
        bytes.push(byte);
    }
    assert!(!bytes.contains(&b'Z'), "it was logged in: {bytes:?}");
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("08P01"), "{text}");
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_newer_protocol_and_its_options_are_negotiated_exactly_once() {
    let proxy = Proxy::with("").run().await;
    let options = [("_pq_.one", "1"), ("_pq_.two", "x")];
    let asked: [(i32, &[(&str, &str)]); 3] = [
        ((3 << 16) | 9999, &[]),
        (3 << 16, &options),
        ((3 << 16) | 9999, &options),
    ];
    for (version, options) in asked {
        let who = [("user", "postgres"), ("database", proxy.database())];
        let all = [&who, options].concat();
        let mut packet = BytesMut::new();
        write_startup(&mut packet, version, all.into_iter());
        let mut raw = proxy.raw().await;
        raw.send(&packet).await;
        let welcome = raw.welcome().await;
        let negotiations: Vec<_> = welcome
            .answers
            .iter()
            .filter(|answer| answer.tag == b'v')
            .collect();
        assert_eq!(negotiations.len(), 1, "{}", tags(&welcome.answers));
        let body = &negotiations[0].body;
        let offered = i32::from_be_bytes(body[..4].try_into().unwrap());
        assert_eq!(offered >> 16, 3, "a whole version");
        assert!(offered & 0xffff <= 2, "a version there is");
        let names = String::from_utf8_lossy(&body[8..]).into_owned();
        for (name, _) in options {
            assert!(names.contains(name), "{names:?}");
        }
        assert_eq!(body[7] as usize, options.len());
        assert_eq!(raw.value("SELECT 1").await, "1");
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn protocol_2_is_refused_with_an_error_that_its_clients_can_read() {
    let proxy = Proxy::with("").run().await;
    let mut packet = BytesMut::new();
    let who = [("user", "postgres"), ("database", proxy.database())];
    write_startup(&mut packet, 2 << 16, who.into_iter());
    let mut raw = proxy.raw().await;
    raw.send(&packet).await;
    let answers = raw.until_end().await;
    assert_eq!(tags(&answers), "E");
    assert_eq!(answers[0].sqlstate(), "0A000");
    invariants(&proxy).await;
}

#[tokio::test]
async fn packets_of_impossible_length_are_refused_before_they_are_read() {
    let proxy = Proxy::with("").run().await;
    for length in [0_u32, 3, 7, 10_001, 1 << 20, 0x7fff_ffff, u32::MAX] {
        let mut raw = proxy.raw().await;
        raw.send(&[&length.to_be_bytes()[..], &[0, 3, 0, 0]].concat())
            .await;
        // The rest never comes: who waits for it hangs here.
        let answers = raw.until_end().await;
        assert!(
            !tags(&answers).contains('R'),
            "length {length}: {answers:?}"
        );
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn the_welcome_reports_the_parameters_that_the_server_itself_reports() {
    let proxy = Proxy::with("").run().await;
    let asked: [&[(&str, &str)]; 4] = [
        &[],
        &[("application_name", "")],
        &[
            ("application_name", "mine"),
            ("TimeZone", "Asia/Tokyo"),
            ("DateStyle", "German"),
        ],
        &[
            ("client_encoding", "LATIN1"),
            ("timezone", "utc"),
            ("options", "-c IntervalStyle=iso_8601"),
        ],
    ];
    for asked in asked {
        let (_direct, there) = Raw::login(proxy.pg(), asked).await;
        let (_raw, here) = Raw::login(&proxy, asked).await;
        assert_eq!(
            statuses(&here.answers),
            statuses(&there.answers),
            "{asked:?}"
        );
        let ends: Vec<_> = [&here, &there]
            .map(|welcome| tags(&welcome.answers).replace('S', ""))
            .into();
        assert_eq!(ends[0], ends[1], "the order: {asked:?}");
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn every_session_has_a_key_of_its_own() {
    let proxy = Proxy::with_slots(1).run().await;
    let mut keys = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..8 {
        let (mut raw, welcome) = Raw::login(&proxy, &[]).await;
        // All of them use the one backend.
        raw.value("SELECT pg_backend_pid()").await;
        keys.push((welcome.pid, welcome.key.clone()));
        sessions.push(raw);
    }
    let before = keys.len();
    keys.sort();
    keys.dedup_by_key(|(pid, _)| *pid);
    assert_eq!(keys.len(), before, "two sessions of one process id");
    let mut secrets: Vec<_> = keys.into_iter().map(|(_, key)| key).collect();
    secrets.sort();
    secrets.dedup();
    assert_eq!(secrets.len(), before, "two sessions of one key");
    drop(sessions);
    invariants(&proxy).await;
}

#[tokio::test]
async fn options_are_understood_in_every_spelling() {
    let proxy = Proxy::with("").run().await;
    let spelt = [
        "-c work_mem=3MB",
        "-cwork_mem=3MB",
        "--work_mem=3MB",
        "--work-mem=3MB",
        "-c work_mem=3MB -c TimeZone=Asia/Tokyo",
        "  -c   work_mem=3MB   --TimeZone=Asia/Tokyo ",
        "-c application_name=from\\ options -c work_mem=3MB",
        "-c application_name=a-cb -c work_mem=3MB",
        "-c search_path=one,\\ \\\"Two\\ 2\\\" -c work_mem=3MB",
        "-c a.b=custom\\\\slash -c work_mem=3MB",
    ];
    let probe = "SELECT current_setting('work_mem') || current_setting('TimeZone') || current_setting('application_name') \
                 || current_setting('search_path') || coalesce(current_setting('a.b', true), '-')";
    for options in spelt {
        let (mut direct, _) = Raw::login(proxy.pg(), &[("options", options)]).await;
        let (mut raw, _) = Raw::login(&proxy, &[("options", options)]).await;
        let wanted = direct.value(probe).await;
        assert!(wanted.starts_with("3MB"), "{options}: {wanted}");
        assert_eq!(raw.value(probe).await, wanted, "{options}");
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_login_that_the_server_refuses_gets_the_servers_own_words() {
    let proxy = Proxy::with("").run().await;
    let database = proxy.database().to_owned();
    let refused: [&[(&str, &str)]; 5] = [
        &[("user", "postgres"), ("database", "nowhere")],
        &[("user", "nobody_known"), ("database", &database)],
        &[
            ("user", "postgres"),
            ("database", &database),
            ("work_mem", "many"),
        ],
        &[
            ("user", "postgres"),
            ("database", &database),
            ("nonsense", "1"),
        ],
        &[("database", &database)],
    ];
    for parameters in refused {
        let mut fields = Vec::new();
        for mut raw in [proxy.pg().raw().await, proxy.raw().await] {
            raw.send(&startup_packet(parameters)).await;
            let answers = raw.until_end().await;
            let error = answers.iter().find(|answer| answer.tag == b'E');
            let error = error.unwrap_or_else(|| panic!("{parameters:?}: {answers:?}"));
            fields.push((error.sqlstate(), error.text(), error.fields().remove(&'V')));
        }
        assert_eq!(fields[1], fields[0], "{parameters:?}");
        assert_eq!(fields[1].2.as_deref(), Some("FATAL"));
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn without_a_database_it_is_the_one_named_like_the_user() {
    let proxy = Proxy::with("").run().await;
    let mut raw = proxy.raw().await;
    raw.send(&startup_packet(&[("user", "postgres")])).await;
    raw.welcome().await;
    assert_eq!(raw.value("SELECT current_database()").await, "postgres");
    drop(raw);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_driver_with_defaults_of_its_own_is_at_home() {
    let proxy = Proxy::with("").run().await;
    let mut config = config(&proxy, "");
    config
        .application_name("it's a \\ \"name\"")
        .options("-c statement_timeout=5s");
    let (client, connection) = soon(config.connect(tokio_postgres::NoTls)).await.unwrap();
    let driver = tokio::spawn(connection);
    assert_eq!(
        value(&client, "SHOW application_name").await,
        "it's a \\ \"name\""
    );
    assert_eq!(value(&client, "SHOW statement_timeout").await, "5s");
    drop(client);
    soon(driver).await.unwrap().unwrap();
    invariants(&proxy).await;
}
