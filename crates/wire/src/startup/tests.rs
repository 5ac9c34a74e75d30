//! First packets, by example and held against two other implementations.

use bytes::{BufMut, BytesMut};
use pgwire::messages::startup::Startup as PgwireStartup;
use pgwire::messages::{DecodeContext, Message, ProtocolVersion as PgwireVersion};
use postgres_protocol::message::frontend;
use proptest::prelude::*;

use super::*;

/// A packet with this request code and these bytes behind it.
fn packet(code: i32, body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_u32(u32::try_from(body.len() + 8).unwrap());
    out.put_i32(code);
    out.put_slice(body);
    out.to_vec()
}

fn startup(body: &[u8]) -> Result<Startup, StartupError> {
    let bytes = packet(PROTOCOL_3_0, body);
    match parse_first(&bytes)? {
        Some((First::Startup(startup), consumed)) => {
            assert_eq!(consumed, bytes.len());
            Ok(startup)
        }
        other => panic!("{other:?}"),
    }
}

fn options(value: &str) -> Result<Vec<(String, String)>, StartupError> {
    startup(format!("user\0u\0options\0{value}\0\0").as_bytes()).map(|startup| startup.parameters)
}

#[test]
fn another_user_cannot_be_smuggled_in_as_a_setting() {
    for name in [
        "user",
        "USER",
        "Database",
        "replication",
        "options",
        "_pq_.x",
        "_PQ_.x",
    ] {
        let given = options(&format!("-c {name}=postgres"));
        assert_eq!(given, Err(StartupError::NotASetting(name.to_owned())));
    }
    let body = b"user\0u\0USER\0postgres\0\0";
    assert_eq!(
        startup(body),
        Err(StartupError::NotASetting("USER".to_owned()))
    );
    assert_eq!(StartupError::NotASetting(String::new()).sqlstate(), "42704");
}

#[test]
fn cancel_secrets_grow_with_the_protocol() {
    for (minor, length) in [(0, 4), (1, 4), (2, 32), (9999, 32)] {
        let version = ProtocolVersion { major: 3, minor };
        assert_eq!(version.cancel_secret(), length);
    }
}

#[test]
fn requests_without_a_user() {
    let ssl = [packet(SSL_REQUEST, &[]), vec![0x16, 3, 1]].concat();
    assert_eq!(parse_first(&ssl), Ok(Some((First::Ssl, 8))));
    let gss = packet(GSSENC_REQUEST, &[]);
    assert_eq!(parse_first(&gss), Ok(Some((First::GssEnc, 8))));
    assert_eq!(parse_first(&[0x16]), Ok(Some((First::DirectTls, 0))));
    let longer = packet(SSL_REQUEST, b"x");
    assert_eq!(
        parse_first(&longer),
        Err(StartupError::Length { length: 9 })
    );
}

#[test]
fn cancel_keys_of_any_possible_length() {
    for length in [4, 32, 256] {
        let key = vec![7; length];
        let mut bytes = BytesMut::new();
        write_cancel_request(&mut bytes, -5, &key);
        let expected = CancelRequest { pid: -5, key: &key };
        let consumed = 12 + length;
        assert_eq!(
            parse_first(&bytes),
            Ok(Some((First::Cancel(expected), consumed)))
        );
    }
    for length in [0, 4, 7, 261] {
        let bytes = packet(CANCEL_REQUEST, &vec![0; length]);
        let error = parse_first(&bytes).unwrap_err();
        assert_eq!(error, StartupError::CancelLength { length });
        assert_eq!(error.sqlstate(), "08P01");
    }
    let shown = format!(
        "{:?}",
        CancelRequest {
            pid: 1,
            key: b"canary"
        }
    );
    assert_eq!(shown, "CancelRequest { pid: 1, .. }");
}

#[test]
fn a_length_out_of_bounds_is_refused_before_the_rest_arrives() {
    for length in [0_u32, 4, 7, 10_001, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let error = parse_first(&length.to_be_bytes()).unwrap_err();
        assert_eq!(error, StartupError::Length { length });
    }
    assert!(parse_first(b"GET / HTTP/1.1\r\n").is_err());
    assert_eq!(parse_first(&10_000_u32.to_be_bytes()), Ok(None));
    assert_eq!(parse_first(&8_u32.to_be_bytes()), Ok(None));
}

