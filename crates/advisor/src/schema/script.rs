//! A script's text: what its head says, and its statements one by one.

/// A script of `deploy/sql` and its way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Such as `10-cache-expiry`.
    pub name: &'static str,
    /// What it is, in one line.
    pub title: &'static str,
    /// Why it is there.
    pub why: &'static str,
    /// Which locks it takes.
    pub lock: &'static str,
    /// For whom it is, where it is not for everybody: then it is applied by name alone.
    pub optional: Option<&'static str>,
    pub(super) needs: Vec<Columns>,
    pub(super) keeps: Option<Columns>,
    pub(super) needs_lz4: bool,
    pub(super) apply: &'static str,
    pub(super) undo: &'static str,
}

/// A table and columns of it, by their keys: `cache(expires, context:jsonb)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) table: &'static str,
    /// With the type that it must have, where that matters.
    pub(super) columns: Vec<(&'static str, Option<&'static str>)>,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) sql: String,
    pub(super) index: Option<Index>,
}

/// An index that a statement makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) name: String,
    pub(super) on: Columns,
    /// `btree`, `brin`, `gin`.
    pub(super) method: String,
}

impl Step {
    pub(super) fn plain(sql: String) -> Self {
        Self { sql, index: None }
    }
}

macro_rules! script {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../../../deploy/sql/", $name, ".sql")),
            include_str!(concat!("../../../../deploy/sql/", $name, ".undo.sql")),
        )
    };
}

const TEXTS: [(&str, &str, &str); 7] = [
    script!("10-cache-expiry"),
    script!("20-messages-updates"),
    script!("21-cache-churn"),
    script!("30-cache-compression"),
    script!("40-metrics-brin"),
    script!("50-json-containment"),
    script!("60-compaction"),
];

/// All of them, in their order.
pub fn scripts() -> Vec<Script> {
    let read = |(name, apply, undo): &(&'static str, &'static str, &'static str)| Script {
        name,
        title: apply
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("-- "),
        why: head(apply, "why").unwrap_or_default(),
        lock: head(apply, "lock").unwrap_or_default(),
        optional: head(apply, "optional"),
        needs: heads(apply, "needs").filter_map(columns).collect(),
        keeps: head(apply, "keeps").and_then(columns),
        needs_lz4: head(apply, "if") == Some("lz4"),
        apply,
        undo,
    };
    TEXTS.iter().map(read).collect()
}

