//! The postmaster as a process: starting it on a free port, waiting until it is ready, stopping it.

use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::directory::{Afterwards, InstanceDirectory};
use crate::TestbedError;
use crate::account::Account;
use crate::binaries::Binaries;
use crate::clock;

/// How often another port is tried when somebody took the one that was free a moment ago.
const PORT_TRIES: u32 = 20;
/// How long a start or a stop may take. Crash recovery of a filled database takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Below what Linux and macOS hand out to outgoing connections, so that a port stays free while the server restarts.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// How a server is to end (the names are PostgreSQL's).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Waits until the clients have left.
    Smart,
    /// Ends the clients' connections, writes what is to be written.
    Fast,
    /// Ends at once, as in a crash; the next start recovers.
    Immediate,
}

impl StopMode {
    fn signal(self) -> Signal {
        match self {
            StopMode::Smart => Signal::TERM,
            StopMode::Fast => Signal::INT,
            StopMode::Immediate => Signal::QUIT,
        }
    }
}

/// The postmaster of one data directory, running or stopped.
#[derive(Debug)]
pub(super) struct Postmaster {
    program: PathBuf,
    account: Account,
    port: u16,
    /// How it ends when it is dropped.
    last: StopMode,
    // Locked by start, stop and pid for as long as each takes, so that two callers cannot start it twice.
    child: Mutex<Option<Child>>,
}

/// How an attempt to start ended short of success.
enum Failed {
    /// The port was taken in between: another may do.
    PortTaken,
    /// Anything else.
    Otherwise(TestbedError),
}

impl Postmaster {
    /// Starts it on a port that is free.
    pub(super) fn first_start(
        binaries: &Binaries,
        account: Account,
        directory: &InstanceDirectory,
    ) -> Result<Postmaster, TestbedError> {
        let program = binaries.program("postgres");
        let mut postmaster = Postmaster {
            program,
            account,
            port: 0,
            last: match directory.afterwards() {
                Afterwards::Removed => StopMode::Immediate,
                Afterwards::Kept => StopMode::Fast,
            },
            child: Mutex::new(None),
        };
        for _ in 0..PORT_TRIES {
            postmaster.port = free_port();
            match postmaster.try_start(directory) {
                Ok(()) => return Ok(postmaster),
                Err(Failed::PortTaken) => {}
                Err(Failed::Otherwise(error)) => return Err(error),
            }
        }
        Err(start_error(
            format!("no free port in {PORT_TRIES} tries"),
            directory,
        ))
    }

    /// Starts it again on the port it had.
    pub(super) fn start(&self, directory: &InstanceDirectory) -> Result<(), TestbedError> {
        match self.try_start(directory) {
            Ok(()) => Ok(()),
            Err(Failed::PortTaken) => Err(start_error(
                format!("port {} was taken meanwhile", self.port),
                directory,
            )),
            Err(Failed::Otherwise(error)) => Err(error),
        }
    }