#[test]
fn a_startup_is_taken_apart() {
    let body = b"user\0joe\0database\0shop\0application_name\0\0DateStyle\0ISO\0_pq_.x\0on\0datestyle\0German\0\0";
    let found = startup(body).unwrap();
    assert_eq!(
        (found.user.as_str(), found.database.as_str()),
        ("joe", "shop")
    );
    assert_eq!(found.version, ProtocolVersion { major: 3, minor: 0 });
    assert_eq!(found.unknown_options, ["_pq_.x"]);
    assert_eq!(found.replication, None);
    let expected = [("application_name", ""), ("DateStyle", "German")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(found.parameters, expected);
    assert_eq!(found.parameter("DATESTYLE"), Some("German"));
    assert_eq!(found.parameter("search_path"), None);
}

#[test]
fn the_database_is_the_users_where_none_is_given() {
    assert_eq!(startup(b"user\0joe\0\0").unwrap().database, "joe");
    assert_eq!(
        startup(b"database\0\0user\0joe\0\0").unwrap().database,
        "joe"
    );
}

#[test]
fn packets_postgresql_refuses_are_refused_in_its_words() {
    for (body, message, sqlstate) in [
        (
            &b"\0"[..],
            "no PostgreSQL user name specified in startup packet",
            "28000",
        ),
        (
            b"user\0\0\0",
            "no PostgreSQL user name specified in startup packet",
            "28000",
        ),
        (
            b"",
            "invalid startup packet layout: expected terminator as last byte",
            "08P01",
        ),
        (
            b"user\0joe\0",
            "invalid startup packet layout: expected terminator as last byte",
            "08P01",
        ),
        (
            b"user\0joe\0\0\0",
            "invalid startup packet layout: expected terminator as last byte",
            "08P01",
        ),
        (
            b"user\0joe\0\0x\0y\0\0",
            "invalid startup packet layout: expected terminator as last byte",
            "08P01",
        ),
        (
            b"user\0\xff\0\0",
            "invalid byte sequence for encoding \"UTF8\" in startup packet",
            "22021",
        ),
        (
            b"user\0u\0replication\0maybe\0\0",
            "invalid value for parameter \"replication\": \"maybe\" (valid are \"false\", 0, \"true\", 1, \"database\")",
            "22023",
        ),
    ] {
        let error = startup(body).unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.sqlstate()),
            (message, sqlstate)
        );
    }
}

#[test]
fn other_protocols_are_told_which_one_is_served() {
    for (code, message) in [
        (
            2 << 16,
            "unsupported frontend protocol 2.0: protocol 3.0 and later 3.x are served",
        ),
        (
            4 << 16,
            "unsupported frontend protocol 4.0: protocol 3.0 and later 3.x are served",
        ),
    ] {
        let error = parse_first(&packet(code, b"whatever")).unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.sqlstate()),
            (message, "0A000")
        );
    }
    // A newer minor, such as libpq's probe, is negotiated and not refused.
    let bytes = packet((3 << 16) | 9999, b"user\0u\0\0");
    let Ok(Some((First::Startup(found), _))) = parse_first(&bytes) else {
        panic!("refused");
    };
    assert_eq!(found.version.minor, 9999);
    assert_eq!(found.version.code(), (3 << 16) | 9999);
}

#[test]
fn replication_is_a_boolean_or_database() {
    for (value, expected) in [
        ("database", Some("database")),
        ("true", Some("true")),
        ("T", Some("true")),
        ("yes", Some("true")),
        ("on", Some("true")),
        ("1", Some("true")),
        ("off", None),
        ("false", None),
        ("no", None),
        ("0", None),
    ] {
        let found = startup(format!("user\0u\0replication\0{value}\0\0").as_bytes()).unwrap();
        assert_eq!(found.replication.as_deref(), expected, "{value}");
    }
    for value in ["", "o", "2", "Database"] {
        let body = format!("user\0u\0replication\0{value}\0\0");
        assert!(startup(body.as_bytes()).is_err(), "{value}");
    }
}

#[test]
fn options_are_read_as_a_command_line() {
    for (value, expected) in [
        ("", &[][..]),
        ("  ", &[]),
        ("-c work_mem=1MB", &[("work_mem", "1MB")]),
        ("-cwork_mem=1MB", &[("work_mem", "1MB")]),
        ("--work-mem=1MB", &[("work_mem", "1MB")]),
        (" -c\tmy-app.user-id=a-b\n", &[("my_app.user_id", "a-b")]),
        (
            "-c application_name=a\\ b\\\\c",
            &[("application_name", "a b\\c")],
        ),
        // The two letters may stand in a value.
        (
            "-c a.b=x-c -c c.d=-cy=1",
            &[("a.b", "x-c"), ("c.d", "-cy=1")],
        ),
        ("-c a=b=c", &[("a", "b=c")]),
        ("-c a=", &[("a", "")]),
        ("-c a=1 --A=2", &[("a", "2")]),
        ("-c a=1\\", &[("a", "1")]),
        (
            "-S 64MB -fs -e",
            &[
                ("work_mem", "64MB"),
                ("enable_seqscan", "false"),
                ("DateStyle", "euro"),
            ],
        ),
        (
            "-esc a=1",
            &[
                ("DateStyle", "euro"),
                ("log_statement_stats", "true"),
                ("a", "1"),
            ],
        ),
    ] {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(options(value).as_ref(), Ok(&expected), "{value:?}");
    }
    for value in [
        "x", "-", "--", "-c", "-c a", "--a", "-c =1", "-D /tmp", "-p 1", "-fx", "a=b",
    ] {
        let error = options(value).unwrap_err();
        assert_eq!(error.sqlstate(), "42601", "{value}: {error}");
    }
}

