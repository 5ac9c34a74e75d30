//! A server, a proxy before it with a protected and a background lane, and what runs on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use pglanes_config::Config;
use pglanes_proxy::Proxy;
use pglanes_testbed::Postgres;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::load::{self, Client};
use crate::report::Measured;
use crate::{Arm, Lock};

/// Clients of the background lane, and of the protected one.
const BACKGROUND: usize = 4;
const PROTECTED: usize = 2;
/// What is not measured at the start of each arm.
const WARM_UP: Duration = Duration::from_secs(1);

/// One arm, set up and not yet running.
pub(crate) struct World {
    postgres: Postgres,
    proxy: Proxy,
    arm: Arm,
    lock: Lock,
    busy: u32,
}

impl World {
    pub(crate) async fn start(arm: Arm, lock: Lock, busy: u32) -> anyhow::Result<Self> {
        let starting = || Postgres::builder().setting("autovacuum", "off").start();
        let postgres = tokio::task::spawn_blocking(starting).await??;
        let client = postgres.connect("postgres").await?;
        client.batch_execute(load::TABLES).await?;
        let proxy = Proxy::start(config(&postgres, arm)?)?;
        Ok(Self {
            postgres,
            proxy,
            arm,
            lock,
            busy,
        })
    }

    async fn client(&self, name: &str) -> anyhow::Result<Client> {
        let port = self.proxy.addresses().first().context("an address")?.port();
        Client::connect(port, name).await
    }

    /// Runs it, and takes it down.
    pub(crate) async fn measure(self, seconds: u64) -> anyhow::Result<Measured> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut observing = None;
        if self.arm == Arm::Lifted {
            let (sender, configs) = watch::channel(config(&self.postgres, self.arm)?);
            let watching = pglanes::observe::watch(configs, self.proxy.handle().clone());
            observing = Some((sender, tokio::spawn(watching)));
        }
        let mut others = JoinSet::new();
        for _ in 0..self.busy {
            let client = Client::connect(self.postgres.port(), "busy").await?;
            others.spawn(load::compute(client, Arc::clone(&stop)));
        }
        let mut background = JoinSet::new();
        if self.arm != Arm::Alone {
            let mut pids = Vec::new();
            for _ in 0..BACKGROUND {
                let client = self.client("slow").await?;
                pids.push(client.pid().await?);
                background.spawn(load::hold(client, self.lock, Arc::clone(&stop)));
            }
            if self.arm == Arm::Idle {
                tokio::time::sleep(WARM_UP / 2).await;
                make_idle(&self.postgres).await?;
            }
        }
        tokio::time::sleep(WARM_UP).await;
        let mut protected = JoinSet::new();
        for _ in 0..PROTECTED {
            let client = self.client("protected").await?;
            protected.spawn(load::short(client, self.lock, Duration::from_secs(seconds)));
        }
        let mut measured = Measured::default();
        while let Some(latencies) = protected.join_next().await {
            measured.latencies.extend(latencies??);
        }
        stop.store(true, Ordering::Relaxed);
        // What still computes is cut off with the server: an arm's end does not wait for the slow.
        let counting = async {
            let mut done = 0;
            while let Some(count) = background.join_next().await {
                done += count??;
            }
            anyhow::Ok(done)
        };
        let patience = Duration::from_secs(20);
        measured.background = tokio::time::timeout(patience, counting)
            .await
            .unwrap_or(Ok(0))?;
        measured.background_per_second = measured.background as f64 / seconds as f64;
        let (set, refused) = self.proxy.handle().metrics().priorities();
        anyhow::ensure!(
            refused == 0,
            "{refused} priorities could not be set, {set} could"
        );
        drop(observing);
        others.abort_all();
        let (proxy, postgres) = (self.proxy, self.postgres);
        tokio::task::spawn_blocking(move || {
            drop(proxy);
            drop(postgres);
        })
        .await?;
        Ok(measured)
    }
}

fn config(postgres: &Postgres, arm: Arm) -> anyhow::Result<Config> {
    let cpu = match arm {
        Arm::Alone | Arm::Normal => "normal",
        Arm::Low => "low",
        Arm::Background | Arm::Idle | Arm::Lifted => "background",
    };
    let text = format!(
        "listen: 127.0.0.1:0\nhttp: off\nupstream: {{ url: \"{}\", unix_socket: \"{}\" }}\nauth: {{ method: trust }}\n\
         lanes:\n  protected: {{ match: [{{ application_name: protected }}], priority: 10 }}\n  \
         slow: {{ match: [{{ application_name: slow }}], cpu: {cpu} }}\n  default: {{}}\nthrottles: []\n",
        postgres.url("postgres"),
        postgres.socket_dir().display()
    );
    let config = pglanes_config::parse("lanes.yaml", &text, &pglanes_config::Process::default());
    config.map_err(|mistakes| anyhow::anyhow!("{mistakes}"))
}

/// Gives lowered backends the other policy, as `chrt` does it.
async fn make_idle(postgres: &Postgres) -> anyhow::Result<()> {
    let client = postgres.connect("postgres").await?;
    let slow = "SELECT pid FROM pg_stat_activity WHERE application_name = 'slow'";
    for row in client.query(slow, &[]).await? {
        let pid: i32 = row.get(0);
        let changed = tokio::process::Command::new("chrt")
            .args(["--idle", "--pid", "0", &pid.to_string()])
            .status();
        anyhow::ensure!(changed.await?.success(), "chrt did not change {pid}");
    }
    Ok(())
}
