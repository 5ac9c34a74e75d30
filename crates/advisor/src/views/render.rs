//! Fits the views' SQL to a server: lines between `-- if CONDITION`, `-- else` and `-- end` stay where the condition holds.
//! A condition is a version (`16+`) or an extension (`pg_stat_statements`).

use pglanes_config::Config;

use super::{MARK, Server, grants, lanes, quoted};

/// The scripts, in their order.
const SCRIPTS: [&str; 6] = [
    include_str!("sql/00-lanes.sql"),
    include_str!("sql/10-connections.sql"),
    include_str!("sql/20-queries.sql"),
    include_str!("sql/30-vectors.sql"),
    include_str!("sql/40-tables.sql"),
    include_str!("sql/50-server.sql"),
];

/// Everything that makes the schema, for a server and the lanes of a lanes.yaml. Members of `pg_monitor` may read it.
pub fn render(server: &Server, config: &Config) -> String {
    let mut text =
        format!("CREATE SCHEMA IF NOT EXISTS pglanes;\nCOMMENT ON SCHEMA pglanes IS '{MARK}';\n");
    for script in SCRIPTS {
        text.push('\n');
        text.push_str(&fitted(script, server));
    }
    text.push('\n');
    text.push_str(&grants("pg_monitor"));
    let statements = quoted(server.statements.as_deref().unwrap_or("public"));
    text.replace("{told}", &lanes::told(config))
        .replace("{rules}", &lanes::branches(config))
        .replace("{pg_stat_statements}", &statements)
}

/// Which lines of a script are in force.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Outside,
    Kept,
    LeftOut,
}

fn fitted(script: &str, server: &Server) -> String {
    let mut text = String::new();
    let mut part = Part::Outside;
    for line in script.lines() {
        if let Some(condition) = line.strip_prefix("-- if ") {
            part = match holds(condition, server) {
                true => Part::Kept,
                false => Part::LeftOut,
            };
        } else if line == "-- else" {
            part = match part {
                Part::Kept => Part::LeftOut,
                Part::LeftOut | Part::Outside => Part::Kept,
            };
        } else if line == "-- end" {
            part = Part::Outside;
        } else if part != Part::LeftOut {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn holds(condition: &str, server: &Server) -> bool {
    let from = condition
        .strip_suffix('+')
        .and_then(|version| version.parse::<u32>().ok());
    match from {
        Some(version) => server.major >= version,
        None => condition == "pg_stat_statements" && server.statements.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(major: u32, statements: Option<&str>) -> Server {
        Server {
            major,
            statements: statements.map(str::to_owned),
        }
    }

    #[test]
    fn every_condition_of_the_scripts_is_known_and_closed() {
        for script in SCRIPTS {
            let mut open = 0;
            for line in script.lines() {
                if let Some(condition) = line.strip_prefix("-- if ") {
                    let version = condition.strip_suffix('+').map(str::parse::<u32>);
                    let known =
                        matches!(version, Some(Ok(14..))) || condition == "pg_stat_statements";
                    assert!(known, "{condition}");
                    open += 1;
                }
                open -= i32::from(line == "-- end");
                assert!((0..=1).contains(&open), "{line}");
            }
            assert_eq!(open, 0);
        }
    }

    #[test]
    fn a_script_is_fitted_to_the_version_and_the_extensions() {
        let config = Config::default();
        let old = render(&server(14, None), &config);
        assert!(old.contains("pg_stat_bgwriter") && !old.contains("pg_stat_checkpointer"));
        assert!(!old.contains("last_idx_scan") && !old.contains("s.total_exec_time"));
        let new = render(&server(17, Some("my \"schema\"")), &config);
        assert!(new.contains("pg_stat_checkpointer") && new.contains("last_idx_scan"));
        assert!(new.contains("\"my \"\"schema\"\"\".pg_stat_statements s"));
        for text in [old, new] {
            assert!(!text.contains("-- if") && !text.contains('{'), "{text}");
        }
    }
}
