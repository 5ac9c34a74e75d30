//! Messages that break the rules: each is refused with the rule it breaks, and none panics.

#![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

use pglanes_auth::scram_client::{MAX_SERVER_MESSAGE_BYTES, ScramClient};
use pglanes_auth::scram_server::{MAX_CLIENT_MESSAGE_BYTES, ScramServer};
use pglanes_auth::{
    ChannelBinding, MAX_NONCE_BYTES, Password, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, SaltedPassword,
    ScramError, Verifier,
};
use proptest::prelude::*;

const SALT: &[u8] = b"0123456789abcdef";
const ITERATIONS: u32 = 3;

fn verifier() -> Verifier {
    Verifier::from_password(&Password::from("pencil"), SALT, ITERATIONS)
}

fn server(binding: Option<ChannelBinding>) -> ScramServer {
    ScramServer::new(Some(&verifier()), &[0; 32], "alice", [1; 18], binding)
}

fn client() -> ScramClient {
    ScramClient::new(Password::from("pencil"), [2; 18], 100_000)
}

/// The client's nonce, as it stands in its messages.
fn client_nonce() -> String {
    String::from_utf8(client().client_first()).unwrap()["n,,n=,r=".len()..].to_owned()
}

/// The four messages of a good exchange.
fn good_messages() -> [Vec<u8>; 4] {
    let (mut server, mut client) = (server(None), client());
    let client_first = client.client_first();
    let server_first = server.client_first(SCRAM_SHA_256, &client_first).unwrap();
    let client_final = client.server_first(&server_first).unwrap();
    let server_final = server.client_final(&client_final).unwrap().server_final;
    [client_first, server_first, client_final, server_final]
}

/// Feeds one message of a good exchange, changed, to the side it is meant for.
fn feed(index: usize, message: &[u8], good: &[Vec<u8>; 4]) -> Result<(), ScramError> {
    let (mut server, mut client) = (server(None), client());
    match index {
        0 => server.client_first(SCRAM_SHA_256, message).map(drop),
        1 => client.challenge(message).map(drop),
        2 => {
            server.client_first(SCRAM_SHA_256, &good[0])?;
            server.client_final(message).map(drop)
        }
        _ => {
            client.challenge(&good[1])?;
            let salted = SaltedPassword::derive(&Password::from("pencil"), SALT, ITERATIONS);
            client.client_final(&salted)?;
            client.server_final(message)
        }
    }
}

#[test]
fn every_truncation_and_bit_flip_of_the_proving_messages_is_refused() {
    let good = good_messages();
    for (index, message) in good.iter().enumerate() {
        assert_eq!(
            feed(index, message, &good),
            Ok(()),
            "message {index} itself"
        );
        // Cutting the first two can leave a shorter nonce or count, which is still well formed; a cut
        // or flip of the two proving messages never passes.
        let proving = index >= 2;
        for length in 0..message.len() {
            let outcome = feed(index, &message[..length], &good);
            assert!(
                !proving || outcome.is_err(),
                "message {index} cut to {length}"
            );
        }
        for bit in 0..message.len() * 8 {
            let mut flipped = message.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let outcome = feed(index, &flipped, &good);
            assert!(
                !proving || outcome.is_err(),
                "message {index} with bit {bit} flipped"
            );
        }
    }
}

#[test]
fn a_changed_first_message_fails_at_the_proof() {
    // Whatever of the first two messages somebody in between changes, the proof signs both.
    for (tampered, expected) in [
        ("n,,n=mallory,r=", ScramError::Proof),
        ("n,,n=,r=x", ScramError::Nonce),
    ] {
        let (mut server, mut client) = (server(None), client());
        let tampered = [tampered, &client_nonce()].concat();
        let server_first = server
            .client_first(SCRAM_SHA_256, tampered.as_bytes())
            .unwrap();
        let outcome = client
            .server_first(&server_first)
            .and_then(|last| server.client_final(&last));
        assert_eq!(outcome.unwrap_err(), expected);
    }
    let (mut server, mut client) = (server(None), client());
    let server_first = server
        .client_first(SCRAM_SHA_256, &client.client_first())
        .unwrap();
    let weaker = String::from_utf8(server_first)
        .unwrap()
        .replace(",i=3", ",i=1");
    let client_final = client.server_first(weaker.as_bytes()).unwrap();
    assert_eq!(
        server.client_final(&client_final).unwrap_err(),
        ScramError::Proof
    );
}

