//! What ends a server whose owner cannot: a shell that waits on a pipe from the owner. The system closes the pipe when the
//! owner ends, by whatever signal; then the shell ends the postmaster and removes the folder.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::directory::Afterwards;
use crate::TestbedError;

/// Ends the postmaster of the folder `$1`, at once (SIGQUIT), by force after five seconds, and removes the folder. The process
/// must have the folder in its command line: a process id may have come to belong to someone else.
const REAP: &str = r#"
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
ours() { ps -ww -o args= -p "$pid" 2>/dev/null | grep -qF "$1/data"; }
if [ -n "$pid" ] && ours "$1"; then
    kill -QUIT "$pid"
    for tick in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do
        ours "$1" || break
        sleep 0.2
    done
    ours "$1" && kill -KILL "$pid"
fi
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
"#;

/// Ends the postmaster of a folder that stays in good order (SIGINT: a fast shutdown).
const CLOSE: &str = r#"
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && ps -ww -o args= -p "$pid" 2>/dev/null | grep -qF "$1/data"; then
    kill -INT "$pid"
fi
"#;

/// Waits for the end of the pipe, deaf to the signals that a terminal sends to everyone.
const WAIT: &str = "trap '' HUP INT TERM\nwhile read -r line; do :; done\n";

/// The shell that watches over one server.
#[derive(Debug)]
pub(super) struct Supervisor {
    shell: Child,
}

impl Supervisor {
    /// Watches over the folder of a server from now on.
    pub(super) fn watch(root: &Path, afterwards: Afterwards) -> Result<Supervisor, TestbedError> {
        let end = match afterwards {
            Afterwards::Removed => REAP,
            Afterwards::Kept => CLOSE,
        };
        let shell = shell(root, &format!("{WAIT}{end}"))
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| TestbedError::Program {
                program: "sh".to_owned(),
                output: error.to_string(),
            })?;
        Ok(Supervisor { shell })
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Closing the pipe is the signal to end; the folder is gone by now, so there is nothing left to do for the shell.
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Does at once, for a folder whose owner is gone, what its supervisor would have done.
pub(super) fn reap(root: &Path) {
    // Failing leaves the leftover as it is, for the next start to try again.
    let _ = shell(root, REAP).stdin(Stdio::null()).status();
}

/// A shell in its own process group, with the folder as `$1`, that keeps none of our outputs open: whoever reads them to
/// their end must not wait for it.
fn shell(root: &Path, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "pglanes-testbed"]).arg(root);
    command
        .current_dir("/")
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}
