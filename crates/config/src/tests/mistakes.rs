//! What is said of a broken file: the whole message, so that its wording is looked at when it changes.

use crate::testing::read;

/// The first line of each mistake, without the file's name.
fn check(source: &str, expected: &[&str]) {
    let error = match read(source) {
        Ok(_) => panic!("holds: {source}"),
        Err(error) => error,
    };
    let found: Vec<String> = error
        .diagnostics
        .iter()
        .map(|diagnostic| diagnostic.headline().replacen("lanes.yaml:", "", 1))
        .collect();
    assert_eq!(found, expected, "in: {source}");
}

#[test]
fn a_mistake_is_shown_with_its_line_and_a_caret() {
    let error = read("lanes:\n  ltst:\n    prioritty: 5\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "lanes.yaml:3:5: unknown key `prioritty` in lane `ltst`; did you mean `priority`?\n  3 |     prioritty: 5\n    |     ^^^^^^^^^"
    );
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_the_file() {
    check(
        "listn: x\nlanes:\n  a: { weight: 0 }\n  b: { cpu: lowest }\nthrottles: [{ lane: c, while: { lane: a } }]\n",
        &[
            "1:1: unknown key `listn` in the file; did you mean `listen`?",
            "3:16: `weight` in lane `a` is `0`: a whole number from 1 to 1000 is right",
            "4:13: `cpu` in lane `b` is `lowest`; it may be `normal`, `low`, `background`",
            "5:21: throttle `c yields to a` names the lane `c`, and there is no such lane; did you mean `a`?",
        ],
    );
    let many: String = (0..40).map(|number| format!("key{number}: 1\n")).collect();
    let error = read(&many).unwrap_err();
    assert_eq!((error.diagnostics.len(), error.omitted), (20, 20));
}

#[test]
fn unknown_words() {
    check(
        "lanes: { a: { slots: { maximum: 3 } } }",
        &[
            "1:24: unknown key `maximum` in `slots` of lane `a`; it may have: min, max, per_user, per_application",
        ],
    );
    check(
        "limits: { client: 3 }",
        &["1:11: unknown key `client` in `limits`; did you mean `clients`?"],
    );
    check(
        "auth: { method: md5 }",
        &["1:17: `method` in `auth` is `md5`; it may be `relay`, `trust`, `scram-sha-256`"],
    );
    check(
        "lanes: { a: { match: [{ lane: b, statement: [VACUM] }] }, b: {} }",
        &[
            "1:46: the kind of statement `VACUM` in a rule of lane `a` is not known; did you mean `VACUUM`?",
        ],
    );
    check(
        "lanes: { ltst: {}, a: { match: [{ lane: lts, statement: VACUUM }] } }",
        &[
            "1:41: `lane` in a rule of lane `a` is `lts`, and there is no such lane; did you mean `ltst`?",
        ],
    );
    check(
        "lanes: { a: { mode: enforced } }",
        &[
            "1:21: `mode` in lane `a` is `enforced`; it may be `enforce`, `observe`, `off`; did you mean `enforce`?",
        ],
    );
}

#[test]
fn units() {
    check(
        "upstream: { connect_timeout: 5 }",
        &["1:30: `connect_timeout` in `upstream` is `5`: a duration needs its unit: `5s` or `5ms`"],
    );
    check(
        "upstream: { connect_timeout: 0 }",
        &["1:30: `connect_timeout` in `upstream` is `0`: it is longer than 0"],
    );
    check(
        "limits: { slow_reader: never }",
        &[
            "1:24: `slow_reader` in `limits` is `never`: a duration is a whole number and a unit, such as `500ms`, `60s`, `2m`, `1h` or `1d`, or `off`",
        ],
    );
    check(
        "limits: { message_before_slot: 1mb }",
        &[
            "1:32: `message_before_slot` in `limits` is `1mb`: the units of a size are B, kB, MB, GB and TB, spelt so",
        ],
    );
    check(
        "limits: { message_before_slot: 2GB }",
        &["1:32: `message_before_slot` in `limits` is `2GB`: it may be from 1kB to 1GB"],
    );
    check(
        "lanes: { a: { objective: { p95: 0.9x } } }",
        &[
            "1:33: `p95` in `objective` of lane `a` is `0.9x`: it is above `1x`, which is the quiet baseline, and at most `100x`",
        ],
    );
    check(
        "lanes: { a: { objective: { linger: 1s } } }",
        &["1:26: `objective` of lane `a` has no target: `p95: 1.2x`"],
    );
    check(
        "lanes: { a: { objective: { p95: 2x, exempt: [b, defualt], probe: { every: 1s, length: 1s } } } }",
        &[
            "1:46: there is no lane `b`; is it `a`?",
            "1:49: there is no lane `defualt`; is it `default`?",
            "1:75: `every` of `probe` is at least ten times its `length`, or `off`: others stand still meanwhile",
        ],
    );
    check(
        "lanes: { a: {}, b: {} }\nthrottles: [{ while: { lane: a }, lane: b, slots: 100% }]",
        &[
            "2:51: `slots` in throttle 1 is `100%`: 100% yields nothing; leave the throttle out or set its mode to `off`",
        ],
    );
}

#[test]
fn shapes() {
    check(
        "lanes: [a, b]",
        &["1:8: `lanes` is a mapping of keys to values; found a list"],
    );
    check(
        "just text",
        &["1:1: the file is a mapping of keys to values; found a single value"],
    );
    check(
        "lanes: { a: { slots: 3 } }",
        &["1:22: `slots` of lane `a` is a mapping of keys to values; found a single value"],
    );
    check(
        "lanes: { a: { weight: [1] } }",
        &["1:23: `weight` in lane `a` is a single value; found a list"],
    );
    check(
        "upstream:\n  url:\n",
        &["2:3: `url` in `upstream` has no value; give it one or leave the key out"],
    );
    check(
        "a: 1\na: 2\n",
        &["2:1: the key `a` stands twice in the same mapping; keep one of them"],
    );
    check(
        "lanes: { a: { settings: { x: { y: 1 } } } }",
        &["1:30: the setting `x` of lane `a` is a single value; found a mapping"],
    );
    check(
        "lanes: { a: { settings: { x: } } }",
        &["1:27: the setting `x` of lane `a` has no value; write `''` for an empty one"],
    );
    check("listen: []", &["1:1: `listen` names no address"]);
}

#[test]
fn slots() {
    check(
        "upstream: { slots: 10 }\nlanes: { a: { slots: { max: 11 } } }",
        &[
            "2:29: `max` of lane `a` is 11, above the 10 `slots` of `upstream` that all lanes share; lower it or raise those",
        ],
    );
    check(
        "lanes: { a: { slots: { min: 3, max: 2 } } }",
        &["1:29: `min` of lane `a` is 3, above its `max` of 2"],
    );
    check(
        "lanes: { a: { slots: { min: 4, max: 0 } } }",
        &["1:37: `max` in `slots` of lane `a` is `0`: a whole number from 1 to 10000 is right"],
    );
    check(
        "upstream: { slots: 10 }\nlanes: { a: { slots: { min: 6 } }, b: { slots: { min: 4 } } }",
        &[
            "1:20: the lanes' minima add up to 10 (a 6, b 4); of the 10 `slots` of `upstream` one must be left for the lanes without a minimum; lower them or raise those",
        ],
    );
}

#[test]
fn lanes_and_rules() {
    check(
        "lanes: { '1st': {} }",
        &[
            "1:10: the lane's name `1st` is not right: a letter, then letters, digits, `_` or `-`, at most 63",
        ],
    );
    check(
        "lanes: { default: { match: [{ user: x }] } }",
        &["1:21: the lane `default` takes what no other lane takes; it has no `match`"],
    );
    check(
        "lanes: { a: { match: [{}] } }",
        &[
            "1:23: a rule of lane `a` has no condition and would take everything; that is what `default` is for",
        ],
    );
    check(
        "lanes: { a: { match: [{ lane: b }] }, b: {} }",
        &[
            "1:31: `lane` in a rule of lane `a` needs `statement`, `tag`, `table` or `text` beside it; alone it would empty that lane",
        ],
    );
    check(
        "lanes: { a: { match: [{ lane: a, statement: COPY }] } }",
        &[
            "1:31: `lane` in a rule of lane `a` is the lane itself; it names the lane that the work comes from",
        ],
    );
    check(
        "lanes: { a: { settings: { Work_Mem: 1MB } } }",
        &[
            "1:27: `Work_Mem` in the settings of lane `a` is no setting's name: lower-case letters, digits, `_` and `.`; did you mean `work_mem`?",
        ],
    );
    check(
        "lanes: { a: { settings: { shared_buffers: 1GB } } }",
        &[
            "1:27: the setting `shared_buffers` of lane `a` belongs to the whole server; put it in postgresql.conf",
        ],
    );
    check(
        "lanes: { a: { settings: { user: root } } }",
        &["1:27: the setting `user` of lane `a` is the client's to say"],
    );
    check(
        "lanes: { a: { settings: { x: \"a\\0b\" } } }",
        &["1:30: the setting `x` of lane `a` is one line of at most 2000 bytes"],
    );
}

#[test]
fn throttles() {
    let lanes = "lanes: { a: {}, b: {} }\n";
    let check =
        |throttles: &str, expected: &[&str]| check(&format!("{lanes}{throttles}"), expected);
    check(
        "throttles: [{ lane: a }]",
        &["2:13: throttle 1 lacks `while`: `{ lane: evaluation, is: busy }`"],
    );
    check(
        "throttles: [{ while: { lane: a } }]",
        &["2:13: throttle 1 lacks `lane`: the name of a lane"],
    );
    check(
        "throttles: [{ while: { lane: a }, lane: a }]",
        &["2:41: throttle `a yields to a` lets the lane `a` yield to itself"],
    );
    check(
        "throttles: [{ while: { lane: a }, lane: b, running: stop }]",
        &["2:53: `running` in throttle 1 is `stop`; it may be `finish`"],
    );
    check(
        "throttles: [{ while: { lane: a }, lane: b }, { while: { lane: b }, lane: a }]",
        &[
            "2:74: throttle `a yields to b` closes a circle: its lanes would hold each other back for good while both wait; leave one out, or let it watch `leased`",
        ],
    );
    check(
        "throttles: [{ name: t, while: { lane: a }, lane: b }, { name: t, while: { lane: a, is: leased }, lane: b }]",
        &["2:63: the name `t` belongs to another throttle"],
    );
}

#[test]
fn addresses_and_names() {
    check(
        "listen: 0.0.0.0:6433",
        &[
            "1:9: `listen` is `0.0.0.0:6433`, which other machines can reach; use 127.0.0.1, or say `allow_remote: true`",
        ],
    );
    check(
        "http: '*:80'",
        &[
            "1:7: `http` is `0.0.0.0:80`, which other machines can reach; use 127.0.0.1, or say `allow_remote: true`",
        ],
    );
    check(
        "allow_remote: true\nlisten: 0.0.0.0:6433\nauth: { method: trust }",
        &[
            "3:17: with `allow_remote: true` clients must prove who they are; use `auth: { method: scram-sha-256 }`",
        ],
    );
    check(
        "listen: 127.0.0.1:5432",
        &[
            "1:9: `listen` is `127.0.0.1:5432`, which is the server itself by `upstream`; the proxy needs a port of its own, such as 6433",
        ],
    );
    check(
        "http: 127.0.0.1:6433\nlisten: 127.0.0.1:6433",
        &["2:9: `listen` and `http` are both `127.0.0.1:6433`; give one of them another port"],
    );
    check(
        "listen: example.org:1",
        &[
            "1:9: `listen` is `example.org:1`: an address is `host:port` with an IP address or `localhost`, such as `127.0.0.1:6433`",
        ],
    );
    check(
        "upstream: { url: 'postgresql://h?sslmode=verify-full' }",
        &[
            "1:18: `url` of `upstream`: sslmode verify-ca and verify-full need sslrootcert: a file with the authorities' certificates, or (with verify-full) `system`",
        ],
    );
    check(
        "databases: { a: { aliases: [b] }, b: {} }",
        &["1:29: the alias `b` of database `a` is the name of a real database"],
    );
    check(
        "users: { a: { aliases: [x] }, b: { aliases: [{ name: x }] } }",
        &["1:54: the alias `x` of user `b` belongs to user `a` already"],
    );
    check(
        "users: { a: { aliases: [{ password: { env: CANARY_1 } }] } }",
        &["1:25: an alias of user `a` has a `name`"],
    );
}