fn check_client_first(mechanism: &str, binding: bool, message: &str, expected: ScramError) {
    let binding = binding.then(|| ChannelBinding::tls_server_end_point(vec![7; 32]));
    let mut server = server(binding);
    assert_eq!(
        server.client_first(mechanism, message.as_bytes()),
        Err(expected),
        "{message}"
    );
    // One attempt: even the right message comes too late.
    let again = server.client_first(SCRAM_SHA_256, b"n,,n=,r=abc");
    assert_eq!(again, Err(ScramError::OutOfOrder));
}

#[test]
fn a_first_client_message_that_breaks_a_rule_is_refused_with_that_rule() {
    use ScramError::{
        AuthorizationIdentity, BindingMismatch, Downgrade, MandatoryExtension, Mechanism,
    };
    let bound = "p=tls-server-end-point,,n=,r=abc";
    check_client_first("SCRAM-SHA-1", false, "n,,n=,r=abc", Mechanism);
    check_client_first("", false, "n,,n=,r=abc", Mechanism);
    check_client_first(SCRAM_SHA_256_PLUS, false, bound, Mechanism);
    check_client_first(SCRAM_SHA_256, true, "y,,n=,r=abc", Downgrade);
    check_client_first(SCRAM_SHA_256, false, bound, BindingMismatch);
    check_client_first(SCRAM_SHA_256, true, bound, BindingMismatch);
    check_client_first(SCRAM_SHA_256_PLUS, true, "n,,n=,r=abc", BindingMismatch);
    check_client_first(SCRAM_SHA_256_PLUS, true, "y,,n=,r=abc", BindingMismatch);
    check_client_first(
        SCRAM_SHA_256_PLUS,
        true,
        "p=tls-unique,,n=,r=abc",
        BindingMismatch,
    );
    check_client_first(
        SCRAM_SHA_256,
        false,
        "n,a=bob,n=,r=abc",
        AuthorizationIdentity,
    );
    check_client_first(SCRAM_SHA_256, false, "n,,m=x,n=,r=abc", MandatoryExtension);
    for malformed in [
        "",
        "n",
        "n,",
        "n,,",
        "x,,n=,r=abc",
        "n,b,n=,r=abc",
        "nn,,n=,r=abc",
        "n,,r=abc",
        "n,,n=",
        "n,,n=,r=",
        "n,,n=,r=a b",
        "n,,n=,r=é",
        "n,,n=,r=abc,",
        "n,,n=,r=abc,x",
        "n,,n=,r=abc\0",
        "n,,n=,s=abc",
    ] {
        let outcome = server(None).client_first(SCRAM_SHA_256, malformed.as_bytes());
        assert!(
            matches!(outcome, Err(ScramError::Malformed(_))),
            "{malformed:?}: {outcome:?}"
        );
    }
    let outcome = server(None).client_first(SCRAM_SHA_256, b"n,,n=\xff,r=abc");
    assert!(matches!(outcome, Err(ScramError::Malformed(_))));
}

#[test]
fn a_client_may_say_y_where_plus_is_not_offered_and_add_extensions() {
    for message in [&b"y,,n=,r=abc"[..], b"n,,n=alice,r=abc,x=1,y="] {
        assert!(server(None).client_first(SCRAM_SHA_256, message).is_ok());
    }
}

