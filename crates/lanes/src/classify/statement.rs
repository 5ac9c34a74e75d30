//! Kinds of statement, as a rule names them.

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The kind of a transaction's first statement.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum StatementKind { $($(#[$doc])* $variant,)* }

        impl StatementKind {
            /// Every kind, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The kind's name in capitals, as SQL and lanes.yaml write it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    /// A query.
    Select = "SELECT",
    /// `VALUES` as a statement.
    Values = "VALUES",
    /// `TABLE` as a statement.
    Table = "TABLE",
    /// Adds rows.
    Insert = "INSERT",
    /// Changes rows.
    Update = "UPDATE",
    /// Removes rows.
    Delete = "DELETE",
    /// Changes rows, and is not after those of a key.
    BulkUpdate = "BULK UPDATE",
    /// Removes rows, and is not after those of a key.
    BulkDelete = "BULK DELETE",
    /// Adds, changes or removes rows.
    Merge = "MERGE",
    /// Empties tables.
    Truncate = "TRUNCATE",
    /// Reclaims space.
    Vacuum = "VACUUM",
    /// Gathers statistics.
    Analyze = "ANALYZE",
    /// Rebuilds indexes.
    Reindex = "REINDEX",
    /// Builds an index.
    CreateIndex = "CREATE INDEX",
    /// Rewrites a table in an index's order.
    Cluster = "CLUSTER",
    /// Rewrites a table (PostgreSQL 19).
    Repack = "REPACK",
    /// Recomputes a materialized view.
    RefreshMaterializedView = "REFRESH MATERIALIZED VIEW",
    /// Bulk transfer, either way.
    Copy = "COPY",
    /// Any other statement that defines: CREATE, ALTER, DROP, COMMENT, GRANT, REVOKE and the like.
    Ddl = "DDL",
    /// Calls a procedure.
    Call = "CALL",
    /// An anonymous block.
    Do = "DO",
    /// Shows a plan, and may run it.
    Explain = "EXPLAIN",
    /// BEGIN or START TRANSACTION.
    Begin = "BEGIN",
    /// COMMIT, END, or PREPARE TRANSACTION.
    Commit = "COMMIT",
    /// ROLLBACK or ABORT.
    Rollback = "ROLLBACK",
    /// SAVEPOINT or RELEASE.
    Savepoint = "SAVEPOINT",
    /// Sets a parameter.
    Set = "SET",
    /// Resets a parameter.
    Reset = "RESET",
    /// Shows a parameter.
    Show = "SHOW",
    /// Locks tables.
    Lock = "LOCK",
    /// SQL-level PREPARE.
    Prepare = "PREPARE",
    /// SQL-level EXECUTE.
    Execute = "EXECUTE",
    /// Forgets prepared statements.
    Deallocate = "DEALLOCATE",
    /// Declares a cursor.
    Declare = "DECLARE",
    /// FETCH or MOVE.
    Fetch = "FETCH",
    /// Closes a cursor.
    Close = "CLOSE",
    /// Listens for notifications.
    Listen = "LISTEN",
    /// Stops listening.
    Unlisten = "UNLISTEN",
    /// Notifies.
    Notify = "NOTIFY",
    /// Discards session state.
    Discard = "DISCARD",
    /// Loads a library.
    Load = "LOAD",
    /// Forces a checkpoint.
    Checkpoint = "CHECKPOINT",
    /// None of these, or nothing that could be read.
    Other = "OTHER",
}

impl StatementKind {
    /// The kind that this one is a part of: UPDATE of BULK UPDATE, DELETE of BULK DELETE; else itself.
    #[must_use]
    pub const fn whole(self) -> Self {
        match self {
            Self::BulkUpdate => Self::Update,
            Self::BulkDelete => Self::Delete,
            other => other,
        }
    }

    /// Its part that works in bulk, where it has one.
    #[must_use]
    pub const fn in_bulk(self) -> Self {
        match self {
            Self::Update => Self::BulkUpdate,
            Self::Delete => Self::BulkDelete,
            other => other,
        }
    }

    /// The kind a name means, in any case and with any white space between its words.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| {
            let mut wanted = kind.name().split(' ');
            let mut found = name.split_ascii_whitespace();
            loop {
                match (wanted.next(), found.next()) {
                    (None, None) => return true,
                    (Some(wanted), Some(found)) if wanted.eq_ignore_ascii_case(found) => {}
                    _ => return false,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_kind() {
        for &kind in StatementKind::ALL {
            assert_eq!(StatementKind::from_name(kind.name()), Some(kind));
            assert_eq!(
                StatementKind::from_name(&kind.name().to_lowercase()),
                Some(kind)
            );
        }
    }

    #[test]
    fn names_are_forgiving_about_space_but_not_about_words() {
        assert_eq!(
            StatementKind::from_name("  create \t index "),
            Some(StatementKind::CreateIndex)
        );
        assert_eq!(StatementKind::from_name("create"), None);
        assert_eq!(StatementKind::from_name("create index on"), None);
        assert_eq!(StatementKind::from_name(""), None);
    }
}
