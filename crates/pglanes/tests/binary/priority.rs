//! The priority of backends, by who pglanes is: root, PostgreSQL's own user, and a stranger. Only root can be all of them.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;

use crate::support::{Folder, Serving, eventually, lanes_yaml, pglanes};
use pglanes_testbed::Postgres;

const LANES: &str = "auth: { method: trust }
lanes:
  slow: { match: [{ application_name: 'slow*' }], cpu: background }
  default: {}
";

/// A user and a group.
#[derive(Clone, Copy)]
struct Account(u32, u32);

/// Serves as somebody, and asks for a backend of the slow lane; `seen` is given the proxy and the backend's number.
fn serve_as(account: Option<Account>, seen: impl FnOnce(&mut Serving, u32)) {
    let postgres = pglanes_testbed::shared().unwrap();
    let folder = Folder::new();
    // Another user must be able to read what it serves by, and to run it.
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let upstream = format!(
        "{{ url: \"{}\", unix_socket: \"{}\" }}",
        postgres.url("postgres"),
        postgres.socket_dir().display()
    );
    let file = folder.write("lanes.yaml", &lanes_yaml(&upstream, LANES));
    std::fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
    let mut command = pglanes(&folder);
    if let Some(Account(user, group)) = account {
        let copy = folder.path().join("pglanes");
        std::fs::copy(env!("CARGO_BIN_EXE_pglanes"), &copy).unwrap();
        command = std::process::Command::new(copy);
        command.current_dir(folder.path()).uid(user).gid(group);
    }
    let mut serving = Serving::start_command(command);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // The connection stays open, and says nothing more.
    let (_client, pid) = runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(serving.clients.port())
            .user("postgres")
            .dbname("postgres")
            .application_name("slow");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let row = client.query_one("SELECT pg_backend_pid()", &[]).await;
        let pid: i32 = row.unwrap().get(0);
        (client, u32::try_from(pid).unwrap())
    });
    seen(&mut serving, pid);
}

/// The nice values of a process and of its session.
fn nice(pid: u32) -> (i32, Option<i32>) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let nice = fields.split_whitespace().nth(16).unwrap().parse().unwrap();
    let session = std::fs::read_to_string(format!("/proc/{pid}/autogroup")).ok();
    let session = session.and_then(|text| text.split_whitespace().last()?.parse().ok());
    (nice, session)
}

fn is_lowered(serving: &mut Serving, pid: u32) {
    eventually("the backend was lowered", || {
        serving.metric(
            "pglanes_backend_priority_total",
            &[("lane", "slow"), ("change", "set")],
        ) == 1.0
    });
    let (nice, session) = nice(pid);
    assert_eq!(nice, 19);
    assert!(session.is_none_or(|session| session == 19), "{session:?}");
}

/// Who PostgreSQL runs as.
fn owner(postgres: &Postgres) -> Account {
    let data = std::fs::metadata(postgres.data_dir()).unwrap();
    Account(data.uid(), data.gid())
}

#[test]
fn root_may_lower_backends() {
    if !cfg!(target_os = "linux") || !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: root's rights; this is not root on Linux");
        return;
    }
    serve_as(None, is_lowered);
}

#[test]
fn the_servers_own_user_may_lower_backends() {
    if !cfg!(target_os = "linux") {
        eprintln!("SKIPPED: there is no /proc to look into");
        return;
    }
    let postgres = pglanes_testbed::shared().unwrap();
    let is_root = rustix::process::geteuid().is_root();
    serve_as(is_root.then(|| owner(postgres)), is_lowered);
}

#[test]
fn a_stranger_is_refused_and_told_what_to_grant() {
    if !cfg!(target_os = "linux") || !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: a stranger's rights; only root can become one");
        return;
    }
    // Nobody's number on any system that is set up as usual.
    let stranger = Account(65_123, 65_123);
    serve_as(Some(stranger), |serving, pid| {
        let line = serving.hear("not_permitted");
        assert!(
            line.contains("User=postgres") && line.contains("CAP_SYS_NICE"),
            "{line}"
        );
        let labels = [("lane", "slow"), ("reason", "not_permitted")];
        assert_eq!(
            serving.metric("pglanes_backend_priority_refused_total", &labels),
            1.0
        );
        assert!(nice(pid).0 < 19);
    });
}