fn heads(text: &'static str, key: &str) -> impl Iterator<Item = &'static str> {
    let prefix = format!("-- {key}: ");
    text.lines()
        .filter_map(move |line| line.strip_prefix(prefix.as_str()))
}

fn head(text: &'static str, key: &str) -> Option<&'static str> {
    heads(text, key).next()
}

/// `table` or `table(column, column:type)`.
fn columns(text: &'static str) -> Option<Columns> {
    let Some((table, rest)) = text.split_once('(') else {
        return Some(Columns {
            table: text.trim(),
            columns: Vec::new(),
        });
    };
    let inside = rest.strip_suffix(')')?;
    let column = |text: &'static str| match text.trim().split_once(':') {
        Some((column, of)) => (column, Some(of)),
        None => (text.trim(), None),
    };
    Some(Columns {
        table,
        columns: inside.split(',').map(column).collect(),
    })
}

impl Script {
    /// The statements of one of its texts. A statement ends where a line ends with `;`, outside of `$$`.
    pub(super) fn steps(&self, text: &'static str) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut sql = String::new();
        let mut index = None;
        let mut in_body = false;
        for line in text.lines() {
            if let Some(said) = line.strip_prefix("-- index: ") {
                index = index_of(said);
                continue;
            }
            if !in_body && (line.starts_with("--") || line.starts_with('\\') || line.is_empty()) {
                continue;
            }
            in_body ^= line.matches("$$").count() % 2 == 1;
            sql.push_str(line);
            sql.push('\n');
            if !in_body && line.ends_with(';') {
                steps.push(Step {
                    sql: std::mem::take(&mut sql),
                    index: index.take(),
                });
            }
        }
        steps
    }

    /// The indexes that it makes.
    pub(super) fn indexes(&self) -> Vec<Index> {
        let steps = self.steps(self.apply);
        steps.into_iter().filter_map(|step| step.index).collect()
    }

    /// Whether it sets this storage parameter, of the table or (`toast.`) of its TOAST table.
    pub(super) fn sets(&self, parameter: &str) -> bool {
        let is_start = |at: usize| self.apply[..at].ends_with([' ', '(']);
        let mut places = self.apply.match_indices(parameter);
        places.any(|(at, _)| is_start(at) && self.apply[at + parameter.len()..].starts_with(" ="))
    }
}

/// `name table(column) method`.
fn index_of(said: &'static str) -> Option<Index> {
    let mut words = said.split(' ');
    let (name, on, method) = (words.next()?, words.next()?, words.next()?);
    Some(Index {
        name: name.to_owned(),
        on: columns(on)?,
        method: method.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::names::{KEYS, Names};
    use super::*;

    #[test]
    fn every_script_says_what_it_is_and_has_a_way_back() {
        for script in scripts() {
            for said in [script.title, script.why, script.lock] {
                assert!(said.len() > 3, "{}: {said:?}", script.name);
            }
            assert!(!script.needs.is_empty(), "{}", script.name);
            assert!(
                !script.steps(script.apply).is_empty() && !script.steps(script.undo).is_empty()
            );
            let known = |key: &str| KEYS.iter().any(|(known, _, _)| *known == key);
            for need in script.needs.iter().chain(&script.keeps) {
                assert!(known(need.table), "{}: {need:?}", script.name);
                assert!(
                    need.columns.iter().all(|(column, _)| known(column)),
                    "{need:?}"
                );
            }
            for text in [script.apply, script.undo] {
                let text = Names::default().put_into(text);
                assert!(!text.contains(":\"") && !text.contains(":'"), "{text}");
            }
        }
    }

    #[test]
    fn statements_are_taken_one_by_one_and_bodies_whole() {
        let all = scripts();
        let steps = all[0].steps(all[0].apply);
        let firsts: Vec<&str> = steps
            .iter()
            .map(|step| step.sql.split(['(', '=']).next().unwrap().trim())
            .collect();
        assert_eq!(
            firsts,
            [
                "SET lock_timeout",
                "CREATE INDEX CONCURRENTLY IF NOT EXISTS pglanes_cache_expiry ON :\"schema\".:\"cache\"",
                "SET lock_timeout",
                "CREATE OR REPLACE FUNCTION pglanes.expire_cache_batch",
                "CREATE OR REPLACE PROCEDURE pglanes.expire_cache",
            ]
        );
        assert!(steps[4].sql.ends_with("END $$;\n"));
        let index = steps[1].index.as_ref().unwrap();
        assert_eq!(
            (index.name.as_str(), index.method.as_str()),
            ("pglanes_cache_expiry", "btree")
        );
    }

    #[test]
    fn what_an_index_is_built_by_is_concurrent_and_waits_for_no_lock_without_end() {
        for script in scripts() {
            for text in [script.apply, script.undo] {
                let steps = script.steps(text);
                assert!(
                    steps[0].sql.starts_with("SET lock_timeout = "),
                    "{}",
                    script.name
                );
                for step in steps.iter().filter(|step| step.sql.contains(" INDEX ")) {
                    assert!(step.sql.contains(" INDEX CONCURRENTLY IF "), "{}", step.sql);
                }
            }
        }
    }

    #[test]
    fn parameters_that_a_script_sets_are_known() {
        let all = scripts();
        let churn = all
            .iter()
            .find(|script| script.name == "21-cache-churn")
            .unwrap();
        assert!(churn.sets("toast.autovacuum_vacuum_scale_factor"));
        assert!(churn.sets("autovacuum_vacuum_scale_factor") && !churn.sets("fillfactor"));
    }
}
