//! Real clients, with what they do by default, over more sessions than there are server connections.
//!
//! - `python`, `node`, `java`, `perl`, `ruby`, `c`: programs, each of which lives its client's normal life many times at once and says
//!   `lived` when every row was its own
//! - `rust`: the clients that are crates
//! - [`runtimes`]: what the programs need, installed from its registry once and kept beside the build
//! - `life`: a program's run against a proxy with three server connections
//!
//! A client whose runtime is missing is ignored, says `SKIPPED` and why, and is counted in the last line. That is why these
//! tests are not run by the usual harness: what it ignores has to be known when it is compiled.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod life;
mod runtimes;
mod rust;

use std::future::Future;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use runtimes::Skipped;

fn main() {
    let arguments = Arguments::from_args();
    let list = arguments.list;
    let clients = vec![
        trial("psycopg_3", psycopg_3),
        trial("psycopg_pool", psycopg_pool),
        trial("psycopg_2", psycopg_2),
        trial("asyncpg", asyncpg),
        trial("sqlalchemy_on_psycopg", sqlalchemy_on_psycopg),
        trial("sqlalchemy_on_asyncpg", sqlalchemy_on_asyncpg),
        trial("django_orm", django_orm),
        trial("pgvector_python", pgvector_python),
        trial("langchain_postgres", langchain_postgres),
        trial("python_module", python_module),
        trial("node_postgres", node_postgres),
        trial("postgres_js", postgres_js),
        trial("pgjdbc", pgjdbc),
        trial("dbd_pg", dbd_pg),
        trial("ruby_pg", ruby_pg),
        trial("libpq_pipelines", libpq_pipelines),
        trial("tokio_postgres", tokio_postgres),
        trial("sqlx", sqlx),
        trial("diesel", diesel),
    ];
    let conclusion = libtest_mimic::run(&arguments, clients);
    if !list {
        println!(
            "clients: {} passed, {} failed, {} skipped",
            conclusion.num_passed, conclusion.num_failed, conclusion.num_ignored
        );
    }
    conclusion.exit();
}

/// A client as a test, with a runtime of its own.
fn trial<F, L>(name: &'static str, life: F) -> Trial
where
    F: FnOnce() -> L + Send + 'static,
    L: Future<Output = Result<(), Skipped>>,
{
    Trial::ignorable_test(name, move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().map_err(Failed::from)?;
        Ok(match runtime.block_on(life()) {
            Ok(()) => Completion::Completed,
            Err(Skipped(why)) => {
                eprintln!("SKIPPED {name}: {why}");
                Completion::ignored_with(why)
            }
        })
    })
}

async fn psycopg_3() -> Result<(), Skipped> {
    life::python(&["psycopg_3.py"]).await
}

async fn psycopg_pool() -> Result<(), Skipped> {
    life::python(&["psycopg_pool_3.py"]).await
}

async fn psycopg_2() -> Result<(), Skipped> {
    life::python(&["psycopg_2.py"]).await
}

async fn asyncpg() -> Result<(), Skipped> {
    life::python(&["asyncpg_pool.py"]).await
}

async fn sqlalchemy_on_psycopg() -> Result<(), Skipped> {
    life::python(&["sqlalchemy_2.py", "psycopg"]).await
}

async fn sqlalchemy_on_asyncpg() -> Result<(), Skipped> {
    life::python(&["sqlalchemy_2.py", "asyncpg"]).await
}

async fn django_orm() -> Result<(), Skipped> {
    life::python(&["django_orm.py"]).await
}

async fn pgvector_python() -> Result<(), Skipped> {
    life::python(&["pgvector_python.py"]).await
}

async fn langchain_postgres() -> Result<(), Skipped> {
    life::python(&["langchain_stores.py"]).await
}

async fn python_module() -> Result<(), Skipped> {
    life::python_module("pglanes_db_example.py").await
}

async fn node_postgres() -> Result<(), Skipped> {
    life::of(runtimes::node("node_postgres.js").await?).await
}

async fn postgres_js() -> Result<(), Skipped> {
    life::of(runtimes::node("postgres_js.js").await?).await
}

async fn pgjdbc() -> Result<(), Skipped> {
    life::of(runtimes::java("Life.java").await?).await
}

async fn dbd_pg() -> Result<(), Skipped> {
    life::of(runtimes::perl("dbd_pg.pl")?).await
}

async fn ruby_pg() -> Result<(), Skipped> {
    life::of(runtimes::ruby("ruby_pg.rb")?).await
}

async fn libpq_pipelines() -> Result<(), Skipped> {
    life::of(runtimes::c("pipelines.c").await?).await
}

async fn tokio_postgres() -> Result<(), Skipped> {
    rust::tokio_postgres::lives().await
}

async fn sqlx() -> Result<(), Skipped> {
    rust::sqlx::lives().await
}

async fn diesel() -> Result<(), Skipped> {
    rust::diesel::lives().await
}
