//! The contention bench, apart from its command line: `arguments` says what is asked for, `measure` repeats the phases,
//! `statistics` says how sure the medians are, `report` puts them together.

pub mod arguments;
pub mod measure;
pub mod report;
pub mod statistics;
