//! The PostgreSQL wire protocol as bytes in, views out: no sockets, no clock.
pub mod cancel_key;
pub mod error_fields;
pub mod frame;
pub mod message;
pub mod parameters;
pub mod prepared;
pub mod replies;
pub mod sql;
pub mod startup;
