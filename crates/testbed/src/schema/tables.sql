-- The memory system's tables, after the user's own schema, with what its joins and the evaluation need beside them.
CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE conversation_sessions (
    session_id VARCHAR(255) PRIMARY KEY,
    user_id    VARCHAR(255) NOT NULL,
    title      TEXT NOT NULL,
    metadata   JSONB DEFAULT '{}',
    started_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE conversation_messages (
    message_id      SERIAL PRIMARY KEY,
    session_id      VARCHAR(255) NOT NULL,
    role            VARCHAR(20) NOT NULL DEFAULT 'human',
    content         TEXT NOT NULL,
    embedding       VECTOR(384),
    relevance_score FLOAT DEFAULT 0.0,
    metadata        JSONB DEFAULT '{}',
    created_at      TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

-- What compaction takes out and writes back.
CREATE TABLE conversation_archive (LIKE conversation_messages);

CREATE TABLE conversation_context (
    session_id   VARCHAR(255) NOT NULL,
    context_type VARCHAR(100) NOT NULL,
    context_data JSONB NOT NULL,
    PRIMARY KEY (session_id, context_type)
);

CREATE TABLE message_links (
    message_id INTEGER NOT NULL,
    linked_id  INTEGER NOT NULL,
    weight     FLOAT NOT NULL
);

CREATE TABLE memory_retrieval_cache (
    cache_key         VARCHAR(255) UNIQUE NOT NULL,
    retrieved_context JSONB NOT NULL,
    relevance_scores  JSONB DEFAULT '{}',
    expires_at        TIMESTAMP DEFAULT (CURRENT_TIMESTAMP + INTERVAL '1 hour')
);

CREATE TABLE memory_performance_metrics (
    operation_type    VARCHAR(100) NOT NULL,
    execution_time_ms INTEGER NOT NULL,
    metadata          JSONB DEFAULT '{}',
    created_at        TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE eval_cases (
    case_id  INTEGER PRIMARY KEY,
    question TEXT NOT NULL,
    expected TEXT NOT NULL
);

CREATE TABLE eval_results (
    result_id  BIGSERIAL PRIMARY KEY,
    case_id    INTEGER NOT NULL,
    round      INTEGER NOT NULL,
    scores     JSONB NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
