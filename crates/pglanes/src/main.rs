//! The binary: wires the crates together.
fn main() {}
