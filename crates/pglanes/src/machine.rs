//! What this machine has.

use std::process::Command;

/// Bytes of memory; `None` where it cannot be found out.
pub(crate) fn memory() -> Option<u64> {
    match std::fs::read_to_string("/proc/meminfo") {
        Ok(text) => of_meminfo(&text),
        Err(_) => of_sysctl(),
    }
}

/// The line `MemTotal:  16303428 kB`.
fn of_meminfo(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// macOS and the BSDs have no /proc.
fn of_sysctl() -> Option<u64> {
    let answer = Command::new("/usr/sbin/sysctl")
        .args(["-n", "hw.memsize"])
        .output()
        .ok()?;
    String::from_utf8(answer.stdout).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_what_linux_says() {
        let text = "MemFree: 1 kB\nMemTotal:       16303428 kB\n";
        assert_eq!(of_meminfo(text), Some(16_303_428 * 1024));
        assert_eq!(of_meminfo("MemFree: 1 kB\n"), None);
        assert_eq!(of_meminfo("MemTotal: much\n"), None);
    }

    #[test]
    fn this_machine_has_some() {
        assert!(memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
