//! Linux. A backend calls setsid(), and where the kernel schedules by session ("autogroups", sched(7)) a process's own
//! nice value counts only within its session: across backends it is the autogroup's own that does it. So both are set,
//! and the scheduling policy and the I/O class with them.
//!
//! What an ordinary user may do to its own processes: lower everything; raise the autogroup's value and the I/O class
//! again, and leave SCHED_BATCH. Raising a nice value takes CAP_SYS_NICE, or RLIMIT_NICE of the backend itself. So where
//! sessions are scheduled, what is lowered can be lifted without rights.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use pglanes_config::{Cpu, Io};
use pglanes_lanes::Time;
use rustix::io::Errno;
use rustix::process::{Pid, setpriority_process};

use super::super::table::System;
use super::super::{Backend, Level, Peer, Refusal, start_fits};
use crate::clock::Clock;

/// The kernel takes a tenth of a second's pause from an ordinary user between two autogroups, over the whole machine.
const AUTOGROUP_PAUSE: Duration = Duration::from_millis(50);
/// How often it is tried.
const AUTOGROUP_TRIES: u32 = 40;

/// `<linux/ioprio.h>`: a process, best effort, idle, and where the class stands.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const IOPRIO_CLASS_BE: libc::c_int = 2;
const IOPRIO_CLASS_IDLE: libc::c_int = 3;
const IOPRIO_CLASS_SHIFT: libc::c_int = 13;
const IOPRIO_LOWEST: libc::c_int = 7;

/// How a process is scheduled, in the kernel's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Terms {
    nice: i32,
    /// The nice value of its session.
    autogroup: i32,
    policy: libc::c_int,
    io: libc::c_int,
}

impl Terms {
    /// A level, for a process that was found so: the server as a whole may have been started at another nice value.
    fn of(level: Level, found: Self) -> Self {
        let lower = |by: i32| Self {
            nice: (found.nice + by).min(LOWEST),
            autogroup: (found.autogroup + by).min(LOWEST),
            ..found
        };
        let cpu = match level.cpu {
            Cpu::Normal => found,
            // A batch process does not push another one off its CPU when it wakes up.
            Cpu::Low => Self {
                policy: libc::SCHED_BATCH,
                ..lower(LOW)
            },
            Cpu::Background => Self {
                policy: BACKGROUND_POLICY,
                ..lower(LOWEST - found.nice.min(found.autogroup))
            },
        };
        let io = match level.io {
            Io::Normal => found.io,
            Io::Low => IOPRIO_CLASS_BE << IOPRIO_CLASS_SHIFT | IOPRIO_LOWEST,
            Io::Background => IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT,
        };
        Self { io, ..cpu }
    }
}

/// How much nicer `cpu: low` is: a third of another's share.
const LOW: i32 = 5;
/// The nicest there is.
const LOWEST: i32 = 19;

/// What `cpu: background` runs under beside nice 19. Not SCHED_IDLE: a backend that is preempted while it holds a lightweight
/// lock, which nobody sees and nothing lifts, then stays off its CPU for up to half a second (13 ms so; benches/inversion),
/// it wins the others nothing beside nice 19, and an ordinary user cannot leave it again.
const BACKGROUND_POLICY: libc::c_int = libc::SCHED_BATCH;

/// A process, told apart from later ones of its number by when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::priority) struct Process {
    pid: Pid,
    parent: i32,
    /// In clock ticks since the machine started.
    began: u64,
    /// As it was found, and is to be again.
    found: Terms,
}

/// This machine.
#[derive(Debug)]
pub(in crate::priority) struct Machine {
    clock: Clock,
    ticks_per_second: u64,
}

impl Machine {
    pub(in crate::priority) fn new(clock: Clock) -> Self {
        Self {
            clock,
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
        }
    }

    /// When a process began, by our clock; zero if before it.
    fn began(&self, ticks: u64) -> Option<Time> {
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        let age = (uptime - ticks as f64 / self.ticks_per_second as f64).max(0.0);
        let now = self.clock.now().as_nanos();
        Some(Time::from_nanos(now.saturating_sub((age * 1e9) as u64)))
    }
}

impl System for Machine {
    type Process = Process;

