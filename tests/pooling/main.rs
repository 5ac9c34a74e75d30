//! Sessions that share server connections and never notice.

mod handover;
mod lanes;
mod names;
mod pins;
mod sessions;
mod settings;
mod swap;
