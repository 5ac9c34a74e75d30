//! The report as one page that loads nothing: style and plots are in it, there is no script, and it reads in dark and light,
//! on paper and on a phone.
//!
//! - `plot`: a run's course; `bar`: its delays
//! - `page.css`: the style

mod bar;
mod plot;

use std::fmt::Write as _;
use std::time::Duration;

use super::findings::{Figures, Report, Run};
use super::verdict::Word;
use super::words::{clock, counted, lasting, micros, thousands};

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub fn page(report: &Report) -> String {
    let mut out = String::with_capacity(64 << 10);
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>pglanes: interference report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    );
    head(&mut out, report);
    out.push_str("<main>\n");
    overview(&mut out, report);
    for (number, run) in report.runs.iter().enumerate() {
        article(&mut out, run, number);
    }
    if report.runs.is_empty() {
        out.push_str(
            "<section class=\"card\"><h2>No evaluation ran</h2><p>A run is a lease (<code>pglanes run --lane evaluation -- \
             ...</code>), or a time in which a protected lane was busy.</p></section>\n",
        );
    }
    out.push_str("</main>\n");
    foot(&mut out);
    out.push_str("</body>\n</html>\n");
    out
}

fn head(out: &mut String, report: &Report) {
    let disturbed = of_word(report, Word::Disturbed);
    let undisturbed = of_word(report, Word::Undisturbed);
    let slower = of_word(report, Word::Slower);
    let unknown = of_word(report, Word::Unknown);
    let parts = [
        (undisturbed, "undisturbed", "good"),
        (disturbed, "disturbed", "bad"),
        (slower, "slower, but not disturbed by a lane", "slow"),
        (unknown, "of which too little is known", "soft"),
    ];
    let parts = parts.iter().filter(|(count, ..)| *count > 0);
    let parts: Vec<String> = parts
        .map(|(count, word, class)| format!("<b class=\"{class}\">{count} {word}</b>"))
        .collect();
    let _ = write!(
        out,
        "<header><h1>pglanes <span>interference report</span></h1>\
         <p class=\"sum\">{}{}{}</p><p class=\"soft\">{} to {}</p></header>",
        counted(report.runs.len() as u64, "evaluation run"),
        if parts.is_empty() { "" } else { ": " },
        parts.join(", "),
        escaped(&report.since),
        escaped(&report.until),
    );
    for note in &report.notes {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escaped(note));
    }
}

fn of_word(report: &Report, word: Word) -> usize {
    let runs = report.runs.iter();
    runs.filter(|run| run.verdict.word == word).count()
}

fn overview(out: &mut String, report: &Report) {
    if report.runs.len() < 2 {
        return;
    }
    out.push_str(
        "<section class=\"card\"><h2>All runs</h2><div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th>began (UTC)</th><th>lane</th>\
         <th>run</th><th class=\"n\">took</th><th class=\"n\">transactions</th><th class=\"n\">against quiet</th><th></th></tr>\
         </thead><tbody>\n",
    );
    for (number, run) in report.runs.iter().enumerate() {
        let _ = writeln!(
            out,
            "<tr><td><a href=\"#run-{number}\">{}</a></td><td>{}</td><td>{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            escaped(&run.began),
            escaped(&run.lane),
            escaped(&run.name),
            seconds(run.seconds),
            thousands(run.latency.count),
            ratio(run),
            pill(run.verdict.word),
        );
    }
    out.push_str("</tbody></table></div></section>\n");
}

fn pill(word: Word) -> &'static str {
    match word {
        Word::Undisturbed => "<span class=\"pill good\">undisturbed</span>",
        Word::Disturbed => "<span class=\"pill bad\">disturbed</span>",
        Word::Slower => "<span class=\"pill slow\">slower</span>",
        Word::Unknown => "<span class=\"pill\">unknown</span>",
    }
}

fn ratio(run: &Run) -> String {
    run.ratio
        .map_or_else(|| "?".to_owned(), |ratio| format!("{ratio:.2}x"))
}

fn article(out: &mut String, run: &Run, number: usize) {
    let class = match run.verdict.word {
        Word::Undisturbed => "good",
        Word::Disturbed => "bad",
        Word::Slower => "slow",
        Word::Unknown => "soft",
    };
    let _ = write!(
        out,
        "<article class=\"card run {class}\" id=\"run-{number}\"><div class=\"title\"><h2>{}</h2>{}<span class=\"soft\">{}, \
         {} to {}</span></div><p class=\"verdict\">{}</p>",
        escaped(&run.lane),
        pill(run.verdict.word),
        escaped(&run.name),
        escaped(&run.began),
        escaped(run.ended.get(11..).unwrap_or("")),
        escaped(&run.verdict.sentence),
    );
    tiles(out, run);
    plot::course(out, run);
    bar::delays(out, run);
    out.push_str("<div class=\"tables\">\n");
    beside(out, run);
    figures(out, run);
    held_back(out, run);
    happenings(out, run);
    out.push_str("</div></article>\n");
}

