//! The quiet latency of a protected lane, by class of statement.
//!
//! Only transactions count during which nothing ran in any other lane. Each class is a distribution in which old samples
//! count less and less (all are halved when there are [`MOST_SAMPLES`]), so that it follows a database that grows; a quantile
//! is believed once enough samples lie beyond it, because that of a few is their largest, and says nothing.

use std::time::Duration;

use super::histogram::LogHistogram;
use super::{ClassKey, ClassSnapshot, MAX_CLASSES, MAX_CLASSES_SHOWN, MAX_TARGETS, Target};
use crate::Time;
use crate::time::nanos;

/// When a class has so many samples, all of them count half.
pub(super) const MOST_SAMPLES: u32 = 4096;
/// Samples that must lie beyond a quantile before it is believed.
const BEYOND: u32 = 2;
/// The fewest samples of any quantile.
const FEWEST: u32 = 20;
/// A class that has a place of its own and was not used for so long gives it to one that is.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// What a quotient of one is: quotients are kept in the buckets of nanoseconds.
pub(super) const ONE: u64 = 1 << 16;

/// How much a class is worth at each target, in the order of the targets.
pub(super) type Quotients = [Option<u64>; MAX_TARGETS];

pub(super) struct Class {
    pub(super) key: ClassKey,
    pub(super) quiet: LogHistogram,
    /// The quiet quantiles of the targets, where they are believed, in nanoseconds.
    quantiles: Quotients,
    /// Samples since those were taken.
    unread: u32,
    pub(super) last_quiet: Option<Time>,
    last_used: Time,
    /// Transactions of it, quiet or not; halved with the rest.
    uses: u32,
}

/// All classes of a lane, in the order of their keys.
pub(super) struct Baseline {
    targets: Vec<Target>,
    classes: Vec<Class>,
}

impl Baseline {
    pub(super) fn new(targets: &[Target]) -> Self {
        Self {
            targets: targets.iter().copied().take(MAX_TARGETS).collect(),
            classes: Vec::new(),
        }
    }

    /// Other targets are read from the same samples.
    pub(super) fn set_targets(&mut self, targets: &[Target]) {
        self.targets = targets.iter().copied().take(MAX_TARGETS).collect();
        for class in &mut self.classes {
            class.read(&self.targets);
        }
    }

    pub(super) fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Whether anything is known well enough to be held against.
    pub(super) fn is_believed(&self) -> bool {
        self.classes
            .iter()
            .any(|class| class.quantiles[0].is_some())
    }

    pub(super) fn forget(&mut self) {
        self.classes.clear();
    }

    /// A latency's quotients by its class's quiet quantiles, and whether the first target has one.
    pub(super) fn quotients(&mut self, key: ClassKey, latency: Duration, now: Time) -> Quotients {
        let place = self.place(key, now);
        let class = &mut self.classes[place];
        class.last_used = now;
        class.uses = class.uses.saturating_add(1);
        let latency = u128::from(nanos(latency)) * u128::from(ONE);
        class.quantiles.map(|quiet| {
            let quotient = latency / u128::from(quiet?.max(1));
            Some(u64::try_from(quotient).unwrap_or(u64::MAX))
        })
    }

    /// Learns from a transaction that ran in quiet.
    pub(super) fn learn(&mut self, key: ClassKey, served: Duration, now: Time) {
        let place = self.place(key, now);
        let class = &mut self.classes[place];
        if class.quiet.total() >= MOST_SAMPLES {
            class.quiet.keep(1, 2);
            class.uses /= 2;
        }
        class.quiet.record(nanos(served), 1);
        class.last_quiet = Some(now);
        class.unread += 1;
        // Sixteen samples more do not move a quantile of many far.
        if class.unread >= 16 || class.quiet.total() < 256 {
            class.read(&self.targets);
        }
    }

    /// Takes in a class as it was kept over a restart.
    pub(super) fn restore(&mut self, key: ClassKey, quiet: LogHistogram, now: Time) {
        let place = self.place(key, now);
        let class = &mut self.classes[place];
        class.quiet = quiet;
        class.read(&self.targets);
    }

    /// The place of a class, which may be that of its kind's pool.
    fn place(&mut self, key: ClassKey, now: Time) -> usize {
        let find = |classes: &[Class], key| classes.binary_search_by(|class| class.key.cmp(key));
        let wanted = match find(&self.classes, &key) {
            Ok(place) => return place,
            Err(place) => place,
        };
        if self.classes.len() < MAX_CLASSES || self.make_room(now) {
            let place = find(&self.classes, &key).unwrap_or_else(|place| place);
            self.classes.insert(place, Class::new(key, now));
            return place;
        }
        let pooled = ClassKey { shape: 0, ..key };
        if pooled == key {
            // A kind's pool always has a place: there are few kinds.
            self.classes.insert(wanted, Class::new(key, now));
            return wanted;
        }
        self.place(pooled, now)
    }

    /// Gives up the class that was used longest ago, if that is long.
    fn make_room(&mut self, now: Time) -> bool {
        let shaped = self.classes.iter().enumerate();
        let oldest = shaped
            .filter(|(_, class)| class.key.shape != 0)
            .min_by_key(|(_, class)| class.last_used)
            .map(|(place, class)| (place, class.last_used));
        match oldest {
            Some((place, used)) if now.since(used) >= FORGOTTEN_AFTER => {
                self.classes.remove(place);
                true
            }
            _ => false,
        }
    }

