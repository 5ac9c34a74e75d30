//! What is known of users' passwords beyond the files: the answers of `auth_query`,
//! remembered for a short while, and what proven logins taught.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pglanes_auth::scram_client::Challenge;
use pglanes_auth::{ScramKeys, Secret, StoredCredential, Verifier};
use pglanes_config::Config;
use pglanes_lanes::Time;
use tokio::sync::Semaphore;

use super::Hub;
use crate::credentials::CredentialSource;
use crate::upstream::{KeysOfVerifier, UpstreamCredential};

/// How long an answer holds. A changed password is accepted after so long at the latest,
/// and at once when the old one has just failed.
const FOUND_HOLDS: Duration = Duration::from_secs(30);
/// How long it holds that a user is not there.
const NOT_FOUND_HOLDS: Duration = Duration::from_secs(5);
/// An answer this fresh is not asked for again, whatever a client proved.
const FRESH: Duration = Duration::from_secs(1);
/// How long one question may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Questions asked at once; further logins wait for one of them.
const MOST_QUESTIONS: usize = 4;
/// Answers remembered.
const MOST_ANSWERS: usize = 10_000;
/// Users whose logins are remembered.
const MOST_LEARNED: usize = 4096;

struct Answer {
    credential: Option<Rc<StoredCredential>>,
    asked: Time,
    holds_until: Time,
}

/// Nobody could say what a user's password is.
#[derive(Debug)]
pub(crate) struct Unanswered;

/// The memory of both.
pub(crate) struct Known {
    source: Option<Arc<dyn CredentialSource>>,
    answers: RefCell<HashMap<String, Answer>>,
    questions: Semaphore,
    learned: RefCell<HashMap<String, Learned>>,
}

/// What a user's own login taught.
#[derive(Debug, Clone)]
enum Learned {
    Stored(StoredCredential),
    /// Its client's proof against a verifier, which is the key of that verifier.
    Keys(KeysOfVerifier),
}

impl Known {
    pub(super) fn new(source: Option<Arc<dyn CredentialSource>>) -> Self {
        Self {
            source,
            answers: RefCell::default(),
            questions: Semaphore::new(MOST_QUESTIONS),
            learned: RefCell::default(),
        }
    }

    fn answer(&self, user: &str, now: Time) -> Option<Option<Rc<StoredCredential>>> {
        let answers = self.answers.borrow();
        let answer = answers.get(user)?;
        (answer.holds_until > now).then(|| answer.credential.clone())
    }

    fn remember(&self, user: &str, credential: Option<Rc<StoredCredential>>, now: Time) {
        let mut answers = self.answers.borrow_mut();
        if answers.len() >= MOST_ANSWERS {
            answers.retain(|_, answer| answer.holds_until > now);
        }
        if answers.len() >= MOST_ANSWERS {
            answers.clear();
        }
        let holds = match credential {
            Some(_) => FOUND_HOLDS,
            None => NOT_FOUND_HOLDS,
        };
        let answer = Answer {
            credential,
            asked: now,
            holds_until: now + holds,
        };
        answers.insert(user.to_owned(), answer);
    }

    /// A proof against it failed: the password may have changed since it was read.
    pub(crate) fn doubt(&self, user: &str, now: Time) {
        let mut answers = self.answers.borrow_mut();
        let stale = |answer: &Answer| answer.credential.is_some() && answer.asked + FRESH <= now;
        if answers.get(user).is_some_and(stale) {
            answers.remove(user);
        }
    }

    /// Files or passwords may have changed.
    pub(super) fn forget_answers(&self) {
        self.answers.borrow_mut().clear();
    }

    fn learn(&self, user: &str, learned: Learned) {
        let mut known = self.learned.borrow_mut();
        if known.len() >= MOST_LEARNED && !known.contains_key(user) {
            // Whoever it is learns again at its next login.
            let any = known.keys().next().cloned();
            any.and_then(|any| known.remove(&any));
        }
        known.insert(user.to_owned(), learned);
    }

    /// The client proved this stored credential of the user.
    pub(crate) fn learn_stored(&self, user: &str, credential: &StoredCredential) {
        if !matches!(credential, StoredCredential::Scram(_)) {
            self.learn(user, Learned::Stored(credential.clone()));
        }
    }

    /// The client proved to hold this key of the user's verifier: both log in where
    /// PostgreSQL stores the same verifier.
    pub(crate) fn learn_keys(&self, user: &str, verifier: &Verifier, client_key: Secret<[u8; 32]>) {
        let challenge = Challenge {
            salt: verifier.salt().to_vec(),
            iterations: verifier.iterations(),
        };
        let keys = ScramKeys::new(client_key, verifier.server_key().clone());
        self.learn(user, Learned::Keys(KeysOfVerifier { challenge, keys }));
    }

