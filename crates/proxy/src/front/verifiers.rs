//! What clients' passwords are held against. A plain password in the configuration costs PBKDF2 before it can be used: once
//! per name, not once per login, or whoever knows a name could make the proxy work, and see by the time that takes that the
//! name is known.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use pglanes_auth::{DEFAULT_ITERATIONS, Password, StoredCredential, Verifier};

/// Verifiers made of plain passwords. At most one for each configured name: others have no credential.
#[derive(Debug, Default)]
pub(crate) struct Verifiers {
    known: RefCell<HashMap<String, Verifier>>,
    /// Raised when passwords may have changed: what was begun before is not kept.
    epoch: Cell<u64>,
}

impl Verifiers {
    /// The verifier of a name with this credential; `None` where there is none that answers a SCRAM exchange.
    pub(crate) async fn get(
        &self,
        name: &str,
        credential: Option<&StoredCredential>,
        mock_secret: &[u8; 32],
    ) -> Option<Verifier> {
        match credential? {
            StoredCredential::Scram(verifier) => Some(verifier.clone()),
            StoredCredential::Password(password) => {
                if let Some(known) = self.known.borrow().get(name) {
                    return Some(known.clone());
                }
                self.make(name, password.clone(), mock_secret).await
            }
            // An md5 hash cannot answer a SCRAM exchange.
            StoredCredential::Md5(_) => None,
        }
    }

    /// Off this thread.
    async fn make(
        &self,
        name: &str,
        password: Password,
        mock_secret: &[u8; 32],
    ) -> Option<Verifier> {
        let epoch = self.epoch.get();
        // An unknown user is shown the same salt each time; so is a known one, by the same rule.
        let salt = Verifier::mock(mock_secret, name).salt().to_vec();
        let derive = move || Verifier::from_password(&password, &salt, DEFAULT_ITERATIONS);
        let verifier = tokio::task::spawn_blocking(derive).await.ok()?;
        if self.epoch.get() == epoch {
            let mut known = self.known.borrow_mut();
            known.insert(name.to_owned(), verifier.clone());
        }
        Some(verifier)
    }

    /// Passwords may have changed.
    pub(crate) fn forget(&self) {
        self.epoch.set(self.epoch.get() + 1);
        self.known.borrow_mut().clear();
    }
}
