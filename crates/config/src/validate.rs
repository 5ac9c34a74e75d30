//! What must hold across the parts of a lanes.yaml, once each part holds by itself.

use pglanes_auth::StoredCredential;
use pglanes_lanes::PolicyError;

use crate::access::{AccessMethod, AddressMatch};
use crate::diagnostic::quoted;
use crate::lane::{Keeps, Lane, MatchRule, Mode, Throttle};
use crate::model::{
    Authentication, Config, ListenAddress, RemoteClients, UnixSocket, UpstreamAddress, User,
};
use crate::reader::Reading;
use crate::suggest::nearest;
use crate::yaml::Place;

/// Checks the whole, and leaves problems and warnings in `reading`.
pub(crate) fn validate(reading: &mut Reading<'_>, config: &Config) {
    slots(reading, config);
    for (index, throttle) in config.throttles.iter().enumerate() {
        check_throttle(reading, config, index, throttle);
    }
    addresses(reading, config);
    authentication(reading, config);
    remote_without_tls(reading, config);
    // Only of lanes and throttles that hold by themselves can it be said whether they hold together.
    if reading.problems.is_empty() && !config.texts_fit() {
        let message = format!(
            "the regular expressions of all `text` are more than {}, or take too much memory together",
            pglanes_lanes::classify::MAX_TEXT_PATTERNS
        );
        let place = reading.place_of("lanes");
        reading.problem(place, message);
    }
    if reading.problems.is_empty() {
        scheduler(reading, config);
        unreachable_rules(reading, config);
    }
}

/// What the scheduler itself asks of a policy; all but circles of throttles was answered with its place already.
fn scheduler(reading: &mut Reading<'_>, config: &Config) {
    let (policy, _) = config.policy(None);
    match policy.validate() {
        Ok(()) => {}
        Err(PolicyError::ThrottleCircle { throttle }) => {
            let index = config
                .throttles
                .iter()
                .position(|other| other.name == throttle);
            let place = reading.place_of(&format!("throttles[{}].lane", index.unwrap_or(0)));
            let message = format!(
                "throttle {} closes a circle: its lanes would hold each other back for good while both wait; leave one out, or let it watch `leased`",
                quoted(&throttle)
            );
            reading.problem(place, message);
        }
        Err(other) => {
            let place = reading.place_of("lanes");
            reading.problem(place, other.to_string());
        }
    }
}

fn unreachable_rules(reading: &mut Reading<'_>, config: &Config) {
    let (_, index) = config.policy(None);
    let rules: Vec<(&Lane, &MatchRule)> = config.rules().collect();
    for (later, earlier) in config.classifier(&index).unreachable_rules() {
        let (Some((lane, rule)), Some((by, first))) = (rules.get(later), rules.get(earlier)) else {
            continue;
        };
        let number = lane
            .rules
            .iter()
            .position(|other| std::ptr::eq(other, *rule))
            .unwrap_or(0);
        let place = reading.place_of(&format!("lanes.{}.match[{number}]", lane.name));
        let message = format!(
            "this rule of lane {} never matches: the rule {} of lane {} before it takes all that it would take",
            quoted(&lane.name),
            quoted(&first.to_string()),
            quoted(&by.name)
        );
        reading.warning(place, message);
    }
}

fn slots(reading: &mut Reading<'_>, config: &Config) {
    let total = config.upstream.slots;
    for lane in &config.lanes {
        let (minimum, maximum) = (lane.minimum, lane.maximum);
        let name = quoted(&lane.name);
        if maximum > total {
            let place = reading.place_of(&format!("lanes.{}.slots.max", lane.name));
            let message = format!(
                "`max` of lane {name} is {maximum}, above the {total} `slots` of `upstream` that all lanes share; lower it or raise those"
            );
            reading.problem(place, message);
        }
        for (cap, key) in [
            (lane.caps.per_user, "per_user"),
            (lane.caps.per_application, "per_application"),
        ] {
            if cap.is_some_and(|cap| cap >= maximum) {
                let place = reading.place_of(&format!("lanes.{}.slots.{key}", lane.name));
                let message = format!(
                    "`{key}` of lane {name} holds nobody back: it is not below its `max` of {maximum}"
                );
                reading.warning(place, message);
            }
        }
        if minimum > maximum {
            let place = reading.place_of(&format!("lanes.{}.slots.min", lane.name));
            reading.problem(
                place,
                format!("`min` of lane {name} is {minimum}, above its `max` of {maximum}"),
            );
        }
    }
    minima(reading, config);
}

