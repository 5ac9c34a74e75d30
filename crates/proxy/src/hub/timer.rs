//! The one timer behind all of the scheduler's deadlines.

use std::rc::Rc;

use super::Hub;

impl Hub {
    /// Wakes the timer task if the scheduler's next deadline is earlier than the one it
    /// sleeps for. Later ones are met by waking too early once: most deadlines move
    /// with every transaction, and none of those moves costs a timer.
    pub(super) fn arm_timer(&self) {
        let next = self.scheduler.borrow().poll_timeout();
        let earlier = match (next, self.armed.get()) {
            (Some(next), Some(armed)) => next < armed,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if earlier {
            self.armed.set(next);
            self.timer.notify_one();
        }
    }

    /// Runs the scheduler's deadlines for as long as the proxy lives.
    pub(crate) async fn run_timer(self: Rc<Self>) {
        loop {
            let next = self.scheduler.borrow().poll_timeout();
            self.armed.set(next);
            match next {
                Some(time) => {
                    let sleep = tokio::time::sleep_until(self.clock.instant(time));
                    tokio::select! {
                        () = sleep => {
                            let now = self.clock.now();
                            self.scheduler.borrow_mut().handle_timeout(now);
                            self.carry_out();
                        }
                        () = self.timer.notified() => {}
                    }
                }
                None => self.timer.notified().await,
            }
        }
    }
}
