//! A recording of what runs: one entry for each transaction as it ends, for a what-if afterwards. No texts, no names of
//! clients: numbers that mean something only beside each other.
//!
//! Nobody pays while nothing is recorded but a look at a flag. The data path never waits for who writes the recording down:
//! entries that find no room are counted as lost.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pglanes_config::Cpu;
use pglanes_lanes::objective::ClassKey;
use pglanes_lanes::{Input, LaneId, PoolId, Time};
use tokio::sync::mpsc;

use crate::hub::Hub;

/// Entries that wait to be written down, at most.
pub const MOST_PENDING_ENTRIES: usize = 16_384;

/// Something that was recorded. Times are nanoseconds since the proxy's start.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A lane there is: at the beginning of the recording, and again after each reload.
    Lane {
        /// By which other entries name it.
        lane: LaneId,
        /// Its name in lanes.yaml.
        name: String,
        /// The CPU class of its server processes.
        cpu: Cpu,
    },
    /// A lease was taken or ended.
    Lease {
        /// On this lane.
        lane: LaneId,
        /// Taken, or held as the recording began; else ended.
        taken: bool,
        /// When.
        at: Time,
    },
    /// A transaction ended, or got no slot.
    Transaction(RecordedTransaction),
}

/// A transaction that ended, or got no slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordedTransaction {
    /// Its session's number.
    pub session: i32,
    /// The lane it ran in.
    pub lane: LaneId,
    /// Its user, database and startup parameters.
    pub pool: PoolId,
    /// A number for its user, the same all through the process' life.
    pub user: u64,
    /// The same for its application_name.
    pub application: u64,
    /// When it asked for its slot; in a session that keeps its connection, when the transaction before it ended.
    pub asked: Time,
    /// When it got it.
    pub granted: Time,
    /// When it was over.
    pub ended: Time,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// What its statements look like, in a lane with an objective.
    pub class: Option<ClassKey>,
    /// It got no slot.
    pub rejected: bool,
}

/// A recording that goes on until it is dropped.
#[derive(Debug)]
pub struct Recording {
    /// When it began, on the clock of its entries.
    pub began: Time,
    entries: mpsc::Receiver<Entry>,
    lost: Arc<AtomicU64>,
}

impl Recording {
    /// Waits for entries and adds them to `into`, at most so many; gives how many there were, none once the proxy has ended.
    pub async fn entries(&mut self, into: &mut Vec<Entry>, most: usize) -> usize {
        self.entries.recv_many(into, most).await
    }

    /// How many entries found no room.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The data path's side.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    on: Cell<bool>,
    to: RefCell<Option<Tape>>,
}

#[derive(Debug)]
struct Tape {
    began: Time,
    entries: mpsc::Sender<Entry>,
    lost: Arc<AtomicU64>,
}

impl Recorder {
    pub(crate) fn is_on(&self) -> bool {
        self.on.get()
    }

    /// When the recording began.
    pub(crate) fn began(&self) -> Option<Time> {
        self.to.borrow().as_ref().map(|tape| tape.began)
    }

    pub(crate) fn note(&self, entry: Entry) {
        let mut to = self.to.borrow_mut();
        let Some(tape) = to.as_ref() else {
            return;
        };
        match tape.entries.try_send(entry) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                tape.lost.fetch_add(1, Ordering::Relaxed);
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                self.on.set(false);
                *to = None;
            }
        }
    }

    /// Leases come and go.
    pub(crate) fn see(&self, input: &Input, at: Time) {
        let (lane, taken) = match *input {
            Input::LeaseTaken { lane } => (lane, true),
            Input::LeaseEnded { lane } => (lane, false),
            _ => return,
        };
        self.note(Entry::Lease { lane, taken, at });
    }
}

impl Hub {
    /// Begins a recording, unless one goes on.
    pub(crate) fn record(&self) -> Option<Recording> {
        let goes_on = self.recorder.to.borrow();
        if goes_on
            .as_ref()
            .is_some_and(|tape| !tape.entries.is_closed())
        {
            return None;
        }
        drop(goes_on);
        let (entries, received) = mpsc::channel(MOST_PENDING_ENTRIES);
        let lost = Arc::new(AtomicU64::new(0));
        let began = self.clock.now();
        *self.recorder.to.borrow_mut() = Some(Tape {
            began,
            entries,
            lost: Arc::clone(&lost),
        });
        self.recorder.on.set(true);
        self.record_lanes();
        for (number, lane) in self.snapshot().lanes.iter().enumerate() {
            for _ in 0..lane.leases {
                self.recorder.note(Entry::Lease {
                    lane: LaneId(number as u16),
                    taken: true,
                    at: began,
                });
            }
        }
        Some(Recording {
            began,
            entries: received,
            lost,
        })
    }

    /// The lanes as they are from now on.
    pub(crate) fn record_lanes(&self) {
        let live = self.live();
        for lane in &live.config.lanes {
            if let Some(number) = live.lane_named(&lane.name) {
                self.recorder.note(Entry::Lane {
                    lane: number,
                    name: lane.name.clone(),
                    cpu: lane.cpu,
                });
            }
        }
    }
}
