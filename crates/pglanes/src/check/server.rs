//! What PostgreSQL says to the file: its connections, and the settings that the lanes' connections start with.

use pglanes_config::Config;
use pglanes_control::{
    AtStartup, Control, ControlError, MAX_CONNECTIONS, OBSERVING_CONNECTIONS, ServerFacts,
    SettingContext, UnknownSetting,
};

use super::Report;
use crate::server_address;

/// What only the server can tell.
pub(super) const LEFT_OUT: &str = "left out are max_connections against the slots, and whether PostgreSQL knows the \
     lanes' settings and lets ordinary users set them";

/// Asks, and adds what was found to the report; the facts are for others.
pub(super) async fn ask(config: &Config, report: &mut Report) -> Option<ServerFacts> {
    let control = match Control::with_tls(&server_address::of(config), &config.upstream.tls) {
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
    let observing = config.observe.map_or(0, |_| OBSERVING_CONNECTIONS);
    let own = (MAX_CONNECTIONS + observing) as u64;
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
