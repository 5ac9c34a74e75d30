//! The lanes.yaml of a demo, and the proxy that runs by it.
//!
//! The lanes and throttles are those of config/lanes.yaml, or of a file of the user's; only where to listen and where
//! PostgreSQL is are the demo's own.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;
use pglanes_config::DEFAULT_FILE;
use pglanes_proxy::Proxy;
use pglanes_testbed::workload::Target;
use serde::Serialize;

/// The file beside a demo's lanes.yaml that holds PostgreSQL's password, if there is one.
const SECRET: &str = "postgres.secret";

/// Where PostgreSQL is, for the proxy.
#[derive(Clone)]
pub struct Upstream {
    /// A host, or the folder of a unix socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The folder of a unix socket that reaches it too.
    pub socket_directory: Option<PathBuf>,
    /// What users of the proxy are logged in with.
    pub password: Option<String>,
}

/// Where the proxy listens, on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// For clients of PostgreSQL; 0 is any that is free.
    pub listen: u16,
    /// For metrics and health.
    pub http: Option<u16>,
}

impl Ports {
    /// Any, and no HTTP: for a phase that nobody looks at.
    pub fn any() -> Ports {
        Ports {
            listen: 0,
            http: None,
        }
    }

    /// The usual ones, 6433 and 9433, or where they are taken any that are free.
    ///
    /// # Errors
    /// The system's, when there is no free port.
    pub fn usual() -> io::Result<Ports> {
        Ok(Ports {
            listen: free(6433)?,
            http: Some(free(9433)?),
        })
    }
}

/// The wished port if nothing listens on it, or another. Somebody may take it before we do; then the start fails and says so.
fn free(wished: u16) -> io::Result<u16> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, wished))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(bound.local_addr()?.port())
}

/// Lanes and throttles, as a file has them.
#[derive(Debug, Clone)]
pub struct Lanes {
    name: String,
    source: String,
}

impl Default for Lanes {
    /// Those of config/lanes.yaml.
    fn default() -> Lanes {
        Lanes {
            name: "the demo's lanes.yaml".to_owned(),
            source: DEFAULT_FILE.to_owned(),
        }
    }
}

impl Lanes {
    /// Those of a text, under a name of their own.
    pub fn named(name: &str, source: String) -> Lanes {
        Lanes {
            name: name.to_owned(),
            source,
        }
    }

    /// Those of a file.
    ///
    /// # Errors
    /// It cannot be read. Whether it holds is seen at the start.
    pub fn from_file(path: &Path) -> anyhow::Result<Lanes> {
        let name = path.display().to_string();
        let source =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        Ok(Lanes { name, source })
    }

    /// Where they come from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file with the demo's addresses in place of its own.
    pub fn written(&self, ports: Ports, upstream: &Upstream) -> String {
        let http = ports
            .http
            .map_or_else(|| "off".to_owned(), |port| format!("127.0.0.1:{port}"));
        let source = replaced(
            &self.source,
            "listen",
            &format!("listen: 127.0.0.1:{}\n", ports.listen),
        );
        let source = replaced(&source, "http", &format!("http: {http}\n"));
        replaced(&source, "upstream", &upstream.section(self.slots()))
    }

    /// The same as a file, for a proxy to read.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, ports: Ports, upstream: &Upstream) -> anyhow::Result<Folder> {
        let text = self.written(ports, upstream);
        Folder::make(&text, upstream.password.as_deref())
            .context("the demo's lanes.yaml cannot be written into the temporary folder")
    }

    /// Starts a proxy by them.
    ///
    /// # Errors
    /// The file does not hold, or a port is taken.
    pub fn start(&self, ports: Ports, upstream: &Upstream) -> anyhow::Result<Running> {
        let folder = self.write(ports, upstream)?;
        let proxy = Proxy::start(pglanes_config::load(&folder.file())?)?;
        let address = proxy.addresses().first().copied();
        let port = address.context("the proxy listens nowhere")?.port();
        Ok(Running { proxy, port })
    }

    /// The total of slots that the file names.
    fn slots(&self) -> u32 {
        let surroundings = pglanes_config::Process::default();
        // A file that does not hold is refused when it is read as a whole.
        pglanes_config::parse(&self.name, &self.source, &surroundings)
            .map_or(40, |config| config.upstream.slots)
    }
}

impl Upstream {
    fn section(&self, slots: u32) -> String {
        let encoded = |text: &str| -> String {
            let mut encoded = String::new();
            for byte in text.bytes() {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'/' => {
                        encoded.push(char::from(byte));
                    }
                    other => encoded.push_str(&format!("%{other:02X}")),
                }
            }
            encoded
        };
        let mut section = format!(
            "upstream:\n  url: \"postgresql:///?host={}&port={}\"\n  slots: {slots}\n",
            encoded(&self.host),
            self.port
        );
        if let Some(directory) = &self.socket_directory {
            // JSON's strings are YAML's too.
            let path = serde_json::Value::from(directory.display().to_string());
            section.push_str(&format!("  unix_socket: {path}\n"));
        }
        if self.password.is_some() {
            section.push_str(&format!("  password: {{ file: {SECRET} }}\n"));
        }
        section
    }
}

/// The text with one top-level section exchanged, or put at the beginning where there is none. Comments between sections stay.
fn replaced(text: &str, key: &str, section: &str) -> String {
    let opening = format!("{key}:");
    let Some(begin) = text
        .split_inclusive('\n')
        .scan(0, |at, line| {
            Some((std::mem::replace(at, *at + line.len()), line))
        })
        .find_map(|(at, line)| line.starts_with(&opening).then_some(at))
    else {
        return format!("{section}{text}");
    };
    let mut end = begin;
    for (number, line) in text[begin..].split_inclusive('\n').enumerate() {
        if number > 0 && !line.starts_with([' ', '\t']) {
            break;
        }
        end += line.len();
    }
    format!("{}{section}{}", &text[..begin], &text[end..])
}

