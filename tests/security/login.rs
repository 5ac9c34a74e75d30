//! Clients' logins: passwords, verifiers, aliases, and that nobody learns which users exist.

use pglanes_auth::scram_client::ScramClient;
use pglanes_auth::{Password, Verifier};
use pglanes_tests::{
    Answer, Proxy, Raw, Script, Target, connect, invariants, startup_packet, tags, try_connect,
    value,
};

/// `postgres` with a password, the alias `old_name` with another one, and `stored` as a verifier.
const USERS: &str = "auth: { method: scram-sha-256 }
users:
  postgres:
    password: { env: PASSWORD }
    aliases:
      - { name: old_name, password: { env: OLD_PASSWORD } }
      - { name: as_stored, password: { env: VERIFIER } }";

async fn proxy() -> Proxy {
    let verifier = Verifier::from_password(
        &Password::from("stored".to_owned()),
        b"saltsaltsaltsalt",
        4096,
    );
    let stored = verifier.to_stored_form();
    Proxy::with(USERS)
        .secret("PASSWORD", "right")
        .secret("OLD_PASSWORD", "of old")
        .secret("VERIFIER", stored.expose())
        .run()
        .await
}

/// What a login with a password comes to, message by message: what the SCRAM exchange showed first, and how it ended.
async fn log_in(proxy: &Proxy, user: &str, password: &str) -> (String, Vec<Answer>) {
    let mut raw = Raw::connect(proxy.address()).await;
    let who = [("user", user), ("database", proxy.database())];
    raw.send(&startup_packet(&who)).await;
    let asked = raw.expect("R").await.remove(0);
    assert_eq!(&asked.body[..], b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    let mut scram = ScramClient::new(Password::from(password.to_owned()), [7; 18], 1_000_000);
    let first = scram.client_first();
    let length = u32::try_from(first.len()).unwrap().to_be_bytes();
    let initial = [b"SCRAM-SHA-256\0", &length[..], &first].concat();
    raw.say(&Script::new().message(b'p', &initial)).await;
    let challenge = raw.expect("R").await.remove(0);
    let challenge = String::from_utf8(challenge.body[4..].to_vec()).unwrap();
    let last = scram.server_first(challenge.as_bytes()).unwrap();
    raw.say(&Script::new().message(b'p', &last)).await;
    (challenge, raw.until_ready().await)
}

/// The salt and the number of rounds of a challenge.
fn salt_and_rounds(challenge: &str) -> (String, String) {
    let mut parts = challenge.split(',').skip(1).map(str::to_owned);
    (parts.next().unwrap(), parts.next().unwrap())
}

#[tokio::test]
async fn the_right_password_opens_and_a_wrong_one_does_not() {
    let proxy = proxy().await;
    let client = connect(&proxy, "password=right").await;
    assert_eq!(value(&client, "SELECT current_user").await, "postgres");
    for wrong in ["password=wrong", "password='right '", "password='of old'"] {
        let error = try_connect(&proxy, wrong).await.err().unwrap();
        assert_eq!(error.code().unwrap().code(), "28P01", "{wrong}");
    }
    assert_eq!(proxy.metrics().login_failures.get(), 3);
    assert!(try_connect(&proxy, "").await.is_err(), "none at all");
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn an_alias_has_its_own_password_and_is_the_real_user() {
    let proxy = proxy().await;
    for (asked, password) in [("old_name", "'of old'"), ("as_stored", "stored")] {
        let client = connect(&proxy, &format!("user={asked} password={password}")).await;
        assert_eq!(value(&client, "SELECT current_user").await, "postgres");
        let error = try_connect(&proxy, &format!("user={asked} password=right")).await;
        assert_eq!(
            error.err().unwrap().code().unwrap().code(),
            "28P01",
            "{asked}"
        );
    }
    assert_eq!(proxy.metrics().aliases_used.get(), 2);
    invariants(&proxy).await;
}

#[tokio::test]
async fn an_unknown_user_looks_like_a_wrong_password() {
    let proxy = proxy().await;
    for known in ["postgres", "as_stored"] {
        let (known_challenge, known_end) = log_in(&proxy, known, "wrong").await;
        let (unknown_challenge, unknown_end) = log_in(&proxy, "nobody", "wrong").await;
        assert_eq!(tags(&known_end), "E");
        assert_eq!(tags(&unknown_end), "E");
        let (known_fields, unknown_fields) = (known_end[0].fields(), unknown_end[0].fields());
        for (letter, text) in &known_fields {
            assert_eq!(unknown_fields[letter].replace("nobody", known), *text);
        }
        assert_eq!(known_fields.len(), unknown_fields.len());
        let (known, unknown) = (
            salt_and_rounds(&known_challenge),
            salt_and_rounds(&unknown_challenge),
        );
        assert_eq!(known.1, unknown.1, "as many rounds");
        assert_eq!(known.0.len(), unknown.0.len(), "a salt as long");
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn each_user_shows_the_same_salt_each_time_known_or_not() {
    let proxy = proxy().await;
    for user in ["postgres", "as_stored", "nobody"] {
        let (one, _) = log_in(&proxy, user, "wrong").await;
        let (other, _) = log_in(&proxy, user, "wrong").await;
        assert_eq!(salt_and_rounds(&one), salt_and_rounds(&other), "{user}");
        assert_ne!(one, other, "the nonce is fresh");
    }
    invariants(&proxy).await;
}

#[tokio::test]
async fn the_right_password_of_another_user_is_wrong() {
    let proxy = proxy().await;
    let (_, end) = log_in(&proxy, "old_name", "right").await;
    assert_eq!(end[0].sqlstate(), "28P01");
    let (_, end) = log_in(&proxy, "old_name", "of old").await;
    assert!(tags(&end).starts_with("RR"), "{end:?}");
    assert!(tags(&end).ends_with("KZ"), "{end:?}");
    invariants(&proxy).await;
}

#[tokio::test]
async fn what_is_not_scram_is_refused_without_a_second_try() {
    let proxy = proxy().await;
    for said in [
        Script::new().message(b'p', b"right\0"),
        Script::new().message(b'p', b"SCRAM-SHA-256-PLUS\0\0\0\0\0"),
        Script::new().message(b'p', &[b'x'; 20_000]),
        Script::new().query("SELECT 1"),
    ] {
        let mut raw = proxy.raw().await;
        let who = [("user", "postgres"), ("database", proxy.database())];
        raw.send(&startup_packet(&who)).await;
        raw.expect("R").await;
        raw.send_anyway(said.bytes()).await;
        let end = raw.until_ready_or_cut().await;
        assert!(!tags(&end).contains('Z'), "{end:?}");
        assert!(!tags(&end).contains('R'), "{end:?}");
    }
    invariants(&proxy).await;
}
