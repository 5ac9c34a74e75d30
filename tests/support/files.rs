//! How many files the tests may have open.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// As many as any test needs, with both ends of its connections and those of the tests beside it.
const WANTED: u64 = 4_096;

/// Raises the limit on open files of this process once, as `serve` does its own: a shell's is 256 on macOS, and 1,024 on Linux.
/// `false` where the system does not let it be raised so far.
pub fn may_open_many_files() -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    *ALLOWED.get_or_init(|| {
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
            return false;
        };
        let raised = soft.max(hard.min(WANTED));
        raised >= WANTED && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok()
    })
}
