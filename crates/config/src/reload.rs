//! What a changed file changes: in words, for the log and `pglanes check`, without a secret.

use std::fmt::{Debug, Display};

use crate::lane::{Lane, Throttle};
use crate::model::{Config, Upstream};
use crate::units;

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// At once, without dropping a session.
    Live,
    /// With the next start; until then the running value holds.
    Restart,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What changed, from what to what.
    pub what: String,
    /// When it takes effect.
    pub takes: Takes,
}

/// All changes between two files, in the order of the reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// None where both mean the same.
    pub changes: Vec<Change>,
}

impl Difference {
    /// What changes from `old` to `new`.
    pub fn between(old: &Config, new: &Config) -> Self {
        let mut difference = Self::default();
        difference.server(old, new);
        difference.names(old, new);
        difference.limits(old, new);
        difference.lanes(old, new);
        difference.throttles(&old.throttles, &new.throttles);
        difference
    }

    /// Whether both files mean the same.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What waits for a restart.
    pub fn restart(&self) -> impl Iterator<Item = &str> {
        self.of(Takes::Restart)
    }

    /// What takes effect at once.
    pub fn live(&self) -> impl Iterator<Item = &str> {
        self.of(Takes::Live)
    }

    fn of(&self, takes: Takes) -> impl Iterator<Item = &str> {
        self.changes
            .iter()
            .filter(move |change| change.takes == takes)
            .map(|change| change.what.as_str())
    }

    fn push(&mut self, takes: Takes, what: String) {
        self.changes.push(Change { what, takes });
    }

    fn shown<T: PartialEq + Display>(&mut self, takes: Takes, key: &str, old: T, new: T) {
        if old != new {
            self.push(takes, format!("{key}: {old} -> {new}"));
        }
    }

    /// For types whose `Debug` reads well and shows no secret.
    fn debugged<T: PartialEq + Debug>(&mut self, takes: Takes, key: &str, old: &T, new: &T) {
        if old != new {
            self.push(takes, format!("{key}: {old:?} -> {new:?}"));
        }
    }

    /// For what is a secret, or too long to show.
    fn silent<T: PartialEq>(&mut self, takes: Takes, what: &str, old: &T, new: &T) {
        if old != new {
            self.push(takes, format!("{what} changed"));
        }
    }

    fn server(&mut self, old: &Config, new: &Config) {
        self.debugged(Takes::Restart, "listen", &old.listen, &new.listen);
        self.debugged(Takes::Restart, "http", &old.http, &new.http);
        self.debugged(Takes::Restart, "allow_remote", &old.remote, &new.remote);
        self.debugged(
            Takes::Live,
            "admin.users",
            &old.admin.users,
            &new.admin.users,
        );
        self.debugged(
            Takes::Live,
            "admin.stats_users",
            &old.admin.stats_users,
            &new.admin.stats_users,
        );
        self.silent(
            Takes::Live,
            "admin.token",
            &old.admin.token,
            &new.admin.token,
        );
        self.debugged(Takes::Restart, "state", &old.state, &new.state);
        self.upstream(&old.upstream, &new.upstream);
        self.debugged(Takes::Live, "tls", &old.tls, &new.tls);
        self.debugged(
            Takes::Live,
            "auth.method",
            &old.authentication,
            &new.authentication,
        );
        self.silent(Takes::Live, "access", &old.access, &new.access);
        self.silent(Takes::Live, "users_file", &old.userlist, &new.userlist);
        self.silent(Takes::Live, "auth_query", &old.auth_query, &new.auth_query);
    }

    fn upstream(&mut self, before: &Upstream, after: &Upstream) {
        self.debugged(
            Takes::Restart,
            "upstream.url",
            &before.address,
            &after.address,
        );
        self.debugged(
            Takes::Restart,
            "upstream.unix_socket",
            &before.unix_socket,
            &after.unix_socket,
        );
        self.debugged(Takes::Restart, "upstream's TLS", &before.tls, &after.tls);
        self.debugged(
            Takes::Restart,
            "upstream.application_name",
            &before.application_name,
            &after.application_name,
        );
        self.silent(
            Takes::Restart,
            "upstream's user or database",
            &(&before.user, &before.database),
            &(&after.user, &after.database),
        );
        self.shown(Takes::Live, "upstream.slots", before.slots, after.slots);
        self.debugged(
            Takes::Live,
            "upstream.connect_timeout",
            &before.connect_timeout,
            &after.connect_timeout,
        );
        self.silent(
            Takes::Live,
            "upstream.password",
            &before.password,
            &after.password,
        );
    }

