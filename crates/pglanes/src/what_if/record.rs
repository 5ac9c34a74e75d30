//! `pglanes record`: what a live proxy runs, written to a file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use pglanes_admin::recording::format::Line;
use pglanes_auth::Secret;
use pglanes_config::Config;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::ask::{CLOSE_TO_NOW, reachable};
use crate::state::token_of;

/// The longest line that is taken, in bytes.
const LONGEST_LINE: u64 = 1024;
/// The most lines of an answer's header.
const MOST_HEADERS: usize = 64;
/// How long a proxy may be silent: it tells the time once a second.
const SILENCE: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file to write; it must not be there
    #[arg(value_name = "TRACE")]
    output: PathBuf,
    /// How long to record, such as 90s or 15m [default: until interrupted]
    #[arg(long = "for", value_name = "TIME", value_parser = pglanes_config::read_duration)]
    length: Option<Duration>,
}

/// What was written.
#[derive(Debug, Default)]
struct Written {
    transactions: u64,
    at: Duration,
    lost: u64,
}

/// Records, and says what was recorded.
///
/// # Errors
/// The proxy cannot be asked, or the file not be written. What was written before stays, and can be read.
pub(crate) async fn run(arguments: &Arguments, config: &Config) -> anyhow::Result<String> {
    let address = config.http.ok_or_else(|| {
        anyhow!("lanes.yaml says `http: off`, and a recording is asked for over HTTP")
    })?;
    let token = token_of(config).map_err(|why| anyhow!("{why}"))?;
    let mut from = open(reachable(address), &token).await?;
    let mut written = Written::default();
    // A line is written at once, or waits for a whole buffer: nobody else waits in this process.
    let file = File::create_new(&arguments.output)
        .with_context(|| format!("cannot write {}", arguments.output.display()))?;
    eprintln!("pglanes record: recording; end it with Ctrl-C");
    let end = arguments.length.map(|length| Instant::now() + length);
    let mut file = BufWriter::new(file);
    let copied = tokio::select! {
        copied = copy(&mut from, &mut file, &mut written) => copied,
        () = wait_until(end) => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.context("no signal can be heard"),
    };
    let flushed = file.flush();
    copied?;
    flushed.with_context(|| format!("cannot write {}", arguments.output.display()))?;
    Ok(said(&arguments.output, &written))
}

fn said(output: &Path, written: &Written) -> String {
    let lost = match written.lost {
        0 => String::new(),
        lost => format!("; {lost} more found no room on the way and are not in it"),
    };
    format!(
        "{}: {} transactions in {:.1} s{lost}\n",
        output.display(),
        written.transactions,
        written.at.as_secs_f64()
    )
}

async fn wait_until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Asks for a recording, and reads up to its first line.
async fn open(address: SocketAddr, token: &Secret<String>) -> anyhow::Result<BufReader<TcpStream>> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        // Version 1.0: the answer comes as it is, without chunks, and ends with the connection.
        let request = Secret::new(format!(
            "GET /recording HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\r\n",
            token.expose()
        ));
        stream.write_all(request.expose().as_bytes()).await?;
        std::io::Result::Ok(BufReader::new(stream))
    };
    let asked = tokio::time::timeout(CLOSE_TO_NOW, asked).await;
    let mut from = asked
        .map_err(|_| anyhow!("no answer within {CLOSE_TO_NOW:?}"))
        .and_then(|asked| Ok(asked?))
        .with_context(|| format!("no proxy answers at http://{address} (lanes.yaml: http)"))?;
    let status = line(&mut from).await?.unwrap_or_default();
    let code = status.split(' ').nth(1).unwrap_or_default().to_owned();
    for _ in 0..MOST_HEADERS {
        if line(&mut from)
            .await?
            .is_none_or(|header| header.is_empty())
        {
            break;
        }
    }
    match code.as_str() {
        "200" => Ok(from),
        "401" => bail!("the proxy at http://{address} takes another token"),
        "404" => bail!("the proxy at http://{address} is of a version that records nothing"),
        "409" => bail!("another recording goes on: one at a time"),
        _ => bail!("what answers at http://{address} is no pglanes"),
    }
}

/// Copies whole lines until the proxy ends.
async fn copy(
    from: &mut BufReader<TcpStream>,
    to: &mut BufWriter<File>,
    written: &mut Written,
) -> anyhow::Result<()> {
    while let Some(text) = line(from).await? {
        let line = text
            .parse::<Line>()
            .context("the proxy says what is no line of a trace")?;
        writeln!(to, "{text}").context("the trace cannot be written")?;
        match line {
            Line::Transaction(_) => written.transactions += 1,
            Line::At { at, lost } => {
                written.at = at;
                written.lost = lost;
                // What is killed leaves all but its last second.
                to.flush().context("the trace cannot be written")?;
            }
            Line::Header { .. } | Line::Lane { .. } | Line::Lease { .. } => {}
        }
    }
    Ok(())
}

/// The next whole line without its end; none at the end.
async fn line(from: &mut (impl AsyncBufRead + Unpin)) -> anyhow::Result<Option<String>> {
    let mut bytes = Vec::new();
    let mut limited = from.take(LONGEST_LINE);
    let read = limited.read_until(b'\n', &mut bytes);
    let read = tokio::time::timeout(SILENCE, read).await;
    read.map_err(|_| anyhow!("the proxy has said nothing for {SILENCE:?}"))??;
    if bytes.pop() != Some(b'\n') {
        // What is cut off at the end is no line.
        return Ok(None);
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(Some(
        String::from_utf8(bytes).context("the proxy says what is no text")?,
    ))
}
