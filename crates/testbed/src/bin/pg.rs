//! A throw-away PostgreSQL with pgvector by hand: prints its URL and its socket folder, and ends with its standard input. With a
//! number as its argument it fills the database `postgres` with the memory system's tables and that many messages first.

use std::error::Error;
use std::io::{Read as _, Write as _};

use pglanes_testbed::{Postgres, schema};

fn main() -> Result<(), Box<dyn Error>> {
    let rows = std::env::args()
        .nth(1)
        .map(|argument| argument.parse::<u64>())
        .transpose()?;
    let postgres = Postgres::builder().max_connections(300).start()?;
    if let Some(rows) = rows {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(fill(&postgres, rows))?;
    }
    let mut output = std::io::stdout();
    writeln!(output, "{}", postgres.url("postgres"))?;
    writeln!(
        output,
        "socket {} port {} pid {}",
        postgres.socket_dir().display(),
        postgres.port(),
        postgres.pid().unwrap_or_default()
    )?;
    writeln!(
        output,
        "{}, {}",
        postgres.binaries().version(),
        postgres.bin_dir().display()
    )?;
    output.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

async fn fill(postgres: &Postgres, rows: u64) -> Result<(), Box<dyn Error>> {
    let client = postgres.connect("postgres").await?;
    schema::load(&client, rows, 1, &|_, _| {}).await?;
    Ok(())
}
