//! macOS: the darwin background state of a process, what `taskpolicy -b -p PID` sets: efficiency cores, and throttled
//! I/O with them. Below it there is only nice, for `cpu: low`. What is set for an own user's process can be taken back
//! by the same user, save a nice value.

use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pglanes_lanes::Time;
use rustix::process::{Pid, setpriority_process};

use pglanes_config::{Cpu, Io};

use super::super::table::System;
use super::super::{Backend, Level, Peer, Refusal, start_fits};
use crate::clock::Clock;

/// `<sys/resource.h>`: `which` and the values of setpriority(2) that concern the background state.
const PRIO_DARWIN_PROCESS: libc::c_int = 4;
const PRIO_DARWIN_BG: libc::c_int = 0x1000;
/// The nice value of `cpu: low`.
const LOW: i32 = 5;
/// The longest path that proc_pidpath gives (`PROC_PIDPATHINFO_MAXSIZE`).
const LONGEST_PATH: usize = 4096;

/// A process, told apart from later ones of its number by when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::priority) struct Process {
    pid: i32,
    parent: u32,
    /// Since the Unix epoch.
    began: Duration,
}

/// This machine.
#[derive(Debug)]
pub(in crate::priority) struct Machine {
    clock: Clock,
}

impl Machine {
    pub(in crate::priority) fn new(clock: Clock) -> Self {
        Self { clock }
    }

    /// When a process began, by our clock; zero if before it.
    fn began(&self, process: &Process) -> Time {
        let began = UNIX_EPOCH + process.began;
        // One that began in the future did so now: the wall clock was set.
        let age = SystemTime::now().duration_since(began).unwrap_or_default();
        let now = Duration::from_nanos(self.clock.now().as_nanos());
        let began = now.saturating_sub(age).as_nanos();
        Time::from_nanos(u64::try_from(began).unwrap_or(u64::MAX))
    }
}

impl System for Machine {
    type Process = Process;

    fn find(&mut self, backend: &Backend) -> Result<Process, Refusal> {
        if matches!(backend.peer, Peer::Elsewhere) {
            return Err(Refusal::OtherMachine);
        }
        // Docker on macOS runs a machine of its own: a number out of there is nobody's here, no postgres, or one that began
        // at another time.
        let process = postgres(backend.pid).ok_or(Refusal::NotTheBackend)?;
        let is_child = match backend.peer {
            Peer::Listener(Some(postmaster)) => u32::try_from(postmaster) == Ok(process.parent),
            Peer::Listener(None) | Peer::Loopback(_) | Peer::Elsewhere => true,
        };
        match is_child && start_fits(self.began(&process), backend.since) {
            true => Ok(process),
            false => Err(Refusal::NotTheBackend),
        }
    }

    fn find_worker(&mut self, pid: i32, of: &Process) -> Result<Process, Refusal> {
        let worker = postgres(pid).filter(|worker| worker.parent == of.parent);
        worker.ok_or(Refusal::Gone)
    }

    fn set(&mut self, process: &Process, level: Level) -> Result<(), Refusal> {
        let pid = process.pid;
        if postgres(pid).as_ref() != Some(process) {
            return Err(Refusal::Gone);
        }
        // The background state slows both; I/O alone cannot be slowed for another process.
        if level.cpu != Cpu::Background && level.io != Io::Normal {
            return Err(Refusal::NoLever);
        }
        let background = match level.cpu {
            Cpu::Background => PRIO_DARWIN_BG,
            Cpu::Normal | Cpu::Low => 0,
        };
        set_background(pid, background)?;
        let process = Pid::from_raw(pid).ok_or(Refusal::Gone)?;
        match level.cpu {
            Cpu::Low => setpriority_process(Some(process), LOW).map_err(|_| Refusal::NotPermitted),
            // Only root may, and only a backend that was low needs it.
            Cpu::Normal | Cpu::Background => {
                match rustix::process::getpriority_process(Some(process)) {
                    Ok(nice) if nice <= 0 => Ok(()),
                    _ => setpriority_process(Some(process), 0).map_err(|_| Refusal::CannotRaise),
                }
            }
        }
    }
}

#[allow(
    unsafe_code,
    reason = "no safe wrapper knows the darwin values; the call takes three numbers and no pointer"
)]
fn set_background(pid: i32, value: libc::c_int) -> Result<(), Refusal> {
    let id = libc::id_t::try_from(pid).map_err(|_| Refusal::Gone)?;
    // SAFETY: setpriority(2) reads three integers and touches no memory of ours.
    let done = unsafe { libc::setpriority(PRIO_DARWIN_PROCESS, id, value) };
    match done {
        0 => Ok(()),
        _ => Err(Refusal::NotPermitted),
    }
}

#[allow(
    unsafe_code,
    reason = "no safe wrapper of proc_pidpath is among the dependencies; it fills a buffer of ours"
)]
fn is_postgres(pid: i32) -> bool {
    let mut path = [0_u8; LONGEST_PATH];
    // SAFETY: the buffer lives through the call, and its true size is told.
    let length = unsafe { libc::proc_pidpath(pid, path.as_mut_ptr().cast(), LONGEST_PATH as u32) };
    let path = usize::try_from(length)
        .ok()
        .and_then(|length| path.get(..length));
    path.is_some_and(|path| path.ends_with(b"/postgres"))
}

/// What a process of PostgreSQL is; `None` for any other, and for one that may not be looked at.
fn postgres(pid: i32) -> Option<Process> {
    if !is_postgres(pid) {
        return None;
    }
    let information = information(pid)?;
    Some(Process {
        pid,
        parent: information.pbi_ppid,
        began: Duration::from_secs(information.pbi_start_tvsec)
            + Duration::from_micros(information.pbi_start_tvusec),
    })
}

#[allow(
    unsafe_code,
    reason = "no safe wrapper of proc_pidinfo is among the dependencies; it fills a structure of ours"
)]
fn information(pid: i32) -> Option<libc::proc_bsdinfo> {
    let mut information = MaybeUninit::<libc::proc_bsdinfo>::zeroed();
    let size = i32::try_from(size_of::<libc::proc_bsdinfo>()).ok()?;
    // SAFETY: the structure lives through the call, and its true size is told.
    let filled = unsafe {
        libc::proc_pidinfo(
            pid,
            libc::PROC_PIDTBSDINFO,
            0,
            information.as_mut_ptr().cast(),
            size,
        )
    };
    // SAFETY: it was zeroed, which every field of integers may be, and the kernel filled all of it.
    (filled == size).then(|| unsafe { information.assume_init() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_began_when_it_began() {
        let clock = Clock::start();
        let own = i32::try_from(std::process::id()).unwrap();
        let information = information(own).unwrap();
        assert_eq!(information.pbi_pid, std::process::id());
        let process = Process {
            pid: own,
            parent: information.pbi_ppid,
            began: Duration::from_secs(information.pbi_start_tvsec),
        };
        let began = Machine::new(clock).began(&process);
        assert!(start_fits(began, clock.now()), "{began:?}");
    }

    #[test]
    fn who_is_no_postgres_is_none() {
        assert_eq!(postgres(i32::try_from(std::process::id()).unwrap()), None);
        assert_eq!(postgres(i32::MAX), None);
    }
}
