//! The PostgreSQL wire protocol as bytes in, views out: no sockets, no clock.