/// As the scheduler counts: a lane without a minimum lives on borrowed slots, so the minima leave one.
fn minima(reading: &mut Reading<'_>, config: &Config) {
    let total = config.upstream.slots;
    let (with, without): (Vec<&Lane>, Vec<&Lane>) = config
        .lanes
        .iter()
        .partition(|lane| lane.minimum > 0 && lane.mode == Mode::Enforce);
    let minima: u64 = with.iter().map(|lane| u64::from(lane.minimum)).sum();
    let left = u64::from(!without.is_empty());
    if minima + left <= u64::from(total) {
        return;
    }
    let place = reading.place_of("upstream.slots");
    let place = if place.line == 0 {
        reading.place_of("lanes")
    } else {
        place
    };
    let parts: Vec<String> = with
        .iter()
        .map(|lane| format!("{} {}", lane.name, lane.minimum))
        .collect();
    let reason = if left == 1 {
        format!(
            "; of the {total} `slots` of `upstream` one must be left for the lanes without a minimum"
        )
    } else {
        format!(", above the {total} `slots` of `upstream`")
    };
    let message = format!(
        "the lanes' minima add up to {minima} ({}){reason}; lower them or raise those",
        parts.join(", ")
    );
    reading.problem(place, message);
}

fn check_throttle(reading: &mut Reading<'_>, config: &Config, index: usize, throttle: &Throttle) {
    let path = format!("throttles[{index}]");
    for (lane, key) in [(&throttle.lane, "lane"), (&throttle.watched, "while.lane")] {
        if config.lane(lane).is_none() {
            let place = reading.place_of(&format!("{path}.{key}"));
            let message = format!(
                "throttle {} names the lane {}, and there is no such lane",
                quoted(&throttle.name),
                quoted(lane)
            );
            let near = nearest(lane, config.lanes.iter().map(|lane| lane.name.as_str()));
            reading.problem_near(place, message, near);
        }
    }
    let name = quoted(&throttle.name);
    if throttle.lane == throttle.watched {
        let place = reading.place_of(&format!("{path}.lane"));
        reading.problem(
            place,
            format!(
                "throttle {name} lets the lane {} yield to itself",
                quoted(&throttle.lane)
            ),
        );
    }
    if let (Keeps::Slots(slots), Some(lane)) = (throttle.keeps, config.lane(&throttle.lane))
        && slots >= lane.maximum
    {
        let place = reading.place_of(&format!("{path}.slots"));
        let message = format!(
            "throttle {name} does nothing: it leaves {slots} slots to a lane of {}",
            lane.maximum
        );
        reading.warning(place, message);
    }
}

fn addresses(reading: &mut Reading<'_>, config: &Config) {
    let place = reading.place_of("listen");
    for address in &config.listen {
        let ListenAddress::Tcp(socket) = address else {
            continue;
        };
        if socket.port() != 0 && config.http == Some(*socket) {
            reading.problem(
                place,
                format!("`listen` and `http` are both `{socket}`; give one of them another port"),
            );
        }
        let UpstreamAddress::Tcp { host, port } = &config.upstream.address else {
            continue;
        };
        let same_host = match host.as_str() {
            "localhost" => socket.ip().is_loopback(),
            other => other.parse() == Ok(socket.ip()),
        };
        let over_tcp = !matches!(config.upstream.unix_socket, UnixSocket::Path(_));
        if same_host && over_tcp && *port == socket.port() {
            reading.problem(place, format!("`listen` is `{socket}`, which is the server itself by `upstream`; the proxy needs a port of its own, such as 6433"));
        }
    }
}

fn authentication(reading: &mut Reading<'_>, config: &Config) {
    if !config.access.is_empty() {
        access(reading, config);
        return;
    }
    match config.authentication {
        Authentication::Relay => {}
        Authentication::Trust => trust(reading, config),
        Authentication::ScramSha256 => scram(reading, config),
    }
}