    fn find(&mut self, backend: &Backend) -> Result<Process, Refusal> {
        let pid = backend.pid;
        let stat = match backend.peer {
            Peer::Elsewhere => return Err(Refusal::OtherMachine),
            Peer::Listener(None) => return Err(Refusal::OtherNamespace),
            Peer::Listener(Some(_)) | Peer::Loopback(_) => {
                Stat::read(pid).ok_or(Refusal::OtherNamespace)?
            }
        };
        let is_it = match backend.peer {
            Peer::Listener(postmaster) => stat.is_postgres() && Some(stat.parent) == postmaster,
            // TCP tells no process; but the title names the port that the backend serves.
            Peer::Loopback(port) => {
                stat.is_postgres()
                    && Stat::read(stat.parent).is_some_and(|parent| parent.is_postgres())
                    && title_names_port(pid, port)
            }
            Peer::Elsewhere => false,
        };
        let began = self.began(stat.began);
        if !is_it || !began.is_some_and(|began| start_fits(began, backend.since)) {
            return Err(Refusal::NotTheBackend);
        }
        process(pid, &stat)
    }

    fn find_worker(&mut self, pid: i32, of: &Process) -> Result<Process, Refusal> {
        let stat = Stat::read(pid).ok_or(Refusal::Gone)?;
        match stat.is_postgres() && stat.parent == of.parent {
            true => process(pid, &stat),
            false => Err(Refusal::Gone),
        }
    }

    fn set(&mut self, process: &Process, level: Level) -> Result<(), Refusal> {
        let pid = process.pid.as_raw_nonzero().get();
        // Between this look and the calls below the number could become another's only if the backend ended and all
        // other numbers were used up: none of the calls takes a pidfd.
        let stat = Stat::read(pid).ok_or(Refusal::Gone)?;
        if stat.began != process.began {
            return Err(Refusal::Gone);
        }
        let terms = Terms::of(level, process.found);
        let outcome = Outcome {
            nice: setpriority_process(Some(process.pid), terms.nice),
            policy: set_policy(pid, terms.policy),
            autogroup: set_autogroup(pid, terms.autogroup),
            io: set_io(pid, terms.io),
        };
        outcome.judge(level, is_scheduled_by_session(pid))
    }
}

fn process(pid: i32, stat: &Stat) -> Result<Process, Refusal> {
    Ok(Process {
        pid: Pid::from_raw(pid).ok_or(Refusal::NotTheBackend)?,
        parent: stat.parent,
        began: stat.began,
        found: Terms {
            nice: stat.nice,
            autogroup: autogroup_of(pid).unwrap_or(0),
            policy: stat.policy,
            io: io_of(pid),
        },
    })
}

/// What came of each call.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    nice: Result<(), Errno>,
    policy: Result<(), Errno>,
    /// `None` where the process is in no autogroup.
    autogroup: Option<Result<(), Errno>>,
    io: Result<(), Errno>,
}

impl Outcome {
    /// Whether what was asked for holds. Where sessions are scheduled the session's value is what counts.
    fn judge(self, level: Level, by_session: bool) -> Result<(), Refusal> {
        let calls = [
            Some(self.nice),
            Some(self.policy),
            self.autogroup,
            Some(self.io),
        ];
        let is_gone = |call: Result<(), Errno>| matches!(call, Err(Errno::SRCH | Errno::NOENT));
        if calls.into_iter().flatten().any(is_gone) {
            return Err(Refusal::Gone);
        }
        let own = self.nice.and(self.policy);
        match self.autogroup.filter(|_| by_session) {
            Some(Ok(())) => {}
            Some(Err(_)) if own.is_ok() => return Err(Refusal::Autogroup),
            Some(Err(_)) => return Err(Refusal::NotPermitted),
            None => own.map_err(|_| match level.cpu {
                Cpu::Background => Refusal::NotPermitted,
                Cpu::Normal | Cpu::Low => Refusal::CannotRaise,
            })?,
        }
        self.io.map_err(|_| Refusal::NotPermitted)
    }
}

/// Parts of /proc/PID/stat (proc(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    parent: i32,
    nice: i32,
    policy: libc::c_int,
    began: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name stands in parentheses and may hold anything, parentheses too: fields count behind the last one.
    fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let mut fields = after.split_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        let nice = fields.nth(14)?.parse().ok()?;
        let began = fields.nth(2)?.parse().ok()?;
        let policy = fields.nth(18)?.parse().ok()?;
        Some(Self {
            name: name.to_owned(),
            parent,
            nice,
            policy,
            began,
        })
    }

    fn is_postgres(&self) -> bool {
        // EDB's server is called edb-postgres.
        self.name.starts_with("postgres") || self.name.starts_with("edb-postgres")
    }
}