/// A lanes.yaml with its secret, in a folder that nobody else reads; gone when this is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    fn make(text: &str, password: Option<&str>) -> io::Result<Folder> {
        // A process may hold several at a time.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("pglanes-demo-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Fails if it is there: nobody else's folder is written into.
        DirBuilder::new().mode(0o700).create(&path)?;
        let folder = Folder { path };
        std::fs::write(folder.file(), text)?;
        if let Some(password) = password {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            let mut secret = options.open(folder.path.join(SECRET))?;
            secret.write_all(password.as_bytes())?;
        }
        Ok(folder)
    }

    /// The lanes.yaml.
    pub fn file(&self) -> PathBuf {
        self.path.join("lanes.yaml")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A proxy that runs; dropping it ends it.
#[derive(Debug)]
pub struct Running {
    proxy: Proxy,
    port: u16,
}

/// What the lanes did meanwhile, from the proxy's own counters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Deeds {
    /// Backends whose CPU priority was lowered.
    pub priority_lowered: u64,
    /// Backends whose CPU priority could not be lowered.
    pub priority_refused: u64,
    /// Statements cancelled for a throttle.
    pub throttle_cancels: u64,
    /// Server connections opened.
    pub servers_opened: u64,
    /// Server connections closed because nobody could say what they owed.
    pub out_of_sync: u64,
    /// Waiting transactions that were turned away, by any bound.
    pub rejected: u64,
}

impl Running {
    /// The same database, through the lanes.
    pub fn target(&self, direct: &Target) -> Target {
        let mut target = direct.through("127.0.0.1", self.port);
        // Clients of the demo's proxy are trusted; what PostgreSQL asks for, the proxy knows.
        target.password = None;
        target
    }

    /// By which to talk to the proxy.
    pub fn handle(&self) -> pglanes_proxy::Handle {
        self.proxy.handle().clone()
    }

    /// What the lanes have done so far.
    pub async fn deeds(&self) -> Deeds {
        let metrics = self.proxy.handle().metrics();
        let view = self.proxy.handle().view().await;
        let lanes = view.map(|view| view.scheduler.lanes).unwrap_or_default();
        let rejected = lanes.iter().map(|lane| {
            lane.rejected_queue_full + lane.rejected_timed_out + lane.rejected_open_failed
        });
        let (priority_lowered, priority_refused) = metrics.priorities();
        Deeds {
            priority_lowered,
            priority_refused,
            throttle_cancels: metrics.throttle_cancels.get(),
            servers_opened: metrics.servers_opened.get(),
            out_of_sync: metrics.out_of_sync.get(),
            rejected: rejected.sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use pglanes_config::{Config, ListenAddress, UnixSocket, UpstreamAddress};

    use super::*;

    fn upstream() -> Upstream {
        Upstream {
            host: "db.local".to_owned(),
            port: 5433,
            socket_directory: Some(PathBuf::from("/tmp/a \"place\"")),
            password: Some("canary".to_owned()),
        }
    }

    fn read(lanes: &Lanes, ports: Ports) -> (String, Config) {
        let folder = lanes.write(ports, &upstream()).unwrap();
        let text = std::fs::read_to_string(folder.file()).unwrap();
        let config = pglanes_config::load(&folder.file()).unwrap();
        let path = folder.path.clone();
        drop(folder);
        assert!(!path.exists());
        (text, config)
    }

    #[test]
    fn the_written_file_is_the_default_one_with_other_addresses() {
        let ports = Ports {
            listen: 7001,
            http: Some(7002),
        };
        let (text, config) = read(&Lanes::default(), ports);
        assert_eq!(
            config.listen,
            [ListenAddress::Tcp("127.0.0.1:7001".parse().unwrap())]
        );
        assert_eq!(config.http, Some("127.0.0.1:7002".parse().unwrap()));
        assert_eq!(
            config.upstream.address,
            UpstreamAddress::Tcp {
                host: "db.local".to_owned(),
                port: 5433
            }
        );
        assert_eq!(
            config.upstream.unix_socket,
            UnixSocket::Path(PathBuf::from("/tmp/a \"place\""))
        );
        let default = Config::default();
        assert_eq!(config.upstream.slots, default.upstream.slots);
        assert_eq!(config.throttles, default.throttles);
        let names = |config: &Config| -> Vec<String> {
            let lanes = config.lanes.iter();
            lanes.map(|lane| lane.name.clone()).collect()
        };
        assert_eq!(names(&config), names(&default));
        assert!(!text.contains("canary"));
        assert_eq!(config.upstream.password.unwrap().expose(), "canary");
    }

    #[test]
    fn a_file_without_addresses_gets_them() {
        let lanes = Lanes {
            name: "mine".to_owned(),
            source: "lanes:\n  default: { slots: { max: 3 } }\n".to_owned(),
        };
        let (_, config) = read(&lanes, Ports::any());
        assert_eq!(config.http, None);
        assert_eq!(config.lanes.len(), 1);
    }

    #[test]
    fn replacing_a_section_leaves_its_neighbours() {
        let text = "# a\na: 1\n# b\nb:\n  x: 1\n\n# c\nc: 3\n";
        assert_eq!(
            replaced(text, "b", "b: 2\n"),
            "# a\na: 1\n# b\nb: 2\n\n# c\nc: 3\n"
        );
        assert_eq!(replaced("c: 3", "c", "c: 4\n"), "c: 4\n");
        assert_eq!(replaced(text, "d", "d: 4\n"), format!("d: 4\n{text}"));
    }
}