    /// The port it listens on, or listened on before it was stopped.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Its process id, if it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        let mut running = self.child();
        let child = running.as_mut()?;
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }

    fn try_start(&self, directory: &InstanceDirectory) -> Result<(), Failed> {
        let mut running = self.child();
        if running
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
        {
            return Ok(());
        }
        let mut child = self.spawn(directory).map_err(Failed::Otherwise)?;
        let deadline = clock::now() + PATIENCE;
        loop {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(why_it_ended(status, directory));
            }
            if is_ready(directory, child.id()) {
                *running = Some(child);
                return Ok(());
            }
            if clock::now() > deadline {
                // Killed and reaped here; a failure to do so leaves it to the supervisor.
                let _ = child.kill().and_then(|()| child.wait());
                return Err(Failed::Otherwise(start_error(
                    format!("not ready after {PATIENCE:?}"),
                    directory,
                )));
            }
            sleep(Duration::from_millis(5));
        }
    }

    fn spawn(&self, directory: &InstanceDirectory) -> Result<Child, TestbedError> {
        let path = directory.log();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(TestbedError::file("open", &path))?;
        let again = log.try_clone().map_err(TestbedError::file("open", &path))?;
        self.account
            .command(&self.program)
            .arg("-D")
            .arg(directory.data())
            .args(["-p", &self.port.to_string()])
            .stdout(Stdio::from(log))
            .stderr(Stdio::from(again))
            .spawn()
            .map_err(|error| TestbedError::Program {
                program: self.program.display().to_string(),
                output: error.to_string(),
            })
    }

    /// Stops it and waits for its end.
    pub(super) fn stop(&self, mode: StopMode) -> Result<(), TestbedError> {
        let mut running = self.child();
        let Some(child) = running.as_mut() else {
            return Ok(());
        };
        let deadline = clock::now() + PATIENCE;
        // It may have ended by itself; then the signal fails, and the wait below sees the end.
        let _ = kill_process(Pid::from_child(child), mode.signal());
        while matches!(child.try_wait(), Ok(None)) {
            if clock::now() > deadline {
                return Err(TestbedError::Stop {
                    seconds: PATIENCE.as_secs(),
                });
            }
            sleep(Duration::from_millis(5));
        }
        *running = None;
        Ok(())
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        // A panic elsewhere in a test leaves the child as it was.
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        if self.stop(self.last).is_err() {
            // Backends that do not follow: the postmaster goes, and they notice that it is gone.
            if let Some(mut child) = self.child().take() {
                let _ = child.kill().and_then(|()| child.wait());
            }
        }
    }
}

/// Sends a signal to a process.
pub(super) fn kill(pid: i32, signal: Signal) -> Result<(), TestbedError> {
    // Zero and negative numbers mean process groups, or everyone.
    let nobody = || TestbedError::Signal {
        pid,
        source: rustix::io::Errno::SRCH.into(),
    };
    let target = Some(pid)
        .filter(|pid| *pid > 0)
        .and_then(Pid::from_raw)
        .ok_or_else(nobody)?;
    kill_process(target, signal).map_err(|error| TestbedError::Signal {
        pid,
        source: error.into(),
    })
}

/// Whether the postmaster says in its own file that it takes connections (the eighth line, since PostgreSQL 10). Asking the
/// file needs no password and leaves no trace in the server.
fn is_ready(directory: &InstanceDirectory, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(directory.data().join("postmaster.pid")) else {
        return false;
    };
    let mut lines = text.lines();
    // The file of a killed predecessor has another process id.
    lines.next() == Some(pid.to_string().as_str())
        && lines.nth(6).is_some_and(|status| status.trim() == "ready")
}

fn why_it_ended(status: ExitStatus, directory: &InstanceDirectory) -> Failed {
    let log = directory.log_tail(20);
    if log.contains("could not create any TCP/IP sockets") {
        // The next attempt must not read this one's log.
        let _ = fs::remove_file(directory.log());
        return Failed::PortTaken;
    }
    Failed::Otherwise(TestbedError::Start {
        reason: format!("it ended with {status}"),
        log,
    })
}

fn start_error(reason: String, directory: &InstanceDirectory) -> TestbedError {
    TestbedError::Start {
        reason,
        log: directory.log_tail(20),
    }
}

/// A port that is free now. Picked at random, so that processes that start servers at the same moment rarely meet.
fn free_port() -> u16 {
    let width = u64::from(PORTS.end - PORTS.start);
    let random = RandomState::new();
    (0..1_000_u32)
        // The remainder is below 17,000, so it fits.
        .map(|attempt| PORTS.start + u16::try_from(random.hash_one(attempt) % width).unwrap_or(0))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap_or(PORTS.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_never_goes_to_a_group_or_to_everyone() {
        for pid in [0, -1, i32::MIN] {
            assert!(
                matches!(kill(pid, Signal::CONT), Err(TestbedError::Signal { .. })),
                "{pid}"
            );
        }
    }
}
