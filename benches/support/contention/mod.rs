//! The contention bench, apart from its command line: `arguments` says what is asked for, `measure` repeats the phases,
//! `route` is a way to PostgreSQL and `proof` those that are compared to show what each lever does; `statistics` says how
//! sure the medians are, `report` puts them together, `trade_off` is the short table and the picture.

pub mod arguments;
pub mod measure;
mod proof;
pub mod report;
mod route;
pub mod statistics;
pub mod trade_off;
