//! The two workloads that fight: the memory system and the evaluation.
//!
//! Each has a pure iterator of operations, repeatable by seed, and an executor that runs them over tokio-postgres against a
//! [`Target`], which may be the server or a proxy before it. The memory system runs until it is told to [`Stop`]; the evaluation
//! is a fixed amount of work, so that its time can be compared. Both give a [`Report`].
//!
//! `session` is a connection that survives errors; `latencies` counts; `memory` and `evaluation` are the workloads.

mod evaluation;
mod latencies;
mod memory;
mod report;
mod session;
mod stop;
mod target;

pub use evaluation::{Evaluation, EvaluationOperation};
pub use latencies::Latencies;
pub use memory::{CompactionName, Memory, MemoryOperation};
pub use report::{OperationReport, Report};
pub use stop::{Stop, StopHandle};
pub use target::Target;
