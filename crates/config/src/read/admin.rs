//! `admin` and `state`: who may change things, and where what outlives a restart is kept.

use super::names::valid_name;
use crate::admin::{
    Admin, MAXIMUM_ADMIN_USERS, MAXIMUM_TOKEN_BYTES, MINIMUM_TOKEN_BYTES, StateFolder,
};
use crate::diagnostic::quoted;
use crate::reader::{Reading, Section};

pub(super) fn admin(reading: &mut Reading<'_>, root: &Section<'_>) -> Admin {
    let Some(section) = reading.subsection(root, "admin") else {
        return Admin::default();
    };
    let mut taken = Vec::new();
    Admin {
        users: users(reading, &section, "users", &mut taken),
        stats_users: users(reading, &section, "stats_users", &mut taken),
        token: reading.token(&section, "token", holds),
    }
}

/// Names of one list; who is in both may do more than one of them says, so that is a mistake.
fn users(
    reading: &mut Reading<'_>,
    section: &Section<'_>,
    key: &str,
    taken: &mut Vec<String>,
) -> Vec<String> {
    let mut users = Vec::new();
    let nodes = reading.list(section, key, MAXIMUM_ADMIN_USERS);
    for node in nodes.unwrap_or_default() {
        let Some(word) = reading.word_of(node, "a user of `admin`") else {
            continue;
        };
        if !valid_name(reading, word.text, word.place) {
            continue;
        }
        if taken.iter().any(|other| other == word.text) {
            let message = format!("the user {} stands twice in `admin`", quoted(word.text));
            reading.problem(word.place, message);
            continue;
        }
        taken.push(word.text.to_owned());
        users.push(word.text.to_owned());
    }
    users
}

fn holds(token: &str) -> Result<(), String> {
    let right_length = (MINIMUM_TOKEN_BYTES..=MAXIMUM_TOKEN_BYTES).contains(&token.len());
    if !right_length {
        return Err(format!(
            "a token has {MINIMUM_TOKEN_BYTES} to {MAXIMUM_TOKEN_BYTES} bytes"
        ));
    }
    // It is sent in a header of HTTP.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a token has letters, digits and signs of ASCII, and no spaces".to_owned());
    }
    Ok(())
}

pub(super) fn state(reading: &mut Reading<'_>, root: &Section<'_>) -> StateFolder {
    let folder = reading.parsed(root, "state", |text| match text {
        "off" => Ok(StateFolder::Off),
        path if path.starts_with('/') => Ok(StateFolder::At(path.into())),
        _ => Err("it is `off`, or a path that begins with `/`".to_owned()),
    });
    folder.unwrap_or_default()
}
