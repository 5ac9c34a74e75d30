//! From counters and a snapshot to metric families. They are built anew at each scrape: the counters live in the data
//! path, where no registry is asked, and a state that has to be fetched first fits no collector that answers at once.
//!
//! `families` gathers series under one name; `lanes`, `objectives`, `observed` and `process` say what there is to tell; `table` lists it all.

mod families;
mod lanes;
mod objectives;
mod observed;
mod process;
mod table;
#[cfg(test)]
mod tests;
mod usage;

use pglanes_proxy::view::AliasView;
use pglanes_proxy::{LeaseView, Metrics, View};
use prometheus::proto::MetricFamily;

use crate::Status;
use families::Families;
pub use table::{Definition, METRICS, reference};

/// What is asked for beside the view.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    pub(crate) aliases: Vec<AliasView>,
    pub(crate) leases: Vec<LeaseView>,
}

/// Every family that has a series, in the order of their writing.
pub(crate) fn families(
    metrics: &Metrics,
    view: &View,
    status: &Status,
    beside: &Beside,
) -> Vec<MetricFamily> {
    let mut families = Families::default();
    process::add(&mut families, metrics, view, status);
    process::add_aliases(&mut families, &beside.aliases);
    lanes::add(&mut families, metrics, view);
    lanes::add_leases(&mut families, &beside.leases);
    lanes::add_throttles(&mut families, view);
    objectives::add(&mut families, view);
    observed::add(&mut families, view);
    families.finish()
}
