//! Passing bytes on as they came, for as long as nothing has to be changed.
//!
//! A [`Splice`] walks over a chunk that was read. While every part is kept, what goes
//! out is the chunk itself; the first insertion or omission copies what was kept so
//! far, and goes on from there.

/// The outgoing form of one chunk.
pub(crate) struct Splice<'a> {
    chunk: &'a [u8],
    start: usize,
    kept: usize,
    changed: bool,
    assembled: &'a mut Vec<u8>,
}

impl<'a> Splice<'a> {
    /// Nothing kept yet. `assembled` is cleared and used once something changes.
    pub(crate) fn new(chunk: &'a [u8], assembled: &'a mut Vec<u8>) -> Self {
        assembled.clear();
        Self {
            chunk,
            start: 0,
            kept: 0,
            changed: false,
            assembled,
        }
    }

    /// Passes on `chunk[from..to]`; `from` never goes back.
    #[inline]
    pub(crate) fn keep(&mut self, from: usize, to: usize) {
        if self.changed {
            self.assembled.extend_from_slice(&self.chunk[from..to]);
        } else if self.start == self.kept {
            self.start = from;
            self.kept = to;
        } else if from == self.kept {
            self.kept = to;
        } else {
            self.change();
            self.assembled.extend_from_slice(&self.chunk[from..to]);
        }
    }

    /// The buffer to put other bytes into.
    pub(crate) fn insert(&mut self) -> &mut Vec<u8> {
        self.change();
        self.assembled
    }

    fn change(&mut self) {
        if !self.changed {
            self.changed = true;
            self.assembled
                .extend_from_slice(&self.chunk[self.start..self.kept]);
        }
    }

    /// What goes out.
    pub(crate) fn finish(self) -> &'a [u8] {
        if self.changed {
            self.assembled
        } else {
            &self.chunk[self.start..self.kept]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_whole_is_not_copied() {
        let mut assembled = Vec::new();
        let chunk = b"abcdef";
        let mut splice = Splice::new(chunk, &mut assembled);
        splice.keep(1, 3);
        splice.keep(3, 6);
        let out = splice.finish();
        assert_eq!(out, b"bcdef");
        assert_eq!(out.as_ptr(), chunk[1..].as_ptr());
    }

    #[test]
    fn insertions_and_omissions_keep_their_place() {
        let mut assembled = vec![9];
        let mut splice = Splice::new(b"abcdef", &mut assembled);
        splice.keep(0, 2);
        splice.insert().extend_from_slice(b"XY");
        splice.keep(2, 3);
        splice.keep(5, 6);
        assert_eq!(splice.finish(), b"abXYcf");
        let mut splice = Splice::new(b"abcdef", &mut assembled);
        splice.keep(0, 1);
        splice.keep(4, 5);
        assert_eq!(splice.finish(), b"ae");
        assert_eq!(Splice::new(b"abc", &mut assembled).finish(), b"");
    }
}
