//! A pooler's process: its start and end, its processor time and its memory.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::clock;

/// How long a pooler may take to listen.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(20);
/// A tick of utime and stime: USER_HZ is 100 on every architecture PostgreSQL is packaged for.
const TICK: Duration = Duration::from_millis(10);

/// Raises the limit on open descriptors as far as it goes; the poolers inherit it.
///
/// # Errors
/// The system's, on Linux.
pub fn allow_many_descriptors() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // macOS refuses "unlimited": it then stays as it is, and the idle clients say what is short.
    match setrlimit(Resource::Nofile, raised) {
        Err(error) if cfg!(target_os = "linux") => Err(error).context("the limit on descriptors"),
        _ => Ok(()),
    }
}

/// A port that nobody uses at this moment.
///
/// # Errors
/// The system's, when it has none left.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// A process that ends with its owner.
#[derive(Debug)]
pub struct Running {
    child: Child,
    port: u16,
}

impl Running {
    /// Starts `command` and waits until it listens on `port`.
    ///
    /// # Errors
    /// It did not start, ended, or does not listen in time.
    pub fn start(mut command: Command, port: u16) -> Result<Self> {
        let program = command.get_program().to_owned();
        let child = command
            .spawn()
            .with_context(|| format!("{} did not start", program.display()))?;
        let mut running = Self { child, port };
        let started = clock::now();
        while TcpStream::connect(running.address()).is_err() {
            if let Some(status) = running.child.try_wait()? {
                bail!("{} ended: {status}", program.display());
            }
            if started.elapsed() > START_LIMIT {
                bail!("{} does not listen on port {port}", program.display());
            }
            thread::sleep(LOOK);
        }
        Ok(running)
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Processor time of all its threads so far. `None` where there is no /proc.
    pub fn cpu_time(&self) -> Option<Duration> {
        let pid = self.child.id();
        nanoseconds_on_cpu(pid).or_else(|| ticks_on_cpu(pid))
    }

    /// Resident memory, bytes. `None` where there is no /proc.
    pub fn resident_bytes(&self) -> Option<u64> {
        let pid = self.child.id();
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        let text = rollup
            .or_else(|_| fs::read_to_string(format!("/proc/{pid}/status")))
            .ok()?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Rss:").or(line.strip_prefix("VmRSS:")))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The scheduler's own account, where the kernel keeps it: a short run has too few ticks.
fn nanoseconds_on_cpu(pid: u32) -> Option<Duration> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread that ended meanwhile is not missed: the poolers' threads last as long as they do.
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        let nanoseconds: u64 = text.split_ascii_whitespace().next()?.parse().ok()?;
        sum += nanoseconds;
    }
    Some(Duration::from_nanos(sum))
}

/// utime and stime of /proc/PID/stat, proc(5): fields 14 and 15, counted behind the name, which may hold spaces.
fn ticks_on_cpu(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind_name) = text.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * (user + system))
}
