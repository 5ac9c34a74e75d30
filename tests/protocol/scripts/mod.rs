//! The cases of the comparison, by subject.

mod batches;
mod copy;
mod names;
mod random;
mod simple;
mod transactions;

use pglanes_tests::Script;

/// Where every script begins.
fn s() -> Script {
    Script::new()
}
