CREATE INDEX idx_conversation_sessions_user ON conversation_sessions (user_id);
CREATE INDEX idx_conversation_messages_session ON conversation_messages (session_id);
CREATE INDEX idx_message_links_message ON message_links (message_id);
CREATE INDEX idx_performance_metrics_operation ON memory_performance_metrics (operation_type, created_at);
