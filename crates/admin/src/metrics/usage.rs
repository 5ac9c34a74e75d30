//! What the process itself takes, as the system tells it in /proc; nothing where there is none.

/// Processor time, in seconds, and resident memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: f64,
}

impl Usage {
    /// Of this process, now.
    pub(super) fn now() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as f64;
        Self::of(&stat, &statm, ticks, page)
    }

    fn of(stat: &str, statm: &str, ticks: f64, page: f64) -> Option<Self> {
        // The program's name stands in brackets, and may have spaces and brackets of its own (proc(5)).
        let (_, fields) = stat.rsplit_once(')')?;
        let mut times = fields.split_whitespace().skip(11);
        let mut time = || times.next()?.parse::<f64>().ok();
        let (user, system) = (time()?, time()?);
        let pages: f64 = statm.split_whitespace().nth(1)?.parse().ok()?;
        Some(Self {
            cpu_seconds: (user + system) / ticks,
            resident_bytes: pages * page,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_moves_nothing() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 3 0 100 1 2";
        let usage = Usage::of(stat, "1000 20 5 1 0 9 0", 100.0, 4096.0);
        let expected = Usage {
            cpu_seconds: 2.0,
            resident_bytes: 81_920.0,
        };
        assert_eq!(usage, Some(expected));
        assert_eq!(Usage::of("7 (a", "", 100.0, 4096.0), None);
    }
}
