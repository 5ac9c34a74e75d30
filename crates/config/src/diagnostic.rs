//! What is wrong in a lanes.yaml, where, and what would be right: one [`Diagnostic`] a mistake, up to
//! [`MAXIMUM_DIAGNOSTICS`] in a [`ConfigError`]. The source line is shown with its secrets masked.

use std::fmt;

use crate::yaml::Place;

/// How many mistakes one [`ConfigError`] lists; what comes after is counted.
pub const MAXIMUM_DIAGNOSTICS: usize = 20;
/// How much of a line is shown, in characters: a hostile file may be one line of a megabyte.
const SHOWN_LINE: usize = 140;
/// How much of a found text is quoted, in characters.
const SHOWN_TEXT: usize = 60;

/// One mistake or one doubt. Displayed as `file:line:column: message` and the line with a caret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, as it was named to the loader.
    pub file: String,
    /// The line, from one; zero where the file as a whole is meant.
    pub line: usize,
    /// The column in characters, from one; zero where the file as a whole is meant.
    pub column: usize,
    /// What was found and what would be right, in one sentence or two. Holds no secret.
    pub message: String,
    /// The nearest right word, where a word was misspelt.
    pub nearest: Option<String>,
    /// The line and the caret under it, already masked; empty where there is no line.
    excerpt: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(formatter, "{}: {}", self.file, self.message)?;
        } else {
            write!(
                formatter,
                "{}:{}:{}: {}",
                self.file, self.line, self.column, self.message
            )?;
        }
        if let Some(nearest) = &self.nearest {
            write!(formatter, "; did you mean `{nearest}`?")?;
        }
        if !self.excerpt.is_empty() {
            write!(formatter, "\n{}", self.excerpt)?;
        }
        Ok(())
    }
}

impl Diagnostic {
    /// Everything but the source line, for a log's one line.
    pub fn headline(&self) -> String {
        let whole = self.to_string();
        whole.lines().next().unwrap_or_default().to_owned()
    }
}

/// Why a lanes.yaml does not hold: every mistake that was found, in the order of the file, at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The mistakes, at most [`MAXIMUM_DIAGNOSTICS`].
    pub diagnostics: Vec<Diagnostic>,
    /// How many more there were.
    pub omitted: usize,
}

impl ConfigError {
    pub(crate) fn new(mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        let omitted = diagnostics.len().saturating_sub(MAXIMUM_DIAGNOSTICS);
        diagnostics.truncate(MAXIMUM_DIAGNOSTICS);
        Self {
            diagnostics,
            omitted,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, diagnostic) in self.diagnostics.iter().enumerate() {
            if number > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{diagnostic}")?;
        }
        if self.omitted > 0 {
            write!(formatter, "\nand {} more", self.omitted)?;
        }
        Ok(())
    }
}

/// The file's name and text, which every diagnostic quotes.
#[derive(Clone, Copy)]
pub(crate) struct Text<'t> {
    pub(crate) file: &'t str,
    pub(crate) source: &'t str,
}

impl Text<'_> {
    pub(crate) fn diagnostic(&self, place: Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            file: self.file.to_owned(),
            line: place.line,
            column: place.column,
            message: message.into(),
            nearest: None,
            excerpt: self.excerpt(place),
        }
    }

    /// The line with a caret under the place, cut to a window around it.
    fn excerpt(&self, place: Place) -> String {
        let Some(index) = place.line.checked_sub(1) else {
            return String::new();
        };
        let Some(line) = self.source.lines().nth(index) else {
            return String::new();
        };
        let shown = self.masked(index, line);
        let start = place.column.saturating_sub(1);
        let window = start.saturating_sub(SHOWN_LINE / 2);
        let cut: String = shown.chars().skip(window).take(SHOWN_LINE).collect();
        let indent = start - window;
        let room = cut.chars().count().saturating_sub(indent).max(1);
        let gutter = place.line.to_string();
        let blank = " ".repeat(gutter.len());
        let carets = "^".repeat(place.width.clamp(1, room));
        format!(
            "  {gutter} | {cut}\n  {blank} | {}{carets}",
            " ".repeat(indent)
        )
    }

    /// Whether the place's line holds what may be a password.
    pub(crate) fn is_secret(&self, place: Place) -> bool {
        let Some(index) = place.line.checked_sub(1) else {
            return false;
        };
        let line = self.source.lines().nth(index);
        line.is_some_and(|line| self.masked(index, line).contains('*') && !line.contains('*'))
    }

    /// The line with everything that may be a password starred out, column for column.
    fn masked(&self, index: usize, line: &str) -> String {
        if self.belongs_to_a_password(index, line) {
            return line
                .chars()
                .map(|letter| if letter == ' ' { ' ' } else { '*' })
                .collect();
        }
        // `password: x`, `upstream_password: x` and, in a URL, `?password=x`: all that follows on the line.
        let words = line.to_ascii_lowercase();
        let mut masked = line.to_owned();
        if let Some(end) = end_of_secret_key(&words) {
            let separator = line
                .get(end..=end)
                .is_some_and(|next| next == ":" || next == "=");
            let keep = end + usize::from(separator);
            masked = starred(&masked, keep..line.len());
        }
        // `//user:secret@host`: from the colon to the last @, whatever the secret holds.
        if let Some(scheme) = words.find("//") {
            let after = scheme + 2;
            if let Some(at) = line[after..].rfind('@')
                && let Some(colon) = line[after..after + at].find(':')
            {
                masked = starred(&masked, after + colon + 1..after + at);
            }
        }
        // A verifier is no password, but it can be attacked offline.
        if let Some(found) = words.find("scram-sha-256$") {
            masked = starred(&masked, found + "scram-sha-256$".len()..line.len());
        }
        // Terminals obey control characters; a quoted line must not.
        masked
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect()
    }

    /// Whether the line stands, indented, below a `password:` key that has no value on its own line.
    fn belongs_to_a_password(&self, index: usize, line: &str) -> bool {
        let indent = |text: &str| text.len() - text.trim_start().len();
        let here = indent(line);
        let start = index.saturating_sub(8);
        let above: Vec<&str> = self
            .source
            .lines()
            .skip(start)
            .take(index - start)
            .collect();
        let parent = above
            .iter()
            .rev()
            .find(|text| !text.trim().is_empty() && indent(text) < here);
        // `password:` with `env:` or `file:` below it is the right form and holds nothing secret.
        let named = ["env:", "file:"]
            .iter()
            .any(|key| line.trim_start().starts_with(key));
        !named && parent.is_some_and(|text| end_of_secret_key(&text.to_ascii_lowercase()).is_some())
    }
}

