//! Memory, as /proc tells it.

/// The memory of this process, proxy and client alike, in bytes; `None` where the system does not say.
pub fn resident() -> Option<usize> {
    told("/proc/self/status", "VmRSS:")
}

/// Memory that the machine could give, in bytes; `None` where the system does not say. A container may have less.
pub fn available() -> Option<usize> {
    let contained = std::fs::read_to_string("/sys/fs/cgroup/memory.max");
    let contained = contained.ok().and_then(|most| most.trim().parse().ok());
    let of_the_machine = told("/proc/meminfo", "MemAvailable:")?;
    Some(of_the_machine.min(contained.unwrap_or(usize::MAX)))
}

/// What a line of a file says in kB, in bytes.
fn told(file: &str, name: &str) -> Option<usize> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kilobytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes << 10)
}
