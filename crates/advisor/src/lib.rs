//! What the server, the lanes and the sources should be like: facts in, findings out.
//!
//! What it is: rules that are plain functions of facts, and collectors that gather the facts. What it is not: part of the data
//! path. It changes nothing by itself; what is changed on request is written down first, so that it can be taken back.
//!
//! - [`views`]: monitoring views in PostgreSQL, by lane
#![forbid(unsafe_code)]

pub mod views;
