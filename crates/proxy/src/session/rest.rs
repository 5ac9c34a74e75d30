//! What must not be left on a connection that rests in the pool.

use super::Session;
use super::relay::Progress;
use crate::server::{OwnQuery, Server};

/// The limit on idle sessions. The one that set it may idle for longer than that without a connection, and none that idles in
/// the pool is to be ended for it.
const IDLE_SESSION_TIMEOUT: &str = "idle_session_timeout";

impl Session {
    /// As [`Self::over`], once PostgreSQL will not end the connection for idling in the pool.
    pub(super) fn over_at_rest(&self, server: &mut Server) -> Progress {
        let limited = server.applied.get(IDLE_SESSION_TIMEOUT).is_some();
        if !limited || !self.pins.is_empty() {
            return self.over(server);
        }
        let mut target = (*server.applied).clone();
        target.remove(IDLE_SESSION_TIMEOUT);
        let target = self.hub.settings.borrow_mut().intern(target);
        let sql = format!("RESET {IDLE_SESSION_TIMEOUT}");
        // Refused only inside a COPY, and nothing runs here.
        match Self::ask_ourselves(server, OwnQuery::Resting { target }, sql) {
            Ok(()) => Progress::Going,
            Err(_) => self.over(server),
        }
    }
}
