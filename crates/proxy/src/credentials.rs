//! Where the data path asks for credentials that no file holds. It speaks to PostgreSQL
//! through no driver: the binary implements this over the control plane.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use pglanes_auth::Secret;
use pglanes_config::Config;

/// An answer on its way: the stored password of the user, `None` if there is no such user
/// or it may not log in, or why nobody could say.
pub type Lookup = Pin<Box<dyn Future<Output = Result<Option<Secret<String>>, String>> + Send>>;

/// Answers what `auth_query` of lanes.yaml asks.
///
/// It is called on the data thread, which must not be kept: work that takes CPU, such as
/// the login of a connection of its own, is done elsewhere and only awaited here. The
/// data path bounds how many questions are asked at once and how long each may take, and
/// remembers the answers for a short while.
pub trait CredentialSource: Send + Sync + Debug {
    /// Asks for the stored password of a user, by its real name, as `auth_query` of the
    /// configuration in force says. Nothing the client said but this name may have a part
    /// in it, and the name only as a bound parameter.
    fn look_up(&self, config: &Config, user: &str) -> Lookup;
}
