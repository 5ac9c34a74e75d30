//! The screen: of the state and what is chosen, and of nothing else.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row, StatefulWidget, Table, TableState, Widget};

use super::app::{App, Pane};
use super::paint::{LEGEND, duration, line, slots};
use super::state::{Lane, State, Tone};

/// Below so many lines there is one pane, the one that has the keyboard.
const STACKED_FROM: u16 = 18;
/// Rows of a long pane in a plain frame.
const MOST_PLAIN_ROWS: usize = 20;
/// Warnings above the panes.
const MOST_WARNINGS: usize = 4;
/// Seconds that are worth a line.
const SHORTEST_TRACE: usize = 5;
/// A pane's frame and the head of its table.
const AROUND: u16 = 3;

const HELP: &str = "\
q, Esc      end               Tab, ← →   another pane
↑ ↓ PgUp…   another row       s          another order
p           pause the chosen lane, or let it go on (with the token of the state folder)
?           this

Of a lane's slots:
";

/// Draws everything into this area.
pub(super) fn screen(app: &App, area: Rect, buffer: &mut Buffer) {
    let head = head(app, area.width);
    let head_height = (head.len() as u16).min(area.height / 2);
    let [above, body, below] = Layout::vertical([
        Constraint::Length(head_height),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    Paragraph::new(head).render(above, buffer);
    if body.height < STACKED_FROM {
        pane(app, app.pane, body, buffer);
    } else {
        stacked(app, body, buffer);
    }
    foot(app).render(below, buffer);
    if app.help {
        help(area, buffer);
    }
}

/// Everything as plain text, as high as it has to be.
pub(super) fn plain(app: &App, width: u16) -> String {
    let head = head(app, width);
    let heights = Pane::ALL.map(|pane| app.rows(pane).min(MOST_PLAIN_ROWS) as u16 + AROUND);
    let head_height = head.len() as u16;
    let area = Rect::new(0, 0, width, head_height + heights.iter().sum::<u16>());
    let mut buffer = Buffer::empty(area);
    Paragraph::new(head).render(
        Rect {
            height: head_height,
            ..area
        },
        &mut buffer,
    );
    let mut top = head_height;
    for (which, height) in Pane::ALL.into_iter().zip(heights) {
        pane(app, which, Rect::new(0, top, width, height), &mut buffer);
        top += height;
    }
    text(&buffer)
}

/// What a buffer's cells say, without the spaces at the ends of lines.
fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width.max(1));
    let mut text = String::new();
    for row in buffer.content.chunks(width) {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn stacked(app: &App, body: Rect, buffer: &mut Buffer) {
    let wanted = |pane: Pane| app.rows(pane) as u16 + AROUND;
    let lanes = wanted(Pane::Lanes).min(body.height / 2);
    let yields = wanted(Pane::Yields).min(body.height / 4);
    let rest = body.height - lanes - yields;
    let sessions = wanted(Pane::Sessions).clamp(AROUND + 1, (rest * 2 / 3).max(AROUND + 1));
    let heights = [lanes, yields, sessions].map(Constraint::Length);
    let [a, b, c] = heights;
    let areas: [Rect; 4] = Layout::vertical([a, b, c, Constraint::Min(0)]).areas(body);
    for (which, area) in Pane::ALL.into_iter().zip(areas) {
        pane(app, which, area, buffer);
    }
}

/// The verdict, the figures of the whole, the protected lane, and what gets worse.
fn head(app: &App, width: u16) -> Vec<Line<'_>> {
    let palette = app.palette;
    let (tone, verdict) = app.history.verdict();
    let mut lines = vec![Line::styled(
        verdict,
        palette.tone(tone).add_modifier(Modifier::BOLD),
    )];
    let Some(now) = app.history.now() else {
        return lines;
    };
    lines.push(Line::from(format!(
        "slots {} of {} · {} sessions · {} waiting · PostgreSQL {} · {}",
        now.slots.in_use, now.slots.total, now.sessions, now.waiting, now.upstream.state, app.place
    )));
    if let Some(lane) = now.protected() {
        lines.push(Line::from(protected(app, now, lane, width)));
    }
    for warning in now
        .warnings
        .iter()
        .filter(|warning| warning.fires)
        .take(MOST_WARNINGS)
    {
        let tone = if warning.severity == "info" {
            Tone::Wait
        } else {
            Tone::Bad
        };
        let tag = Span::styled(
            format!("{}: ", warning.severity),
            palette.tone(tone).add_modifier(Modifier::BOLD),
        );
        let action = Span::styled(format!(". {}", warning.action), palette.soft());
        lines.push(Line::from(vec![
            tag,
            Span::raw(warning.says.as_str()),
            action,
        ]));
    }
    let watched = now
        .warnings
        .iter()
        .filter(|warning| !warning.fires)
        .map(|warning| warning.says.as_str());
    let watched: Vec<&str> = watched.collect();
    if !watched.is_empty() {
        lines.push(Line::styled(
            format!("watched: {}", watched.join("; ")),
            palette.soft(),
        ));
    }
    lines
}

/// The protected lane's latency against its own quiet.
fn protected(app: &App, now: &State, lane: &Lane, width: u16) -> String {
    let at = |share| duration(app.history.percentile(&lane.name, share));
    let mut says = format!(
        "{}: p50 {}, p95 {}, p99 {}",
        lane.name,
        at(0.5),
        at(0.95),
        at(0.99)
    );
    for objective in now
        .objectives
        .iter()
        .filter(|objective| objective.lane == lane.name)
    {
        for one in &objective.ratios {
            let ratio = one
                .ratio
                .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}x"));
            says.push_str(&format!(
                " · {ratio} of its quiet p{:.0} (target {:.2}x)",
                one.quantile * 100.0,
                one.target
            ));
        }
        says.push_str(&format!(" · {}", objective.phase));
    }
    let room = usize::from(width).saturating_sub(says.chars().count() + 2);
    let trace = app.history.trace(&lane.name, 0.95);
    if room >= 10 && trace.len() >= SHORTEST_TRACE {
        says.push_str("  ");
        says.push_str(&line(&trace, room.min(60)));
    }
    says
}

