//! What a rule asks for.

use core::net::IpAddr;

use super::{Glob, Needs, Origin, SessionFacts, StatementKind, TransactionFacts};
use crate::LaneId;

/// One thing a rule asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The session's application_name matches.
    ApplicationName(Glob),
    /// Its user matches.
    User(Glob),
    /// Its database matches.
    Database(Glob),
    /// It comes from one of these places.
    Origin(Vec<Place>),
    /// The session itself is in this lane. For transactions only.
    FromLane(LaneId),
    /// The transaction's first statement is one of these. For transactions only.
    Statement(Vec<StatementKind>),
    /// A comment tag of the transaction's first statement matches. For transactions only.
    Tag {
        /// The tag's name.
        key: String,
        /// What its value must match.
        value: Glob,
    },
    /// The first statement names a table that one of these matches. For transactions only.
    Table(Vec<TablePattern>),
    /// The first statement's text matches the pattern of this number. For transactions only.
    Text(u8),
}

/// Where a session may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Anywhere.
    Any,
    /// A unix socket.
    Local,
    /// A network.
    Network(Network),
}

impl Place {
    fn holds(self, origin: Origin) -> bool {
        match (self, origin) {
            (Self::Any, _) | (Self::Local, Origin::Local) => true,
            (Self::Network(network), Origin::Address(address)) => network.contains(address),
            (Self::Local, Origin::Address(_)) | (Self::Network(_), Origin::Local) => false,
        }
    }

    /// Whether everything of the other place is in this one.
    pub(super) fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (Self::Local, Self::Local) => true,
            (Self::Network(broad), Self::Network(narrow)) => {
                broad.prefix <= narrow.prefix && broad.contains(narrow.base)
            }
            _ => false,
        }
    }
}

/// Addresses that share their first bits (CIDR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// One of its addresses.
    pub base: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
}

impl Network {
    /// Whether the address is one of them. A client of an IPv6 socket may come from an IPv4 address.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4()
            && (bits_of(address) ^ bits_of(self.base)) & self.mask() == 0
    }

    /// Whether the base has none set of the bits that do not count.
    #[must_use]
    pub fn is_whole(self) -> bool {
        bits_of(self.base) & !self.mask() == 0
    }

    /// The bits that count among those of [`bits_of`].
    fn mask(self) -> u128 {
        let bits = if self.base.is_ipv4() { 32_u32 } else { 128 };
        let all = u128::MAX >> (128 - bits);
        let ignored = bits - u32::from(self.prefix).min(bits);
        all.checked_shr(ignored)
            .and_then(|kept| kept.checked_shl(ignored))
            .unwrap_or(0)
    }
}

/// An address as a number whose lowest bits are the address's last.
fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Which tables a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePattern {
    /// The schemas; every one where none is asked for.
    pub schema: Option<Glob>,
    /// The names.
    pub name: Glob,
}

impl TablePattern {
    /// `name`, or `schema.name`; both may be globs.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let (schema, name) = match pattern.split_once('.') {
            Some((schema, name)) => (Some(Glob::new(schema)), name),
            None => (None, pattern),
        };
        Self {
            schema,
            name: Glob::new(name),
        }
    }

    fn holds(&self, (schema, name): (&str, &str)) -> bool {
        self.name.matches(name) && self.schema.as_ref().is_none_or(|glob| glob.matches(schema))
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        let schema = match (&self.schema, &other.schema) {
            (None, _) => true,
            (Some(broad), Some(narrow)) => broad.covers(narrow),
            (Some(_), None) => false,
        };
        schema && self.name.covers(&other.name)
    }
}

impl Condition {
    pub(super) fn is_about_transactions(&self) -> bool {
        match self {
            Self::ApplicationName(_) | Self::User(_) | Self::Database(_) | Self::Origin(_) => false,
            Self::FromLane(_)
            | Self::Statement(_)
            | Self::Tag { .. }
            | Self::Table(_)
            | Self::Text(_) => true,
        }
    }

    pub(super) fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        match self {
            Self::Tag { .. } => needs.tags = true,
            Self::Table(_) => needs.tables = true,
            Self::Text(_) => needs.texts = true,
            Self::Statement(kinds) => {
                let bulk = |kind: &StatementKind| kind.whole() != *kind;
                needs.breadth = kinds.iter().any(bulk);
            }
            _ => {}
        }
        needs
    }

    pub(super) fn holds_for_session(&self, facts: &SessionFacts<'_>) -> bool {
        match self {
            Self::ApplicationName(glob) => glob.matches(facts.application_name),
            Self::User(glob) => glob.matches(facts.user),
            Self::Database(glob) => glob.matches(facts.database),
            Self::Origin(places) => places.iter().any(|place| place.holds(facts.origin)),
            _ => false,
        }
    }

    pub(super) fn holds_for_transaction(
        &self,
        session_lane: LaneId,
        session: &SessionFacts<'_>,
        facts: &TransactionFacts<'_>,
    ) -> bool {
        match self {
            Self::FromLane(lane) => *lane == session_lane,
            // DELETE is every DELETE, BULK DELETE those in bulk.
            Self::Statement(kinds) => {
                kinds.contains(&facts.statement) || kinds.contains(&facts.statement.whole())
            }
            Self::Tag { key, value } => facts
                .tags
                .iter()
                .any(|(found, text)| found == key && value.matches(text)),
            Self::Table(patterns) => facts
                .tables
                .iter()
                .any(|table| patterns.iter().any(|pattern| pattern.holds(*table))),
            Self::Text(pattern) => {
                facts.texts.checked_shr(u32::from(*pattern)).unwrap_or(0) & 1 == 1
            }
            Self::ApplicationName(_) | Self::User(_) | Self::Database(_) | Self::Origin(_) => {
                self.holds_for_session(session)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_shares_their_first_bits() {
        let network = |base: &str, prefix| Network {
            base: base.parse().unwrap(),
            prefix,
        };
        let check = |network: Network, address: &str, expected| {
            assert_eq!(
                network.contains(address.parse().unwrap()),
                expected,
                "{address}"
            );
        };
        check(network("10.1.0.0", 16), "10.1.2.3", true);
        check(network("10.1.0.0", 16), "::ffff:10.1.2.3", true);
        check(network("10.1.0.0", 16), "10.2.0.0", false);
        check(network("0.0.0.0", 0), "10.2.0.0", true);
        check(network("0.0.0.0", 0), "::1", false);
        check(network("::1", 128), "::1", true);
        check(network("fd00::", 8), "fd12::1", true);
        assert!(network("10.1.0.0", 16).is_whole() && !network("10.1.0.1", 16).is_whole());
        let covers = |broad, narrow| Place::Network(broad).covers(Place::Network(narrow));
        assert!(covers(network("10.0.0.0", 8), network("10.1.0.0", 16)));
        assert!(!covers(network("10.1.0.0", 16), network("10.0.0.0", 8)));
    }

    #[test]
    fn tables_match_with_their_schema() {
        let check = |pattern: &str, table, expected| {
            assert_eq!(
                TablePattern::new(pattern).holds(table),
                expected,
                "{pattern} {table:?}"
            );
        };
        check("conversation_*", ("public", "conversation_messages"), true);
        check("conversation_*", ("archive", "conversation_messages"), true);
        check(
            "public.conversation_*",
            ("archive", "conversation_messages"),
            false,
        );
        check("archive.*", ("archive", "x"), true);
        check("archive.*", ("public", "x"), false);
    }
}
