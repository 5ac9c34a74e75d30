//! The command: started, told the signals that come for it, waited for, while the lease is renewed.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::environment::Environment;
use super::lease::Held;

/// Runs the command to its end, and gives its exit code; 128 and the signal's number where a signal ended it, as shells say.
pub(super) async fn run(
    command: &[String],
    environment: &Environment,
    held: Option<Held>,
) -> io::Result<u8> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // Before the command is there: a signal meanwhile is not lost.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut child = Command::new(program);
    child.args(arguments);
    for name in &environment.unset {
        child.env_remove(name);
    }
    for (name, value) in &environment.set {
        child.env(name, value);
    }
    let started = child.spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            if let Some(held) = held {
                held.end().await;
            }
            return Err(error);
        }
    };
    let mut held = held;
    let status = loop {
        let renewal = async {
            match &mut held {
                Some(held) => held.keep().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = child.wait() => break status,
            () = renewal => {}
            // A terminal sends it to the command too, and twice would be once too often.
            _ = interrupt.recv() => if !in_foreground() { pass_on(&child, Signal::INT) },
            _ = terminate.recv() => pass_on(&child, Signal::TERM),
            _ = hangup.recv() => pass_on(&child, Signal::HUP),
        }
    };
    if let Some(held) = held {
        held.end().await;
    }
    status.map(code)
}

fn code(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    u8::try_from(code & 0xff).unwrap_or(1)
}

/// Whether this process is in the foreground of a terminal, whose Ctrl-C reaches the command by itself.
fn in_foreground() -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else {
        return false;
    };
    rustix::termios::tcgetpgrp(&terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

fn pass_on(child: &Child, signal: Signal) {
    let number = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = number.and_then(Pid::from_raw) {
        // It may have ended meanwhile; it is not reaped before it was waited for, so the number is its own.
        let _ = kill_process(pid, signal);
    }
}
