//! What is shown while something takes long: a line when it is done, and a moving one meanwhile where somebody looks.
//! Lines go to the standard output, what moves to the standard error, and only to a terminal: a pipe gets whole lines.

use std::io::{self, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a moving line moves.
const TICK: Duration = Duration::from_millis(100);

/// Prints a line. Fails, rather than panics, when nobody reads any more.
///
/// # Errors
/// What the standard output says.
pub fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

/// Whether steps are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Steps {
    /// As they go and when they are done.
    #[default]
    Shown,
    /// Not at all.
    Silent,
}

impl Steps {
    /// Begins a step.
    pub fn begin(self, name: &str) -> Step {
        let bar = match self {
            Steps::Shown => ProgressBar::new_spinner(),
            Steps::Silent => ProgressBar::hidden(),
        };
        bar.set_message(name.to_owned());
        bar.set_style(style("{spinner} {msg} {elapsed}"));
        bar.enable_steady_tick(TICK);
        Step { steps: self, bar }
    }
}

/// A step that is being done. Dropped before its end it leaves no trace on the screen.
#[derive(Debug)]
pub struct Step {
    steps: Steps,
    bar: ProgressBar,
}

impl Step {
    /// Shows how far it is.
    pub fn at(&self, done: u64, total: u64) {
        if self.bar.length() != Some(total) {
            self.bar.set_length(total);
            self.bar
                .set_style(style("{spinner} {msg} [{bar:30}] {pos}/{len} {elapsed}"));
        }
        self.bar.set_position(done);
    }

    /// Ends it, with a word on what came of it.
    ///
    /// # Errors
    /// As [`say`].
    pub fn done(self, result: &str) -> io::Result<()> {
        let line = format!(
            "  {:<44} {:>6.1} s  {result}",
            self.bar.message(),
            self.bar.elapsed().as_secs_f64()
        );
        self.bar.finish_and_clear();
        match self.steps {
            Steps::Shown => say(line.trim_end()),
            Steps::Silent => Ok(()),
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are ours and hold; if one did not, the default would do.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