fn remote_without_tls(reading: &mut Reading<'_>, config: &Config) {
    let reachable = config
        .listen
        .iter()
        .any(|address| matches!(address, ListenAddress::Tcp(socket) if !socket.ip().is_loopback()));
    if reachable && config.tls.is_none() {
        let place = reading.place_of("listen");
        reading.warning(
            place,
            "other machines reach `listen` without encryption; add `tls: { certificate: ..., key: ..., mode: require }`",
        );
    }
}

fn trust(reading: &mut Reading<'_>, config: &Config) {
    let place = reading.place_of("auth.method");
    if config.remote == RemoteClients::Allowed {
        reading.problem(place, "with `allow_remote: true` clients must prove who they are; use `auth: { method: scram-sha-256 }`");
    }
    warn_of_trust(reading, config, place);
}

/// Trust hands on what the file's passwords open at PostgreSQL.
fn warn_of_trust(reading: &mut Reading<'_>, config: &Config, place: Place) {
    let with_password = |user: &&User| user.upstream_password.is_some();
    let whose = match config.users.iter().find(with_password) {
        _ if config.upstream.password.is_some() => "every user".to_owned(),
        Some(user) => format!("user {}", quoted(&user.name)),
        None => return,
    };
    let message = format!(
        "with `trust` any program on this machine is let in as {whose}, and logged in at PostgreSQL with the password given here; `relay`, the default, asks for it"
    );
    reading.warning(place, message);
}

fn access(reading: &mut Reading<'_>, config: &Config) {
    let written = reading.place_of("auth.method");
    if written != reading.place_of("auth") && written.line != 0 {
        reading.warning(
            written,
            "`auth.method` says nothing where there are `access` rules",
        );
    }
    for (index, rule) in config.access.iter().enumerate() {
        let place = reading.place_of(&format!("access[{index}].method"));
        let beyond = config.remote == RemoteClients::Allowed && !rule.address.is_this_machine();
        match rule.method {
            AccessMethod::Trust if beyond => reading.problem(place, "with `allow_remote: true` this rule would trust clients of other machines; give it an `address` of this machine (`local`, 127.0.0.0/8), or another method"),
            AccessMethod::Trust => warn_of_trust(reading, config, place),
            AccessMethod::Peer if rule.address != AddressMatch::Local => reading.problem(place, "`peer` is for unix sockets, whose other end is known; add `address: local`"),
            AccessMethod::Cert if rule.address == AddressMatch::Local => reading.problem(place, "`cert` asks for a client certificate, which a unix socket never has; use `peer`"),
            AccessMethod::Cert if config.tls.as_ref().is_none_or(|tls| tls.client_ca.is_none()) => {
                reading.problem(place, "`cert` asks for a client certificate: `tls` needs a `client_ca`, which says who may sign them");
            }
            _ => {}
        }
        if !matches!(rule.method, AccessMethod::Peer | AccessMethod::Cert) && !rule.map.is_empty() {
            let place = reading.place_of(&format!("access[{index}].map"));
            reading.problem(place, "only `peer` and `cert` have a `map`");
        }
    }
}

fn scram(reading: &mut Reading<'_>, config: &Config) {
    let credentials = config.users.iter().flat_map(|user| {
        let aliases = user.aliases.iter().map(|alias| alias.credential.as_ref());
        std::iter::once(user.credential.as_ref())
            .chain(aliases)
            .flatten()
            .map(|credential| (user.name.as_str(), credential))
    });
    let mut any = !config.userlist.is_empty() || config.auth_query.is_some();
    for (user, credential) in credentials {
        any = true;
        if matches!(credential, StoredCredential::Md5(_)) {
            let place = reading.place_of(&format!("users.{user}.password"));
            let message = format!(
                "the password of user {} is an md5 hash, which scram-sha-256 cannot check; give the password or a SCRAM-SHA-256 verifier",
                quoted(user)
            );
            reading.problem(place, message);
        }
    }
    if !any {
        let place = reading.place_of("auth.method");
        reading.problem(place, "with scram-sha-256 nobody can log in: no user has a password; add `users: { NAME: { password: { env: VARIABLE } } }`");
    }
}
