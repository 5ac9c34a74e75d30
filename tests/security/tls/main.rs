//! TLS on both sides: what clients may and must do, how the proxy reaches a server that has it, and what somebody between
//! can not.

mod certificates;
mod clients;
mod libpq;
mod server;
mod stuffing;