    /// The most used classes.
    pub(super) fn snapshot(&self, now: Time) -> Vec<ClassSnapshot> {
        let mut classes: Vec<&Class> = self.classes.iter().collect();
        classes.sort_by_key(|class| std::cmp::Reverse((class.uses, class.quiet.total())));
        let shown = classes.into_iter().take(MAX_CLASSES_SHOWN);
        shown
            .map(|class| ClassSnapshot {
                class: class.key,
                samples: class.quiet.total(),
                quiet: class.quantiles[0].map(Duration::from_nanos),
                age: class.last_quiet.map(|last| now.since(last)),
            })
            .collect()
    }
}

impl Class {
    fn new(key: ClassKey, now: Time) -> Self {
        Self {
            key,
            quiet: LogHistogram::new(),
            quantiles: [None; MAX_TARGETS],
            unread: 0,
            last_quiet: None,
            last_used: now,
            uses: 0,
        }
    }

    fn read(&mut self, targets: &[Target]) {
        self.unread = 0;
        self.quantiles = [None; MAX_TARGETS];
        for (quantile, target) in self.quantiles.iter_mut().zip(targets) {
            let beyond = u32::from(1000 - target.quantile.min(999));
            let needed = (BEYOND * 1000).div_ceil(beyond).max(FEWEST);
            if self.quiet.total() >= needed {
                *quantile = self.quiet.quantile(target.quantile);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::StatementKind;

    const P95: Target = Target {
        quantile: 950,
        times: 1200,
    };
    const P50: Target = Target {
        quantile: 500,
        times: 1100,
    };

    fn key(shape: u64) -> ClassKey {
        ClassKey {
            kind: StatementKind::Select,
            shape,
        }
    }

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn a_quantile_counts_once_enough_samples_lie_beyond_it() {
        let mut baseline = Baseline::new(&[P95, P50]);
        let now = Time::ZERO;
        for known in 1..=40_u64 {
            baseline.learn(key(1), micros(100 + known), now);
            let quotients = baseline.quotients(key(1), micros(300), now);
            assert_eq!(quotients[0].is_some(), known >= 40, "{known}");
            assert_eq!(quotients[1].is_some(), known >= 20, "{known}");
            assert_eq!(quotients[2], None);
        }
        let quotient = baseline.quotients(key(1), micros(276), now)[0].unwrap();
        let ratio = quotient as f64 / ONE as f64;
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
    }

    #[test]
    fn the_mix_of_classes_moves_no_ratio() {
        // A class of 100 us and one of 10 ms; in quiet each is within 1x of its own 95th percentile 95 times in 100.
        let mut baseline = Baseline::new(&[P95]);
        let latency =
            |class: u64, number: u64| micros(if class == 1 { 100 } else { 10_000 } + number);
        for number in 0..100 {
            baseline.learn(key(1), latency(1, number), Time::ZERO);
            baseline.learn(key(2), latency(2, number), Time::ZERO);
        }
        for share in [0, 1, 10, 99] {
            let mut seen = LogHistogram::new();
            for number in 0..100 {
                let class = if number * 37 % 100 < share { 1 } else { 2 };
                let quotient = baseline.quotients(key(class), latency(class, number), Time::ZERO);
                seen.record(quotient[0].unwrap(), 1);
            }
            let ratio = seen.quantile(950).unwrap() as f64 / ONE as f64;
            assert!((0.93..1.07).contains(&ratio), "{share}: {ratio}");
        }
    }

    #[test]
    fn classes_beyond_the_limit_are_pooled_by_kind_and_forgotten_ones_make_room() {
        let mut baseline = Baseline::new(&[P95]);
        let mut now = Time::ZERO;
        for shape in 1..=1000 {
            baseline.learn(key(shape), micros(5), now);
        }
        assert_eq!(baseline.classes().len(), MAX_CLASSES + 1);
        let pooled = baseline.classes().iter().find(|class| class.key == key(0));
        assert_eq!(pooled.unwrap().quiet.total(), 1000 - MAX_CLASSES as u32);
        assert!(baseline.classes().is_sorted_by_key(|class| class.key));
        now = now + FORGOTTEN_AFTER;
        baseline.quotients(key(2000), micros(5), now);
        assert!(
            baseline
                .classes()
                .iter()
                .any(|class| class.key == key(2000))
        );
        assert!(baseline.classes().len() <= MAX_CLASSES + 1);
        assert_eq!(baseline.snapshot(now).len(), MAX_CLASSES_SHOWN);
    }

    #[test]
    fn it_follows_a_database_that_grows() {
        let mut baseline = Baseline::new(&[P50]);
        for _ in 0..10_000 {
            baseline.learn(key(1), micros(100), Time::ZERO);
        }
        for _ in 0..10_000 {
            baseline.learn(key(1), micros(300), Time::ZERO);
        }
        let quotient = baseline.quotients(key(1), micros(300), Time::ZERO)[0].unwrap();
        assert!((quotient as f64 / ONE as f64 - 1.0).abs() < 0.05);
        assert!(baseline.classes()[0].quiet.total() <= MOST_SAMPLES);
    }
}
