//! Leases: "an evaluation is running", said by somebody who may be gone without a word. Each has a time to live and ends by
//! itself unless it is renewed, so nobody's crash throttles for ever.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::{LaneId, Time};

/// The most leases at once, over all lanes.
pub const MAX_LEASES: usize = 1000;
/// The shortest time to live.
pub const SHORTEST_LEASE: Duration = Duration::from_secs(1);
/// The longest time to live. Who needs more renews.
pub const LONGEST_LEASE: Duration = Duration::from_secs(24 * 3600);

/// A lease's name: random, drawn by the owner, so that nobody renews a stranger's by counting, nor one of a proxy that was
/// started anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

impl LeaseId {
    /// The id that is written so: sixteen hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits.then(|| u64::from_str_radix(text, 16).ok());
        number.flatten().map(Self)
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// The lane it holds active.
    pub lane: LaneId,
    /// Who holds it, in its own words.
    pub holder: String,
    /// How long it lives from each renewal.
    pub time_to_live: Duration,
    /// When it was taken.
    pub taken: Time,
    /// When it ends unless it is renewed.
    pub expires: Time,
}

/// Why a lease was not taken or renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseRefusal {
    /// There are as many as may be.
    TooMany,
    /// It ended, expired, or never was.
    Unknown,
    /// The time to live is shorter than [`SHORTEST_LEASE`] or longer than [`LONGEST_LEASE`].
    TimeToLive,
    /// The id is taken: draw another.
    Taken,
}

impl fmt::Display for LeaseRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(formatter, "there are {MAX_LEASES} leases already"),
            Self::Unknown => formatter.write_str("there is no such lease; it ended or expired"),
            Self::TimeToLive => write!(
                formatter,
                "a lease lives from {} s to {} s",
                SHORTEST_LEASE.as_secs(),
                LONGEST_LEASE.as_secs()
            ),
            Self::Taken => formatter.write_str("the id belongs to another lease"),
        }
    }
}

/// All leases. The owner tells the scheduler of each one that begins or ends.
#[derive(Debug, Default)]
pub struct Leases {
    by_id: BTreeMap<LeaseId, Lease>,
}

impl Leases {
    /// Takes a lease under an id that the owner drew.
    ///
    /// # Errors
    /// [`LeaseRefusal`].
    pub fn take(
        &mut self,
        now: Time,
        id: LeaseId,
        lane: LaneId,
        holder: impl Into<String>,
        time_to_live: Duration,
    ) -> Result<&Lease, LeaseRefusal> {
        if !may_live(time_to_live) {
            return Err(LeaseRefusal::TimeToLive);
        }
        if self.by_id.len() >= MAX_LEASES {
            return Err(LeaseRefusal::TooMany);
        }
        match self.by_id.entry(id) {
            std::collections::btree_map::Entry::Occupied(_) => Err(LeaseRefusal::Taken),
            std::collections::btree_map::Entry::Vacant(place) => Ok(place.insert(Lease {
                id,
                lane,
                holder: holder.into(),
                time_to_live,
                taken: now,
                expires: now + time_to_live,
            })),
        }
    }

    /// Lets a lease live on from now, for as long as before or for another time. One whose time is over is not found, even
    /// if nobody has looked since.
    ///
    /// # Errors
    /// [`LeaseRefusal`].
    pub fn renew(
        &mut self,
        now: Time,
        id: LeaseId,
        time_to_live: Option<Duration>,
    ) -> Result<&Lease, LeaseRefusal> {
        if time_to_live.is_some_and(|time| !may_live(time)) {
            return Err(LeaseRefusal::TimeToLive);
        }
        let lease = self.by_id.get_mut(&id).filter(|lease| now < lease.expires);
        let lease = lease.ok_or(LeaseRefusal::Unknown)?;
        lease.time_to_live = time_to_live.unwrap_or(lease.time_to_live);
        lease.expires = now + lease.time_to_live;
        Ok(lease)
    }

    /// Ends a lease.
    pub fn end(&mut self, id: LeaseId) -> Option<Lease> {
        self.by_id.remove(&id)
    }

