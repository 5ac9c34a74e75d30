//! A connection string in a file, in its parts, each with its place.

use std::ops::Range;

/// A value and where it stands, in bytes from the file's beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// As meant: unquoted, percent-decoded.
    pub value: String,
    /// Its place, without quotes.
    pub span: Range<usize>,
}

/// How a connection is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `postgresql://...`.
    Url(Driver),
    /// `host=... dbname=...` in one string.
    Pairs,
    /// `connect(host="...", dbname="...")`; whether it takes `application_name`.
    Call(Driver),
    /// `psql -h ... -d ...`, and which program. People rewrite it.
    Command(&'static str),
    /// Lines of keys: `PGHOST=...`, `host: ...`.
    Lines,
}

/// How a driver takes the application name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// As `application_name`.
    Libpq,
    /// As `ApplicationName`.
    Jdbc,
    /// Not in this place: asyncpg wants it in `server_settings`.
    Elsewhere,
}

/// The parts of one connection.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// Host.
    pub host: Option<Part>,
    /// Port.
    pub port: Option<Part>,
    /// User.
    pub user: Option<Part>,
    /// Password. Never shown.
    pub password: Option<Part>,
    /// Database.
    pub database: Option<Part>,
    /// Application name.
    pub application: Option<Part>,
}

// A derived one would show the password.
impl std::fmt::Debug for Parts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = |part: &Option<Part>| part.as_ref().map(|part| part.value.clone());
        formatter
            .debug_struct("Parts")
            .field("host", &value(&self.host))
            .field("port", &value(&self.port))
            .field("user", &value(&self.user))
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("database", &value(&self.database))
            .field("application", &value(&self.application))
            .finish()
    }
}

impl Parts {
    /// Puts a value where its key says, the first one of a kind; whether the key is known.
    pub(super) fn put(&mut self, key: &str, part: Part) -> bool {
        let place = match key {
            "host" | "hostname" | "hostaddr" | "server" => &mut self.host,
            "port" => &mut self.port,
            "user" | "username" => &mut self.user,
            "password" | "pass" | "passwd" => &mut self.password,
            "dbname" | "database" | "db" | "name" => &mut self.database,
            "application_name" | "appname" | "applicationname" => &mut self.application,
            _ => return false,
        };
        if place.is_none() {
            *place = Some(part);
        }
        true
    }

    fn all(&self) -> [&Option<Part>; 6] {
        [
            &self.host,
            &self.port,
            &self.user,
            &self.password,
            &self.database,
            &self.application,
        ]
    }

    /// Whether a part is only known when the program runs.
    pub(super) fn is_dynamic(&self) -> bool {
        self.all().into_iter().flatten().any(|part| {
            let value = &part.value;
            value.contains("${")
                || value.contains('{')
                || value.starts_with('$')
                || value.contains("%(")
                || value.contains("%s")
        })
    }

    /// How many parts there are.
    pub(super) fn count(&self) -> usize {
        self.all().into_iter().flatten().count()
    }
}

/// One connection in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// All of it.
    pub span: Range<usize>,
    /// How it is written.
    pub kind: Kind,
    /// What it says.
    pub parts: Parts,
    /// Whether a part of it is only known when the program runs: it is not tried and not rewritten.
    pub dynamic: bool,
}

impl Found {
    pub(super) fn new(text: &str, span: Range<usize>, kind: Kind, parts: Parts) -> Self {
        let before = &text[..span.start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let several =
            |part: &Option<Part>| part.as_ref().is_some_and(|part| part.value.contains(','));
        Self {
            line: before.matches('\n').count() + 1,
            column: text[line_start..span.start].chars().count() + 1,
            dynamic: parts.is_dynamic() || several(&parts.host) || several(&parts.port),
            span,
            kind,
            parts,
        }
    }

    /// `user:***@host:port/database`, as far as it says; never the password.
    pub fn shown(&self) -> String {
        let value = |part: &Option<Part>| {
            part.as_ref()
                .map(|part| part.value.as_str())
                .unwrap_or_default()
                .to_owned()
        };
        let mut text = String::new();
        if let Some(user) = &self.parts.user {
            text += &user.value;
            text += if self.parts.password.is_some() {
                ":***@"
            } else {
                "@"
            };
        }
        text += &value(&self.parts.host);
        if let Some(port) = &self.parts.port {
            text += ":";
            text += &port.value;
        }
        text + "/" + &value(&self.parts.database)
    }
}