/// Where the first word ends behind which a secret may stand: `password`, or `token` as a key. In lower case.
fn end_of_secret_key(words: &str) -> Option<usize> {
    let end = |word: &str| words.find(word).map(|found| found + word.len());
    let ends = [end("password"), end("token:").map(|end| end - 1)];
    ends.into_iter().flatten().min()
}

/// Replaces a byte range, which lies on character borders, by as many stars as it has characters.
fn starred(line: &str, range: std::ops::Range<usize>) -> String {
    let mut out = String::with_capacity(line.len());
    for (offset, letter) in line.char_indices() {
        let hidden = range.contains(&offset) && !letter.is_whitespace();
        out.push(if hidden { '*' } else { letter });
    }
    out
}

/// A found text as it may be quoted in a message: short, on one line.
pub(crate) fn quoted(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(SHOWN_TEXT)
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    if text.chars().count() > SHOWN_TEXT {
        short.push('…');
    }
    format!("`{short}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str, line: usize, column: usize, width: usize) -> String {
        let text = Text {
            file: "lanes.yaml",
            source,
        };
        text.diagnostic(
            Place {
                line,
                column,
                width,
            },
            "wrong",
        )
        .to_string()
    }

    #[test]
    fn a_diagnostic_shows_the_line_and_a_caret() {
        assert_eq!(
            shown("lanes:\n  ltst: { prioritty: 5 }\n", 2, 11, 9),
            "lanes.yaml:2:11: wrong\n  2 |   ltst: { prioritty: 5 }\n    |           ^^^^^^^^^"
        );
    }

    #[test]
    fn secrets_in_the_quoted_line_are_masked() {
        for source in [
            "password: hunter2",
            "{ name: a, password: hunter2 }",
            "upstream_password: hunter2",
            "admin: { token: hunter2 }",
            "url: postgresql://me:hunter2@host/db",
            "url: postgresql://me:hun@hunter2@host/db",
            "url: postgresql://host/db?password=hunter2",
            "password: SCRAM-SHA-256$hunter2",
            "users: { a: { password: { env: A }, aliases: [ { name: b, password: hunter2 } ] } }",
        ] {
            let text = shown(source, 1, 1, 1);
            assert!(!text.contains("hunter2"), "{text}");
            assert!(text.contains('*'), "{text}");
        }
        let text = shown("password:\n  # the usual\n  hunter2\n", 3, 3, 7);
        assert!(!text.contains("hunter2"), "{text}");
        let text = shown("password:\n  enw: A\n", 2, 3, 3);
        assert!(!text.contains("enw"), "{text}");
    }

    #[test]
    fn a_hostile_line_is_cut_and_harmless() {
        let source = format!("a: \u{1b}[31m{}", "x".repeat(100_000));
        let text = shown(&source, 1, 50_000, 100_000);
        assert!(text.len() < 600, "{}", text.len());
        assert!(!shown(&source, 1, 1, 1).contains('\u{1b}'));
    }

    #[test]
    fn many_mistakes_are_counted_not_listed() {
        let text = Text {
            file: "f",
            source: "",
        };
        let many = (0..50)
            .map(|_| text.diagnostic(Place::default(), "wrong"))
            .collect();
        let error = ConfigError::new(many);
        assert_eq!(
            (error.diagnostics.len(), error.omitted),
            (MAXIMUM_DIAGNOSTICS, 30)
        );
        assert!(error.to_string().ends_with("and 30 more"));
    }
}
