//! SCRAM-SHA-256 and md5 for both sides, verifiers and secrets: no sockets.
