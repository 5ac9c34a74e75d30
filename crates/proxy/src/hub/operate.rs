//! What an operator asks for, carried out.

use std::rc::Rc;

use pglanes_lanes::{LaneId, PoolId};

use super::hold::MOST_NAMES;
use super::{Activity, AskedOfSession, Hub, Live, ServerPlace};
use crate::events::EventKind;
use crate::metrics::ServerEnd;
use crate::operate::{Action, ActionError, Done, Scope};

impl Hub {
    /// Carries out what is asked for, at once.
    pub(crate) fn act(self: &Rc<Self>, action: Action) -> Result<Done, ActionError> {
        match action {
            Action::Pause(scope) => self.pause(&scope),
            Action::Resume(scope) => self.resume(&scope),
            Action::Reconnect(scope) => self.reconnect(&scope),
            Action::KillSession(id) => self.kill_session(id),
            Action::KillDatabase(database) => self.kill_database(database),
            Action::CancelSession(id) => self.cancel_session(id),
            Action::Disable(database) => self.disable(&database),
            Action::Enable(database) => self.enable(&database),
            Action::Set { key, value } => self.adjust(key, value),
        }
    }

    fn lane_named(&self, name: &str) -> Result<LaneId, ActionError> {
        let live = self.live();
        let id = live.lane_named(name);
        id.ok_or_else(|| ActionError::NoSuchLane(name.to_owned()))
    }

    fn real_database(&self, asked: &str) -> String {
        self.live().config.real_database(asked).0.to_owned()
    }

    fn pause(self: &Rc<Self>, scope: &Scope) -> Result<Done, ActionError> {
        let begun = match scope {
            Scope::All => !self.holds.all.replace(true),
            Scope::Lane(name) => {
                let lane = self.lane_named(name)?;
                self.holds.lanes.borrow_mut().insert(lane)
            }
            Scope::Database(name) => {
                let database = self.real_database(name);
                let mut databases = self.holds.databases.borrow_mut();
                if databases.len() >= MOST_NAMES {
                    return Err(ActionError::TooMany);
                }
                databases.insert(database)
            }
        };
        if !begun {
            return Err(ActionError::AlreadyPaused(scope.clone()));
        }
        self.take_back();
        if !matches!(scope, Scope::Lane(_)) {
            for pool in self.pools_in(scope) {
                self.close_idle(pool);
            }
        }
        let scope = scope.to_string();
        self.events.push(EventKind::Paused { scope });
        Ok(Done::Done)
    }

    fn resume(self: &Rc<Self>, scope: &Scope) -> Result<Done, ActionError> {
        let ended = match scope {
            // As PgBouncer's: databases and lanes that were paused by name stay so.
            Scope::All => self.holds.all.replace(false),
            Scope::Lane(name) => {
                let lane = self.lane_named(name)?;
                self.holds.lanes.borrow_mut().remove(&lane)
            }
            Scope::Database(name) => {
                let database = self.real_database(name);
                self.holds.databases.borrow_mut().remove(&database)
            }
        };
        if !ended {
            return Err(ActionError::NotPaused(scope.clone()));
        }
        self.let_go();
        let scope = scope.to_string();
        self.events.push(EventKind::Resumed { scope });
        Ok(Done::Done)
    }

    /// Idle server connections are closed now, the others when they come back.
    fn reconnect(self: &Rc<Self>, scope: &Scope) -> Result<Done, ActionError> {
        let lane = match scope {
            Scope::Lane(name) => Some(self.lane_named(name)?),
            Scope::All | Scope::Database(_) => None,
        };
        let pools = self.pools_in(scope);
        let concerned = |of_lane: LaneId, pool: PoolId| {
            pools.contains(&pool) && lane.is_none_or(|lane| lane == of_lane)
        };
        let mut idle = Vec::new();
        for place in self.servers.borrow().values() {
            match place {
                ServerPlace::Linked(face) if concerned(face.lane, face.pool) => {
                    face.retired.set(true);
                }
                ServerPlace::Idle(server) if concerned(server.lane, server.pool) => {
                    idle.push(server.face.id);
                }
                ServerPlace::Linked(_) | ServerPlace::Idle(_) | ServerPlace::Opening { .. } => {}
            }
        }
        for id in idle {
            let place = self.servers.borrow_mut().remove(&id);
            if let Some(ServerPlace::Idle(mut server)) = place {
                server.end = ServerEnd::OutOfDate;
                self.discard(&mut server);
            }
        }
        let scope = scope.to_string();
        self.events.push(EventKind::Reconnecting { scope });
        Ok(Done::Done)
    }

