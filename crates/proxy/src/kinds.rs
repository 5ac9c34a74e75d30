//! The statement kinds of the protocol crate as the rules of lanes.yaml name them.

use pglanes_lanes::classify::StatementKind as Rule;
use pglanes_wire::sql::StatementKind as Seen;

/// The kind that rules match for a text: that of its first statement, and whether it works in bulk.
pub fn kind_of(sql: &[u8]) -> Rule {
    in_bulk(for_rules(pglanes_wire::sql::inspect(sql).first), sql)
}

/// The kind as it is, or its part that works in bulk where the text does.
pub(crate) fn in_bulk(kind: Rule, sql: &[u8]) -> Rule {
    let bulk = kind.in_bulk();
    if bulk != kind && pglanes_wire::sql::is_bulk(sql) {
        bulk
    } else {
        kind
    }
}

/// The kind that rules match for a kind that was seen: what the protocol crate tells apart
/// for its own needs (CREATE DATABASE, an empty text) falls together with its kin.
pub fn for_rules(seen: Seen) -> Rule {
    match seen {
        Seen::Select => Rule::Select,
        Seen::Insert => Rule::Insert,
        Seen::Update => Rule::Update,
        Seen::Delete => Rule::Delete,
        Seen::Truncate => Rule::Truncate,
        Seen::Merge => Rule::Merge,
        Seen::Vacuum => Rule::Vacuum,
        Seen::Analyze => Rule::Analyze,
        Seen::Reindex => Rule::Reindex,
        Seen::CreateIndex => Rule::CreateIndex,
        Seen::Cluster => Rule::Cluster,
        Seen::RefreshMaterializedView => Rule::RefreshMaterializedView,
        Seen::Copy => Rule::Copy,
        Seen::Begin => Rule::Begin,
        Seen::Commit => Rule::Commit,
        Seen::Rollback => Rule::Rollback,
        Seen::Savepoint => Rule::Savepoint,
        Seen::Set => Rule::Set,
        Seen::Show => Rule::Show,
        Seen::Listen => Rule::Listen,
        Seen::Unlisten => Rule::Unlisten,
        Seen::Notify => Rule::Notify,
        Seen::Prepare => Rule::Prepare,
        Seen::Execute => Rule::Execute,
        Seen::Deallocate => Rule::Deallocate,
        Seen::Declare => Rule::Declare,
        Seen::Fetch => Rule::Fetch,
        Seen::Close => Rule::Close,
        Seen::Lock => Rule::Lock,
        Seen::Explain => Rule::Explain,
        Seen::Call => Rule::Call,
        Seen::Do => Rule::Do,
        Seen::Discard => Rule::Discard,
        Seen::Load => Rule::Load,
        Seen::CreateTable | Seen::DropDatabase | Seen::CreateDatabase | Seen::Ddl => Rule::Ddl,
        Seen::Empty | Seen::Other => Rule::Other,
    }
}
