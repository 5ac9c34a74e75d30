//! What a slowed backend that holds a lock does to a protected lane, while other work wants every CPU: a row lock, held
//! over some computing, and lightweight locks (buffers, the WAL), held within bulk inserts. Each arm runs the background
//! lane at another priority; the protected lane's latencies are what counts.
//!
//! Arms are interleaved over the repetitions. It needs the rights to set priorities (root, or PostgreSQL's own user), and
//! `chrt` of util-linux for the arm that compares the scheduling policies.
//!
//! `cargo bench -p pglanes-benches --bench inversion -- --help` names the options.

mod clock;
mod load;
mod report;
mod world;

use clap::Parser;

use world::World;

/// Measures what a slowed backend that holds a lock does to a protected lane.
#[derive(Debug, Clone, Parser)]
#[command(name = "inversion")]
struct Arguments {
    /// How long each arm runs.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How often every arm is repeated.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repetitions: u32,
    /// Backends at normal priority that compute all the time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=64))]
    busy: u32,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the background lane holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lock {
    Row,
    Lightweight,
}

/// How the background lane's backends run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Arm {
    /// No background at all.
    Alone,
    Normal,
    Low,
    /// `background`, and nobody observes.
    Background,
    /// The same with SCHED_IDLE in the place of SCHED_BATCH.
    Idle,
    /// `background`, and lifted while somebody waits.
    Lifted,
}

const ARMS: [Arm; 6] = [
    Arm::Alone,
    Arm::Normal,
    Arm::Low,
    Arm::Background,
    Arm::Idle,
    Arm::Lifted,
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut report = report::Report::default();
    runtime.block_on(async {
        for repetition in 0..arguments.repetitions {
            for lock in [Lock::Row, Lock::Lightweight] {
                for place in 0..ARMS.len() {
                    let arm = ARMS[(place + repetition as usize) % ARMS.len()];
                    let world = World::start(arm, lock, arguments.busy).await?;
                    let measured = world.measure(arguments.seconds).await?;
                    eprintln!("{lock:?} {arm:?}: {measured}");
                    report.add(lock, arm, measured);
                }
            }
        }
        anyhow::Ok(())
    })?;
    println!("\n{report}");
    Ok(())
}
