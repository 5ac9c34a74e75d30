//! What a statement's text says about it, without parsing it: its kind, and what it does to
//! the session that runs it.
//!
//! `lexer` cuts text into tokens as PostgreSQL's `scan.l` does; `inspect` walks the tokens of
//! each statement and watches for calls (`set_config`, advisory locks, ...); `heads` knows how
//! the statements begin that make or undo session state; `body` looks into DO blocks. The
//! rest is asked only where an effect gives reason to (`settings`, `databases`) or a lane's rules do: `tags`, `tables`, `breadth`
//! (by key or in bulk), `normal` (without values). `one_setting` knows the setting that the proxy itself answers for.
//!
//! What is not seen: what functions, procedures and triggers do inside. Text is read as with
//! `standard_conforming_strings = on` and as an encoding whose letters hold no ASCII bytes (all
//! but SJIS, BIG5, GBK, UHC, JOHAB and their kin).

mod body;
mod breadth;
mod channels;
mod databases;
mod deallocate;
mod effects;
mod heads;
mod inspect;
mod kind;
mod lexer;
mod lexer_tables;
mod normal;
mod one_setting;
mod settings;
mod tables;
mod tags;
#[cfg(test)]
mod tests;

pub use breadth::is_bulk;
pub use channels::{Listening, channels};
pub use databases::database_named;
pub use deallocate::deallocated;
pub use effects::Effects;
pub use inspect::{Inspection, MAX_STATEMENTS, inspect};
pub use kind::StatementKind;
pub use normal::{MAX_NORMALISED, normalised};
pub use one_setting::{OneSetting, one_setting};
pub use settings::{custom_settings, ends_in_reset, set_config_dynamic, settings_named};
pub use tables::{MAX_TABLES, tables};
pub use tags::{MAX_TAG_COMMENT, MAX_TAGS, tags};