fn tiles(out: &mut String, run: &Run) {
    let held: f64 = run.beside.iter().map(|other| other.held_s).sum();
    let others: f64 = run
        .delays
        .iter()
        .filter_map(|delay| delay.by.as_ref().map(|_| delay.seconds))
        .sum();
    let p95 = run
        .latency
        .p95_ms
        .map_or_else(|| "-".to_owned(), |ms| micros(ms * 1e3));
    let quiet = run.quiet.as_ref().and_then(|quiet| quiet.p95_ms);
    let quiet = quiet.map_or_else(
        || "not known in quiet".to_owned(),
        |ms| format!("{} in quiet", micros(ms * 1e3)),
    );
    let tiles = [
        (seconds(run.seconds), "the run took".to_owned()),
        (thousands(run.latency.count), "transactions".to_owned()),
        (
            ratio(run),
            format!("of its quiet latency, {:.2}x allowed", run.allowed),
        ),
        (p95, format!("95th percentile, {quiet}")),
        (
            seconds(others),
            "delayed by others, all transactions together".to_owned(),
        ),
        (
            seconds(held),
            "others were held back, all lanes together".to_owned(),
        ),
    ];
    out.push_str("<dl class=\"tiles\">");
    for (value, what) in tiles {
        let _ = write!(out, "<div><dd>{value}</dd><dt>{what}</dt></div>");
    }
    out.push_str("</dl>\n");
}

fn figures(out: &mut String, run: &Run) {
    out.push_str(
        "<section><h3>Latency</h3><div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th></th><th class=\"n\">mean</th><th class=\"n\">p50</th>\
         <th class=\"n\">p95</th><th class=\"n\">p99</th><th class=\"n\">of</th></tr></thead><tbody>",
    );
    let rows = [
        ("transactions", Some(&run.latency)),
        ("in quiet", run.quiet.as_ref()),
        ("waits for a slot", Some(&run.queue)),
    ];
    for (name, figures) in rows {
        if let Some(figures) = figures {
            row_of_figures(out, name, figures);
        }
    }
    out.push_str("</tbody></table></div></section>\n");
}

fn row_of_figures(out: &mut String, name: &str, figures: &Figures) {
    let _ = write!(out, "<tr><td>{name}</td>");
    for ms in [
        figures.mean_ms,
        figures.p50_ms,
        figures.p95_ms,
        figures.p99_ms,
    ] {
        let cell = ms.map_or_else(|| "-".to_owned(), |ms| micros(ms * 1e3));
        let _ = write!(out, "<td class=\"n\">{cell}</td>");
    }
    let _ = write!(
        out,
        "<td class=\"n\">{}</td></tr>",
        thousands(figures.count)
    );
}

fn beside(out: &mut String, run: &Run) {
    if run.beside.is_empty() {
        return;
    }
    out.push_str(
        "<section class=\"wide\"><h3>What the others did meanwhile</h3><div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th>lane</th>\
         <th class=\"n\">transactions</th><th class=\"n\">a second</th><th class=\"n\">slots</th><th class=\"n\">CPU</th>\
         <th class=\"n\">held back</th><th class=\"n\">cancelled</th><th class=\"n\">refused</th></tr></thead><tbody>",
    );
    for (place, other) in plot::ordered(run) {
        let _ = write!(
            out,
            "<tr><td><i class=\"key c{place}\"></i>{}</td><td class=\"n\">{}</td><td class=\"n\">{:.1}</td>\
             <td class=\"n\">{:.2}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td></tr>",
            escaped(&other.lane),
            thousands(other.transactions),
            other.transactions as f64 / run.seconds.max(0.001),
            other.slots,
            other.cpu_s.map_or_else(|| "-".to_owned(), seconds),
            seconds(other.held_s),
            thousands(other.cancels),
            thousands(other.rejected),
        );
    }
    out.push_str("</tbody></table></div></section>\n");
}

fn held_back(out: &mut String, run: &Run) {
    if run.held_back.is_empty() {
        return;
    }
    out.push_str("<section><h3>What held them back</h3><ul class=\"plain\">");
    for held in &run.held_back {
        let _ = write!(
            out,
            "<li><b>{}</b> <span class=\"soft\">{}</span><br>{}</li>",
            escaped(&held.by),
            escaped(&held.lanes.join(", ")),
            held.words(),
        );
    }
    out.push_str("</ul></section>\n");
}

fn happenings(out: &mut String, run: &Run) {
    if run.happenings.is_empty() {
        return;
    }
    out.push_str("<section><h3>What else happened</h3><ul class=\"plain\">");
    for event in &run.happenings {
        let _ = write!(
            out,
            "<li><time>{}</time> <b>{}</b> {} <span class=\"soft\">{}</span></li>",
            clock(event.t),
            escaped(&event.what.replace('_', " ")),
            escaped(event.lane.as_deref().unwrap_or("")),
            escaped(&event.detail),
        );
    }
    out.push_str("</ul></section>\n");
}

fn foot(out: &mut String) {
    out.push_str(
        "<footer>Delays are in transaction time: ten transactions that each wait a second are ten seconds. Waits for slots are \
         counted by the proxy, waits for a processor by the kernel (Linux, PostgreSQL on the same host; parallel workers not \
         included), waits for locks are looked at as often as lanes.yaml says (observe.interval). What a run takes in quiet comes from moments in which no other \
         lane worked. Quantiles are as fine as the buckets they are counted in.</footer>\n",
    );
}

fn seconds(seconds: f64) -> String {
    lasting(Duration::from_secs_f64(seconds.max(0.0)))
}

/// Text that cannot end where it stands.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}
