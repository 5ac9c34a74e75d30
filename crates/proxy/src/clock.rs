//! The only clock of the data path: monotonic, handed on as an argument.

use std::time::{Duration, Instant};

use pglanes_lanes::Time;

/// Counts nanoseconds since the proxy started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    #[allow(clippy::disallowed_methods)] // this is the place that reads it
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    #[allow(clippy::disallowed_methods)] // this is the place that reads it
    pub(crate) fn now(self) -> Time {
        let nanos = Instant::now().duration_since(self.origin).as_nanos();
        // 2^64 nanoseconds are 584 years of uptime.
        Time::from_nanos(nanos as u64)
    }

    /// The instant at which `time` is reached, for tokio's timers.
    pub(crate) fn instant(self, time: Time) -> tokio::time::Instant {
        (self.origin + Duration::from_nanos(time.as_nanos())).into()
    }
}
