//! The crate's behaviour as a user sees it: `values` (what a file means), `mistakes` (what is said of a broken one),
//! `hostile` (what no file may do), `secrets` (what is never seen).

mod access;
mod hostile;
mod matching;
mod mistakes;
mod rules;
mod secrets;
mod values;
