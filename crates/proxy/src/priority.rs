//! CPU priority of the backends, where PostgreSQL runs on this machine.
//!
//! On Linux each backend is its own session, and with autogroup scheduling a plain
//! nice value does nothing across sessions: the autogroup's own value is set too
//! (sched(7), "The autogroup feature").

use pglanes_config::Cpu;

/// What came of lowering a backend's priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lowered {
    /// Nothing was asked for.
    NotAsked,
    /// It runs at the priority asked for.
    Done,
    /// Not on this machine, not permitted, or not on this system.
    NotPossible,
}

/// Sets the priority of the backend `pid`, which must be a PostgreSQL process here.
pub(crate) fn apply(cpu: Cpu, pid: i32) -> Lowered {
    let nice = match cpu {
        Cpu::Normal => return Lowered::NotAsked,
        Cpu::Low => 5,
        Cpu::Background => 19,
    };
    imp::apply(nice, pid)
}

#[cfg(target_os = "linux")]
mod imp {
    use super::Lowered;

    pub(super) fn apply(nice: i32, pid: i32) -> Lowered {
        // The process id comes from the server's BackendKeyData: it may be one of
        // another machine or container, where the number means somebody else.
        let is_postgres = std::fs::read(format!("/proc/{pid}/comm"))
            .is_ok_and(|name| name.starts_with(b"postgres"));
        let Some(process) = rustix::process::Pid::from_raw(pid).filter(|_| is_postgres) else {
            return Lowered::NotPossible;
        };
        let niced = rustix::process::setpriority_process(Some(process), nice).is_ok();
        let autogroup = format!("/proc/{pid}/autogroup");
        // Absent where the kernel has no autogroups: nice alone then does it.
        let grouped = !std::path::Path::new(&autogroup).exists()
            || std::fs::write(&autogroup, nice.to_string()).is_ok();
        if niced && grouped {
            Lowered::Done
        } else {
            Lowered::NotPossible
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use super::Lowered;

    pub(super) fn apply(nice: i32, pid: i32) -> Lowered {
        let Some(process) = rustix::process::Pid::from_raw(pid) else {
            return Lowered::NotPossible;
        };
        match rustix::process::setpriority_process(Some(process), nice) {
            Ok(()) => Lowered::Done,
            Err(_) => Lowered::NotPossible,
        }
    }
}
