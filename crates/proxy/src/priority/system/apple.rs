//! macOS: the darwin background state of a process, what `taskpolicy -b -p PID` sets: efficiency cores, and throttled
//! I/O with them. Below it there is only nice, for `cpu: low`. What is set for an own user's process can be taken back
//! by the same user, save a nice value.

use rustix::process::{Pid, setpriority_process};

use pglanes_config::{Cpu, Io};

use super::super::table::System;
use super::super::{Backend, Level, Peer, Refusal};
use crate::clock::Clock;

/// `<sys/resource.h>`: `which` and the values of setpriority(2) that concern the background state.
const PRIO_DARWIN_PROCESS: libc::c_int = 4;
const PRIO_DARWIN_BG: libc::c_int = 0x1000;
/// The nice value of `cpu: low`.
const LOW: i32 = 5;
/// The longest path that proc_pidpath gives (`PROC_PIDPATHINFO_MAXSIZE`).
const LONGEST_PATH: usize = 4096;

/// This machine.
#[derive(Debug)]
pub(in crate::priority) struct Machine;

impl Machine {
    pub(in crate::priority) fn new(_: Clock) -> Self {
        Self
    }
}

impl System for Machine {
    type Process = i32;

    fn find(&mut self, backend: &Backend) -> Result<i32, Refusal> {
        match backend.peer {
            Peer::Elsewhere => return Err(Refusal::OtherMachine),
            Peer::Listener(_) | Peer::Loopback(_) => {}
        }
        // Docker on macOS runs a machine of its own: a number out of there is nobody's here, or no postgres.
        match is_postgres(backend.pid) {
            true => Ok(backend.pid),
            false => Err(Refusal::NotTheBackend),
        }
    }

    fn find_worker(&mut self, pid: i32, _: &i32) -> Result<i32, Refusal> {
        match is_postgres(pid) {
            true => Ok(pid),
            false => Err(Refusal::Gone),
        }
    }

    fn set(&mut self, &pid: &i32, level: Level) -> Result<(), Refusal> {
        if !is_postgres(pid) {
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
