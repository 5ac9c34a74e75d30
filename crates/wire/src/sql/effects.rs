//! What statements do to the session that runs them, as a small set of flags.

/// A set of effects on the session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Effects(u64);

macro_rules! effects {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        impl Effects {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*

            /// Every flag with its name.
            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$name, stringify!($name)),)*];
        }
    };
}

effects! {
    /// A setting of the session is set or reset, by SET, RESET, `set_config` or an UPDATE of
    /// `pg_settings`. Not SET LOCAL, SET TRANSACTION, SET CONSTRAINTS, nor a `set_config` whose
    /// third argument is the word `true`: those end with the transaction.
    SETTINGS = 0;
    /// RESET ALL.
    SETTINGS_RESET_ALL = 1;
    /// SET ROLE or SET SESSION AUTHORIZATION to someone.
    ROLE = 2;
    /// SET ROLE NONE, SET SESSION AUTHORIZATION DEFAULT, or RESET of either.
    ROLE_RESET = 3;
    /// LISTEN.
    LISTEN = 4;
    /// UNLISTEN of one channel.
    UNLISTEN = 5;
    /// UNLISTEN *.
    UNLISTEN_ALL = 6;
    /// Something temporary is made, or an object of `pg_temp` is named.
    TEMPORARY = 7;
    /// All that is temporary in the text says ON COMMIT DROP; comes with `TEMPORARY`.
    TEMPORARY_ON_COMMIT_DROP = 8;
    /// DECLARE of a cursor WITH HOLD.
    DECLARE_HOLD = 9;
    /// CLOSE ALL.
    CLOSE_ALL = 10;
    /// A session-level advisory lock is taken, or tried for.
    ADVISORY_LOCK = 11;
    /// A session-level advisory lock is given back.
    ADVISORY_UNLOCK = 12;
    /// `pg_advisory_unlock_all`.
    ADVISORY_UNLOCK_ALL = 13;
    /// LOAD of a library.
    LOAD = 14;
    /// PREPARE name AS.
    SQL_PREPARE = 15;
    /// EXECUTE name, on its own or in CREATE TABLE AS EXECUTE.
    SQL_EXECUTE = 16;
    /// DEALLOCATE name.
    SQL_DEALLOCATE = 17;
    /// DEALLOCATE ALL.
    DEALLOCATE_ALL = 18;
    /// DISCARD ALL.
    DISCARD_ALL = 19;
    /// DISCARD TEMP.
    DISCARD_TEMP = 20;
    /// DISCARD PLANS.
    DISCARD_PLANS = 21;
    /// DISCARD SEQUENCES.
    DISCARD_SEQUENCES = 22;
    /// `currval` or `lastval`: asks what this session drew from a sequence before.
    SEQUENCE_CURRVAL = 23;
    /// PREPARE TRANSACTION: ends the transaction, its locks stay.
    TWO_PHASE = 24;
    /// BEGIN or START TRANSACTION.
    BEGIN = 25;
    /// COMMIT or END.
    COMMIT = 26;
    /// ROLLBACK or ABORT of the transaction.
    ROLLBACK = 27;
    /// ROLLBACK TO SAVEPOINT: settings made since come back to what they were.
    SAVEPOINT_ROLLBACK = 28;
    /// AND CHAIN: the next transaction begins at once.
    CHAIN = 29;
    /// DROP DATABASE.
    DROP_DATABASE = 30;
    /// CREATE DATABASE.
    CREATE_DATABASE = 31;
    /// COPY, in either direction.
    COPY = 32;
    /// ALTER of anything: what is prepared may get out of date.
    ALTER = 33;
    /// ALTER ROLE, USER or DATABASE: what sessions start with may change.
    DEFAULTS = 34;
    /// CLOSE of one cursor.
    CLOSE = 35;
    /// DROP of anything but a database.
    DROP = 36;
    /// The search path is changed, for the session or for the transaction alone: names mean something else.
    SEARCH_PATH = 37;
}

impl Effects {
    /// No effect.
    pub const NONE: Self = Self(0);

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` are among these.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is among these.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These and those of `other`.
    #[inline]
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are among `other` too.
    #[inline]
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// These, but none of `other`.
    #[inline]
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Adds those of `other`.
    #[inline]
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// The names of those that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .iter()
            .filter(move |(effect, _)| self.contains(*effect))
            .map(|(_, name)| *name)
    }
}

impl std::ops::BitOr for Effects {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl std::ops::BitOrAssign for Effects {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        self.insert(other);
    }
}

impl std::fmt::Debug for Effects {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.names()).finish()
    }
}