#[test]
fn a_client_message_past_the_limit_is_refused() {
    let long = |length: usize| {
        let message = format!("n,,n=,r={}", "x".repeat(length - "n,,n=,r=".len()));
        server(None).client_first(SCRAM_SHA_256, message.as_bytes())
    };
    assert!(long(MAX_CLIENT_MESSAGE_BYTES).is_ok());
    assert!(matches!(
        long(MAX_CLIENT_MESSAGE_BYTES + 1),
        Err(ScramError::TooLong { .. })
    ));
}

fn check_client_final(change: impl Fn(&str) -> String, expected: ScramError) {
    let good = good_messages();
    let message = std::str::from_utf8(&good[2]).unwrap();
    let changed = change(message);
    assert_ne!(changed, message);
    let mut server = server(None);
    server.client_first(SCRAM_SHA_256, &good[0]).unwrap();
    assert_eq!(
        server.client_final(changed.as_bytes()).unwrap_err(),
        expected,
        "{changed}"
    );
    assert_eq!(
        server.client_final(&good[2]).unwrap_err(),
        ScramError::OutOfOrder
    );
}

#[test]
fn a_second_client_message_that_breaks_a_rule_is_refused_with_that_rule() {
    let own = client_nonce();
    check_client_final(
        |good| good.replacen("c=biws", "c=eSws", 1),
        ScramError::BindingCheck,
    );
    check_client_final(
        |good| good.replacen("c=biws", "c=biw", 1),
        ScramError::BindingCheck,
    );
    check_client_final(
        |good| good.replacen("c=biws", "c=", 1),
        ScramError::BindingCheck,
    );
    // A nonce cut, extended, changed, or only the client's half of it.
    check_client_final(|good| good.replacen(",p=", "x,p=", 1), ScramError::Nonce);
    check_client_final(|good| good.replacen(",r=", ",r=x", 1), ScramError::Nonce);
    check_client_final(
        |good| {
            let proof = good.find(",p=").unwrap();
            format!("c=biws,r={own}{}", &good[proof..])
        },
        ScramError::Nonce,
    );
    // An extension the client did not sign.
    check_client_final(|good| good.replacen(",p=", ",x=1,p=", 1), ScramError::Proof);
    check_client_final(
        |good| good.replacen("c=biws", "m=1", 1),
        ScramError::MandatoryExtension,
    );
    check_client_final(
        |good| format!("{good},x=1"),
        ScramError::Malformed("something follows the proof"),
    );
    check_client_final(
        |good| good[..good.find(",p=").unwrap()].to_owned(),
        ScramError::Malformed("the proof is missing"),
    );
}

fn check_server_first(message: String, expected: Option<ScramError>) {
    let outcome = client().challenge(message.as_bytes());
    match expected {
        Some(expected) => assert_eq!(outcome, Err(expected), "{message}"),
        None => assert!(
            matches!(outcome, Err(ScramError::Malformed(_))),
            "{message}: {outcome:?}"
        ),
    }
}

#[test]
fn a_first_server_message_that_breaks_a_rule_is_refused_with_that_rule() {
    let own = client_nonce();
    let with = |nonce: &str, salt: &str, count: &str| format!("r={nonce},s={salt},i={count}");
    let more = format!("{own}more");
    assert!(
        client()
            .challenge(with(&more, "AAAA", "100000").as_bytes())
            .is_ok()
    );
    assert!(
        client()
            .challenge(format!("{},x=1", with(&more, "AAAA", "1")).as_bytes())
            .is_ok()
    );

    check_server_first(with(&own, "AAAA", "1"), Some(ScramError::Nonce));
    check_server_first(with(&own[1..], "AAAA", "1"), Some(ScramError::Nonce));
    check_server_first(
        with(&format!("x{more}"), "AAAA", "1"),
        Some(ScramError::Nonce),
    );
    check_server_first(
        with(&more.to_uppercase(), "AAAA", "1"),
        Some(ScramError::Nonce),
    );
    check_server_first(
        format!("m=1,{}", with(&more, "AAAA", "1")),
        Some(ScramError::MandatoryExtension),
    );
    for count in ["100001", "2147483647", "4294967295"] {
        let found = count.parse().unwrap();
        let expected = ScramError::Iterations {
            found,
            limit: 100_000,
        };
        check_server_first(with(&more, "AAAA", count), Some(expected));
    }
    for count in [
        "",
        "0",
        "-1",
        "+1",
        "01",
        " 1",
        "1 ",
        "4294967296",
        "99999999999999999999",
        "1e3",
        "١",
    ] {
        check_server_first(with(&more, "AAAA", count), None);
    }
    for salt in [
        "", "A", "AA", "AAA", "AA=", "AB==", "AAAA=", "A AA", "AAA_", "AAAA\n",
    ] {
        check_server_first(with(&more, salt, "1"), None);
    }
    for message in ["", "r=", "e=other-error", "v=AAAA"] {
        check_server_first(message.to_owned(), None);
    }
}

