//! The control plane: facts and health of the upstream server, read over its own connections.