fn foot(app: &App) -> Line<'_> {
    let palette = app.palette;
    if let Some(trouble) = &app.trouble {
        return Line::styled(format!("{trouble}; trying again"), palette.tone(Tone::Bad));
    }
    if app.answer.is_empty() {
        return Line::styled(
            "q end  Tab pane  ↑↓ row  p pause  s order  ? help",
            palette.soft(),
        );
    }
    Line::from(app.answer.as_str())
}

fn help(area: Rect, buffer: &mut Buffer) {
    let text = format!("{HELP}{LEGEND}");
    let wanted = text
        .lines()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0) as u16
        + 4;
    let height = (text.lines().count() as u16 + 2).min(area.height);
    let width = wanted.min(area.width);
    let place = Rect::new(
        area.x + (area.width - width) / 2,
        area.y + (area.height - height) / 2,
        width,
        height,
    );
    Clear.render(place, buffer);
    Paragraph::new(text)
        .block(Block::bordered().title(" Keys "))
        .render(place, buffer);
}

/// The head, the columns and the rows of a table.
type Content<'a> = (Row<'static>, Vec<Constraint>, Vec<Row<'a>>);

fn pane(app: &App, which: Pane, area: Rect, buffer: &mut Buffer) {
    let (name, (head, widths, rows)) = match which {
        Pane::Lanes => ("Lanes", lanes(app, area.width)),
        Pane::Yields => ("What yields to what, and who goes past", yields(app)),
        Pane::Sessions => ("Sessions", sessions(app, area.width)),
        Pane::Events => ("Events", events(app, area.width)),
    };
    let focused = which == app.pane;
    let ordered = matches!(which, Pane::Lanes | Pane::Sessions);
    let order = if ordered {
        format!(", {}", app.order.label())
    } else {
        String::new()
    };
    // Without colour, too, it is seen which has the keyboard.
    let (title, style) = match focused {
        true => (format!("[{name}{order}]"), app.palette.focus()),
        false => (format!(" {name}{order} "), Style::new()),
    };
    let block = Block::bordered()
        .border_style(app.palette.soft())
        .title(Span::styled(title, style));
    let table = Table::new(rows, widths)
        .header(head.style(app.palette.soft()))
        .block(block)
        .row_highlight_style(app.palette.chosen());
    let chosen = focused.then(|| app.chosen[which as usize]);
    StatefulWidget::render(
        table,
        area,
        buffer,
        &mut TableState::new().with_selected(chosen),
    );
}

fn lanes(app: &App, width: u16) -> Content<'_> {
    let (bar, speed, notes) = (width >= 60, width >= 80, width >= 100);
    let mut head = vec!["lane", "slots"];
    let mut widths = vec![Constraint::Length(16), Constraint::Length(9)];
    let mut column = |shown: bool, name: &'static str, width: Constraint| {
        if shown {
            head.push(name);
            widths.push(width);
        }
    };
    column(bar, "", Constraint::Length(25));
    column(true, "waiting", Constraint::Length(16));
    column(speed, "each second", Constraint::Length(11));
    column(speed, "p95", Constraint::Length(8));
    column(notes, "held back by, and what else", Constraint::Fill(1));
    let rows = app.lanes().into_iter().map(|lane| {
        let used = match lane.effective < lane.max {
            true => format!("{}/{} ({})", lane.busy, lane.effective, lane.max),
            false => format!("{}/{}", lane.busy, lane.max),
        };
        let waiting = match lane.waiting {
            0 => String::new(),
            waiting => format!("{waiting}, {}", duration(Some(lane.oldest_wait_s))),
        };
        let rate = app.history.rate(&lane.name);
        let rate = rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
        let mut cells = vec![Span::raw(lane.name.as_str()), Span::raw(used)];
        let mut cell = |shown: bool, text: String, style: Style| {
            if shown {
                cells.push(Span::styled(text, style));
            }
        };
        cell(bar, slots(lane), app.palette.slots());
        cell(true, waiting, app.palette.tone(Tone::Wait));
        cell(speed, rate, Style::new());
        cell(
            speed,
            duration(app.history.percentile(&lane.name, 0.95)),
            Style::new(),
        );
        cell(notes, noted(lane), app.palette.soft());
        Row::new(cells)
    });
    (Row::new(head), widths, rows.collect())
}

