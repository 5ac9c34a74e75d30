//! One line: a comment that means something, or a sample.

use super::{Kind, Labels, Sample};

/// What a line says.
pub(super) enum Line {
    Help { name: String, help: String },
    Type { name: String, kind: Kind },
    Sample(Sample),
}

/// Reads one line without its end. Comments that are neither HELP nor TYPE, empty lines and timestamps are refused: this
/// program writes none.
pub(super) fn line(text: &str) -> Result<Line, String> {
    if let Some(rest) = text.strip_prefix("# HELP ") {
        let (name, help) = rest.split_once(' ').ok_or("HELP without words")?;
        return Ok(Line::Help {
            name: valid_name(name)?.to_owned(),
            help: help.to_owned(),
        });
    }
    if let Some(rest) = text.strip_prefix("# TYPE ") {
        let (name, kind) = rest.split_once(' ').ok_or("TYPE without a type")?;
        return Ok(Line::Type {
            name: valid_name(name)?.to_owned(),
            kind: match kind {
                "counter" => Kind::Counter,
                "gauge" => Kind::Gauge,
                "histogram" => Kind::Histogram,
                other => return Err(format!("the type `{other}` is not used")),
            },
        });
    }
    sample(text).map(Line::Sample)
}

fn sample(text: &str) -> Result<Sample, String> {
    let end = text.find(['{', ' ']).ok_or("a sample without a value")?;
    let (name, rest) = text.split_at(end);
    let name = valid_name(name)?.to_owned();
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::new(), rest),
    };
    let value = rest.strip_prefix(' ').ok_or("a sample without a value")?;
    let value = number(value)?;
    Ok(Sample {
        name,
        labels,
        value,
    })
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut labels = Labels::new();
    loop {
        let (name, after) = rest.split_once('=').ok_or("labels that do not end")?;
        let (value, after) = quoted(after)?;
        if labels.insert(valid_name(name)?.to_owned(), value).is_some() {
            return Err(format!("the label {name} comes twice"));
        }
        if let Some(after) = after.strip_prefix('}') {
            return Ok((labels, after));
        }
        rest = after.strip_prefix(',').ok_or("labels that do not end")?;
    }
}

fn quoted(text: &str) -> Result<(String, &str), String> {
    let text = text
        .strip_prefix('"')
        .ok_or("a label's value is not quoted")?;
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '"' => return Ok((value, &text[place + 1..])),
            '\\' => value.push(match letters.next() {
                Some((_, 'n')) => '\n',
                Some((_, letter @ ('"' | '\\'))) => letter,
                _ => return Err("an escape that does not exist".to_owned()),
            }),
            other => value.push(other),
        }
    }
    Err("a label's value does not end".to_owned())
}

pub(super) fn number(text: &str) -> Result<f64, String> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        _ if text
            .chars()
            .all(|letter| letter.is_ascii_digit() || "+-.eE".contains(letter)) =>
        {
            text.parse()
                .map_err(|_| format!("`{text}` is not a number"))
        }
        _ => Err(format!("`{text}` is not a number")),
    }
}

fn valid_name(name: &str) -> Result<&str, String> {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let begins = !name.starts_with(|letter: char| letter.is_ascii_digit());
    if !name.is_empty() && begins && name.chars().all(letter) {
        Ok(name)
    } else {
        Err(format!("`{name}` is not a name"))
    }
}
