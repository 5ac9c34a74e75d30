//! Who delayed a run, as one bar and its legend.

use std::fmt::Write as _;

use super::super::delays::{Cause, Delay};
use super::super::findings::Run;
use super::{escaped, plot, seconds};

pub(super) fn delays(out: &mut String, run: &Run) {
    let all: f64 = run.delays.iter().map(|delay| delay.seconds).sum();
    let took = run.latency.total_s + run.queue.total_s;
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        "<section class=\"delays\"><h3>What delayed it <span class=\"soft\">{} of {} transaction time</span></h3>",
        seconds(all),
        seconds(took)
    );
    if run.delays.is_empty() {
        out.push_str("<p class=\"soft\">Nothing that was measured.</p>");
    } else {
        out.push_str("<div class=\"bar\" aria-hidden=\"true\">");
        for delay in &run.delays {
            let share = 100.0 * delay.seconds / all.max(f64::MIN_POSITIVE);
            let _ = write!(
                out,
                "<i class=\"{}\" style=\"width:{share:.2}%\" title=\"{}\"></i>",
                classes(run, delay),
                escaped(&delay.words(&run.lane)),
            );
        }
        out.push_str("</div><ul class=\"legend\">");
        for delay in &run.delays {
            let _ = write!(
                out,
                "<li><i class=\"key {}\"></i><b>{}</b> {}</li>",
                classes(run, delay),
                seconds(delay.seconds),
                escaped(&delay.words(&run.lane)),
            );
        }
        out.push_str("</ul>");
    }
    if !run.cpu_measured {
        out.push_str(
            "<p class=\"soft\">Waits for a processor are not known here: they are counted on Linux, with PostgreSQL on the same \
             host.</p>",
        );
    }
    out.push_str("</section>\n");
}

/// Its lane's colour, and a pattern for what was waited for.
fn classes(run: &Run, delay: &Delay) -> String {
    let pattern = match delay.cause {
        Cause::Queue => "queue",
        Cause::Locks => "locks",
        Cause::Cpu => "cpu",
        Cause::Elsewhere => "elsewhere",
    };
    let mut lanes = plot::ordered(run);
    let lane = lanes.find(|(_, other)| Some(&other.lane) == delay.by.as_ref());
    let place = lane.map_or_else(|| "own".to_owned(), |(place, _)| format!("c{place}"));
    match (delay.cause, &delay.by) {
        (Cause::Elsewhere, _) | (_, None) => format!("none {pattern}"),
        _ => format!("{place} {pattern}"),
    }
}
