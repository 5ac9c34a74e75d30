//! [`Secret`]: the one type that holds passwords and keys.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A value that must not be seen: its `Debug` is `***`, it has no `Display` and no serialisation, its
/// memory is wiped when it is dropped, and two of them compare in constant time.
///
/// Only the memory it holds at the end is wiped. A `String` that grew, or a copy made through
/// [`Secret::expose`], left its bytes elsewhere: expose late, copy never.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

/// A password as a person or a configuration gives it, before SASLprep.
pub type Password = Secret<String>;

impl<T: Zeroize> Secret<T> {
    /// Takes a value into keeping.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl From<&str> for Secret<String> {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Constant time for equal lengths; that two lengths differ can be seen from outside.
impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref().ct_eq(other.0.as_ref()).into()
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, rc::Rc};

    #[test]
    fn debug_shows_no_character_of_the_value() {
        assert_eq!(format!("{:?}", Password::from("hunter2")), "***");
        assert_eq!(
            format!("{:#?}", Some(Secret::new([9u8; 32]))),
            "Some(\n    ***,\n)"
        );
    }

    #[test]
    fn secrets_compare_by_content_and_length() {
        assert_eq!(Password::from("a"), Password::from("a"));
        assert_ne!(Password::from("a"), Password::from("b"));
        assert_ne!(Password::from("a"), Password::from("aa"));
        assert_ne!(Password::from(""), Password::from("a"));
    }

    #[test]
    fn dropping_wipes_the_value() {
        struct Wiped(Rc<Cell<u32>>);
        impl Zeroize for Wiped {
            fn zeroize(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let wiped = Rc::new(Cell::new(0));
        drop(Secret::new(Wiped(Rc::clone(&wiped))));
        assert_eq!(wiped.get(), 1);
    }
}
