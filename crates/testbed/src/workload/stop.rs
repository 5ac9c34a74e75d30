//! How a workload without an end of its own is told to stop.

use std::time::Duration;

use tokio::sync::watch;

/// The side that tells: by [`StopHandle::stop`], or by being dropped.
#[derive(Debug)]
pub struct StopHandle(watch::Sender<()>);

/// The side that is told.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<()>);

impl Stop {
    /// A pair of the two.
    pub fn new() -> (StopHandle, Stop) {
        let (sender, receiver) = watch::channel(());
        (StopHandle(sender), Stop(receiver))
    }

    /// One that stops by itself after a while. Needs a runtime.
    pub fn after(duration: Duration) -> Stop {
        let (handle, stop) = Stop::new();
        tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            handle.stop();
        });
        stop
    }

    /// Whether it has been told.
    pub fn is_requested(&self) -> bool {
        self.0.has_changed().is_err()
    }

    /// Waits until it is told. Cancel-safe: nothing is lost when it is dropped.
    pub async fn requested(&mut self) {
        // The sender never sends; the end of the channel is the message.
        while self.0.changed().await.is_ok() {}
    }
}

impl StopHandle {
    /// Tells everyone who holds the other side.
    pub fn stop(self) {
        drop(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everyone_is_told_and_a_dropped_handle_tells_too() {
        let (handle, mut stop) = Stop::new();
        let other = stop.clone();
        assert!(!stop.is_requested());
        handle.stop();
        stop.requested().await;
        assert!(other.is_requested());
        let (handle, stop) = Stop::new();
        drop(handle);
        assert!(stop.is_requested());
    }
}
