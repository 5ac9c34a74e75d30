//! Programs, run to their end.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{LIMIT, Proxy, Target};

/// What a program said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Whether it ended with 0.
    pub succeeded: bool,
    /// Its standard output, without the last line's end.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a program to its end, aside of the test's runtime.
///
/// # Panics
/// If it cannot be started, or has not ended after `limit`; it is killed then.
pub async fn run(mut command: Command, limit: Duration) -> Output {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let shown = format!("{:?}", command.get_program());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{shown}: {error}"));
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let ended = tokio::time::timeout(limit, wait(&mut child)).await.ok();
    if ended.is_none() {
        // It may have ended by itself just now.
        let _ = child.kill();
        let _ = child.wait();
    }
    let output = Output {
        succeeded: ended.unwrap_or(false),
        stdout: stdout.await.expect("a reader ends").trim_end().to_owned(),
        stderr: stderr.await.expect("a reader ends"),
    };
    assert!(
        ended.is_some(),
        "{shown} did not end within {limit:?}: {output:?}"
    );
    output
}

async fn wait(child: &mut Child) -> bool {
    loop {
        if let Some(status) = child.try_wait().expect("our own child") {
            return status.success();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> tokio::task::JoinHandle<String> {
    tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before a broken pipe is all there is.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Runs psql against the proxy: bare rows (`-At`), no `.psqlrc`, stopping at the first error. `arguments` come behind that.
pub async fn psql(proxy: &Proxy, application_name: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(proxy.pg().server().psql_path());
    command
        .args(["-X", "-At", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"])
        .args(["-p", &proxy.port().to_string(), "-U", "postgres"])
        .args(["-d", proxy.database()])
        .args(arguments)
        .env("PGAPPNAME", application_name)
        .env("PGCONNECT_TIMEOUT", "20");
    run(command, LIMIT).await
}
