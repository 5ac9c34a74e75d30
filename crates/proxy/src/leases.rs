//! Leases on lanes, as the rest of the process takes and ends them: over HTTP, the console, `pglanes run`.

use std::rc::Rc;
use std::time::Duration;

use pglanes_lanes::{Input, LONGEST_LEASE, LeaseId, LeaseRefusal, SHORTEST_LEASE};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::events::EventKind;
use crate::hub::Hub;
use crate::run::{Handle, Request};

/// The longest name of a holder, in bytes.
pub const MAXIMUM_HOLDER: usize = 200;

/// A lease to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The lane that counts as active while it is held.
    pub lane: String,
    /// Who holds it, for people: a command, a user, a client. At most [`MAXIMUM_HOLDER`] bytes of one line.
    pub holder: String,
    /// How long it lives unless it is renewed.
    pub time_to_live: Duration,
}

/// A lease as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// Its name.
    pub id: LeaseId,
    /// The lane it holds active.
    pub lane: String,
    /// Who holds it.
    pub holder: String,
    /// How long it lives from each renewal.
    pub time_to_live: Duration,
    /// How long it has been held.
    pub held: Duration,
    /// How long until it expires.
    pub expires_in: Duration,
}

/// Why a lease was not taken, renewed or ended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LeaseError {
    /// No lane of this name.
    #[error("there is no lane {lane}; the lanes are {known}")]
    UnknownLane {
        /// The name.
        lane: String,
        /// Those that would be right.
        known: String,
    },
    /// It ended, expired, or never was.
    #[error("there is no lease {0}; it ended or expired")]
    UnknownLease(LeaseId),
    /// The time to live is out of bounds.
    #[error("a lease lives from {} s to {} s", SHORTEST_LEASE.as_secs(), LONGEST_LEASE.as_secs())]
    TimeToLive,
    /// The holder's name is not one.
    #[error("a holder is one line of 1 to {MAXIMUM_HOLDER} bytes")]
    Holder,
    /// There are as many as may be.
    #[error("there are {} leases already", pglanes_lanes::MAX_LEASES)]
    TooMany,
    /// The proxy is ending, or has ended.
    #[error("the proxy is ending")]
    Ending,
}

/// What is asked of the data thread.
#[derive(Debug)]
pub(crate) enum LeaseCommand {
    Take(LeaseRequest),
    Renew(LeaseId, Option<Duration>),
    End(LeaseId),
    List,
}

/// The leases that a command is about.
pub(crate) type LeaseAnswer = Result<Vec<LeaseView>, LeaseError>;

impl Handle {
    /// Takes a lease: its lane counts as `leased` until it ends.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn take_lease(&self, request: LeaseRequest) -> Result<LeaseView, LeaseError> {
        self.one_lease(LeaseCommand::Take(request)).await
    }

    /// Lets a lease live on from now, for as long as before unless another time is given.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn renew_lease(
        &self,
        id: LeaseId,
        time_to_live: Option<Duration>,
    ) -> Result<LeaseView, LeaseError> {
        self.one_lease(LeaseCommand::Renew(id, time_to_live)).await
    }

    /// Ends a lease, and gives it as it was.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn end_lease(&self, id: LeaseId) -> Result<LeaseView, LeaseError> {
        self.one_lease(LeaseCommand::End(id)).await
    }

    /// All leases that are held, those first that were taken first.
    ///
    /// # Errors
    /// [`LeaseError::Ending`].
    pub async fn leases(&self) -> Result<Vec<LeaseView>, LeaseError> {
        self.lease_command(LeaseCommand::List).await
    }

    async fn one_lease(&self, command: LeaseCommand) -> Result<LeaseView, LeaseError> {
        let answer = self.lease_command(command).await?;
        answer.into_iter().next().ok_or(LeaseError::Ending)
    }

    async fn lease_command(&self, command: LeaseCommand) -> LeaseAnswer {
        let (reply, answer) = oneshot::channel();
        let request = Request::Lease(command, reply);
        let sent = self.requests().send(request).await;
        sent.map_err(|_| LeaseError::Ending)?;
        answer.await.map_err(|_| LeaseError::Ending)?
    }
}

