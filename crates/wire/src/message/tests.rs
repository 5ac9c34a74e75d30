//! Every message held against another implementation: read back by postgres-protocol, or
//! compared byte by byte with what it or pgwire says.

use pgwire::messages::response::{ErrorResponse, NoticeResponse};
use pgwire::messages::startup::{Authentication, NegotiateProtocolVersion};
use postgres_protocol::message::backend::Message as Read;
use postgres_protocol::message::frontend;

use super::*;
use crate::error_fields::ErrorFields;
use crate::startup::PROTOCOL_3_0;

fn bytes(write: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    write(&mut out);
    out
}

/// The message as postgres-protocol reads it, which has to be all there is.
#[track_caller]
fn read(write: impl FnOnce(&mut BytesMut)) -> Read {
    let mut out = bytes(write);
    let message = Read::parse(&mut out).unwrap().unwrap();
    assert!(out.is_empty(), "bytes behind the message: {out:?}");
    message
}

fn pgwire(message: &impl pgwire::messages::Message) -> BytesMut {
    bytes(|out| message.encode(out).unwrap())
}

#[test]
fn authentication_is_read_back() {
    assert!(matches!(read(auth_ok), Read::AuthenticationOk));
    assert!(matches!(
        read(auth_cleartext),
        Read::AuthenticationCleartextPassword
    ));
    let Read::AuthenticationMd5Password(body) = read(|out| auth_md5(out, [1, 2, 3, 4])) else {
        panic!("not md5");
    };
    assert_eq!(body.salt(), [1, 2, 3, 4]);
    let Read::AuthenticationSaslContinue(body) = read(|out| auth_sasl_continue(out, b"r=x")) else {
        panic!("not continue");
    };
    assert_eq!(body.data(), b"r=x");
    let Read::AuthenticationSaslFinal(body) = read(|out| auth_sasl_final(out, "v=y")) else {
        panic!("not final");
    };
    assert_eq!(body.data(), b"v=y");
    let mechanisms = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];
    assert!(matches!(
        read(|out| auth_sasl(out, &mechanisms)),
        Read::AuthenticationSasl(_)
    ));
    let expected = Authentication::SASL(mechanisms.map(str::to_owned).to_vec());
    assert_eq!(bytes(|out| auth_sasl(out, &mechanisms)), pgwire(&expected));
}

#[test]
fn the_end_of_a_login_is_read_back() {
    let Read::ParameterStatus(body) = read(|out| parameter_status(out, "TimeZone", "UTC")) else {
        panic!("not a parameter status");
    };
    assert_eq!(
        (body.name().unwrap(), body.value().unwrap()),
        ("TimeZone", "UTC")
    );
    let Read::BackendKeyData(body) = read(|out| backend_key_data(out, -9, &[0, 0, 1, 0])) else {
        panic!("not a key");
    };
    assert_eq!((body.process_id(), body.secret_key()), (-9, 256));
    for (status, byte) in [
        (TransactionStatus::Idle, b'I'),
        (TransactionStatus::InTransaction, b'T'),
        (TransactionStatus::Failed, b'E'),
    ] {
        let Read::ReadyForQuery(body) = read(|out| ready_for_query(out, status)) else {
            panic!("not ready");
        };
        assert_eq!(body.status(), byte);
        assert_eq!(TransactionStatus::from_byte(byte), Some(status));
    }
    assert_eq!(TransactionStatus::from_byte(b'X'), None);
}

#[test]
fn a_long_cancel_key_goes_out_whole() {
    let out = bytes(|out| backend_key_data(out, 1, &[7; 32]));
    assert_eq!(out.len(), 1 + 4 + 4 + 32);
    assert_eq!(out[1..5], 40_u32.to_be_bytes());
    assert_eq!(out[9..], [7; 32]);
}

#[test]
fn answers_to_the_extended_protocol_are_read_back() {
    assert!(matches!(read(parse_complete), Read::ParseComplete));
    assert!(matches!(read(close_complete), Read::CloseComplete));
}

