//! The data path: listeners, handshakes, sessions, server connections, relay.
