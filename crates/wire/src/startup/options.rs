//! The startup parameter `options`: the backend's command line, from `PGOPTIONS` or a
//! connection string. Follows `pg_split_opts`, `process_postgres_switches` and
//! `ParseLongOption` of PostgreSQL.
//!
//! It is split into words as PostgreSQL splits it, never searched for `-c`: a value may hold
//! those two characters itself.

use super::{MAX_STARTUP_PARAMETERS, StartupError, set};

/// The settings `options` asks for, one entry a name, the last value given wins.
pub(super) fn expand(options: &str) -> Result<Vec<(String, String)>, StartupError> {
    let mut settings = Vec::new();
    let mut words = split(options)?.into_iter();
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--") {
            long_option(&mut settings, long, &word)?;
        } else if let Some(switches) = word.strip_prefix('-').filter(|it| !it.is_empty()) {
            short_switches(&mut settings, switches, &word, &mut words)?;
        } else {
            return Err(StartupError::Argument(word));
        }
    }
    Ok(settings)
}

/// Words between whitespace; a backslash takes the next character as it is.
fn split(options: &str) -> Result<Vec<String>, StartupError> {
    let mut words = Vec::new();
    let mut characters = options.chars().peekable();
    while characters.next_if(is_space).is_some() || characters.peek().is_some() {
        let mut word = String::new();
        let mut any = false;
        while let Some(character) = characters.next_if(|it| !is_space(it)) {
            any = true;
            match character {
                '\\' => word.extend(characters.next()),
                other => word.push(other),
            }
        }
        if any {
            words.push(word);
        }
        // Two words at most make one setting (`-c name=value`).
        if words.len() > 2 * MAX_STARTUP_PARAMETERS {
            return Err(StartupError::TooManyParameters);
        }
    }
    Ok(words)
}

/// C's `isspace`.
fn is_space(character: &char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// `name=value`, dashes in the name standing for underscores.
fn long_option(
    settings: &mut Vec<(String, String)>,
    option: &str,
    as_given: &str,
) -> Result<(), StartupError> {
    let (name, value) = option
        .split_once('=')
        .ok_or_else(|| StartupError::ValueMissing(as_given.to_owned()))?;
    if name.is_empty() {
        return Err(StartupError::Argument(as_given.to_owned()));
    }
    set(settings, &name.replace('-', "_"), value);
    Ok(())
}

/// The letters of one word, as `getopt` reads them: a letter that wants an argument takes
/// the rest of the word, or the next word. Letters that make no sense in a session (`-D`,
/// `-p`, ...) are refused.
fn short_switches(
    settings: &mut Vec<(String, String)>,
    switches: &str,
    word: &str,
    words: &mut impl Iterator<Item = String>,
) -> Result<(), StartupError> {
    let mut letters = switches.chars();
    while let Some(letter) = letters.next() {
        match letter {
            'e' => set(settings, "DateStyle", "euro"),
            's' => set(settings, "log_statement_stats", "true"),
            'c' | 'S' | 'f' => {
                let attached = letters.as_str();
                let argument = if attached.is_empty() {
                    words.next()
                } else {
                    Some(attached.to_owned())
                };
                let argument =
                    argument.ok_or_else(|| StartupError::ValueMissing(word.to_owned()))?;
                match letter {
                    'c' => long_option(settings, &argument, &format!("-c {argument}"))?,
                    'S' => set(settings, "work_mem", &argument),
                    _ => set(settings, forbidden_plan(&argument, word)?, "false"),
                }
                return Ok(());
            }
            _ => return Err(StartupError::Argument(word.to_owned())),
        }
    }
    Ok(())
}

/// The planner setting that `-f` with this letter turns off.
fn forbidden_plan(letter: &str, word: &str) -> Result<&'static str, StartupError> {
    Ok(match letter {
        "s" => "enable_seqscan",
        "i" => "enable_indexscan",
        "o" => "enable_indexonlyscan",
        "b" => "enable_bitmapscan",
        "t" => "enable_tidscan",
        "n" => "enable_nestloop",
        "m" => "enable_mergejoin",
        "h" => "enable_hashjoin",
        _ => return Err(StartupError::Argument(word.to_owned())),
    })
}