#[test]
fn a_setting_outside_options_outweighs_one_inside_wherever_it_stands() {
    let found = startup(b"user\0u\0work_mem\0 2MB\0options\0-c Work_Mem=1MB -c a=1\0\0").unwrap();
    assert_eq!(found.parameter("work_mem"), Some(" 2MB"));
    assert_eq!(found.parameters.len(), 2);
}

#[test]
fn settings_are_bounded_in_number() {
    let at_limit: String = (0..MAX_STARTUP_PARAMETERS)
        .map(|n| format!("-ca{n}=1 "))
        .collect();
    assert_eq!(options(&at_limit).unwrap().len(), MAX_STARTUP_PARAMETERS);
    let above = format!("{at_limit} -cb=1");
    assert_eq!(options(&above), Err(StartupError::TooManyParameters));
}

#[test]
fn an_own_startup_packet_is_read_by_pgwire() {
    let mut bytes = BytesMut::new();
    let parameters = [
        ("user", "u"),
        ("application_name", "a b"),
        ("", "left out"),
        ("x", ""),
    ];
    write_startup(&mut bytes, PROTOCOL_3_0, parameters.into_iter());
    let context = DecodeContext::new(PgwireVersion::PROTOCOL3_0);
    let found = PgwireStartup::decode(&mut bytes, &context)
        .unwrap()
        .unwrap();
    assert!(bytes.is_empty());
    assert_eq!(found.parameters.get("user").map(String::as_str), Some("u"));
    assert_eq!(
        found.parameters.get("application_name").map(String::as_str),
        Some("a b")
    );
    assert_eq!(found.parameters.get("x").map(String::as_str), Some(""));
    assert_eq!(found.parameters.len(), 3);
}

#[test]
fn requests_are_said_as_postgres_protocol_says_them() {
    let (mut own, mut other) = (BytesMut::new(), BytesMut::new());
    write_ssl_request(&mut own);
    frontend::ssl_request(&mut other);
    write_cancel_request(&mut own, 17, &0x0102_0304_i32.to_be_bytes());
    frontend::cancel_request(17, 0x0102_0304, &mut other);
    write_startup(
        &mut own,
        PROTOCOL_3_0,
        [("user", "u"), ("database", "d")].into_iter(),
    );
    frontend::startup_message([("user", "u"), ("database", "d")], &mut other).unwrap();
    assert_eq!(own, other);
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes: Vec<u8>) {
        let _ = parse_first(&bytes);
    }

    #[test]
    fn no_startup_body_makes_it_panic(body: Vec<u8>, text: String) {
        let _ = startup(&body);
        let _ = options::expand(&text);
    }

    #[test]
    fn what_a_client_library_sends_is_read_whole_and_not_before(
        user in "[^\0]{1,20}",
        settings in prop::collection::btree_map("[a-z]{9,20}", "[^\0]{0,20}", 0..8),
        behind: Vec<u8>,
    ) {
        let mut bytes = BytesMut::new();
        let given = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        frontend::startup_message([("user", user.as_str())].into_iter().chain(given), &mut bytes).unwrap();
        let total = bytes.len();
        for end in 0..total {
            prop_assert_eq!(parse_first(&bytes[..end]), Ok(None));
        }
        bytes.extend_from_slice(&behind);
        let Ok(Some((First::Startup(found), consumed))) = parse_first(&bytes) else {
            return Err(TestCaseError::fail("refused"));
        };
        prop_assert_eq!(consumed, total);
        prop_assert_eq!(&found.user, &user);
        let found: std::collections::BTreeMap<_, _> = found.parameters.into_iter().collect();
        prop_assert_eq!(found, settings);
    }

    #[test]
    fn any_value_survives_its_escaping_in_options(value in "[^\0]{0,40}") {
        let escaped: String = value.chars().flat_map(|letter| ['\\', letter]).collect();
        let found = options(&format!("-c a.b={escaped}")).unwrap();
        prop_assert_eq!(found, [("a.b".to_owned(), value)]);
    }
}
