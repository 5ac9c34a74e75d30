//! A throw-away PostgreSQL with pgvector by hand: prints its URL and its socket folder, and ends with its standard input.

use std::io::{Read as _, Write as _};

use pglanes_testbed::Postgres;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let postgres = Postgres::builder().max_connections(300).start()?;
    let mut output = std::io::stdout();
    writeln!(output, "{}", postgres.url("postgres"))?;
    writeln!(
        output,
        "socket {} port {} pid {}",
        postgres.socket_dir().display(),
        postgres.port(),
        postgres.pid().unwrap_or(0)
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
