//! What a process is, and setting its priority: one file for each operating system, with the same two names in it.

#[cfg(target_vendor = "apple")]
mod apple;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
mod other;

#[cfg(target_vendor = "apple")]
pub(super) use apple::Machine;
#[cfg(target_os = "linux")]
pub(super) use linux::Machine;
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
pub(super) use other::Machine;
