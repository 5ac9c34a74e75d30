//! What is never seen: passwords, in a model's `Debug`, a difference, or an error.

use std::path::Path;

use pglanes_auth::StoredCredential;

use crate::testing::{CANARY, MAXIMAL, World, read};
use crate::{Config, Difference, Process, Surroundings};

fn message(source: &str) -> String {
    read(source).unwrap_err().to_string()
}

#[test]
fn a_model_shows_no_secret() {
    let config = read(MAXIMAL).unwrap();
    let password = config.upstream_password("me").unwrap();
    assert_eq!(
        password.expose(),
        &format!("{CANARY}-file"),
        "the file's line break is no part of it"
    );
    let Some(StoredCredential::Password(password)) = config.real_user("named").credential else {
        panic!("a password was read");
    };
    assert_eq!(password.expose(), &format!("{CANARY}-3"));
    let shown = format!(
        "{config:?} {config:#?} {:?}",
        Difference::between(&Config::default(), &config)
    );
    assert!(!shown.contains(CANARY));
    let url = read(&format!(
        "upstream: {{ url: 'postgresql://me:{CANARY}@localhost' }}"
    ))
    .unwrap();
    assert_eq!(url.upstream.password.as_ref().unwrap().expose(), CANARY);
    assert!(!format!("{url:?}").contains(CANARY));
}

#[test]
fn a_password_in_the_file_is_refused_and_not_repeated() {
    for source in [
        format!("users: {{ me: {{ password: {CANARY} }} }}"),
        format!("users:\n  me:\n    password:\n      {CANARY}\n"),
        format!("users: {{ me: {{ password: [{CANARY}] }} }}"),
        format!("users: {{ me: {{ password: {{ {CANARY}: 1 }} }} }}"),
        format!("users: {{ me: {{ upstream_password: {CANARY} }} }}"),
        format!("users: {{ me: {{ aliases: [{{ name: you, password: {CANARY} }}] }} }}"),
        format!("upstream: {{ password: {CANARY} }}"),
        format!("upstream: {{ url: 'postgresql://me:{CANARY}@localhost:x' }}"),
        format!("upstream: {{ url: 'mysql://me:{CANARY}@localhost' }}"),
        format!("upstream: {{ url: ['postgresql://me:{CANARY}@localhost'] }}"),
        format!("upstream:\n  password: {CANARY}\n  password: {CANARY}\n"),
        format!("upstream:\n  password: \"{CANARY}\n"),
        format!("users: {{ me: {{ password: SCRAM-SHA-256${CANARY} }} }}"),
    ] {
        let message = message(&source);
        assert!(!message.contains(CANARY), "{message}");
    }
    let message = message("users:\n  me:\n    password: hunter2\n");
    assert_eq!(
        message,
        "lanes.yaml:3:15: `password` of user `me` is written out; a password never stands in this file: name its source, `password: { env: NAME }` or `password: { file: PATH }`\n  3 |     password: *******\n    |               ^^^^^^^"
    );
}

#[test]
fn a_verifier_may_be_written_out() {
    let verifier = "SCRAM-SHA-256$4096:45/PKTlXK13G8aBUXrAsug==$wI2JiX6EhcMbUB+w9tNyioOFNgKJnWsx9gV3QTgnpeA=:5catCkQdzWWzQ3s/qzPmmy4Qvtb5Z6cORUah1NDFoJ0=";
    let source =
        format!("auth: {{ method: scram-sha-256 }}\nusers: {{ me: {{ password: '{verifier}' }} }}");
    let config = read(&source).unwrap();
    assert!(matches!(
        config.real_user("me").credential,
        Some(StoredCredential::Scram(_))
    ));
    assert!(!format!("{config:?}").contains("wI2J"));
}

#[test]
fn a_missing_secret_is_named() {
    for (source, expected) in [
        (
            "upstream: { password: { env: NOT_SET } }",
            "1:30: the environment variable `NOT_SET` is not set",
        ),
        (
            "upstream: { password: { file: nowhere } }",
            "1:31: nowhere cannot be read: no such file",
        ),
        (
            "upstream: { password: { env: EMPTY } }",
            "1:23: `password` of `upstream`: the password is empty",
        ),
        (
            "upstream: { password: { env: CANARY_1, file: x } }",
            "1:23: `password` of `upstream` is `env: NAME` or `file: PATH`, one of the two",
        ),
        (
            "upstream: { password: {} }",
            "1:23: `password` of `upstream` is `env: NAME` or `file: PATH`, one of the two",
        ),
        (
            "upstream: { url: 'postgresql://a:b@c', password: { env: CANARY_1 } }",
            "1:40: `upstream` has a password in its url and another here; keep this one",
        ),
        (
            "auth: { method: scram-sha-256 }",
            "1:17: with scram-sha-256 nobody can log in: no user has a password; add `users: { NAME: { password: { env: VARIABLE } } }`",
        ),
        (
            "auth: { method: scram-sha-256 }\nusers: { me: { password: { env: MD5 } } }",
            "2:16: the password of user `me` is an md5 hash, which scram-sha-256 cannot check; give the password or a SCRAM-SHA-256 verifier",
        ),
    ] {
        let error = read(source).unwrap_err();
        assert_eq!(error.diagnostics.len(), 1, "{error}");
        assert_eq!(
            error.diagnostics[0].headline(),
            format!("lanes.yaml:{expected}")
        );
    }
    assert!(World::new().variable("NOT_SET").is_none());
}

#[cfg(unix)]
#[test]
fn a_secret_file_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = std::env::temp_dir().join(format!("pglanes-secret-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("me.secret");
    std::fs::write(&path, format!("{CANARY}\n")).unwrap();
    let process = Process {
        folder: folder.clone(),
    };
    let read_with = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        process
            .secret_file(Path::new("me.secret"))
            .map(|secret| secret.expose().clone())
    };
    let open = read_with(0o644);
    let own = read_with(0o600);
    let directory = process.secret_file(Path::new(".")).map(|_| ());
    std::fs::write(&path, vec![b'x'; 17_000]).unwrap();
    let large = read_with(0o600);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(own.as_deref(), Ok(format!("{CANARY}\n").as_str()));
    let open = open.unwrap_err();
    assert!(
        open.ends_with(&format!("run: chmod 600 {}", path.display())),
        "{open}"
    );
    assert!(directory.unwrap_err().ends_with("is not a regular file"));
    assert!(large.unwrap_err().contains("more than 16384 bytes"));
}
