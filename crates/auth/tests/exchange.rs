//! Server against client, and against published vectors and postgres-protocol's client.

#![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

use pglanes_auth::scram_client::{ClientCredential, ScramClient};
use pglanes_auth::scram_server::{ScramOk, ScramServer, mechanisms};
use pglanes_auth::{
    ChannelBinding, Password, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, SaltedPassword, ScramError,
    ScramKeys, Verifier,
};
use postgres_protocol::authentication::sasl;
use proptest::prelude::*;

const MOCK_SECRET: [u8; 32] = [42; 32];
const SALT: &[u8] = b"0123456789abcdef";

fn verifier(password: &str, iterations: u32) -> Verifier {
    Verifier::from_password(&Password::from(password), SALT, iterations)
}

fn server(verifier: Option<&Verifier>, binding: Option<ChannelBinding>) -> ScramServer {
    ScramServer::new(verifier, &MOCK_SECRET, "alice", [1; 18], binding)
}

/// A whole exchange; the server's and the client's verdict.
fn exchange(
    mut server: ScramServer,
    mut client: ScramClient,
) -> Result<(ScramOk, ScramClient), ScramError> {
    let server_first = server.client_first(client.mechanism(), &client.client_first())?;
    let accepted = server.client_final(&client.server_first(&server_first)?)?;
    client.server_final(&accepted.server_final)?;
    Ok((accepted, client))
}

fn certificate() -> ChannelBinding {
    ChannelBinding::tls_server_end_point(vec![7; 32])
}

#[test]
fn the_right_password_is_let_in_and_a_wrong_one_is_not() {
    let verifier = verifier("pencil", 10);
    let right = ScramClient::new(Password::from("pencil"), [2; 18], 10);
    let (_, client) = exchange(server(Some(&verifier), None), right).unwrap();
    assert!(client.is_complete());
    for wrong in ["", "Pencil", "pencils", "\u{AD}pencils"] {
        let client = ScramClient::new(Password::from(wrong), [2; 18], 10);
        let refused = exchange(server(Some(&verifier), None), client).unwrap_err();
        assert_eq!((refused, refused.sqlstate()), (ScramError::Proof, "28P01"));
    }
}

#[test]
fn a_password_is_prepared_the_same_on_both_sides() {
    let verifier = verifier("I\u{AD}X", 10);
    let client = ScramClient::new(Password::from("\u{2168}"), [2; 18], 10);
    assert!(exchange(server(Some(&verifier), None), client).is_ok());
}

