//! What clients and the proxy say to each other, message by message, held against what the server itself says.

mod differential;
mod flow;
mod prepared;
mod scripts;
mod startup;
