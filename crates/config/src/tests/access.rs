//! Who may come in: rules in their order, and credentials from elsewhere.

use std::net::IpAddr;

use pglanes_auth::StoredCredential;

use crate::testing::{CANARY, read};
use crate::{AccessMethod, Admission, ClientAddress, Config, NameUsed};

fn asked(config: &Config, from: &str, database: &str, user: &str) -> Option<AccessMethod> {
    let from = match from.parse::<IpAddr>() {
        Ok(address) => ClientAddress::Tcp(address),
        Err(_) => ClientAddress::Local,
    };
    match config.admission(from, database, user) {
        Admission::By(method) => Some(method),
        Admission::Peer(_) => Some(AccessMethod::Peer),
        Admission::Cert(_) => Some(AccessMethod::Cert),
        Admission::NoRule => None,
    }
}

#[test]
fn the_first_rule_that_fits_decides_and_none_turns_away() {
    let config = read(concat!(
        "access:\n",
        "  - { address: local, user: root, method: reject }\n",
        "  - { address: local, method: peer }\n",
        "  - { address: 127.0.0.1, database: 'secret*', method: scram-sha-256 }\n",
        "  - { address: 127.0.0.0/8, user: all, method: md5 }\n",
    ))
    .unwrap();
    let check = |from, database, user, expected| {
        assert_eq!(
            asked(&config, from, database, user),
            expected,
            "{from} {database} {user}"
        );
    };
    check("local", "d", "root", Some(AccessMethod::Reject));
    check("local", "d", "me", Some(AccessMethod::Peer));
    check(
        "127.0.0.1",
        "secrets",
        "me",
        Some(AccessMethod::ScramSha256),
    );
    check("127.0.0.1", "d", "me", Some(AccessMethod::Md5));
    check("127.0.0.2", "secrets", "me", Some(AccessMethod::Md5));
    check("10.0.0.1", "d", "me", None);
    check("::1", "d", "me", None);
}

#[test]
fn without_rules_the_login_is_carried_out_with_postgresql() {
    let config = Config::default();
    assert_eq!(
        asked(&config, "127.0.0.1", "d", "me"),
        Some(AccessMethod::Relay)
    );
    assert!(config.real_user("me").credential.is_none());
}

#[test]
fn a_listed_user_has_a_credential_unless_the_file_itself_gives_one() {
    let config = read(concat!(
        "users_file: userlist.txt\n",
        "users:\n",
        "  listed: { aliases: [also, { name: own, password: { env: CANARY_1 } }] }\n",
    ))
    .unwrap();
    let credential = |name| match config.real_user(name).credential {
        Some(StoredCredential::Password(password)) => password.expose().clone(),
        other => panic!("{other:?}"),
    };
    let listed = format!("{CANARY}-listed");
    assert_eq!(credential("listed"), listed);
    assert_eq!(credential("also"), listed);
    assert_eq!(config.real_user("also").credential_of, NameUsed::Real);
    assert_eq!(credential("own"), format!("{CANARY}-1"));
    assert_eq!(config.real_user("own").credential_of, NameUsed::Alias);
    assert_eq!(
        config.upstream_password("listed").unwrap().expose(),
        &listed
    );
    assert!(!format!("{config:?}").contains(CANARY));
}

#[test]
fn mistakes_of_access() {
    for (source, expected) in [
        (
            "access: [{ method: reject, adress: local }]",
            "1:28: unknown key `adress` in access rule 1; did you mean `address`?",
        ),
        (
            "access: [{ address: 10.0.0.0/40, method: relay }]",
            "1:21: `address` in access rule 1 is `10.0.0.0/40`: a network's length is a number from 0 to 32",
        ),
        (
            "access: [{ address: 10.0.0.1/8, method: relay }]",
            "1:21: `address` in access rule 1 is `10.0.0.1/8`: the address has bits set beyond the first 8; write the network's own address",
        ),
        (
            "access: [{ method: peer }]",
            "1:20: `peer` is for unix sockets, whose other end is known; add `address: local`",
        ),
        (
            "access: [{ method: cert }]",
            "1:20: `cert` asks for a client certificate: `tls` needs a `client_ca`, which says who may sign them",
        ),
        (
            "access: [{ address: local, method: cert }]",
            "1:36: `cert` asks for a client certificate, which a unix socket never has; use `peer`",
        ),
        (
            "access: [{ address: local }]",
            "1:10: access rule 1 has a `method`",
        ),
        (
            "access: []",
            "1:1: `access` has no rule, so that nobody could log in; leave it out, or say `- { method: relay }`",
        ),
        (
            "allow_remote: true\naccess: [{ method: trust }]",
            "2:20: with `allow_remote: true` this rule would trust clients of other machines; give it an `address` of this machine (`local`, 127.0.0.0/8), or another method",
        ),
        (
            "access: [{ address: local, method: peer, map: [{ user: a }] }]",
            "1:48: `map` 1 of access rule 1 has a `system_user` and a `user`",
        ),
        (
            "users_file: broken.txt",
            "1:13: broken.txt: line 1: an entry is \"user\" \"password\", both in double quotes",
        ),
        (
            "users_file: nowhere.txt",
            "1:13: nowhere.txt cannot be read: no such file",
        ),
    ] {
        let error = read(source).unwrap_err();
        assert_eq!(
            error.diagnostics[0].headline(),
            format!("lanes.yaml:{expected}")
        );
        assert!(!error.to_string().contains(CANARY));
    }
}