#[test]
fn an_unknown_user_sees_what_a_known_one_with_a_wrong_password_sees() {
    let verifier = verifier("pencil", pglanes_auth::DEFAULT_ITERATIONS);
    let mut seen = Vec::new();
    for credential in [Some(&verifier), None] {
        let mut server = server(credential, None);
        let mut client = ScramClient::new(Password::from("wrong"), [2; 18], 100_000);
        let server_first = server
            .client_first(SCRAM_SHA_256, &client.client_first())
            .unwrap();
        let client_final = client.server_first(&server_first).unwrap();
        let refused = server.client_final(&client_final).unwrap_err();
        seen.push((
            server.mechanisms(),
            server_first.len(),
            client_final.len(),
            refused.to_string(),
        ));
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn an_unknown_user_is_shown_the_same_salt_each_time() {
    let server_first = |user: &str, random: u8| {
        let mut server = ScramServer::new(None, &MOCK_SECRET, user, [random; 18], None);
        let message = server.client_first(SCRAM_SHA_256, b"n,,n=,r=abc").unwrap();
        let message = String::from_utf8(message).unwrap();
        message.split_once(",s=").unwrap().1.to_owned()
    };
    assert_eq!(server_first("ghost", 1), server_first("ghost", 2));
    assert_ne!(server_first("ghost", 1), server_first("ghoul", 1));
}

#[test]
fn keys_learnt_from_a_login_log_in_elsewhere_without_the_password() {
    let verifier = verifier("pencil", 10);
    let client = ScramClient::new(Password::from("pencil"), [2; 18], 10);
    let (accepted, _) = exchange(server(Some(&verifier), None), client).unwrap();

    let keys = ScramKeys::new(accepted.client_key, verifier.server_key().clone());
    assert!(
        exchange(
            server(Some(&verifier), None),
            ScramClient::new(keys.clone(), [3; 18], 10)
        )
        .is_ok()
    );
    // Another salt is another verifier, and the keys are of no use for it.
    let other = Verifier::from_password(&Password::from("pencil"), b"another salt", 10);
    let refused = exchange(
        server(Some(&other), None),
        ScramClient::new(keys, [3; 18], 10),
    );
    assert_eq!(refused.unwrap_err(), ScramError::Proof);
}

#[test]
fn the_stretched_password_can_be_made_elsewhere_and_kept() {
    let verifier = verifier("pencil", 10);
    let password = Password::from("pencil");
    let mut kept = None;
    for random in [2, 3] {
        let mut server = server(Some(&verifier), None);
        let mut client = ScramClient::new(&password, [random; 18], 10);
        let server_first = server
            .client_first(SCRAM_SHA_256, &client.client_first())
            .unwrap();
        let challenge = client.challenge(&server_first).unwrap();
        assert_eq!(
            (challenge.salt.as_slice(), challenge.iterations),
            (SALT, 10)
        );
        let salted = kept.get_or_insert_with(|| {
            SaltedPassword::derive(&password, &challenge.salt, challenge.iterations)
        });
        let client_final = client.client_final(&*salted).unwrap();
        let accepted = server.client_final(&client_final).unwrap();
        client.server_final(&accepted.server_final).unwrap();
        assert!(client.is_complete());
    }
}

#[test]
fn plus_binds_the_exchange_to_the_certificate() {
    let verifier = verifier("pencil", 10);
    let client = || ScramClient::new(Password::from("pencil"), [2; 18], 10);
    let offered = || server(Some(&verifier), Some(certificate()));
    assert_eq!(
        mechanisms(Some(&certificate())),
        [SCRAM_SHA_256_PLUS, SCRAM_SHA_256]
    );
    assert_eq!(mechanisms(None), [SCRAM_SHA_256]);

    assert!(exchange(offered(), client().with_channel_binding(certificate())).is_ok());
    // A client that knows nothing of channel binding is let in as well.
    assert!(exchange(offered(), client()).is_ok());
    let elsewhere = ChannelBinding::tls_server_end_point(vec![8; 32]);
    let refused = exchange(offered(), client().with_channel_binding(elsewhere)).unwrap_err();
    assert_eq!(refused, ScramError::BindingCheck);
    let refused = exchange(
        server(Some(&verifier), None),
        client().with_channel_binding(certificate()),
    );
    assert_eq!(refused.unwrap_err(), ScramError::Mechanism);
}

#[test]
fn postgres_protocols_client_is_let_in() {
    let verifier = verifier("pencil", 4096);
    let cases: [(sasl::ChannelBinding, &str, Option<ChannelBinding>); 4] = [
        (sasl::ChannelBinding::unsupported(), SCRAM_SHA_256, None),
        (
            sasl::ChannelBinding::unsupported(),
            SCRAM_SHA_256,
            Some(certificate()),
        ),
        (sasl::ChannelBinding::unrequested(), SCRAM_SHA_256, None),
        (
            sasl::ChannelBinding::tls_server_end_point(vec![7; 32]),
            SCRAM_SHA_256_PLUS,
            Some(certificate()),
        ),
    ];
    for (theirs, mechanism, ours) in cases {
        let mut server = server(Some(&verifier), ours);
        let mut client = sasl::ScramSha256::new(b"pencil", theirs);
        let server_first = server.client_first(mechanism, client.message()).unwrap();
        client.update(&server_first).unwrap();
        let accepted = server.client_final(client.message()).unwrap();
        client.finish(&accepted.server_final).unwrap();
    }
}

#[test]
fn postgres_protocols_client_with_a_wrong_password_is_not_let_in() {
    let mut server = server(Some(&verifier("pencil", 4096)), None);
    let mut client = sasl::ScramSha256::new(b"wrong", sasl::ChannelBinding::unsupported());
    client
        .update(
            &server
                .client_first(SCRAM_SHA_256, client.message())
                .unwrap(),
        )
        .unwrap();
    assert_eq!(
        server.client_final(client.message()).unwrap_err(),
        ScramError::Proof
    );
}

#[test]
fn a_client_says_with_y_that_plus_was_taken_from_the_offer() {
    let verifier = verifier("pencil", 4096);
    let mut server = server(Some(&verifier), Some(certificate()));
    let client = sasl::ScramSha256::new(b"pencil", sasl::ChannelBinding::unrequested());
    let refused = server
        .client_first(SCRAM_SHA_256, client.message())
        .unwrap_err();
    assert_eq!(
        (refused, refused.sqlstate()),
        (ScramError::Downgrade, "28000")
    );
}

#[test]
fn nothing_printed_holds_a_password_or_a_key() {
    let password = Password::from("hunter2-canary");
    let verifier = Verifier::from_password(&password, SALT, 10);
    let mut server = server(Some(&verifier), None);
    let mut client = ScramClient::new(&password, [2; 18], 10);
    let server_first = server
        .client_first(SCRAM_SHA_256, &client.client_first())
        .unwrap();
    let client_final = client.server_first(&server_first).unwrap();
    let accepted = server.client_final(&client_final).unwrap();
    let salted = SaltedPassword::derive(&password, SALT, 10);
    let shown = format!(
        "{password:?} {server:?} {client:?} {:?} {salted:?} {:?} {:?} {:?}",
        accepted.client_key,
        salted.keys(),
        ClientCredential::from(&password),
        certificate(),
    );
    assert!(!shown.contains("canary"), "{shown}");
    for key in [
        accepted.client_key.expose(),
        verifier.stored_key().expose(),
        verifier.server_key().expose(),
    ] {
        assert!(
            !shown.contains(&format!("{}, {}", key[0], key[1])),
            "{shown}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_password_always_gets_in_and_another_never(
        password in "\\PC{1,40}", other in "\\PC{1,40}", salt in prop::collection::vec(any::<u8>(), 1..64),
        ours: [u8; 18], theirs: [u8; 18], iterations in 1u32..20, bound: bool,
    ) {
        let verifier = Verifier::from_password(&Password::from(password.as_str()), &salt, iterations);
        let stored = Verifier::parse(verifier.to_stored_form().expose()).unwrap();
        prop_assert_eq!(&stored, &verifier);
        let binding = bound.then(certificate);
        for (attempt, same) in [(&password, true), (&other, stored.matches(&Password::from(other.as_str())))] {
            let server = ScramServer::new(Some(&stored), &MOCK_SECRET, "u", ours, binding.clone());
            let mut client = ScramClient::new(Password::from(attempt.as_str()), theirs, 20);
            if let Some(binding) = &binding {
                client = client.with_channel_binding(binding.clone());
            }
            match exchange(server, client) {
                Ok((_, client)) => prop_assert!(same && client.is_complete()),
                Err(error) => prop_assert!(!same && error == ScramError::Proof),
            }
        }
    }

    #[test]
    fn an_unknown_user_never_gets_in(password in "\\PC{1,20}", user in "\\PC{0,20}", secret: [u8; 32]) {
        let mut server = ScramServer::new(None, &secret, &user, [1; 18], None);
        // Few iterations would do for the client, but the mock asks for PostgreSQL's 4096.
        let mut client = ScramClient::new(Password::from(password.as_str()), [2; 18], 4096);
        let server_first = server.client_first(SCRAM_SHA_256, &client.client_first()).unwrap();
        let challenge = client.challenge(&server_first).unwrap();
        let salted = SaltedPassword::derive(&Password::from(password), &challenge.salt, 1);
        let refused = server.client_final(&client.client_final(&salted).unwrap());
        prop_assert_eq!(refused.unwrap_err(), ScramError::Proof);
    }
}