/// Whether the title says `postgres: USER DATABASE HOST(PORT) ...`.
fn title_names_port(pid: i32, port: u16) -> bool {
    let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let title = String::from_utf8_lossy(&title);
    title.starts_with("postgres") && title.contains(&format!("({port}) "))
}

/// Whether autogroups are on and the process is scheduled in one: a cgroup with CPU shares of its own takes it out.
fn is_scheduled_by_session(pid: i32) -> bool {
    let enabled = fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled");
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    enabled.is_ok_and(|enabled| enabled.trim() == "1")
        && autogroup_of(pid).is_some()
        && !has_cpu_shares(&cgroups, Path::new("/sys/fs/cgroup"))
}

/// Reads /proc/PID/cgroup (cgroups(7)): a line `0::/path` for version 2, `4:cpu,cpuacct:/path` for version 1.
fn has_cpu_shares(cgroups: &str, root: &Path) -> bool {
    cgroups.lines().any(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            return false;
        };
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            // The nearest folder with the controller gives the group; the root itself has no such file.
            return Path::new(path)
                .ancestors()
                .filter(|folder| !folder.as_os_str().is_empty())
                .any(|folder| root.join(folder).join("cpu.weight").exists());
        }
        controllers.split(',').any(|controller| controller == "cpu") && !path.is_empty()
    })
}

/// The nice value of a process's autogroup; `None` where it is in none.
fn autogroup_of(pid: i32) -> Option<i32> {
    nice_of_autogroup(&fs::read_to_string(autogroup_file(pid)).ok()?)
}

/// Reads /proc/PID/autogroup: "/autogroup-13 nice 0". The file is empty for a process of which no ancestor since the machine's
/// first process called setsid(): it is scheduled by its own nice value, and the kernel refuses to write the file (EINVAL).
fn nice_of_autogroup(text: &str) -> Option<i32> {
    text.split_whitespace().last()?.parse().ok()
}

fn autogroup_file(pid: i32) -> String {
    format!("/proc/{pid}/autogroup")
}

/// `None` where the process is in no autogroup.
fn set_autogroup(pid: i32, nice: i32) -> Option<Result<(), Errno>> {
    autogroup_of(pid)?;
    let path = autogroup_file(pid);
    let mut tries = 0;
    loop {
        let written = fs::write(&path, nice.to_string()).map_err(|error| errno(&error));
        tries += 1;
        match written {
            Err(Errno::AGAIN) if tries < AUTOGROUP_TRIES => std::thread::sleep(AUTOGROUP_PAUSE),
            outcome => return Some(outcome),
        }
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[allow(
    unsafe_code,
    reason = "rustix and nix have no sched_setscheduler; the only pointer is to a value that lives through the call"
)]
fn set_policy(pid: i32, policy: libc::c_int) -> Result<(), Errno> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads one sched_param from a reference that is valid for the call.
    let done = unsafe { libc::sched_setscheduler(pid, policy, &raw const parameters) };
    outcome_of(done.into())
}

#[allow(
    unsafe_code,
    reason = "ioprio_set has no wrapper anywhere; the call takes three numbers and no pointer"
)]
fn set_io(pid: i32, priority: libc::c_int) -> Result<(), Errno> {
    // SAFETY: ioprio_set(2) reads three integers and touches no memory of ours.
    let done = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, priority) };
    outcome_of(done)
}

#[allow(unsafe_code, reason = "as for ioprio_set")]
fn io_of(pid: i32) -> libc::c_int {
    // SAFETY: ioprio_get(2) reads two integers and touches no memory of ours.
    let found = unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, pid) };
    // An error is negative: then nothing special is taken to be there.
    libc::c_int::try_from(found).map_or(0, |found| found.max(0))
}

fn outcome_of(done: libc::c_long) -> Result<(), Errno> {
    match done {
        0 => Ok(()),
        _ => Err(errno(&io::Error::last_os_error())),
    }
}

#[cfg(test)]
#[path = "linux_tests.rs"]
mod tests;