    /// Pools whose connections the proxy can open anew.
    fn pools_in(&self, scope: &Scope) -> Vec<PoolId> {
        let database = match scope {
            Scope::Database(name) => Some(self.real_database(name)),
            Scope::All | Scope::Lane(_) => None,
        };
        let pools = self.pools.borrow();
        let ids = pools.after(None).filter(|(_, key, _)| {
            database
                .as_ref()
                .is_none_or(|database| key.database == *database)
        });
        let ids = ids.map(|(id, _, _)| id);
        ids.filter(|id| pools.supply(*id) == pglanes_lanes::Supply::Opened)
            .collect()
    }

    fn kill_session(&self, id: i32) -> Result<Done, ActionError> {
        let sessions = self.sessions.borrow();
        let face = sessions.get(id).ok_or(ActionError::NoSuchSession(id))?;
        face.ask(AskedOfSession::Kill);
        self.events.push(EventKind::Killed { sessions: 1 });
        Ok(Done::Sessions(1))
    }

    /// As PgBouncer's: the database is paused first, so that nothing comes after.
    fn kill_database(self: &Rc<Self>, database: Option<String>) -> Result<Done, ActionError> {
        let scope = match &database {
            Some(name) => Scope::Database(name.clone()),
            None => Scope::All,
        };
        match self.pause(&scope) {
            Ok(_) | Err(ActionError::AlreadyPaused(_)) => {}
            Err(error) => return Err(error),
        }
        let real = database.map(|name| self.real_database(&name));
        let mut killed = 0;
        for face in self.sessions.borrow().iter() {
            let concerned = real
                .as_ref()
                .is_none_or(|real| face.identity.database == *real);
            if concerned {
                face.ask(AskedOfSession::Kill);
                killed += 1;
            }
        }
        self.events.push(EventKind::Killed { sessions: killed });
        Ok(Done::Sessions(killed))
    }

    fn cancel_session(self: &Rc<Self>, id: i32) -> Result<Done, ActionError> {
        let face = self.sessions.borrow().get(id).map(Rc::clone);
        let face = face.ok_or(ActionError::NoSuchSession(id))?;
        let activity = face.activity.borrow().clone();
        match activity {
            Activity::Idle => return Err(ActionError::NothingRuns(id)),
            Activity::Waiting => face.ask(AskedOfSession::CancelWait),
            Activity::Linked(server) => crate::cancel::forward_to_client(self, server),
        }
        self.events.push(EventKind::Cancelled {
            lane: self.live().lane_name(face.lane.get()).to_owned(),
            by: "an operator".to_owned(),
        });
        Ok(Done::Sessions(1))
    }

    fn disable(&self, database: &str) -> Result<Done, ActionError> {
        let database = self.real_database(database);
        let mut disabled = self.holds.disabled.borrow_mut();
        if disabled.len() >= MOST_NAMES {
            return Err(ActionError::TooMany);
        }
        if disabled.insert(database.clone()) {
            self.events.push(EventKind::DatabaseDisabled { database });
        }
        Ok(Done::Done)
    }

    fn enable(&self, database: &str) -> Result<Done, ActionError> {
        let database = self.real_database(database);
        if self.holds.disabled.borrow_mut().remove(&database) {
            self.events.push(EventKind::DatabaseEnabled { database });
        }
        Ok(Done::Done)
    }

    /// Changes one value of the configuration in force, read as the file is and held to the same rules. The file says
    /// otherwise, so the next reload forgets it.
    fn adjust(self: &Rc<Self>, key: String, value: String) -> Result<Done, ActionError> {
        let running = self.live();
        let config = running.config.adjusted(&key, &value);
        let config = config.map_err(|error| ActionError::Refused(error.to_string()))?;
        let live = Live::new(config, Some(&running));
        live.policy
            .validate()
            .map_err(|error| ActionError::Refused(error.to_string()))?;
        self.set_live(live);
        self.adjusted
            .borrow_mut()
            .insert(key.clone(), value.clone());
        self.events.push(EventKind::Adjusted { key, value });
        Ok(Done::Done)
    }

    /// A configuration comes into force: what was set over the last one is no longer.
    pub(crate) fn forget_adjustments(&self) -> Vec<String> {
        let adjusted = std::mem::take(&mut *self.adjusted.borrow_mut());
        let shown = adjusted.into_iter();
        shown
            .map(|(key, value)| format!("{key} = {value}"))
            .collect()
    }
}