    /// PostgreSQL refused it.
    pub(super) fn unlearn(&self, user: &str) {
        self.learned.borrow_mut().remove(user);
    }
}

impl Hub {
    /// The stored credential of a user that no file names, if `auth_query` is configured.
    ///
    /// Cancel-safe: a question that nobody waits for any more is dropped.
    pub(crate) async fn look_up(
        &self,
        config: &Config,
        user: &str,
    ) -> Result<Option<Rc<StoredCredential>>, Unanswered> {
        if let Some(answer) = self.known.answer(user, self.clock.now()) {
            return Ok(answer);
        }
        let Some(source) = &self.known.source else {
            tracing::warn!("auth_query is configured, and nobody is there to ask it");
            return Err(Unanswered);
        };
        let permit = self.known.questions.acquire().await;
        let _asking = permit.map_err(|_| Unanswered)?;
        // Who waited for the permit may find the answer that it waited behind.
        if let Some(answer) = self.known.answer(user, self.clock.now()) {
            return Ok(answer);
        }
        let asked = tokio::time::timeout(ANSWER_LIMIT, source.look_up(config, user)).await;
        let found = match asked {
            Ok(Ok(found)) => found,
            Ok(Err(why)) => {
                tracing::warn!(user, why, "auth_query failed");
                return Err(Unanswered);
            }
            Err(_) => {
                tracing::warn!(user, limit = ?ANSWER_LIMIT, "auth_query took too long");
                return Err(Unanswered);
            }
        };
        let parsed = found.and_then(|stored| {
            let parsed = StoredCredential::parse(stored.expose());
            let told = parsed.as_ref().err();
            if let Some(error) = told {
                tracing::warn!(user, %error, "auth_query gave what is no password");
            }
            parsed.ok().map(Rc::new)
        });
        if matches!(parsed.as_deref(), Some(StoredCredential::Password(_))) {
            // Verifiers are kept by name, and this password may be another one.
            self.verifiers.forget();
        }
        self.known.remember(user, parsed.clone(), self.clock.now());
        Ok(parsed)
    }

    /// What the proxy can prove of a user at PostgreSQL: what the file says of this user,
    /// then what its own logins taught, then the password for all that have none.
    pub(crate) fn upstream_credential(&self, user: &str) -> UpstreamCredential {
        let live = self.live();
        let config = &live.config;
        let mut credential = UpstreamCredential {
            password: config.own_upstream_password(user).cloned(),
            md5: config.upstream_md5(user).cloned(),
            keys: None,
        };
        match self.known.learned.borrow().get(user).cloned() {
            Some(Learned::Keys(keys)) => credential.keys = Some(keys),
            Some(Learned::Stored(StoredCredential::Password(password))) => {
                credential.password = credential.password.or(Some(password));
            }
            Some(Learned::Stored(StoredCredential::Md5(hash))) => {
                credential.md5 = credential.md5.or(Some(hash));
            }
            Some(Learned::Stored(StoredCredential::Scram(_))) | None => {}
        }
        if credential.password.is_none() {
            credential.password = config.upstream_password(user).cloned();
        }
        credential
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn stored(text: &str) -> Option<Rc<StoredCredential>> {
        Some(Rc::new(StoredCredential::parse(text).unwrap()))
    }

    #[test]
    fn an_answer_holds_for_a_while_and_that_nobody_is_there_for_less() {
        let known = Known::new(None);
        known.remember("here", stored("pencil"), at(0));
        known.remember("gone", None, at(0));
        assert!(
            known
                .answer("here", at(29))
                .is_some_and(|found| found.is_some())
        );
        assert!(known.answer("here", at(30)).is_none());
        assert!(
            known
                .answer("gone", at(4))
                .is_some_and(|found| found.is_none())
        );
        assert!(known.answer("gone", at(5)).is_none());
        assert!(known.answer("never", at(0)).is_none());
    }

    #[test]
    fn a_failed_proof_makes_it_ask_again_but_not_for_every_attempt() {
        let known = Known::new(None);
        known.remember("here", stored("pencil"), at(10));
        known.doubt("here", at(10));
        assert!(known.answer("here", at(10)).is_some());
        known.doubt("here", at(11));
        assert!(known.answer("here", at(11)).is_none());
    }

    #[test]
    fn answers_and_what_was_learned_are_bounded() {
        let known = Known::new(None);
        for user in 0..MOST_ANSWERS + 10 {
            known.remember(&user.to_string(), None, at(0));
        }
        assert!(known.answers.borrow().len() <= MOST_ANSWERS);
        let password = StoredCredential::parse("pencil").unwrap();
        for user in 0..MOST_LEARNED + 10 {
            known.learn_stored(&user.to_string(), &password);
        }
        assert_eq!(known.learned.borrow().len(), MOST_LEARNED);
        known.unlearn("0");
    }
}
