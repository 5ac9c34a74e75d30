//! The kinds of statement the lanes' rules can name.

/// What a statement is, by the words it begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StatementKind {
    /// SELECT, VALUES, TABLE, and WITH that changes nothing.
    Select,
    /// INSERT, also behind or inside WITH.
    Insert,
    /// UPDATE, also behind or inside WITH.
    Update,
    /// DELETE, also behind or inside WITH.
    Delete,
    /// TRUNCATE.
    Truncate,
    /// MERGE, also behind or inside WITH.
    Merge,
    /// VACUUM.
    Vacuum,
    /// ANALYZE.
    Analyze,
    /// REINDEX.
    Reindex,
    /// CREATE INDEX, also UNIQUE and CONCURRENTLY.
    CreateIndex,
    /// CLUSTER.
    Cluster,
    /// REFRESH MATERIALIZED VIEW.
    RefreshMaterializedView,
    /// COPY.
    Copy,
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT, END, COMMIT PREPARED.
    Commit,
    /// ROLLBACK, ABORT, ROLLBACK PREPARED.
    Rollback,
    /// SAVEPOINT, RELEASE, ROLLBACK TO: the transaction goes on.
    Savepoint,
    /// SET, RESET.
    Set,
    /// SHOW.
    Show,
    /// LISTEN.
    Listen,
    /// UNLISTEN.
    Unlisten,
    /// NOTIFY.
    Notify,
    /// PREPARE, PREPARE TRANSACTION.
    Prepare,
    /// EXECUTE.
    Execute,
    /// DEALLOCATE.
    Deallocate,
    /// DECLARE.
    Declare,
    /// FETCH, MOVE.
    Fetch,
    /// CLOSE.
    Close,
    /// LOCK.
    Lock,
    /// EXPLAIN, with or without ANALYZE, of whatever.
    Explain,
    /// CALL.
    Call,
    /// DO.
    Do,
    /// DISCARD.
    Discard,
    /// LOAD.
    Load,
    /// CREATE TABLE, also temporary and AS.
    CreateTable,
    /// DROP DATABASE.
    DropDatabase,
    /// CREATE DATABASE.
    CreateDatabase,
    /// Any other CREATE, ALTER, DROP, GRANT, REVOKE, COMMENT and the like.
    Ddl,
    /// Nothing but whitespace, comments and semicolons.
    #[default]
    Empty,
    /// What begins with a word that is none of these.
    Other,
}

/// The most letters a statement's first word can have.
const LONGEST: usize = 10;

impl StatementKind {
    /// The kind the first word alone tells; heads refine CREATE, DROP, ROLLBACK and WITH.
    #[inline]
    pub(super) fn of_first_word(word: &[u8]) -> Self {
        let mut lower = [0; LONGEST];
        if word.len() > LONGEST {
            return Self::Other;
        }
        for (lower, letter) in lower.iter_mut().zip(word) {
            *lower = letter | 0x20;
        }
        match &lower[..word.len()] {
            b"select" | b"values" | b"table" | b"with" => Self::Select,
            b"insert" => Self::Insert,
            b"update" => Self::Update,
            b"delete" => Self::Delete,
            b"truncate" => Self::Truncate,
            b"merge" => Self::Merge,
            b"vacuum" => Self::Vacuum,
            b"analyze" | b"analyse" => Self::Analyze,
            b"reindex" => Self::Reindex,
            b"cluster" => Self::Cluster,
            b"refresh" => Self::RefreshMaterializedView,
            b"copy" => Self::Copy,
            b"begin" | b"start" => Self::Begin,
            b"commit" | b"end" => Self::Commit,
            b"rollback" | b"abort" => Self::Rollback,
            b"savepoint" | b"release" => Self::Savepoint,
            b"set" | b"reset" => Self::Set,
            b"show" => Self::Show,
            b"listen" => Self::Listen,
            b"unlisten" => Self::Unlisten,
            b"notify" => Self::Notify,
            b"prepare" => Self::Prepare,
            b"execute" => Self::Execute,
            b"deallocate" => Self::Deallocate,
            b"declare" => Self::Declare,
            b"fetch" | b"move" => Self::Fetch,
            b"close" => Self::Close,
            b"lock" => Self::Lock,
            b"explain" => Self::Explain,
            b"call" => Self::Call,
            b"do" => Self::Do,
            b"discard" => Self::Discard,
            b"load" => Self::Load,
            b"create" | b"drop" | b"alter" | b"grant" | b"revoke" | b"comment" | b"security"
            | b"reassign" | b"import" => Self::Ddl,
            _ => Self::Other,
        }
    }
}
