//! Lanes that sessions choose for themselves: `SET pglanes.lane`, or the same as a startup parameter. Who may, lanes.yaml
//! says (`chosen_by`). To PostgreSQL it is a setting like any other of an application's own, so it follows the session,
//! and comes back after a rollback or RESET ALL; what it means is decided here.

use pglanes_lanes::classify::{Classified, SessionFacts};
use pglanes_wire::message::{ErrorBody, Severity};

use crate::hub::Live;

/// The setting's name.
pub(crate) const LANE_SETTING: &str = "pglanes.lane";

/// Why a lane was not chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) sqlstate: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Denied {
    pub(crate) fn body(&self, severity: Severity) -> ErrorBody<'_> {
        let body = ErrorBody::new(severity, self.sqlstate, &self.message);
        match &self.hint {
            Some(hint) => body.with_hint(hint),
            None => body,
        }
    }
}

impl Live {
    /// The lane of a session that chose this one, or none; and why its choice does not count. An empty choice is none.
    pub(crate) fn class_of(
        &self,
        facts: &SessionFacts<'_>,
        chosen: Option<&str>,
    ) -> (Classified, Option<Denied>) {
        let Some(name) = chosen.filter(|name| !name.is_empty()) else {
            return (self.classifier.session(facts, None), None);
        };
        let shown: String = name.chars().take(63).collect();
        let Some(lane) = self.lane_named(name) else {
            let denied = Denied {
                // As PostgreSQL says of a value that a setting cannot have.
                sqlstate: "22023",
                message: format!(
                    "invalid value for parameter \"{LANE_SETTING}\": there is no lane \"{shown}\""
                ),
                hint: None,
            };
            return (self.classifier.session(facts, None), Some(denied));
        };
        let denied = (!self.classifier.may_choose(lane, facts)).then(|| Denied {
            sqlstate: "42501",
            message: format!("permission denied to choose lane \"{shown}\""),
            hint: Some(format!(
                "lanes.yaml says who may: lanes: {shown}: chosen_by"
            )),
        });
        (self.classifier.session(facts, Some(lane)), denied)
    }
}
