//! What PostgreSQL says to the file: its connections, and the settings that the lanes' connections start with.

use std::path::Path;

use pglanes_auth::Secret;
use pglanes_config::{Config, UpstreamAddress};
use pglanes_control::{
    AtStartup, Control, ControlError, Host, MAX_CONNECTIONS, ServerAddress, ServerFacts,
    SettingContext, UnknownSetting,
};

use super::Report;

/// What only the server can tell.
pub(super) const LEFT_OUT: &str = "left out are max_connections against the slots, and whether PostgreSQL knows the \
     lanes' settings and lets ordinary users set them";

/// Asks, and adds what was found to the report; the facts are for others.
pub(super) async fn ask(config: &Config, report: &mut Report) -> Option<ServerFacts> {
    let control = match Control::with_tls(&address(config), &config.upstream.tls) {
        Ok(control) => control,
        Err(error) => {
            report.notes.push(format!("{error}; {LEFT_OUT}"));
            return None;
        }
    };
    match answers(config, &control).await {
        Ok(answers) => {
            connections(config, &answers.facts, report);
            settings(config, &answers, report);
            let facts = answers.facts;
            report.notes.push(format!(
                "asked PostgreSQL {} as {}: {} connections for ordinary users, {}",
                facts.version,
                control.server(),
                facts.usable_connections(),
                match &facts.pgvector {
                    Some(version) => format!("pgvector {version}"),
                    None => "no pgvector in this database".to_owned(),
                }
            ));
            Some(facts)
        }
        Err(error) => {
            report.notes.push(format!("{error}; {LEFT_OUT}"));
            None
        }
    }
}

struct Answers {
    facts: ServerFacts,
    unknown: Vec<UnknownSetting>,
    contexts: Vec<SettingContext>,
}

async fn answers(config: &Config, control: &Control) -> Result<Answers, ControlError> {
    let names = setting_names(config);
    Ok(Answers {
        facts: control.facts().await?,
        unknown: control.unknown_settings(&names).await?,
        contexts: control.settings_contexts(&names).await?,
    })
}

/// Each name once, in the order of the file.
fn setting_names(config: &Config) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in config.lanes.iter().flat_map(|lane| &lane.settings) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// The URL's user and database; else whom psql would ask as.
fn address(config: &Config) -> ServerAddress {
    let upstream = &config.upstream;
    let socket = upstream
        .unix_sockets()
        .into_iter()
        .find(|socket| socket.exists());
    let host = match (&upstream.address, socket.as_deref().and_then(Path::parent)) {
        (_, Some(directory)) => Host::Unix(directory.to_path_buf()),
        (UpstreamAddress::Tcp { host, .. }, None) => Host::Tcp(host.clone()),
        (UpstreamAddress::Unix { directory, .. }, None) => Host::Unix(directory.clone()),
    };
    let (UpstreamAddress::Tcp { port, .. } | UpstreamAddress::Unix { port, .. }) = upstream.address;
    let user = upstream
        .user
        .clone()
        .unwrap_or_else(|| own_name(|name| std::env::var(name).ok()));
    let first = config
        .databases
        .first()
        .map(|database| database.name.clone());
    let database = upstream.database.clone().or(first);
    ServerAddress {
        host,
        port,
        database: database.unwrap_or_else(|| "postgres".to_owned()),
        password: config
            .upstream_password(&user)
            .map(|password| Secret::new(password.expose().clone())),
        user,
    }
}

fn own_name(variable: impl Fn(&str) -> Option<String>) -> String {
    let names = ["PGUSER", "USER", "LOGNAME"];
    let found = names
        .into_iter()
        .filter_map(variable)
        .find(|name| !name.is_empty());
    found.unwrap_or_else(|| "postgres".to_owned())
}

fn connections(config: &Config, facts: &ServerFacts, report: &mut Report) {
    let usable = u64::from(facts.usable_connections());
    let maxima: u64 = config
        .lanes
        .iter()
        .map(|lane| u64::from(lane.maximum))
        .sum();
    let total = u64::from(config.upstream.slots);
    // The lanes together never have more than the total, whatever their maxima add up to.
    let most = total.min(maxima);
    let own = MAX_CONNECTIONS as u64;
    if most + own > usable {
        report.warnings.push(format!(
            "the lanes may take {most} connections (upstream.slots {total}, the lanes' maxima {maxima}) and pglanes {own} \
             for its own questions; PostgreSQL has {usable} for ordinary users (max_connections {} less those reserved). \
             Lower upstream.slots to {} or raise max_connections",
            facts.max_connections,
            usable.saturating_sub(own),
        ));
    }
}

fn settings(config: &Config, answers: &Answers, report: &mut Report) {
    for lane in &config.lanes {
        for (name, _) in &lane.settings {
            let unknown = answers.unknown.iter().find(|unknown| unknown.name == *name);
            let context = answers
                .contexts
                .iter()
                .find(|context| context.name == *name);
            let at_startup = context.map(|context| context.context.at_startup());
            let Some(what) = verdict(unknown, at_startup) else {
                continue;
            };
            // The reader guesses what the server knows; what it said of this setting gives way.
            let guess = format!("the setting `{name}` of lane `{}`", lane.name);
            report.warnings.retain(|warning| !warning.contains(&guess));
            report
                .warnings
                .push(format!("lane {}, setting {name}: {what}", lane.name));
        }
    }
}

/// What is wrong with a setting by the server's word.
fn verdict(unknown: Option<&UnknownSetting>, at_startup: Option<AtStartup>) -> Option<String> {
    if let Some(unknown) = unknown {
        return Some(match &unknown.nearest {
            Some(nearest) => format!("PostgreSQL has no such setting; did you mean `{nearest}`?"),
            None => "PostgreSQL has no such setting".to_owned(),
        });
    }
    let words = match at_startup? {
        AtStartup::Accepted => return None,
        AtStartup::Refused => {
            "PostgreSQL refuses a connection that sets it; it is set in postgresql.conf"
        }
        AtStartup::NeedsPrivilege => {
            "PostgreSQL refuses a connection that sets it, unless its user is a superuser or was granted SET on it"
        }
    };
    Some(words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_to_ask_as_is_the_one_psql_would_take() {
        let check = |variables: &[(&str, &str)], expected: &str| {
            let value = |name: &str| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(own_name(value), expected);
        };
        check(&[("USER", "me"), ("PGUSER", "you")], "you");
        check(&[("LOGNAME", "me"), ("USER", "")], "me");
        check(&[], "postgres");
    }
}