    /// Takes out the leases whose time is over.
    pub fn expire(&mut self, now: Time) -> Vec<Lease> {
        // Nobody expires in most looks; those who do are few.
        let over: Vec<LeaseId> = self
            .by_id
            .values()
            .filter(|lease| lease.expires <= now)
            .map(|lease| lease.id)
            .collect();
        over.into_iter()
            .filter_map(|id| self.by_id.remove(&id))
            .collect()
    }

    /// All leases, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.by_id.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

fn may_live(time: Duration) -> bool {
    (SHORTEST_LEASE..=LONGEST_LEASE).contains(&time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: LaneId = LaneId(0);

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn take(leases: &mut Leases, now: Time, id: u64, seconds: u64) -> Result<Time, LeaseRefusal> {
        let time_to_live = Duration::from_secs(seconds);
        let taken = leases.take(now, LeaseId(id), LANE, "me", time_to_live);
        taken.map(|lease| lease.expires)
    }

    #[test]
    fn a_lease_lives_from_renewal_to_renewal_and_then_expires() {
        let mut leases = Leases::default();
        assert_eq!(take(&mut leases, at(0), 1, 30), Ok(at(30)));
        assert_eq!(take(&mut leases, at(0), 2, 10), Ok(at(10)));
        assert_eq!(leases.expire(at(9)), []);
        assert_eq!(
            leases.renew(at(20), LeaseId(1), None).unwrap().expires,
            at(50)
        );
        let expired = leases.expire(at(20));
        assert_eq!(expired.len(), 1);
        assert_eq!(expired[0].id, LeaseId(2));
        let longer = Some(Duration::from_secs(100));
        assert_eq!(
            leases.renew(at(40), LeaseId(1), longer).unwrap().expires,
            at(140)
        );
        assert_eq!(
            leases.renew(at(100), LeaseId(1), None).unwrap().expires,
            at(200)
        );
        assert_eq!(leases.end(LeaseId(1)).unwrap().taken, at(0));
        assert!(leases.end(LeaseId(1)).is_none() && leases.is_empty());
    }

    #[test]
    fn one_whose_time_is_over_cannot_be_renewed_before_anybody_looked() {
        let mut leases = Leases::default();
        take(&mut leases, at(0), 1, 5).unwrap();
        assert_eq!(
            leases.renew(at(5), LeaseId(1), None),
            Err(LeaseRefusal::Unknown)
        );
        assert_eq!(leases.len(), 1);
        assert_eq!(leases.expire(at(5)).len(), 1);
    }

    #[test]
    fn number_and_time_are_bounded() {
        let mut leases = Leases::default();
        let day = LONGEST_LEASE.as_secs();
        assert_eq!(
            take(&mut leases, at(0), 0, day + 1),
            Err(LeaseRefusal::TimeToLive)
        );
        assert_eq!(
            take(&mut leases, at(0), 0, 0),
            Err(LeaseRefusal::TimeToLive)
        );
        for id in 0..MAX_LEASES as u64 {
            take(&mut leases, at(0), id, day).unwrap();
        }
        assert_eq!(
            take(&mut leases, at(0), 5000, day),
            Err(LeaseRefusal::TooMany)
        );
        leases.end(LeaseId(7));
        assert_eq!(take(&mut leases, at(0), 8, day), Err(LeaseRefusal::Taken));
        let renewed = leases.renew(at(0), LeaseId(8), Some(Duration::ZERO));
        assert_eq!(renewed, Err(LeaseRefusal::TimeToLive));
    }

    #[test]
    fn an_id_is_written_in_sixteen_digits_and_read_back() {
        let id = LeaseId(0xab);
        assert_eq!(id.to_string(), "00000000000000ab");
        assert_eq!(LeaseId::parse("00000000000000ab"), Some(id));
        for text in [
            "",
            "ab",
            "00000000000000ag",
            "+0000000000000ab",
            "00000000000000abc",
        ] {
            assert_eq!(LeaseId::parse(text), None, "{text}");
        }
    }
}
