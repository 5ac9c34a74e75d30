//! A real, throw-away PostgreSQL with pgvector, and the workloads that fight over it.