    fn names(&mut self, old: &Config, new: &Config) {
        for database in &new.databases {
            let before = old
                .databases
                .iter()
                .find(|other| other.name == database.name);
            let empty = Vec::new();
            let before = before.map_or(&empty, |other| &other.aliases);
            self.debugged(
                Takes::Live,
                &format!("aliases of database {}", database.name),
                before,
                &database.aliases,
            );
        }
        for database in &old.databases {
            if !new
                .databases
                .iter()
                .any(|other| other.name == database.name)
            {
                self.push(
                    Takes::Live,
                    format!("database {}: no longer named", database.name),
                );
            }
        }
        for user in &new.users {
            match old.users.iter().find(|other| other.name == user.name) {
                None => self.push(Takes::Live, format!("user {}: new", user.name)),
                Some(before) => {
                    let name = &user.name;
                    self.silent(
                        Takes::Live,
                        &format!("the password of user {name}"),
                        &before.credential,
                        &user.credential,
                    );
                    self.silent(
                        Takes::Live,
                        &format!("the upstream_password of user {name}"),
                        &before.upstream_password,
                        &user.upstream_password,
                    );
                    self.silent(
                        Takes::Live,
                        &format!("the aliases of user {name}"),
                        &before.aliases,
                        &user.aliases,
                    );
                }
            }
        }
        for user in &old.users {
            if !new.users.iter().any(|other| other.name == user.name) {
                self.push(Takes::Live, format!("user {}: no longer named", user.name));
            }
        }
    }

    fn limits(&mut self, old: &Config, new: &Config) {
        let (before, after) = (&old.limits, &new.limits);
        self.shown(Takes::Live, "limits.clients", before.clients, after.clients);
        self.debugged(
            Takes::Live,
            "limits.login_timeout",
            &before.login_timeout,
            &after.login_timeout,
        );
        let sizes = [before.message_before_slot, after.message_before_slot].map(units::shown_size);
        let [before_size, after_size] = sizes;
        self.shown(
            Takes::Live,
            "limits.message_before_slot",
            before_size,
            after_size,
        );
        self.debugged(
            Takes::Live,
            "limits.client_idle_in_transaction",
            &before.client_idle_in_transaction,
            &after.client_idle_in_transaction,
        );
        self.debugged(
            Takes::Live,
            "limits.half_sent_message",
            &before.half_sent_message,
            &after.half_sent_message,
        );
        self.debugged(
            Takes::Live,
            "limits.slow_reader",
            &before.slow_reader,
            &after.slow_reader,
        );
        self.shown(Takes::Live, "limits.cancels", before.cancels, after.cancels);
        self.debugged(
            Takes::Live,
            "shutdown.grace",
            &old.shutdown_grace,
            &new.shutdown_grace,
        );
        self.debugged(Takes::Live, "reload", &old.reload, &new.reload);
        self.debugged(Takes::Restart, "logging", &old.logging, &new.logging);
        self.debugged(Takes::Live, "observe", &old.observe, &new.observe);
        self.debugged(Takes::Live, "history", &old.history, &new.history);
    }

    fn lanes(&mut self, old: &Config, new: &Config) {
        for lane in &new.lanes {
            match old.lane(&lane.name) {
                None => self.push(Takes::Live, format!("lane {}: new", lane.name)),
                Some(before) => self.lane(before, lane),
            }
        }
        for lane in &old.lanes {
            if new.lane(&lane.name).is_none() {
                self.push(
                    Takes::Live,
                    format!("lane {}: removed; its work drains", lane.name),
                );
            }
        }
        let order = |config: &Config, other: &Config| -> Vec<String> {
            let both = config
                .lanes
                .iter()
                .filter(|lane| other.lane(&lane.name).is_some());
            both.map(|lane| lane.name.clone()).collect()
        };
        self.debugged(
            Takes::Live,
            "the order of lanes",
            &order(old, new),
            &order(new, old),
        );
    }

