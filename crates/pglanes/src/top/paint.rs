//! Words and colours. Without colour everything is told by words, letters and what is reversed.

use ratatui::style::{Color, Modifier, Style};

use super::state::{Lane, Tone};

/// Cells that a lane's slots are drawn in at most; beyond that each stands for several.
const MOST_CELLS: u32 = 24;
/// The heights of a line of figures.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Colours, or none (NO_COLOR).
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    colored: bool,
}

impl Palette {
    pub(super) const fn new(colored: bool) -> Self {
        Self { colored }
    }

    fn in_color(self, color: Color) -> Style {
        match self.colored {
            true => Style::new().fg(color),
            false => Style::new(),
        }
    }

    pub(super) fn tone(self, tone: Tone) -> Style {
        self.in_color(match tone {
            Tone::Good => Color::Green,
            Tone::Wait => Color::Yellow,
            Tone::Bad => Color::Red,
        })
    }

    pub(super) fn soft(self) -> Style {
        self.in_color(Color::DarkGray)
    }

    pub(super) fn focus(self) -> Style {
        self.in_color(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    pub(super) fn slots(self) -> Style {
        self.in_color(Color::Blue)
    }

    pub(super) const fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}

/// What the letters of a lane's slots mean.
pub(super) const LEGEND: &str = "█ in use  ▓ borrowed  ▒ opening  ░ idle  · free  × held back";

/// A lane's slots, a letter each.
pub(super) fn slots(lane: &Lane) -> String {
    let group = lane.max.div_ceil(MOST_CELLS).max(1);
    let cell = |slot: u32| {
        if slot < lane.busy {
            if slot < lane.min { '█' } else { '▓' }
        } else if slot < lane.busy + lane.opening {
            '▒'
        } else if slot >= lane.effective {
            '×'
        } else if slot < lane.busy + lane.opening + lane.idle {
            '░'
        } else {
            '·'
        }
    };
    (0..lane.max).step_by(group as usize).map(cell).collect()
}

/// A length of time in a few letters.
pub(super) fn duration(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds < 0.001 => format!("{:.0} µs", seconds * 1e6),
        Some(seconds) if seconds < 0.01 => format!("{:.1} ms", seconds * 1e3),
        Some(seconds) if seconds < 0.9995 => format!("{:.0} ms", seconds * 1e3),
        Some(seconds) if seconds < 100.0 => format!("{seconds:.1} s"),
        Some(seconds) if seconds < 6000.0 => format!("{:.0} min", seconds / 60.0),
        Some(seconds) => format!("{:.0} h", seconds / 3600.0),
    }
}

/// The latest figures as a line of bars, the highest as high as a letter; a gap where there was none.
pub(super) fn line(figures: &[Option<f64>], width: usize) -> String {
    let latest = &figures[figures.len().saturating_sub(width)..];
    let most = latest
        .iter()
        .flatten()
        .copied()
        .fold(f64::MIN_POSITIVE, f64::max);
    let bar = |figure: &Option<f64>| {
        // At most the last of them.
        let height = |figure: f64| (figure / most * (HEIGHTS.len() - 1) as f64).round() as usize;
        figure.map_or(' ', |figure| HEIGHTS[height(figure).min(HEIGHTS.len() - 1)])
    };
    latest.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_a_letter_and_many_share_one() {
        let mut lane = Lane {
            min: 2,
            max: 8,
            effective: 6,
            busy: 3,
            opening: 1,
            idle: 1,
            ..Lane::default()
        };
        assert_eq!(slots(&lane), "██▓▒░·××");
        lane.max = 1000;
        lane.effective = 1000;
        assert!(slots(&lane).chars().count() <= MOST_CELLS as usize);
        assert_eq!(slots(&Lane::default()), "");
    }

    #[test]
    fn times_are_short() {
        let told =
            [0.00005, 0.0042, 0.25, 2.0, 600.0, 7200.0].map(|seconds| duration(Some(seconds)));
        assert_eq!(
            told,
            ["50 µs", "4.2 ms", "250 ms", "2.0 s", "10 min", "2 h"]
        );
        assert_eq!(duration(None), "-");
    }

    #[test]
    fn a_line_shows_the_latest_against_the_highest() {
        let figures = [Some(9.0), Some(0.0), None, Some(7.0), Some(3.5)];
        assert_eq!(line(&figures, 4), "▁ █▅");
        assert_eq!(line(&[], 4), "");
    }
}
