//! The figures as tables and as JSON.

use serde::Serialize;

use crate::arguments::Arguments;
use crate::idle::Idle;
use crate::large::Large;
use crate::path::{Bench, Path, SLOTS};
use crate::spread::Spread;
use crate::transactions::Cell;

/// All that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    postgres: String,
    pgbouncer: Option<String>,
    /// Whether pglanes was its data path alone, or a binary.
    pglanes: String,
    processors: usize,
    slots: u32,
    seconds: u64,
    rounds: u32,
    pub(crate) transactions: Vec<Cell>,
    pub(crate) idle: Vec<Idle>,
    pub(crate) large: Large,
}

impl Report {
    pub(crate) fn new(bench: &Bench<'_>, arguments: &Arguments) -> Self {
        Self {
            postgres: bench.postgres.binaries().version().to_owned(),
            pgbouncer: bench.pgbouncer.as_ref().map(|found| found.version.clone()),
            pglanes: match &bench.pglanes {
                Some(_) => "the binary".to_owned(),
                None => "its data path alone".to_owned(),
            },
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            slots: SLOTS,
            seconds: arguments.seconds(),
            rounds: arguments.rounds(),
            transactions: Vec::new(),
            idle: Vec::new(),
            large: Large::default(),
        }
    }

    pub(crate) fn print_head(&self) {
        let pgbouncer = self.pgbouncer.as_deref().unwrap_or("no PgBouncer");
        println!(
            "{}; {pgbouncer}; pglanes: {}; {} processors, {} server connections, {} rounds of {} s.",
            self.postgres, self.pglanes, self.processors, self.slots, self.rounds, self.seconds
        );
        println!("Medians; ratios are of neighbours in one round: median (least to greatest).");
    }

    pub(crate) fn print_transactions(&self) {
        println!("\npgbench -S");
        println!(
            "{:<9} {:>7}  {:<23} {:>8} {:>8} {:>8} {:>8} {:>10}",
            "mode", "clients", "path", "tx/s", "avg us", "p50 us", "p99 us", "CPU us/tx"
        );
        for cell in &self.transactions {
            for measured in &cell.paths {
                println!(
                    "{:<9} {:>7}  {:<23} {:>8} {:>8} {:>8} {:>8} {:>10}",
                    cell.mode.name(),
                    cell.clients,
                    measured.path.title(),
                    median(measured.transactions_per_second, 0),
                    median(measured.average_us, 0),
                    median(measured.p50_us, 0),
                    median(measured.p99_us, 0),
                    median(measured.cpu_us_per_transaction, 1),
                );
            }
            if let Some(reason) = &cell.skipped {
                println!(
                    "{:<9} {:>7}  skipped: {reason}",
                    cell.mode.name(),
                    cell.clients
                );
            }
        }
        self.print_transaction_ratios();
    }

    fn print_transaction_ratios(&self) {
        println!(
            "\n{:<9} {:>7}  {:<45} {:>18} {:>18} {:>18}",
            "mode", "clients", "ratio", "tx/s", "p50", "CPU/tx"
        );
        for cell in &self.transactions {
            for ratio in &cell.ratios {
                println!(
                    "{:<9} {:>7}  {:<45} {:>18} {:>18} {:>18}",
                    cell.mode.name(),
                    cell.clients,
                    pair(ratio.path, ratio.to),
                    range(ratio.transactions_per_second),
                    range(ratio.p50),
                    range(ratio.cpu_per_transaction),
                );
            }
        }
    }

    pub(crate) fn print_idle(&self) {
        println!("\nMemory of idle clients, each after one transaction");
        for idle in &self.idle {
            println!(
                "{:<23} {:>6} clients  {:>7.0} bytes each (resident {} -> {} kB)",
                idle.path.title(),
                idle.clients,
                idle.bytes_per_client,
                idle.resident_before / 1024,
                idle.resident_after / 1024,
            );
        }
    }

    pub(crate) fn print_large(&self) {
        println!("\nOne result of {} MB", self.large.bytes / 1_000_000);
        println!("{:<23} {:>8} {:>14}", "path", "seconds", "pooler's CPU s");
        for measured in &self.large.paths {
            println!(
                "{:<23} {:>8} {:>14}",
                measured.path.title(),
                median(measured.seconds, 3),
                median(measured.cpu_seconds, 3),
            );
        }
        println!("{:<45} {:>18} {:>18}", "ratio", "seconds", "CPU");
        for ratio in &self.large.ratios {
            println!(
                "{:<45} {:>18} {:>18}",
                pair(ratio.path, ratio.to),
                range(ratio.seconds),
                range(ratio.cpu_seconds),
            );
        }
    }
}

fn pair(path: Path, to: Path) -> String {
    format!("{} / {}", path.title(), to.title())
}

fn median(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(
        || "-".to_owned(),
        |spread| format!("{:.digits$}", spread.median),
    )
}

fn range(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "-".to_owned(),
        |Spread { min, median, max }| format!("{median:.2} ({min:.2}-{max:.2})"),
    )
}