#[test]
fn the_whole_version_is_negotiated() {
    let options = ["_pq_.a".to_owned(), "_pq_.b".to_owned()];
    let own = bytes(|out| negotiate_protocol_version(out, PROTOCOL_3_0, &options));
    let other = NegotiateProtocolVersion::new(PROTOCOL_3_0, options.to_vec());
    assert_eq!(own, pgwire(&other));
    let none: [&str; 0] = [];
    let own = bytes(|out| negotiate_protocol_version(out, PROTOCOL_3_0, &none));
    assert_eq!(
        own,
        pgwire(&NegotiateProtocolVersion::new(PROTOCOL_3_0, Vec::new()))
    );
}

#[test]
fn errors_and_notices_are_read_back() {
    let body = ErrorBody::new(Severity::Fatal, "53300", "lane full")
        .with_detail("20 wait")
        .with_hint("try later");
    let fields = [
        (b'S', "FATAL"),
        (b'V', "FATAL"),
        (b'C', "53300"),
        (b'M', "lane full"),
        (b'D', "20 wait"),
        (b'H', "try later"),
    ];
    let fields = fields.map(|(code, text)| (code, text.to_owned())).to_vec();
    let own = bytes(|out| error(out, &body));
    assert_eq!(own, pgwire(&ErrorResponse::new(fields.clone())));
    assert_eq!(
        bytes(|out| notice(out, &body)),
        pgwire(&NoticeResponse::new(fields))
    );
    assert!(matches!(
        read(|out| error(out, &body)),
        Read::ErrorResponse(_)
    ));
    assert!(matches!(
        read(|out| notice(out, &body)),
        Read::NoticeResponse(_)
    ));
    let found = ErrorFields::parse(&own[5..]);
    assert_eq!(
        (found.sqlstate(), found.message()),
        (Some("53300"), Some("lane full"))
    );
    assert_eq!(
        (found.detail(), found.hint()),
        (Some("20 wait"), Some("try later"))
    );
    assert!(found.is_fatal());
}

#[test]
fn a_zero_byte_in_a_text_starts_no_new_field() {
    let body = ErrorBody::new(Severity::Error, "XX000", "cut\0Hhere");
    let out = bytes(|out| error(out, &body));
    let found = ErrorFields::parse(&out[5..]);
    assert_eq!((found.message(), found.hint()), (Some("cut"), None));
    assert!(matches!(
        read(|out| error(out, &body)),
        Read::ErrorResponse(_)
    ));
}

#[test]
fn a_client_says_what_postgres_protocol_says() {
    let own = bytes(|out| {
        password_message(out, "secret");
        sasl_initial_response(out, "SCRAM-SHA-256", b"n,,n=,r=x");
        sasl_response(out, b"c=biws");
        query(out, "SELECT 1");
        parse(out, "s1", "SELECT $1", &[23, 0]);
        close_statement(out, "s1");
        sync(out);
        terminate(out);
    });
    let other = bytes(|out| {
        frontend::password_message(b"secret", out).unwrap();
        frontend::sasl_initial_response("SCRAM-SHA-256", b"n,,n=,r=x", out).unwrap();
        frontend::sasl_response(b"c=biws", out).unwrap();
        frontend::query("SELECT 1", out).unwrap();
        frontend::parse("s1", "SELECT $1", [23, 0], out).unwrap();
        frontend::close(b'S', "s1", out).unwrap();
        frontend::sync(out);
        frontend::terminate(out);
    });
    assert_eq!(own, other);
}

#[test]
fn a_parse_says_as_many_types_as_it_counts() {
    let out = bytes(|out| parse(out, "", "", &vec![0; 70_000]));
    assert_eq!(out[7..9], u16::MAX.to_be_bytes());
    assert_eq!(out.len(), 9 + 4 * usize::from(u16::MAX));
}
