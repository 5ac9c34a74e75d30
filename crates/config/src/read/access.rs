//! `access`, `auth_query` and `users_file`: who may come in, and where credentials are found.

use std::path::Path;

use pglanes_lanes::classify::Glob;

use crate::access::{AccessMethod, AccessRule, AddressMatch, AuthQuery, PeerMapping};
use crate::model::Authentication;
use crate::reader::{Reading, Section};
use crate::userlist::Userlist;

/// The most rules of `access`.
const MAXIMUM_ACCESS_RULES: usize = 1000;
/// The most entries of one rule's `map`.
const MAXIMUM_MAPPINGS: usize = 1000;

pub(super) fn authentication(reading: &mut Reading<'_>, root: &Section<'_>) -> Authentication {
    let section = reading.subsection(root, "auth");
    let choices = [
        ("relay", Authentication::Relay),
        ("trust", Authentication::Trust),
        ("scram-sha-256", Authentication::ScramSha256),
    ];
    section
        .and_then(|section| reading.choice(&section, "method", &choices))
        .unwrap_or(Authentication::Relay)
}

pub(super) fn access(reading: &mut Reading<'_>, root: &Section<'_>) -> Vec<AccessRule> {
    let nodes = reading.list(root, "access", MAXIMUM_ACCESS_RULES);
    let mut rules = Vec::new();
    for (index, node) in nodes.unwrap_or_default().iter().enumerate() {
        let title = format!("access rule {}", index + 1);
        if let Some(section) = reading.item(root, "access", index, node, title)
            && let Some(rule) = rule(reading, &section)
        {
            rules.push(rule);
        }
    }
    if nodes.is_some_and(<[_]>::is_empty) {
        let place = reading.place_of("access");
        reading.problem(
            place,
            "`access` has no rule, so that nobody could log in; leave it out, or say `- { method: relay }`",
        );
    }
    rules
}

fn rule(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<AccessRule> {
    let address = reading.parsed(section, "address", AddressMatch::parse);
    let database = glob(reading, section, "database");
    let user = glob(reading, section, "user");
    let method = reading.choice(section, "method", &AccessMethod::NAMED);
    let map = map(reading, section);
    let Some(method) = method else {
        if !section.has("method") {
            reading.problem(section.place, format!("{} has a `method`", section.title));
        }
        return None;
    };
    Some(AccessRule {
        address: address.unwrap_or(AddressMatch::Any),
        database,
        user,
        method,
        map,
    })
}

fn glob(reading: &mut Reading<'_>, section: &Section<'_>, key: &str) -> Glob {
    let word = reading.word(section, key).map(|word| word.text);
    Glob::new(match word {
        // pg_hba.conf's word for it.
        None | Some("all") => "*",
        Some(pattern) => pattern,
    })
}

fn map(reading: &mut Reading<'_>, section: &Section<'_>) -> Vec<PeerMapping> {
    let nodes = reading.list(section, "map", MAXIMUM_MAPPINGS);
    let mut map = Vec::new();
    for (index, node) in nodes.unwrap_or_default().iter().enumerate() {
        let title = format!("`map` {} of {}", index + 1, section.title);
        let Some(entry) = reading.item(section, "map", index, node, title) else {
            continue;
        };
        let system_user = reading
            .word(&entry, "system_user")
            .map(|word| word.text.to_owned());
        let user = reading
            .word(&entry, "user")
            .map(|word| Glob::new(word.text));
        match (system_user, user) {
            (Some(system_user), Some(user)) => map.push(PeerMapping { system_user, user }),
            _ => reading.problem(
                entry.place,
                format!("{} has a `system_user` and a `user`", entry.title),
            ),
        }
    }
    map
}

pub(super) fn auth_query(reading: &mut Reading<'_>, root: &Section<'_>) -> Option<AuthQuery> {
    let section = reading.subsection(root, "auth_query")?;
    let mut text = |key: &str| reading.word(&section, key).map(|word| word.text.to_owned());
    Some(AuthQuery {
        query: text("query"),
        user: text("user"),
        database: text("database"),
    })
}

pub(super) fn users_file(reading: &mut Reading<'_>, root: &Section<'_>) -> Userlist {
    let Some(path) = reading.word(root, "users_file") else {
        return Userlist::default();
    };
    let text = reading.surroundings.users_file(Path::new(path.text));
    let list = text.and_then(|text| {
        let list = Userlist::parse(text.expose());
        list.map_err(|error| format!("{}: {error}", path.text))
    });
    match list {
        Ok(list) => list,
        Err(message) => {
            reading.problem(path.place, message);
            Userlist::default()
        }
    }
}
