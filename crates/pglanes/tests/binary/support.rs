//! The real binary: started, listened to, signalled, and gone when its test is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use pglanes_admin::text_format::Exposition;
use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::{Client, NoTls};

/// How long anything may take on a machine that has other things to do. Reached only by a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of one's own, removed with the value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("pglanes-binary-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file as editors do: beside, then in its place.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        let beside = self.0.join(format!("{name}.new"));
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The binary, untouched by the environment that the tests run in.
pub(crate) fn pglanes(folder: &Folder) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pglanes"));
    command
        .current_dir(folder.path())
        .env_remove("RUST_LOG")
        .env_remove("PGLANES_CONFIG")
        .env("XDG_STATE_HOME", folder.path().join("state"))
        .stdin(Stdio::null());
    command
}

/// What a command that ends by itself printed, and how it ended.
pub(crate) fn run(folder: &Folder, arguments: &[&str]) -> Output {
    pglanes(folder).args(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A lanes.yaml of a proxy on free ports; `rest` are further sections.
pub(crate) fn lanes_yaml(upstream: &str, rest: &str) -> String {
    format!(
        "listen: 127.0.0.1:0\nhttp: 127.0.0.1:0\nlogging: {{ format: json }}\nupstream: {upstream}\n{rest}"
    )
}

/// Nobody listens there.
pub(crate) const NOWHERE: &str = "{ url: \"postgresql://127.0.0.1:1\", unix_socket: off }";

/// A `pglanes serve`.
pub(crate) struct Serving {
    child: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
    pub(crate) clients: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Serving {
    /// Starts it on the folder's lanes.yaml and waits until it serves.
    pub(crate) fn start(folder: &Folder) -> Self {
        Self::start_command(pglanes(folder))
    }

    /// As [`Self::start`], with a command that is the binary in its folder.
    pub(crate) fn start_command(mut command: Command) -> Self {
        let mut child = command
            .args(["serve", "--config", "lanes.yaml"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = sync_channel(10_000);
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut serving = Self {
            child,
            lines,
            heard: Vec::new(),
            clients: nowhere,
            http: nowhere,
        };
        let line = serving.hear("\"serving\"");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = |key: &str| line[key].as_str().unwrap().parse().unwrap();
        serving.clients = address("clients");
        serving.http = address("http");
        serving
    }

    /// Waits for a line of the log that has these words.
    pub(crate) fn hear(&mut self, words: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("`{words}` was not logged, but {:#?}", self.heard);
            };
            self.heard.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
    }

    /// How many of the lines that were heard so far have these words.
    pub(crate) fn heard(&self, words: &str) -> usize {
        let lines = self.heard.iter();
        lines.filter(|line| line.contains(words)).count()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        // Its log ends when it does.
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.heard.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                    return self.child.wait().unwrap();
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    panic!("it does not end: {:#?}", self.heard)
                }
            }
        }
    }

    /// The status and the body of a GET.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// A client of this name, through the proxy.
    pub(crate) async fn connect(&self, application_name: &str) -> Client {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.clients.port());
        config
            .user("postgres")
            .dbname("postgres")
            .application_name(application_name);
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// The metrics, read strictly.
    pub(crate) fn metrics(&self) -> Exposition {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, 200, "{body}");
        Exposition::parse(&body).unwrap_or_else(|error| panic!("{error} in\n{body}"))
    }

    /// One number of the metrics.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let value = self.metrics().value(name, labels);
        value.unwrap_or_else(|| panic!("no {name} {labels:?}"))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let steps = PATIENCE.as_millis() / 50;
    for _ in 0..steps {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}
