//! Real clients, with what they do by default, over more sessions than there are server connections.