impl Hub {
    /// Does what was asked for.
    pub(crate) fn lease_command(self: &Rc<Self>, command: LeaseCommand) -> LeaseAnswer {
        // Those whose time is over are no longer there for anybody.
        self.expire_leases();
        let lease = match command {
            LeaseCommand::List => return Ok(self.all_leases()),
            LeaseCommand::Take(request) => self.take_lease(request)?,
            LeaseCommand::Renew(id, time_to_live) => {
                let now = self.clock.now();
                let mut leases = self.leases.borrow_mut();
                let renewed = leases.renew(now, id, time_to_live);
                let lease = renewed.map_err(|refusal| refused(refusal, id))?.clone();
                self.metrics.lane(lease.lane).leases_renewed.increment();
                lease
            }
            LeaseCommand::End(id) => {
                let ended = self.leases.borrow_mut().end(id);
                let lease = ended.ok_or(LeaseError::UnknownLease(id))?;
                self.metrics.lane(lease.lane).leases_ended.increment();
                let (lane, holder) = self.shown(&lease);
                tracing::info!(lane, holder, "a lease was ended");
                self.events.push(EventKind::LeaseEnded { lane, holder });
                self.tell(Input::LeaseEnded { lane: lease.lane });
                lease
            }
        };
        Ok(vec![self.lease_view(&lease)])
    }

    fn take_lease(
        self: &Rc<Self>,
        request: LeaseRequest,
    ) -> Result<pglanes_lanes::Lease, LeaseError> {
        let LeaseRequest {
            lane: name,
            holder,
            time_to_live,
        } = request;
        let holds = (1..=MAXIMUM_HOLDER).contains(&holder.len());
        if !holds || holder.chars().any(char::is_control) {
            return Err(LeaseError::Holder);
        }
        let live = self.live();
        let Some(lane) = live.lane_named(&name) else {
            let known: Vec<&str> = live
                .config
                .lanes
                .iter()
                .map(|lane| lane.name.as_str())
                .collect();
            return Err(LeaseError::UnknownLane {
                lane: name,
                known: known.join(", "),
            });
        };
        let now = self.clock.now();
        let lease = loop {
            let mut random = [0; 8];
            // Without randomness nothing can be named.
            getrandom::fill(&mut random).map_err(|_| LeaseError::TooMany)?;
            let id = LeaseId(u64::from_be_bytes(random));
            let mut leases = self.leases.borrow_mut();
            match leases.take(now, id, lane, holder.as_str(), time_to_live) {
                Ok(lease) => break lease.clone(),
                Err(LeaseRefusal::Taken) => {}
                Err(refusal) => return Err(refused(refusal, id)),
            }
        };
        self.metrics.lane(lane).leases_taken.increment();
        tracing::info!(lane = name, holder, ?time_to_live, "a lease was taken");
        self.events.push(EventKind::LeaseTaken {
            lane: name,
            holder,
            limit: time_to_live,
        });
        self.tell(Input::LeaseTaken { lane });
        Ok(lease)
    }

    /// Ends the leases whose time is over. Looked at once a second, and before each command.
    pub(crate) fn expire_leases(self: &Rc<Self>) {
        if self.leases.borrow().is_empty() {
            return;
        }
        let expired = self.leases.borrow_mut().expire(self.clock.now());
        for lease in expired {
            self.metrics.lane(lease.lane).leases_expired.increment();
            let (lane, holder) = self.shown(&lease);
            tracing::warn!(lane, holder, "a lease expired: its holder did not renew it");
            self.events.push(EventKind::LeaseExpired { lane, holder });
            self.tell(Input::LeaseEnded { lane: lease.lane });
        }
    }

    /// The names of its lane and its holder.
    fn shown(&self, lease: &pglanes_lanes::Lease) -> (String, String) {
        let lane = self.live().lane_name(lease.lane).to_owned();
        (lane, lease.holder.clone())
    }

    fn all_leases(&self) -> Vec<LeaseView> {
        let leases = self.leases.borrow();
        let mut all: Vec<&pglanes_lanes::Lease> = leases.iter().collect();
        all.sort_by_key(|lease| lease.taken);
        all.into_iter()
            .map(|lease| self.lease_view(lease))
            .collect()
    }

    fn lease_view(&self, lease: &pglanes_lanes::Lease) -> LeaseView {
        let now = self.clock.now();
        LeaseView {
            id: lease.id,
            lane: self.live().lane_name(lease.lane).to_owned(),
            holder: lease.holder.clone(),
            time_to_live: lease.time_to_live,
            held: now.since(lease.taken),
            expires_in: lease.expires.since(now),
        }
    }
}

fn refused(refusal: LeaseRefusal, id: LeaseId) -> LeaseError {
    match refusal {
        LeaseRefusal::TooMany => LeaseError::TooMany,
        LeaseRefusal::TimeToLive => LeaseError::TimeToLive,
        LeaseRefusal::Unknown | LeaseRefusal::Taken => LeaseError::UnknownLease(id),
    }
}
