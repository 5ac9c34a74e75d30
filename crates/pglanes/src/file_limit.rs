//! How many files (sockets, above all) the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process has open beside clients and server connections: listeners, logs, reactors, control connections,
/// metrics.
const BESIDE: u64 = 128;
/// What some systems (macOS) allow at most where they say "unlimited".
const WHERE_UNLIMITED_IS_NOT: u64 = 10_240;

/// Raises the soft limit towards what so many clients and server connections need; the answer is a warning where the
/// hard limit does not let it.
pub(crate) fn ensure(clients: u32, slots: u32) -> Option<String> {
    let needed = u64::from(clients) + u64::from(slots) + BESIDE;
    let before = getrlimit(Resource::Nofile);
    let enough = |limit: Rlimit| limit.current.is_none_or(|current| current >= needed);
    if enough(before) {
        return None;
    }
    for wanted in [needed, WHERE_UNLIMITED_IS_NOT] {
        let current = before.maximum.map_or(wanted, |maximum| wanted.min(maximum));
        if before.current.is_some_and(|already| already >= current) {
            continue;
        }
        let raised = Rlimit {
            current: Some(current),
            maximum: before.maximum,
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            break;
        }
    }
    let after = getrlimit(Resource::Nofile);
    (!enough(after)).then(|| warning(clients, needed, after.current.unwrap_or(u64::MAX)))
}

fn warning(clients: u32, needed: u64, allowed: u64) -> String {
    format!(
        "limits.clients is {clients}, which takes up to {needed} open files, and the system allows {allowed}; \
         raise `ulimit -Hn` (LimitNOFILE= of a service) or lower limits.clients"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_clients_fit_and_more_than_any_system_has_do_not() {
        assert_eq!(ensure(1, 1), None);
        let limit = getrlimit(Resource::Nofile);
        let warning = ensure(u32::MAX, u32::MAX);
        // With no limit at all there is nothing to warn of.
        let unlimited = limit
            .maximum
            .is_none_or(|maximum| maximum > u64::from(u32::MAX));
        assert_eq!(warning.is_none(), unlimited, "{warning:?}");
    }

    #[test]
    fn a_warning_says_what_to_do() {
        let words = warning(10_000, 10_168, 4096);
        assert!(
            words.contains("10168 open files, and the system allows 4096; raise"),
            "{words}"
        );
    }
}
