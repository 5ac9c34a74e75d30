//! What the server knows about settings: which names exist, and who may set them when.

/// Every setting an ordinary user can see, with its context.
pub(crate) const SETTINGS: &str = "select name, context from pg_settings";

/// The schema pgvector is installed in, ready to be put into a statement.
pub(crate) const PGVECTOR_SCHEMA: &str = "select quote_ident(nspname) from pg_extension \
     join pg_namespace on pg_namespace.oid = extnamespace where extname = 'vector'";

/// The value of a setting, NULL where there is none of that name.
pub(crate) const CURRENT_SETTING: &str = "select current_setting($1, true)";

/// A setting the server does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSetting {
    /// The name as it was asked for.
    pub name: String,
    /// The nearest name the server does know, where one is near enough to be meant.
    pub nearest: Option<String>,
}

/// When and by whom a setting can be changed (`pg_settings.context`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Never: fixed when PostgreSQL was built or initialised.
    Internal,
    /// Only when the server starts.
    Postmaster,
    /// Only in the server's configuration file, at a reload.
    Sighup,
    /// When a connection starts, by a user with the privilege.
    SuperuserBackend,
    /// When a connection starts, by anybody.
    Backend,
    /// At any time, by a user with the privilege.
    Superuser,
    /// At any time, by anybody.
    User,
}

/// What becomes of a connection whose startup packet holds a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtStartup {
    /// It gets the setting.
    Accepted,
    /// It is refused, unless its user is a superuser or was granted SET on that parameter.
    NeedsPrivilege,
    /// It is refused, whoever asks.
    Refused,
}

/// A setting and its context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingContext {
    /// The name as it was asked for.
    pub name: String,
    /// When and by whom it can be changed.
    pub context: Context,
}

impl Context {
    /// Reads `pg_settings.context`.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "internal" => Self::Internal,
            "postmaster" => Self::Postmaster,
            "sighup" => Self::Sighup,
            "superuser-backend" => Self::SuperuserBackend,
            "backend" => Self::Backend,
            "superuser" => Self::Superuser,
            "user" => Self::User,
            _ => return None,
        })
    }

    /// What becomes of a connection that starts with such a setting, as a lane's envelope makes it do.
    pub fn at_startup(self) -> AtStartup {
        match self {
            Self::Internal | Self::Postmaster | Self::Sighup => AtStartup::Refused,
            Self::SuperuserBackend | Self::Superuser => AtStartup::NeedsPrivilege,
            Self::Backend | Self::User => AtStartup::Accepted,
        }
    }
}

/// The settings a server showed.
#[derive(Debug)]
pub(crate) struct KnownSettings(Vec<(String, Context)>);

/// What the list of known settings says about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is there.
    Known(Context),
    /// `prefix.name` of an extension that is not loaded: the server keeps such a setting for later, and
    /// nobody can tell yet whether it means anything.
    Placeholder,
    /// It is not there. The list leaves out what only the privileged may see, so this is not the last
    /// word on a name without a dot.
    Missing,
}

impl KnownSettings {
    /// From names and contexts as the server gave them.
    pub(crate) fn new(settings: Vec<(String, Context)>) -> Self {
        Self(settings)
    }

    /// Looks a name up. PostgreSQL compares setting names without regard to ASCII case.
    pub(crate) fn standing(&self, name: &str) -> Standing {
        let same = |(known, _): &&(String, Context)| known.eq_ignore_ascii_case(name);
        if let Some((_, context)) = self.0.iter().find(same) {
            return Standing::Known(*context);
        }
        match name.split_once('.') {
            Some((prefix, _)) if !self.has_prefix(prefix) => Standing::Placeholder,
            _ => Standing::Missing,
        }
    }

    fn has_prefix(&self, prefix: &str) -> bool {
        let prefix_of = |known: &str| {
            known
                .split_once('.')
                .is_some_and(|(found, _)| found.eq_ignore_ascii_case(prefix))
        };
        self.0.iter().any(|(known, _)| prefix_of(known))
    }

    /// The known name nearest to one that is not, if at most a third of its letters differ.
    pub(crate) fn nearest(&self, name: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        self.0
            .iter()
            .map(|(known, _)| {
                (
                    strsim::osa_distance(&name, &known.to_ascii_lowercase()),
                    known,
                )
            })
            .min()
            .filter(|(distance, known)| distance * 3 <= name.chars().count().max(known.len()))
            .map(|(_, known)| known.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known() -> KnownSettings {
        let settings = [
            ("work_mem", Context::User),
            ("maintenance_work_mem", Context::User),
            ("statement_timeout", Context::User),
            ("TimeZone", Context::User),
            ("max_connections", Context::Postmaster),
            ("hnsw.ef_search", Context::User),
        ];
        KnownSettings::new(
            settings
                .map(|(name, context)| (name.to_owned(), context))
                .into(),
        )
    }

    #[test]
    fn a_name_is_known_missing_or_an_extensions_own() {
        let check = |name, expected| assert_eq!(known().standing(name), expected, "{name}");
        check("work_mem", Standing::Known(Context::User));
        check("Work_Mem", Standing::Known(Context::User));
        check("timezone", Standing::Known(Context::User));
        check("max_connections", Standing::Known(Context::Postmaster));
        check("hnsw.ef_search", Standing::Known(Context::User));
        check("hnsw.ef_serch", Standing::Missing);
        check("HNSW.ef_serch", Standing::Missing);
        check("work_men", Standing::Missing);
        check("pg_trgm.similarity_threshold", Standing::Placeholder);
        check("", Standing::Missing);
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_one_that_was_meant() {
        let check = |name, expected: Option<&str>| {
            assert_eq!(known().nearest(name).as_deref(), expected, "{name}");
        };
        check("work_men", Some("work_mem"));
        check("wrok_mem", Some("work_mem"));
        check("WORKMEM", Some("work_mem"));
        check("statement_timout", Some("statement_timeout"));
        check("time_zone", Some("TimeZone"));
        check("hnsw.ef_serch", Some("hnsw.ef_search"));
        check("colour", None);
        check("", None);
        assert_eq!(KnownSettings::new(Vec::new()).nearest("work_mem"), None);
    }

    #[test]
    fn contexts_tell_what_a_startup_packet_may_hold() {
        let check = |word, expected| {
            assert_eq!(
                Context::parse(word).map(Context::at_startup),
                expected,
                "{word}"
            );
        };
        check("internal", Some(AtStartup::Refused));
        check("postmaster", Some(AtStartup::Refused));
        check("sighup", Some(AtStartup::Refused));
        check("superuser-backend", Some(AtStartup::NeedsPrivilege));
        check("superuser", Some(AtStartup::NeedsPrivilege));
        check("backend", Some(AtStartup::Accepted));
        check("user", Some(AtStartup::Accepted));
        check("", None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_name_has_a_standing_and_a_nearest_name_is_a_known_one(name in ".{0,80}") {
            let known = known();
            let _ = known.standing(&name);
            if let Some(nearest) = known.nearest(&name) {
                prop_assert!(matches!(known.standing(&nearest), Standing::Known(_)));
            }
        }
    }
}
