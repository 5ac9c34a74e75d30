//! A table of reusable places, and lists threaded through it: no allocation once they have grown to their working size.

use std::ops::{Index, IndexMut};

/// No place.
const NONE: u32 = u32::MAX;

struct Entry<T> {
    /// Counts the values this place has held, so that a name can tell them apart.
    generation: u32,
    value: Option<T>,
}

/// Values by place. A place is used again, last freed first.
pub(super) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self.entries[place as usize].value = Some(value);
            return place;
        }
        // The scheduler's bounds (waiting tickets, total slots) lie far below 2^32 places.
        let place = self.entries.len() as u32;
        self.entries.push(Entry {
            generation: 0,
            value: Some(value),
        });
        place
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<T> {
        let entry = self.entries.get_mut(place as usize)?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(place);
        Some(value)
    }

    pub(super) fn get(&self, place: u32) -> Option<&T> {
        self.entries.get(place as usize)?.value.as_ref()
    }

    pub(super) fn generation(&self, place: u32) -> u32 {
        self.entries
            .get(place as usize)
            .map_or(0, |entry| entry.generation)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(place, entry)| Some((place as u32, entry.value.as_ref()?)))
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, place: u32) -> &T {
        // Places come from lists and maps that drop them before the value goes; `check_invariants` holds them to it.
        self.entries[place as usize]
            .value
            .as_ref()
            .expect("a listed place is taken")
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, place: u32) -> &mut T {
        // As above.
        self.entries[place as usize]
            .value
            .as_mut()
            .expect("a listed place is taken")
    }
}

/// Neighbours in one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Links {
    previous: u32,
    next: u32,
}

impl Links {
    pub(super) const ALONE: Self = Self {
        previous: NONE,
        next: NONE,
    };
}

/// A value that can stand in lists of kind `KIND`, in one at a time.
pub(super) trait Linked<const KIND: usize> {
    fn links(&self) -> &Links;
    fn links_mut(&mut self) -> &mut Links;
}

/// A doubly linked list through a slab.
#[derive(Clone, Copy, Debug)]
pub(super) struct List<const KIND: usize> {
    head: u32,
    tail: u32,
    length: u32,
}

impl<const KIND: usize> List<KIND> {
    pub(super) const fn new() -> Self {
        Self {
            head: NONE,
            tail: NONE,
            length: 0,
        }
    }

    pub(super) const fn len(&self) -> u32 {
        self.length
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn front(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub(super) fn back(&self) -> Option<u32> {
        (self.tail != NONE).then_some(self.tail)
    }

    pub(super) fn push_back<T: Linked<KIND>>(&mut self, slab: &mut Slab<T>, place: u32) {
        self.insert_before(slab, place, None);
    }

    pub(super) fn push_front<T: Linked<KIND>>(&mut self, slab: &mut Slab<T>, place: u32) {
        self.insert_before(slab, place, self.front());
    }

    /// Inserts before `before`, or at the end.
    pub(super) fn insert_before<T: Linked<KIND>>(
        &mut self,
        slab: &mut Slab<T>,
        place: u32,
        before: Option<u32>,
    ) {
        let next = before.unwrap_or(NONE);
        let previous = match before {
            Some(before) => slab[before].links().previous,
            None => self.tail,
        };
        *slab[place].links_mut() = Links { previous, next };
        match previous {
            NONE => self.head = place,
            _ => slab[previous].links_mut().next = place,
        }
        match next {
            NONE => self.tail = place,
            _ => slab[next].links_mut().previous = place,
        }
        self.length += 1;
    }

    /// Takes out a place that stands in this very list.
    pub(super) fn remove<T: Linked<KIND>>(&mut self, slab: &mut Slab<T>, place: u32) {
        let Links { previous, next } = *slab[place].links();
        match previous {
            NONE => self.head = next,
            _ => slab[previous].links_mut().next = next,
        }
        match next {
            NONE => self.tail = previous,
            _ => slab[next].links_mut().previous = previous,
        }
        *slab[place].links_mut() = Links::ALONE;
        self.length -= 1;
    }

    pub(super) fn next<T: Linked<KIND>>(&self, slab: &Slab<T>, place: u32) -> Option<u32> {
        let next = slab[place].links().next;
        (next != NONE).then_some(next)
    }

    pub(super) fn iter<'a, T: Linked<KIND>>(
        &self,
        slab: &'a Slab<T>,
    ) -> impl Iterator<Item = u32> + 'a {
        let list = *self;
        std::iter::successors(self.front(), move |&place| list.next(slab, place))
    }
}

impl<const KIND: usize> List<KIND> {
    /// From the end to the front.
    pub(super) fn iter_back<'a, T: Linked<KIND>>(
        &self,
        slab: &'a Slab<T>,
    ) -> impl Iterator<Item = u32> + 'a {
        let previous = |&place: &u32| {
            let previous = slab[place].links().previous;
            (previous != NONE).then_some(previous)
        };
        std::iter::successors(self.back(), previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Item(Links);

    impl Linked<0> for Item {
        fn links(&self) -> &Links {
            &self.0
        }
        fn links_mut(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    #[test]
    fn a_list_keeps_its_order_through_removals() {
        let mut slab = Slab::new();
        let mut list = List::<0>::new();
        let places: Vec<u32> = (0..4).map(|_| slab.insert(Item(Links::ALONE))).collect();
        for &place in &places[..3] {
            list.push_back(&mut slab, place);
        }
        list.push_front(&mut slab, places[3]);
        assert_eq!(list.iter(&slab).collect::<Vec<_>>(), [3, 0, 1, 2]);
        list.remove(&mut slab, 0);
        list.remove(&mut slab, 2);
        assert_eq!(list.iter(&slab).collect::<Vec<_>>(), [3, 1]);
        list.insert_before(&mut slab, 2, Some(1));
        assert_eq!(
            (list.front(), list.back(), list.len()),
            (Some(3), Some(1), 3)
        );
        assert_eq!(list.iter(&slab).collect::<Vec<_>>(), [3, 2, 1]);
    }

    #[test]
    fn a_place_is_used_again_under_another_generation() {
        let mut slab = Slab::new();
        let place = slab.insert(1);
        assert_eq!((slab.generation(place), slab.remove(place)), (0, Some(1)));
        assert_eq!((slab.remove(place), slab.len()), (None, 0));
        assert_eq!((slab.insert(2), slab.generation(place)), (place, 1));
    }
}
