//! What the server, the lanes and the sources should be like: facts in, findings out.
//!
//! What it is: rules that are plain functions of facts, and collectors that gather the facts. What it is not: part of the data
//! path. It changes nothing by itself; what is changed on request is written down first, so that it can be taken back.
//!
//! - [`tune`]: PostgreSQL's settings for a machine, a version and the lanes
//! - [`doctor`]: connection strings in a source tree, and the installation
//! - [`init`]: a first lanes.yaml from what a running server shows
//! - [`schema`]: indexes, storage settings and procedures for the memory system's tables, each with its way back
//! - [`vectors`]: which vector index suits the data, measured
//! - [`views`]: monitoring views in PostgreSQL, by lane
//! - [`server`]: the collector that `tune`, `doctor` and `init` use
//! - [`size`]: memory as PostgreSQL writes it
#![forbid(unsafe_code)]

pub mod doctor;
pub mod init;
pub mod schema;
pub mod server;
pub mod size;
pub mod tune;
pub mod vectors;
pub mod views;