#[test]
fn lengths_from_a_server_are_bounded() {
    let own = client_nonce();
    let limit = |outcome| match outcome {
        Err(ScramError::TooLong { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let nonce = format!("{own}{}", "x".repeat(MAX_NONCE_BYTES - own.len()));
    let salt = "AAAA".repeat(341);
    let largest = format!("r={nonce},s={salt},i=1");
    assert!(client().challenge(largest.as_bytes()).is_ok());
    assert_eq!(
        limit(client().challenge(format!("r={nonce}x,s=AAAA,i=1").as_bytes())),
        "nonce"
    );
    assert_eq!(
        limit(client().challenge(format!("r={nonce},s={salt}AAAA,i=1").as_bytes())),
        "salt"
    );
    let extended = format!("{largest},x={}", "x".repeat(MAX_SERVER_MESSAGE_BYTES));
    assert_eq!(limit(client().challenge(extended.as_bytes())), "message");
}

#[test]
fn a_server_that_does_not_prove_itself_is_refused() {
    let good = good_messages();
    let zeros = format!("v={}=", "A".repeat(43));
    assert_eq!(
        feed(3, zeros.as_bytes(), &good),
        Err(ScramError::ServerSignature)
    );
    assert_eq!(feed(3, b"e=invalid-proof", &good), Err(ScramError::Refused));
    for malformed in ["", "v=", "v=AAAA", "r=x"] {
        assert!(matches!(
            feed(3, malformed.as_bytes(), &good),
            Err(ScramError::Malformed(_))
        ));
    }
}

#[test]
fn calls_out_of_order_are_refused() {
    let good = good_messages();
    assert_eq!(
        server(None).client_final(&good[2]).unwrap_err(),
        ScramError::OutOfOrder
    );
    assert_eq!(client().server_final(&good[3]), Err(ScramError::OutOfOrder));
    let salted = SaltedPassword::derive(&Password::from("pencil"), SALT, ITERATIONS);
    assert_eq!(client().client_final(&salted), Err(ScramError::OutOfOrder));
    let mut twice = client();
    twice.challenge(&good[1]).unwrap();
    assert_eq!(twice.challenge(&good[1]), Err(ScramError::OutOfOrder));
    assert!(!twice.is_complete());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic_or_pass(data in prop::collection::vec(any::<u8>(), 0..300), index in 0usize..4) {
        let good = good_messages();
        prop_assert!(feed(index, &data, &good).is_err());
    }

    #[test]
    fn no_attributes_panic(
        message in "(n|y|p=tls-server-end-point)?,?,?([a-z]=[ -~]{0,12},?){0,5}", index in 0usize..4,
        mechanism in prop::sample::select(vec![SCRAM_SHA_256, SCRAM_SHA_256_PLUS]),
    ) {
        let good = good_messages();
        let _ = feed(index, message.as_bytes(), &good);
        let mut bound = server(Some(ChannelBinding::tls_server_end_point(vec![7; 32])));
        let _ = bound.client_first(mechanism, message.as_bytes());
    }
}