    fn lane(&mut self, old: &Lane, new: &Lane) {
        let key = |part: &str| format!("lane {}: {part}", new.name);
        let rules =
            |lane: &Lane| -> Vec<String> { lane.rules.iter().map(ToString::to_string).collect() };
        self.debugged(Takes::Live, &key("match"), &rules(old), &rules(new));
        let chosen: fn(&Lane) -> Vec<String> =
            |lane| lane.chosen_by.iter().map(ToString::to_string).collect();
        self.debugged(Takes::Live, &key("chosen_by"), &chosen(old), &chosen(new));
        self.shown(Takes::Live, &key("slots.min"), old.minimum, new.minimum);
        self.shown(Takes::Live, &key("slots.max"), old.maximum, new.maximum);
        self.shown(Takes::Live, &key("caps"), old.caps, new.caps);
        self.debugged(Takes::Live, &key("pooling"), &old.pooling, &new.pooling);
        self.shown(
            Takes::Live,
            &key("lazy_begin"),
            old.lazy_begin,
            new.lazy_begin,
        );
        self.shown(
            Takes::Live,
            &key("reuse_plans"),
            old.reuse_plans,
            new.reuse_plans,
        );
        self.debugged(Takes::Live, &key("listen"), &old.listen, &new.listen);
        self.shown(Takes::Live, &key("priority"), old.priority, new.priority);
        self.shown(Takes::Live, &key("weight"), old.weight, new.weight);
        self.shown(
            Takes::Live,
            &key("queue.length"),
            old.queue_length,
            new.queue_length,
        );
        self.debugged(
            Takes::Live,
            &key("queue.timeout"),
            &old.queue_timeout,
            &new.queue_timeout,
        );
        self.debugged(
            Takes::Live,
            &key("queue.notice"),
            &old.queue_notice,
            &new.queue_notice,
        );
        self.debugged(
            Takes::Live,
            &key("queue.order"),
            &old.queue_order,
            &new.queue_order,
        );
        if old.settings != new.settings {
            let (before, after) = (old.settings.iter(), new.settings.iter());
            let gone = before
                .filter(|setting| !new.settings.contains(setting))
                .map(|setting| format!("-{}", shown_setting(setting)));
            let come = after
                .filter(|setting| !old.settings.contains(setting))
                .map(|setting| format!("+{}", shown_setting(setting)));
            let words: Vec<String> = gone.chain(come).collect();
            let words = if words.is_empty() {
                "their order".to_owned()
            } else {
                words.join(" ")
            };
            self.push(
                Takes::Live,
                format!(
                    "{} {words} (its connections are replaced between transactions)",
                    key("settings")
                ),
            );
        }
        self.debugged(Takes::Live, &key("cpu"), &old.cpu, &new.cpu);
        self.debugged(Takes::Live, &key("io"), &old.io, &new.io);
        self.debugged(Takes::Live, &key("mode"), &old.mode, &new.mode);
        self.debugged(
            Takes::Live,
            &key("idle_timeout"),
            &old.idle_timeout,
            &new.idle_timeout,
        );
        self.debugged(
            Takes::Live,
            &key("server_lifetime"),
            &old.server_lifetime,
            &new.server_lifetime,
        );
        let limits =
            |lane: &Lane| -> Vec<String> { lane.limits.iter().map(ToString::to_string).collect() };
        self.debugged(Takes::Live, &key("rules"), &limits(old), &limits(new));
        self.debugged(
            Takes::Live,
            &key("preemptible"),
            &old.preemptible,
            &new.preemptible,
        );
        self.debugged(
            Takes::Live,
            &key("objective"),
            &old.objective.as_ref().map(ToString::to_string),
            &new.objective.as_ref().map(ToString::to_string),
        );
    }

    fn throttles(&mut self, old: &[Throttle], new: &[Throttle]) {
        for throttle in new {
            match old.iter().find(|other| other.name == throttle.name) {
                None => self.push(Takes::Live, format!("throttle `{}`: new", throttle.name)),
                Some(before) if before != throttle => {
                    self.push(
                        Takes::Live,
                        format!("throttle `{}`: changed", throttle.name),
                    );
                }
                Some(_) => {}
            }
        }
        for throttle in old {
            if !new.iter().any(|other| other.name == throttle.name) {
                self.push(
                    Takes::Live,
                    format!("throttle `{}`: removed", throttle.name),
                );
            }
        }
    }
}

/// A setting as it may be shown: what an application defines for itself (`app.token`) may be a secret.
pub fn shown_setting((name, value): &(String, String)) -> String {
    let known = !name.contains('.') || name.starts_with("hnsw.") || name.starts_with("ivfflat.");
    if known {
        format!("{name}={value}")
    } else {
        format!("{name}=***")
    }
}
