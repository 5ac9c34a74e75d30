//! Logs: through tracing, to standard error, for people or for machines. No line holds a query's text or a password.

use std::io::{self, IsTerminal, Write};

use pglanes_config::{LogFormat, LogLevel, Logging};
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Outweighs `logging.level`, in the words of tracing's filters.
const VARIABLE: &str = "RUST_LOG";

/// Why nothing can be logged.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The environment's filter does not hold.
    #[error(
        "RUST_LOG does not hold: {0}; it is a level such as `debug`, or `pglanes_proxy=trace,info`"
    )]
    Filter(String),
    /// Somebody else logs already.
    #[error("logging was started twice")]
    Twice,
}

/// Starts logging for the whole process.
///
/// # Errors
/// A RUST_LOG that does not hold, or a second start.
pub fn start(logging: Logging) -> Result<(), LoggingError> {
    let builder = tracing_subscriber::fmt()
        .with_writer(|| AsFarAsItGoes(io::stderr()))
        .with_ansi(io::stderr().is_terminal())
        .with_span_events(FmtSpan::NONE)
        .with_target(false)
        .with_env_filter(filter(logging.level)?);
    let started = match logging.format {
        LogFormat::Human => builder.finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|_| LoggingError::Twice)
}

/// What cannot be written is lost: a full disk, or a reader that has gone. The formatter would
/// say so on standard error, and panic because that fails, in the middle of a client's task.
struct AsFarAsItGoes<W>(W);

impl<W: Write> Write for AsFarAsItGoes<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // As above.
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // As above.
        let _ = self.0.flush();
        Ok(())
    }
}

fn filter(level: LogLevel) -> Result<EnvFilter, LoggingError> {
    match std::env::var(VARIABLE) {
        Ok(words) if !words.is_empty() => {
            EnvFilter::try_new(words).map_err(|error| LoggingError::Filter(error.to_string()))
        }
        // Not to be read counts as not there: the file's level holds.
        _ => Ok(EnvFilter::new(directives(level))),
    }
}

/// Ours at the level, of others no more than what is wrong: drivers talk of statements when they are let.
fn directives(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,pglanes=info",
        LogLevel::Debug => "warn,pglanes=debug",
        LogLevel::Trace => "warn,pglanes=trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_no_error() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let mut writer = AsFarAsItGoes(Full);
        assert!(writer.write_all(b"a line").is_ok() && writer.flush().is_ok());
    }

    #[test]
    fn every_level_makes_a_filter() {
        for level in [
            LogLevel::Error,
            LogLevel::Warn,
            LogLevel::Info,
            LogLevel::Debug,
            LogLevel::Trace,
        ] {
            assert!(EnvFilter::try_new(directives(level)).is_ok(), "{level:?}");
        }
    }
}
