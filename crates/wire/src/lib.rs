//! The PostgreSQL wire protocol as bytes in, views out: no sockets, no clock.
pub mod frame;
pub mod prepared;
pub mod replies;
pub mod cancel_key;
pub mod error_fields;
pub mod message;
pub mod parameters;
pub mod sql;
pub mod startup;