/// What else there is to say of a lane.
fn noted(lane: &Lane) -> String {
    let mut notes = Vec::new();
    if lane.paused {
        notes.push("paused".to_owned());
    }
    if !lane.throttled_by.is_empty() {
        notes.push(lane.throttled_by.join("; "));
    }
    if lane.mode != "enforce" {
        notes.push(format!("mode: {}", lane.mode));
    }
    if lane.leases > 0 {
        notes.push(format!("leases: {}", lane.leases));
    }
    let pinned = lane.pinned.iter();
    notes.extend(pinned.map(|(reason, count)| format!("{count} pinned: {reason}")));
    match lane.sessions {
        0 => {}
        1 => notes.push("1 session".to_owned()),
        sessions => notes.push(format!("{sessions} sessions")),
    }
    notes.join(" · ")
}

fn yields(app: &App) -> Content<'_> {
    let Some(now) = app.history.now() else {
        return (Row::default(), Vec::new(), Vec::new());
    };
    let palette = app.palette;
    let throttles = now.throttles.iter().map(|one| {
        let (word, style) = match one.active {
            true => ("holds back", palette.tone(Tone::Wait)),
            false => ("open", palette.soft()),
        };
        let left = one
            .limit
            .map_or_else(String::new, |limit| format!(", leaves {limit} slots"));
        let says = format!(
            "{}: {} yields to {}{left}; {} kept waiting, {} cancelled",
            one.name, one.lane, one.watch, one.held_back, one.cancels
        );
        Row::new([Span::styled(word, style), Span::raw(says)])
    });
    let objectives = now.objectives.iter().map(|one| {
        let says = match one.limit {
            Some(limit) => format!(
                "the objective of {} leaves others {limit:.1} slots",
                one.lane
            ),
            None => format!("the objective of {} holds nothing back", one.lane),
        };
        Row::new([Span::raw(one.phase.as_str()), Span::raw(says)])
    });
    let direct = now.observed.direct.iter().map(|one| {
        let says = format!(
            "{} as {}: {} connections",
            one.application_name, one.user, one.connections
        );
        Row::new([
            Span::styled("past us", palette.tone(Tone::Bad)),
            Span::raw(says),
        ])
    });
    let widths = vec![Constraint::Length(10), Constraint::Fill(1)];
    (
        Row::new(["now", "what"]),
        widths,
        throttles.chain(objectives).chain(direct).collect(),
    )
}

fn sessions(app: &App, width: u16) -> Content<'_> {
    let wide = width >= 100;
    let mut head = vec!["application", "lane", "does", "pinned by"];
    let mut widths = vec![
        Constraint::Fill(2),
        Constraint::Fill(1),
        Constraint::Fill(2),
        Constraint::Fill(1),
    ];
    if wide {
        head.extend(["by the rule", "user"]);
        widths.extend([Constraint::Fill(2), Constraint::Fill(1)]);
    }
    let rows = app.sessions().into_iter().map(|one| {
        let does = one.state.replace('_', " ");
        let does = match one.for_s {
            None => does,
            lasts => format!("{does} for {}", duration(lasts)),
        };
        let name = if one.application_name.is_empty() {
            "(no name)"
        } else {
            &one.application_name
        };
        let mut cells = vec![name.to_owned(), one.lane.clone(), does, one.pins.join(", ")];
        if wide {
            let rule = one.rule.clone().unwrap_or_else(|| "(default)".to_owned());
            cells.extend([rule, one.user.clone()]);
        }
        Row::new(cells)
    });
    (Row::new(head), widths, rows.collect())
}

/// An age without parts of a second.
fn rounded(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 100.0 => format!("{seconds:.0} s"),
        seconds => duration(Some(seconds)),
    }
}

fn events(app: &App, width: u16) -> Content<'_> {
    let Some(now) = app.history.now() else {
        return (Row::default(), Vec::new(), Vec::new());
    };
    let wide = width >= 60;
    let rows = now.events.iter().map(|event| {
        let age = now.at.saturating_sub(event.at) as f64 / 1000.0;
        let mut cells = vec![
            format!("{} ago", rounded(age)),
            event.kind.replace('_', " "),
        ];
        if wide {
            cells.push(event.lane.clone().unwrap_or_default());
        }
        cells.push(match event.times {
            0 | 1 => event.detail.clone(),
            times => format!("{} ({times} times)", event.detail),
        });
        Row::new(cells)
    });
    let mut head = vec!["when", "event", "what"];
    let mut widths = vec![
        Constraint::Length(11),
        Constraint::Length(18),
        Constraint::Fill(1),
    ];
    if wide {
        head.insert(2, "lane");
        widths.insert(2, Constraint::Length(14));
    }
    (Row::new(head), widths, rows.collect())
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
