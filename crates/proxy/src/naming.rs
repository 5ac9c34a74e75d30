//! The application_name of a server connection: the client's, and where `upstream.application_name` says so the lane's.
//!
//! What the data path keeps (a session's settings, what is applied to a connection, what a client was told) always is the
//! client's own name. The lane comes in where a SET is written, and goes out where the server reports. A connection stays in
//! its lane, so connections whose clients' names agree agree in theirs: nothing is set that would not have been set anyway.

use std::borrow::Cow;
use std::fmt::Write as _;

use pglanes_config::ApplicationName;

/// The longest name that PostgreSQL keeps, in bytes (NAMEDATALEN - 1).
const LONGEST: usize = 63;

/// How the names of one lane's connections are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Naming<'l> {
    pub(crate) mode: ApplicationName,
    pub(crate) lane: &'l str,
}

impl Naming<'_> {
    /// Every name as it is.
    #[cfg(test)]
    pub(crate) const KEPT: Naming<'static> = Naming {
        mode: ApplicationName::Keep,
        lane: "",
    };

    /// Whether all names are the clients' own.
    pub(crate) fn is_kept(self) -> bool {
        self.mode == ApplicationName::Keep
    }

    /// What the server is told where the client has this name.
    pub(crate) fn shown(self, name: &str) -> Cow<'_, str> {
        let room = LONGEST.checked_sub(self.lane.len() + " []".len());
        match (self.mode, room, name.is_empty()) {
            (ApplicationName::Keep, _, _) | (_, None, _) | (ApplicationName::Lane, _, false) => {
                Cow::Borrowed(name)
            }
            (_, Some(_), true) => Cow::Owned(format!("[{}]", self.lane)),
            (ApplicationName::Both, Some(room), false) => {
                let mut shown = spelt(name, room);
                // Writing to a String cannot fail.
                let _ = write!(shown, " [{}]", self.lane);
                Cow::Owned(shown)
            }
        }
    }
}

/// As PostgreSQL 16 and later spell a name: letters beyond printable ASCII by their bytes, so that it says the same in every
/// encoding and version. Cut at a letter's end to so many bytes.
fn spelt(name: &str, room: usize) -> String {
    let mut text = String::with_capacity(LONGEST);
    for letter in name.chars() {
        let printable = matches!(letter, ' '..='~');
        let length = if printable { 1 } else { 4 * letter.len_utf8() };
        if text.len() + length > room {
            break;
        }
        if printable {
            text.push(letter);
            continue;
        }
        let mut bytes = [0; 4];
        for byte in letter.encode_utf8(&mut bytes).bytes() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mode: ApplicationName, name: &str, expected: &str) {
        let naming = Naming {
            mode,
            lane: "evaluation",
        };
        let shown = naming.shown(name);
        assert_eq!(shown, expected);
        assert!(shown.len() <= LONGEST);
    }

    #[test]
    fn the_lane_stands_behind_the_clients_name() {
        check(
            ApplicationName::Both,
            "ragchecker",
            "ragchecker [evaluation]",
        );
        check(ApplicationName::Both, "", "[evaluation]");
        check(ApplicationName::Lane, "", "[evaluation]");
        check(ApplicationName::Lane, "ragchecker", "ragchecker");
        check(ApplicationName::Keep, "", "");
        check(ApplicationName::Keep, "é", "é");
    }

    #[test]
    fn a_long_name_is_cut_at_a_letter_and_the_lane_is_not() {
        let long = "x".repeat(63);
        check(
            ApplicationName::Both,
            &long,
            &format!("{} [evaluation]", "x".repeat(50)),
        );
        // A letter of two bytes takes eight as it is spelt: six of them fit, and no part of a seventh.
        check(
            ApplicationName::Both,
            &"é".repeat(20),
            &format!("{} [evaluation]", r"\xc3\xa9".repeat(6)),
        );
    }

    #[test]
    fn a_lane_whose_name_leaves_no_room_is_not_told() {
        let lane = "l".repeat(63);
        let naming = Naming {
            mode: ApplicationName::Both,
            lane: &lane,
        };
        assert_eq!(naming.shown("ragchecker"), "ragchecker");
        assert_eq!(naming.shown(""), "");
    }
}
