//! Why a backend's priority could not be set, and what would help.

/// Why a priority could not be set, or not all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// PostgreSQL is on another machine.
    OtherMachine,
    /// PostgreSQL is in another process namespace: its numbers mean nothing here, or somebody else.
    OtherNamespace,
    /// The process of that number is not the backend of this connection.
    NotTheBackend,
    /// The process is another user's, and pglanes has no right to it.
    NotPermitted,
    /// The nice value was set, but not that of the session's autogroup, without which it does nothing.
    Autogroup,
    /// It could not be raised again.
    CannotRaise,
    /// This system has no such lever.
    NoLever,
    /// It has ended meanwhile.
    Gone,
}

impl Refusal {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 8] = [
        Self::OtherMachine,
        Self::OtherNamespace,
        Self::NotTheBackend,
        Self::NotPermitted,
        Self::Autogroup,
        Self::CannotRaise,
        Self::NoLever,
        Self::Gone,
    ];

    /// As a label of metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::OtherMachine => "other_machine",
            Self::OtherNamespace => "other_namespace",
            Self::NotTheBackend => "not_the_backend",
            Self::NotPermitted => "not_permitted",
            Self::Autogroup => "autogroup",
            Self::CannotRaise => "cannot_raise",
            Self::NoLever => "no_lever",
            Self::Gone => "gone",
        }
    }

    /// What is missing and what would help, for the log; `None` for what needs no word.
    pub(super) fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::OtherMachine => {
                "PostgreSQL is on another machine; `cpu` and `io` of a lane work where pglanes runs beside it"
            }
            Self::OtherNamespace => {
                "PostgreSQL runs in another container or process namespace, or /proc is hidden; run pglanes in the same \
                 one (docker: --pid=container:NAME, or both on the host)"
            }
            Self::NotTheBackend => {
                "the process that PostgreSQL names is not the backend of the connection here: it is in another container, \
                 or another pooler stands between"
            }
            Self::NotPermitted => {
                "the backends are another user's; run pglanes as PostgreSQL's own user (systemd: User=postgres), or as \
                 root, or grant AmbientCapabilities=CAP_SYS_NICE CAP_DAC_OVERRIDE"
            }
            Self::Autogroup => {
                "the nice value was set, but the kernel schedules by session (kernel.sched_autogroup_enabled = 1) and \
                 /proc/PID/autogroup may not be written; run pglanes as PostgreSQL's own user, or grant CAP_DAC_OVERRIDE \
                 beside CAP_SYS_NICE, or switch autogroups off"
            }
            Self::CannotRaise => {
                "a lowered backend cannot be raised again without rights: grant CAP_SYS_NICE to pglanes, or LimitNICE=+0 \
                 to PostgreSQL's own unit"
            }
            Self::NoLever => "this operating system has no such priority for another process",
            Self::Gone => return None,
        })
    }
}
