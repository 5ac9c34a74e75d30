//! Every key of lanes.yaml: its kind, its default, its meaning. The reader accepts exactly what stands here, the
//! documentation is printed from here, and tests hold config/lanes.yaml against it.

mod house;
mod lanes;
mod lookup;

pub use lookup::text;
pub(crate) use lookup::{has, is_key, keys_of};

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands: `*` is a name of the user's choice, `[]` an entry of a list.
    pub path: &'static str,
    /// What kind of value it takes.
    pub kind: &'static str,
    /// What holds where it is not written.
    pub default: &'static str,
    /// What it is for.
    pub meaning: &'static str,
}

const fn entry(
    path: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Entry {
    Entry {
        path,
        kind,
        default,
        meaning,
    }
}

/// All keys, in the order in which a file is best written.
pub const ENTRIES: &[Entry] =
    &joined::<{ house::ENTRIES.len() + lanes::ENTRIES.len() }>(&[house::ENTRIES, lanes::ENTRIES]);

/// The parts of the reference in one; `COUNT` is how many entries they have together.
const fn joined<const COUNT: usize>(parts: &[&[Entry]]) -> [Entry; COUNT] {
    let mut all = [entry("", "", "", ""); COUNT];
    let mut filled = 0;
    let mut part = 0;
    while part < parts.len() {
        let mut place = 0;
        while place < parts[part].len() {
            all[filled] = parts[part][place];
            filled += 1;
            place += 1;
        }
        part += 1;
    }
    assert!(filled == COUNT, "every part is counted once");
    all
}

#[cfg(test)]
mod tests;
