//! Nothing of its own: the tests of this crate are its programs.
