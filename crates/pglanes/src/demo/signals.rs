//! What ends the demo from outside.

use std::io;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

/// The demo was told to end before it was through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("interrupted; everything that was started or made is cleaned up")]
pub struct Interrupted;

/// Waits for Ctrl-C, SIGTERM or the terminal's end. Cancel-safe.
pub(super) async fn interrupted() -> io::Result<Interrupted> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(Interrupted)
}
